"""Real motion: box tracks taken from annotation files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.text import read_boxes
from tnllt.errors import DataError, UsageError

_SKIP = {"absent", "att", "full_occlusion", "out_of_view", "attributes", "language", "nlp", "absent_label", "cover"}


@dataclass(frozen=True, eq=False)
class Track:
    """One target's boxes.

    Attributes:
        name: the sequence it was taken from.
        boxes: (T, 4) float64 x, y, w, h; gaps (no box, zero area) bridged by straight lines.
        frame: (width, height) that the boxes lie in, at least.
    """

    name: str
    boxes: NDArray[np.float64]
    frame: tuple[float, float]


def read_tracks(folder: Path, least: int = 20) -> list[Track]:
    """Every box file under a folder: `<seq>.txt`, or `<seq>/groundtruth*.txt`; others are passed over.

    Raises:
        UsageError: the folder is not there, or holds no track of `least` frames.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of box tracks")
    tracks = []
    for path in sorted(folder.rglob("*.txt")):
        if path.stem in _SKIP or _SKIP & set(path.relative_to(folder).parts[:-1]):
            continue
        boxes = _boxes(path)
        if boxes is not None and len(boxes) >= least:
            name = path.parent.name if path.stem.startswith("groundtruth") else path.stem
            reach = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
            tracks.append(Track(name, boxes, (float(reach[0]), float(reach[1]))))
    if not tracks:
        raise UsageError(f"{folder}: no box tracks here (text files with rows x,y,w,h, at least {least} of them)")
    return tracks


def _boxes(path: Path) -> NDArray[np.float64] | None:
    try:
        boxes = read_boxes(path)
    except DataError:
        return None
    good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 1).all(axis=1)
    if good.sum() < 2:
        return None
    index = np.arange(len(boxes))
    return np.stack([np.interp(index, index[good], boxes[good, c]) for c in range(4)], axis=1)
