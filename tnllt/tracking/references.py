"""The two ends of every table: `still`, the floor, and `groundtruth`, the ceiling."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tnllt.sequence import Image, Sequence
from tnllt.tracking.tracker import Mode, Prediction, Tracker


class StaticBox(Tracker):
    """Static-box reference: the initial box, never moved. The floor that a tracker has to beat."""

    name: ClassVar[str] = "still"

    def initialize(self, image: Image, box: object = None, language: str | None = None) -> None:
        self.box = box

    def track(self, image: Image) -> Prediction:
        return Prediction(self.box)  # type: ignore[arg-type]


class GroundTruth(Tracker):
    """Ground-truth reference: the annotation as an answer. The ceiling under a protocol, which is seldom 1.

    A frame without annotated box keeps the last one; a frame that the benchmark calls absent is reported absent.
    """

    name: ClassVar[str] = "groundtruth"
    modes: ClassVar[tuple[Mode, ...]] = (Mode.NL, Mode.BB)
    oracle = True

    def receive(self, sequence: Sequence) -> None:
        """Called by the runner before `initialize`, since the tracker is an oracle."""
        boxes = sequence.groundtruth
        known = np.isfinite(boxes).all(axis=1)
        last = np.maximum.accumulate(np.where(known, np.arange(len(boxes)), 0))
        self._boxes = np.where(np.isfinite(boxes[last]), boxes[last], 0.0)
        self._absent = np.zeros(len(boxes), bool) if sequence.present is None else ~sequence.present

    def initialize(self, image: Image, box: object = None, language: str | None = None) -> Prediction:
        self._frame = 0
        return self._answer()

    def track(self, image: Image) -> Prediction:
        self._frame = min(self._frame + 1, len(self._boxes) - 1)
        return self._answer()

    def _answer(self) -> Prediction:
        return Prediction(self._boxes[self._frame], 1.0, bool(self._absent[self._frame]))
