"""Small images of the hardest sequences, with the boxes of truth and trackers, as data URLs."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.eval.report.overlaps import mean_known
from tnllt.eval.view.server import encode_jpeg
from tnllt.sequence import Sequence, Trajectory
from tnllt.video import TRUTH, Mark, paint

WIDTH, HEIGHT = 288, 180


def worst_frames(overlaps: NDArray[np.float64], wanted: int = 4) -> list[int]:
    """Frames of lowest mean overlap (K, T), spread out: the sequence is cut into equal parts, each gives its worst.

    Frames that no tracker is measured on are never chosen.
    """
    mean = np.nan_to_num(mean_known(overlaps, 0), nan=np.inf)
    found = []
    for part in np.array_split(np.arange(len(mean)), min(wanted, len(mean))):
        best = part[int(np.argmin(mean[part]))]
        if np.isfinite(mean[best]):
            found.append(int(best))
    return found


def spread_frames(overlaps: NDArray[np.float64], wanted: int) -> list[int]:
    """Frames of a sequence, ascending: half of them at even steps, half the worst of their part (`worst_frames`)."""
    length, even = overlaps.shape[1], max(1, wanted // 2)
    found = {int(i) for i in np.linspace(0, length - 1, even).round()} if wanted and length else set()
    return sorted(found | set(worst_frames(overlaps, wanted - even) if wanted > even else ()))


def thumbnails(
    sequence: Sequence,
    trajectories: Mapping[str, tuple[str, Trajectory]],
    overlaps: NDArray[np.float64],
    frames: Iterable[int],
) -> list[dict[str, Any]]:
    """Images {"frame" from 1, "overlap", "src"} of some frames; empty where there are no frames to read.

    Args:
        trajectories: {tracker: (its colour, its trajectory)}, the ones to draw.
        overlaps: (K, T) of all trackers.
        frames: which, from 0.
    """
    if not sequence.has_frames:
        return []
    found = []
    for index in frames:
        try:
            image = np.asarray(sequence.frames[index])
        except (DataError, IndexError):
            continue  # `tnllt-data check` names frames that cannot be read; the report goes on
        height, width = image.shape[:2]
        marks = [Mark("", TRUTH, sequence.groundtruth[index], faint=True)]
        marks += [Mark("", colour, own.boxes[index]) for colour, own in trajectories.values() if index < len(own)]
        small = paint(image, marks, width=min(width, WIDTH, HEIGHT * width // height))
        data = base64.b64encode(encode_jpeg(small, 70)).decode("ascii")
        overlap = float(mean_known(overlaps[:, index], 0))
        found.append({"frame": index + 1, "overlap": overlap, "src": f"data:image/jpeg;base64,{data}"})
    return found
