"""Moments at which a reasoner is asked: any two annotated frames, or the refreshes of a tracker that runs.

The sample of a refresh has the frames of its window (`img2.jpg`, `window/`) and the tracker's state before them
(`state.safetensors`), so that tracking gain is measured from its folder alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnllt.datasets.frames import prefetch, read_image
from tnllt.errors import DataError
from tnllt.eval.longterm import in_view
from tnllt.records import from_table
from tnllt.sequence import Sequence
from tnllt.training.gain import Window
from tnllt.training.state import read_state, write_state
from tnllt.training.vlm.records import STATE, Box, write_jpeg

if TYPE_CHECKING:
    from tnllt.reasoningtrack import ReasoningTrack
    from tnllt.reasoningtrack.tracker import Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Moment:
    """Numbers of the earlier and of the current frame; where a tracker runs, its box and its state before the current
    frame."""

    first: int
    second: int
    box: Box | None = None
    snapshot: Snapshot | None = None


def refreshes(sequence: Sequence, tracker: ReasoningTrack, window: int, count: int, seed: int) -> list[Moment]:
    """At most `count` moments at which the tracker would ask, drawn at random among those with the target in view.

    The tracker starts on the first frame and keeps the sequence's own description. None where it fails.
    """
    seen, usable = 0, in_view(sequence)
    kept: list[Moment] = []
    if not usable[0]:
        return kept
    rng = np.random.default_rng([seed, *sequence.name.encode()])
    state = tracker.start(sequence.frames[0], sequence.groundtruth[0].tolist(), sequence.language)
    try:
        for number, image in enumerate(prefetch(sequence, 1, len(sequence)), 1):
            if state.due and usable[number]:
                place = len(kept) if len(kept) < count else int(rng.integers(seen + 1))
                seen += 1
                if place < count:
                    x, y, w, h = state.box.tolist()
                    kept[place : place + 1] = [Moment(0, number, (x, y, w, h), tracker.snapshot(state, window))]
            tracker.step([state], [image])
    except Exception as error:
        log.warning("the tracker failed on %s: %s; no samples of it", sequence.name, error)
        return []
    finally:
        tracker.end(state)
    return sorted(kept, key=lambda moment: moment.second)


def write_window(folder: Path, window: Window, snapshot: Snapshot, weights: str | None) -> None:
    """Adds window and state to a sample, whose `img2.jpg` is the first frame. `weights`: SHA-256 of the tracker's."""
    import torch

    for number, image in enumerate(window.images[1:], 2):
        write_jpeg(folder / "window" / f"{number:04d}.jpg", image)
    tensors = {"crops": torch.from_numpy(np.stack(list(snapshot.crops.values())))}
    if snapshot.temporal is not None:
        tensors["temporal"] = snapshot.temporal
    truth = [box.tolist() if seen else None for box, seen in zip(window.truth, window.seen, strict=True)]
    facts = {"frame": snapshot.frame, "box": snapshot.box.tolist(), "crops": list(snapshot.crops)}
    write_state(folder / STATE, tensors, {**facts, "truth": truth, "weights": weights})


@dataclass(frozen=True)
class _Facts:
    frame: int
    box: Box
    crops: tuple[int, ...]
    truth: tuple[Box | None, ...]
    weights: str | None = None


def read_window(folder: Path, tracker: Mapping[str, Any], length: int) -> tuple[Window, Snapshot]:
    """The first `length` frames of a sample's window, and the tracker's state before them.

    Args:
        tracker: facts of the tracker that goes on (`info()`).

    Raises:
        DataError: the state is of another tracker's weights, or a file is not what it should be.
    """
    from tnllt.reasoningtrack.tracker import Snapshot

    path = folder / STATE
    tensors, table = read_state(path)
    facts = from_table(table, _Facts, path)
    if facts.weights != tracker.get("weights_sha256"):
        raise DataError("is the state of a tracker with other weights; give these, or make the samples anew", path)
    files = [folder / "img2.jpg", *sorted(folder.glob("window/*.jpg"))]
    crops = tensors.get("crops")
    if len(files) != len(facts.truth) or crops is None or crops.shape[:1] != (len(facts.crops),):
        raise DataError(f"does not belong to the {len(files)} images of its folder; make the sample anew", path)
    truth = np.array([box or (np.nan,) * 4 for box in facts.truth[:length]])
    window = Window([read_image(file) for file in files[:length]], truth, np.isfinite(truth).all(axis=1))
    kept = dict(zip(facts.crops, crops.byte().numpy(), strict=True))
    return window, Snapshot(facts.frame, np.array(facts.box), kept, tensors.get("temporal"))
