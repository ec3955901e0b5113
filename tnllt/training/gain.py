"""Tracking gain: how much better a frozen tracker tracks the next frames with a new description than with the old one.

The gain of a description is the difference of two mean overlaps over a window of frames, which starts with the frame
that the reasoner was asked about. Both runs start from one snapshot of the tracker, so that no frame before the window
is tracked again. A tracker that fails, and a window in which the target is nowhere in view, give no gain (None): a gain
of 0 would say that the new description is as good as the old one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from tnllt.boxes import overlap
from tnllt.eval.longterm import in_view
from tnllt.sequence import Boxes, Flags, Image
from tnllt.sequence import Sequence as Video
from tnllt.tracking.tracker import SupportsBatch

Job = TypeVar("Job")

log = logging.getLogger(__name__)

#: Frames of a window.
WINDOW = 20


class SupportsSnapshots(SupportsBatch, Protocol):
    """A tracker whose state can be kept and continued from, any number of times."""

    def snapshot(self, state: Any, ahead: int) -> Any: ...

    def resume(self, snapshot: Any, description: str) -> Any: ...


@dataclass(frozen=True, eq=False)
class Window:
    """The frames over which a gain is measured.

    Attributes:
        images: N frames, RGB uint8 (H, W, 3), the current one first.
        truth: (N, 4) x, y, w, h in pixels. seen: (N,) True where the target is in view and annotated.
    """

    images: Sequence[Image]
    truth: Boxes
    seen: Flags

    @classmethod
    def of(cls, sequence: Video, start: int, length: int = WINDOW) -> Window:
        """The window of at most `length` frames from `start`, cut at the sequence's end. Its frames are decoded."""
        stop = min(start + length, len(sequence))
        images = [sequence.frames[i] for i in range(start, stop)]
        return cls(images, sequence.groundtruth[start:stop], in_view(sequence)[start:stop])


def gains(
    tracker: SupportsSnapshots, snapshot: Any, old: str, new: Sequence[str], window: Window
) -> list[float | None]:
    """The gain of each new description over the old one, in [-1, 1]; None where there is none to measure.

    Args:
        tracker: frozen. snapshot: of its state before the window's first frame.
    """
    before, *after = mean_overlaps(tracker, snapshot, [old, *new], window)
    return [None if before is None or value is None else value - before for value in after]


def mean_overlaps(
    tracker: SupportsSnapshots, snapshot: Any, descriptions: Sequence[str], window: Window
) -> list[float | None]:
    """Mean overlap over the window's frames with the target in view, for each description, all in one batch.

    None where the tracker failed, or where the target is in
    view nowhere.
    """
    if not window.seen.any():
        return [None] * len(descriptions)
    texts = list(dict.fromkeys(descriptions))
    found = each_alone_where_all_fail(lambda some: _track(tracker, snapshot, some, window), texts, repr)
    known = dict(zip(texts, found, strict=True))
    return [known[text] for text in descriptions]


def each_alone_where_all_fail(
    run: Callable[[list[Job]], list[float]], jobs: list[Job], name: Callable[[Job], str]
) -> list[float | None]:
    """The number of each job from one run of all; where that fails, from one of each alone, so that a bad job costs
    itself only. None for a job that fails, and where its number is NaN."""
    try:
        return [None if value != value else value for value in run(jobs)]
    except Exception as error:
        if len(jobs) > 1:
            return [value for job in jobs for value in each_alone_where_all_fail(run, [job], name)]
        log.warning("the tracker failed on %s (%s: %s); no reward", name(jobs[0]), type(error).__name__, error)
        return [None]


def _track(tracker: SupportsSnapshots, snapshot: Any, texts: list[str], window: Window) -> list[float]:
    last = int(np.flatnonzero(window.seen)[-1])
    states: list[Any] = []
    found = []
    try:
        states.extend(tracker.resume(snapshot, text) for text in texts)
        shown = slice(last + 1)
        for image, truth, seen in zip(window.images[shown], window.truth[shown], window.seen[shown], strict=True):
            boxes = np.array([prediction.box for prediction in tracker.step(states, [image] * len(states))], np.float64)
            if seen:
                found.append(overlap(boxes, truth))
    finally:
        for state in states:
            tracker.end(state)
    return [float(value) for value in np.mean(found, axis=0)]
