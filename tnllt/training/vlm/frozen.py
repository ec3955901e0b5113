"""The frozen tracker of the overlap rewards: its box in the second frame, given a description."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tnllt.boxes import overlap
from tnllt.datasets.frames import read_image
from tnllt.errors import DataError
from tnllt.training.vlm.records import PairRecord

if TYPE_CHECKING:
    from tnllt.tracking.tracker import Prediction, SupportsBatch
    from tnllt.training.vlm.options import RewardOptions

log = logging.getLogger(__name__)


class FrozenTracker:
    """Overlaps of a tracker that starts on a pair's first frame and answers on the second.

    Args:
        tracker: any tracker that takes several sequences at once, such as ReasoningTrack with a static description.
        batch: pairs in one forward pass.

    Overlaps are kept in memory and measured once, because the tracker does not learn.
    """

    def __init__(self, tracker: SupportsBatch, batch: int = 32) -> None:
        self.tracker, self.batch = tracker, batch
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
            self._known.update(zip(part, self._measure([todo[key] for key in part]), strict=True))
        return [self._known[key] for key in keys]

    def _measure(self, jobs: list[tuple[PairRecord, str]]) -> list[float | None]:
        """All in one pass; where that fails, each alone, so that one bad pair costs itself only."""
        try:
            return [_score(job[0], found) for job, found in zip(jobs, self._track(jobs), strict=True)]
        except Exception as error:
            if len(jobs) > 1:
                return [value for job in jobs for value in self._measure([job])]
            log.warning("the tracker failed on %s: %s; no reward", jobs[0][0].source, error)
            return [None]

    def _track(self, jobs: list[tuple[PairRecord, str]]) -> list[Prediction]:
        states = []
        try:
            for record, text in jobs:
                assert record.boxes is not None
                states.append(self.tracker.start(self._read(record.images[0]), record.boxes[0], text))
            return self.tracker.step(states, [self._read(record.images[1]) for record, _ in jobs])
        finally:
            for state in states:
                self.tracker.end(state)


def _score(record: PairRecord, found: Prediction) -> float | None:
    assert record.boxes is not None
    value = float(overlap(np.asarray(found.box, np.float64), np.asarray(record.boxes[1])))
    return None if np.isnan(value) else value


def frozen_tracker(options: RewardOptions) -> FrozenTracker | None:
    """The tracker of these rewards, or None where none of them needs one.

    Where there are several processes, each measures on its own device.
    """
    if not options.weights.needs_tracker:
        return None
    import torch

    rank, device = os.environ.get("LOCAL_RANK"), options.tracker_device
    if device == "auto" and rank is not None and torch.cuda.is_available():
        device = f"cuda:{rank}"
    network = reasoning_track(options.tracker_weights, options.tracker_config, device)
    return FrozenTracker(network, options.tracker_batch)


def reasoning_track(weights: str | None, config: str | None, device: str = "auto") -> SupportsBatch:
    """ReasoningTrack's network with a constant description; None: the bundled weights."""
    from tnllt.reasoningtrack import ReasoningTrack

    options = {name: value for name, value in (("weights", weights), ("config", config)) if value}
    make: Callable[..., SupportsBatch] = ReasoningTrack
    return make(reasoner="static", device=device, **options)
