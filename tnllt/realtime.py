"""A stream that does not wait for its tracker: which frame is taken next, and from when on an answer is in force.

Frame k is shown from k / fps to (k + 1) / fps seconds. A tracker that is free takes the newest frame that it has not
had; its answer is in force from the first frame that is still shown when the answer is ready. Before, the answer of an
earlier frame is in force. Initialization takes no time of the stream. A tracker that needs less than 1 / fps seconds
for each frame therefore loses nothing, as in VOT's real-time challenge (Kristan et al. 2017); streaming perception
(Li et al. 2020), which compares with the frame after, is one frame stricter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.sequence import Trajectory

#: Part of a frame's interval that absorbs rounding: a tracker of exactly 1 / fps seconds keeps pace.
_SLACK = 1e-6
#: A frame after all: an answer that takes longer is never in force, however large its time is.
_NEVER = 2.0**53


class StreamClock:
    """The clock of one sequence. It counts the tracker's seconds and the stream's, never those of the machine.

    Args:
        fps: frames a second, above 0.
    """

    def __init__(self, fps: float) -> None:
        self.fps, self.frame, self._now = fps, 0, 0.0

    def answer(self, seconds: float) -> int:
        """The tracker has answered frame `frame` after so many seconds.

        Returns the first frame in which that answer is in force, and moves `frame` to the one that is taken next.
        """
        self._now = max(self._now, self.frame / self.fps) + seconds
        now = min(self._now * self.fps, _NEVER)
        first = max(self.frame, math.ceil(now - _SLACK) - 1)
        self.frame = max(self.frame + 1, math.floor(now + _SLACK))
        return first


def answers_in_force(begins: Sequence[int], count: int) -> NDArray[np.int64]:
    """For each of `count` frames, which answer is in force, given the frames in which they come into force.

    Of two answers that come into force in the same frame, the later one is.
    """
    return np.searchsorted(begins, np.arange(count), "right") - 1


def streamed_frames(seconds: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """For each of T frames, the frame whose answer is in force, given the seconds (T,) that each frame takes.

    The first frame's are not counted.
    """
    stream, taken = StreamClock(fps), [0]
    begins = [stream.answer(0.0)]
    while stream.frame < len(seconds):
        taken.append(stream.frame)
        begins.append(stream.answer(float(seconds[stream.frame])))
    found: NDArray[np.int64] = np.array(taken)[answers_in_force(begins, len(seconds))]
    return found


def as_streamed(trajectory: Trajectory, fps: float, place: str | Path) -> Trajectory:
    """A result by its recorded times as if the stream had not waited; boxes are those of a run that had every frame.

    Raises:
        DataError: the result has no time for a frame, or its run has dropped frames itself.
    """
    seconds = trajectory.seconds
    if trajectory.record.get("concurrency", {}).get("realtime"):
        raise DataError("comes from a run with --realtime, which dropped frames itself; score it without", place)
    if seconds is None or not np.isfinite(seconds[1:]).all() or (seconds < 0).any():
        raise DataError("has no time for each frame, as --realtime needs; runs of tnllt-run record them", place)
    shown = streamed_frames(seconds, fps)
    columns = {name: getattr(trajectory, name) for name in ("confidence", "absent")}
    chosen: dict[str, Any] = {name: None if column is None else column[shown] for name, column in columns.items()}
    return replace(trajectory, boxes=trajectory.boxes[shown], **chosen)
