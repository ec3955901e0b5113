"""A stream that does not wait: which answer is in force, when, and what a score makes of it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import tnllt
from tnllt.errors import DataError, UsageError
from tnllt.eval.scores import Scores
from tnllt.realtime import StreamClock, as_streamed, streamed_frames
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Image, Sequence, Trajectory
from tnllt.tracking.loop import TrackingLoop
from tnllt.tracking.sequence_run import SequenceRun
from tnllt.tracking.tracker import Mode, Tracker


def _simulated(ticks: list[int], per_frame: int) -> list[int]:
    """The same by stepping through time in whole ticks, `per_frame` of them to a frame."""
    shown, working, left, force = [], 0, 0, 0
    for now in range(1, len(ticks) * per_frame + 1):
        if left:
            left -= 1
            force = force if left else working
        newest = now // per_frame
        if not left and working < newest < len(ticks):
            working, left = newest, ticks[newest]
        if now % per_frame == 0:
            shown.append(force)
    return shown


@pytest.mark.parametrize("ticks", [2, 4, 5, 6, 9, 10, 11, 37])
def test_steady_tracker(ticks: int) -> None:
    found = streamed_frames(np.full(40, ticks / 5 / 30), 30)
    assert found.tolist() == _simulated([ticks] * 40, 5)


def test_uneven_tracker_equals_a_simulation_in_small_steps() -> None:
    random = np.random.default_rng(4)
    for _ in range(50):
        ticks = random.integers(1, 40, 80)
        assert streamed_frames(ticks / 10 / 25, 25).tolist() == _simulated(ticks.tolist(), 10)


def test_by_hand() -> None:
    # At 10 frames a second a tracker of .25 s takes frame 1 at .1 and answers at .35, while frame 3 is shown; takes
    # that, answers at .6, when frame 5 ends and frame 6 begins.
    assert streamed_frames(np.full(8, 0.25), 10).tolist() == [0, 0, 0, 1, 1, 3, 3, 3]
    assert streamed_frames(np.full(5, 0.1), 10).tolist() == [0, 1, 2, 3, 4]
    assert streamed_frames(np.full(4, 60.0), 10).tolist() == [0, 0, 0, 0]
    assert streamed_frames(np.array([np.nan]), 10).tolist() == [0]
    for endless in (1e30, 1e308):
        assert streamed_frames(np.array([0, 0.1, endless, endless]), 10).tolist() == [0, 1, 1, 1]
    assert streamed_frames(np.full(3, 2.0), 1e308).tolist() == [0, 0, 0]


def test_stream_says_which_frame_is_next() -> None:
    stream = StreamClock(10)
    stream.answer(0.0)
    assert stream.frame == 1
    assert (stream.answer(0.25), stream.frame) == (3, 3)


def test_every_column_follows_the_answer_in_force() -> None:
    boxes = np.arange(32.0).reshape(8, 4)
    given = Trajectory(boxes, np.arange(8.0), np.arange(8) % 2 == 1, np.full(8, 0.25))
    streamed = as_streamed(given, 10, "x.txt")
    assert streamed.boxes[:, 0].tolist() == [0, 0, 0, 4, 4, 12, 12, 12]
    assert streamed.confidence is not None and streamed.absent is not None
    assert streamed.confidence.tolist() == [0, 0, 0, 1, 1, 3, 3, 3]
    assert streamed.absent.tolist() == [False, False, False, *[True] * 5]


@pytest.mark.parametrize(
    ("seconds", "record", "message"),
    [
        (None, {}, "has no time for each frame"),
        ([0, 0.1, np.nan], {}, "has no time for each frame"),
        ([0, 0.1, -1], {}, "has no time for each frame"),
        ([0, 0.1, 0.1], {"concurrency": {"realtime": 20.0}}, "dropped frames itself"),
    ],
)
def test_refused(seconds: list[float] | None, record: dict[str, object], message: str) -> None:
    given = Trajectory(np.zeros((3, 4)), seconds=None if seconds is None else np.array(seconds), record=record)
    with pytest.raises(DataError, match=rf"x.txt: .*{message}"):
        as_streamed(given, 25, "x.txt")


@pytest.fixture
def moving(tmp_path: Path) -> dict[str, Path]:
    """A target that moves by half of its width each frame; a tracker that is right, and takes .25 s."""
    truth = np.array([[10.0 + 5 * i, 10, 10, 10] for i in range(8)])
    annos, folder = tmp_path / "annos", tmp_path / "results" / "T_tracking_result"
    annos.mkdir()
    folder.mkdir(parents=True)
    for place in (annos / "s.txt", folder / "s.txt"):
        np.savetxt(place, truth, "%g", ",")
    (folder / "s_time.txt").write_text("0.25\n" * 8)
    return {"annos": annos, "results": tmp_path / "results"}


def test_score(moving: dict[str, Path]) -> None:
    still = tnllt.score("otb", **moving, protocol="pytracking")
    streamed = tnllt.score("otb", **moving, protocol="pytracking", realtime=10)
    # Frames behind, in force as above: 0 1 2 2 3 2 3 4; overlap 1, 1/3, then 0 from two frames on.
    overlap = streamed.frames("s")["T"].overlap[0]
    assert overlap.tolist() == pytest.approx([1, 1 / 3, 0, 0, 0, 0, 0, 0])
    assert float(still.score("success")[0]) > 0.95 > 0.3 > float(streamed.score("success")[0])
    assert "10 frames a second" in streamed.table("success") and "frames a second" not in still.table("success")
    assert tnllt.score("otb", **moving, protocol="pytracking", realtime=4).score()[0] == still.score()[0]


def test_saved_scores_say_so(moving: dict[str, Path], tmp_path: Path) -> None:
    tnllt.score("otb", **moving, realtime=10).save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["realtime"] == 10
    assert Scores.load(tmp_path / "out").realtime == 10


def test_frames_a_second_above_zero(moving: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="realtime=0: give a number above 0"):
        tnllt.score("otb", **moving, realtime=0)


TIMED = """
import time
from tnllt.tracking import Tracker

class Timed(Tracker):
    "Answers with the frame that it was shown, as x, in a time that a virtual clock gives."
    def initialize(self, image, box, language=None):
        time.perf_counter = lambda: self.now
    now = 0.0
    def track(self, image):
        self.now = type(self).now = self.now + 0.25
        return [float(image[0, 0, 0]), 10, 10, 10]
"""


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([0, 20, 31, 42, 53, 64], {0: 0, 20: 21, 31: 31, 42: 45, 53: 55, 64: 65}),
        ([0, 2, 3, 79], {0: 0, 3: 4, 79: 79}),  # of two that come between, the last
    ],
)
def test_a_text_that_comes_with_a_dropped_frame_is_told_with_the_next(
    texts: list[int], told: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    class Told(Tracker):
        modes = (Mode.NL_BB,)

        def initialize(self, image: Image, box: object = None, language: str | None = None) -> None:
            self.told = [language]

        def describe(self, text: str) -> None:
            self.told.append(text)

        def track(self, image: Image) -> list[float]:
            now[0] += 0.17
            return [1, 1, 2, 2]

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    frames = [np.zeros((4, 4, 3), np.uint8)] * 80
    sequence = Sequence("s", Annotation(np.ones((80, 4)), language="text 0"), frames)
    run = SequenceRun(sequence, Mode.NL_BB, read_ahead=0, realtime=20, texts={i: f"text {i}" for i in texts})
    tracker = Told()
    loop = TrackingLoop(tracker)
    assert loop.start(run) is None
    while not loop.step():
        pass
    assert tracker.told == [f"text {i}" for i in told]
    assert [event["frame"] for event in run.events] == list(told.values())[1:]
    assert [event["before"] for event in run.events] == tracker.told[:-1]


def test_run_drops_frames_for_real(tmp_path: Path) -> None:
    import cv2

    frames = tmp_path / "data" / "s" / "imgs"
    frames.mkdir(parents=True)
    for i in range(8):
        cv2.imwrite(str(frames / f"{i:04d}.png"), np.full((20, 20, 3), 10 + i, np.uint8))
    np.savetxt(tmp_path / "data" / "s" / "groundtruth.txt", np.full((8, 4), 10.0), "%g", ",")
    (tmp_path / "timed.py").write_text(TIMED)
    given = {"dataset": tmp_path / "data", "split": None, "results": tmp_path / "runs"}
    ended = tnllt.run(f"{tmp_path / 'timed.py'}:Timed", **given, realtime=10.0, name="T")
    assert not ended.failed
    result = ResultStore(tmp_path / "runs").read("T", "s")
    # The same frames as in `test_by_hand`: 1, 3 and 6 are seen, the others pass.
    assert result.boxes[:, 0].tolist() == [10, 10, 10, 11, 11, 13, 13, 13]
    assert result.seconds is not None and np.flatnonzero(np.isfinite(result.seconds)).tolist() == [0, 3, 5]
    record = ResultStore(tmp_path / "runs").entry("T", "s").record
    assert record is not None and record.concurrency["realtime"] == 10 and record.concurrency["exclusive"]
    with pytest.raises(DataError, match="dropped frames itself"):
        tnllt.score(tmp_path / "data", split=None, results=tmp_path / "runs", realtime=10)
    with pytest.raises(UsageError, match="realtime"):
        tnllt.run(f"{tmp_path / 'timed.py'}:Timed", **given, realtime=20.0, name="T")
