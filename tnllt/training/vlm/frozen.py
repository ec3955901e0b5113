"""The frozen tracker of the rewards: its box in the second frame of a pair, and its gain over a window of frames."""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnllt.boxes import overlap
from tnllt.datasets.frames import read_image
from tnllt.errors import DataError
from tnllt.reasoningtrack.reasoners import parse_answer
from tnllt.records import from_table
from tnllt.training.gain import WINDOW, Window, each_alone_where_all_fail, gains
from tnllt.training.state import read_state, write_state
from tnllt.training.vlm.records import STATE, Box, PairRecord, write_jpeg

if TYPE_CHECKING:
    from tnllt.reasoningtrack import ReasoningTrack
    from tnllt.reasoningtrack.tracker import Snapshot
    from tnllt.training.vlm.options import FrozenOptions

log = logging.getLogger(__name__)


class FrozenTracker:
    """Overlaps of a tracker that starts on a pair's first frame and answers on the second.

    Args:
        tracker: any tracker that takes several sequences at once, such as ReasoningTrack with a static description.
        batch: pairs in one forward pass.
        window: frames over which tracking gain is measured.

    Overlaps are kept in memory and measured once, because the tracker does not learn.
    """

    def __init__(self, tracker: Any, batch: int = 32, window: int = WINDOW) -> None:
        self.tracker, self.batch, self.window = tracker, batch, window
        self._known: dict[Hashable, float | None] = {}
        self._read = lru_cache(maxsize=256)(read_image)

    def overlaps(self, records: Sequence[PairRecord], descriptions: Sequence[str]) -> list[float | None]:
        """IoU with the truth in the second frame, one per record and description; None where the tracker failed.

        Raises:
            DataError: a record without boxes.
        """
        keys = [(record.images, text) for record, text in zip(records, descriptions, strict=True)]
        todo: dict[Hashable, tuple[PairRecord, str]] = {}
        for key, record, text in zip(keys, records, descriptions, strict=True):
            if record.boxes is None:
                raise DataError("no boxes, which overlaps need; use --samples or --dataset", record.source)
            if key not in self._known:
                todo[key] = (record, text)
        waiting = list(todo)
        for start in range(0, len(waiting), self.batch):
            part = waiting[start : start + self.batch]
            jobs = [todo[key] for key in part]
            found = each_alone_where_all_fail(self._track, jobs, lambda job: job[0].source)
            self._known.update(zip(part, found, strict=True))
        return [self._known[key] for key in keys]

    def gains(self, records: Sequence[PairRecord], answers: Sequence[str]) -> list[float | None]:
        """Tracking gain of the description after each answer, one per record and answer (see `tnllt.training.gain`).

        Raises:
            DataError: a record without a window and a state, or with those of another tracker.
        """
        keys = [(r.folder, text) for r, text in zip(records, answers, strict=True)]
        for record in {r.folder: r for r in records}.values():
            if record.folder is None:
                remedy = "use --dataset, or --samples of tnllt-train records"
                raise DataError(f"no window of frames, which tracking gain needs; {remedy}", record.source)
            texts = sorted({t for folder, t in keys if folder == record.folder and (folder, t) not in self._known})
            if texts:
                window, snapshot = read_window(record.folder, self.tracker.info(), self.window)
                found = self.gains_of(snapshot, window, record.description, texts)
                self._known.update({(record.folder, text): gain for text, gain in zip(texts, found, strict=True)})
        return [self._known[key] for key in keys]

    def gains_of(self, snapshot: Any, window: Window, own: str, answers: Sequence[str]) -> list[float | None]:
        """Tracking gain of each answer over the sequence's own description, from one state."""
        parsed = [parse_answer(answer) for answer in answers]
        return gains(self.tracker, snapshot, own, [str(p.answer) if p.update else own for p in parsed], window)

    def _track(self, jobs: list[tuple[PairRecord, str]]) -> list[float]:
        states = []
        try:
            for record, text in jobs:
                assert record.boxes is not None
                states.append(self.tracker.start(self._read(record.images[0]), record.boxes[0], text))
            found = self.tracker.step(states, [self._read(record.images[1]) for record, _ in jobs])
            truth = [record.boxes[1] for record, _ in jobs if record.boxes is not None]
            values: list[float] = overlap(np.array([p.box for p in found], np.float64), truth).tolist()
            return values
        finally:
            for state in states:
                self.tracker.end(state)


def load_frozen(options: FrozenOptions) -> FrozenTracker:
    """The tracker that the options name. Where there are several processes, each measures on its own device."""
    import torch

    rank, device = os.environ.get("LOCAL_RANK"), options.tracker_device
    if device == "auto" and rank is not None and torch.cuda.is_available():
        device = f"cuda:{rank}"
    network = reasoning_track(options.tracker_weights, options.tracker_config, device)
    return FrozenTracker(network, options.tracker_batch, options.window)


def reasoning_track(weights: str | None, config: str | None, device: str = "auto") -> ReasoningTrack:
    """ReasoningTrack's network with a constant description; None: the bundled weights."""
    from tnllt.reasoningtrack import ReasoningTrack

    return ReasoningTrack(weights=weights or None, config=config or None, reasoner="static", device=device)


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
