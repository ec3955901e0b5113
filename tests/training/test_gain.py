"""Tracking gain by hand-made cases: windows, absent targets, failing trackers; and snapshots of the real tracker."""

from __future__ import annotations

import numpy as np
import pytest

from tnllt.datasets import ArrayFrames
from tnllt.sequence import Annotation, Sequence
from tnllt.tracking import Prediction
from tnllt.training.gain import Window, gains, mean_overlaps

TRUTH = (10.0, 10.0, 20.0, 20.0)


class Scripted:
    """A tracker whose overlap with TRUTH is known: the description says it, frame by frame ("1 .5 0", "fail", "nan").

    A snapshot is the number of frames seen; the last overlap goes on.
    """

    def __init__(self) -> None:
        self.open, self.steps, self.started = 0, [], 0

    def start(self, image, box, language, emit=None):
        raise AssertionError("a gain never starts from the first frame")

    def snapshot(self, state, ahead):
        return state

    def resume(self, snapshot, description):
        self.open += 1
        self.started += 1
        return {"frame": snapshot, "says": description.split()}

    def step(self, states, images):
        self.steps.append(len(states))
        assert len(images) == len(states)
        return [self._one(state, int(image[0, 0, 0])) for state, image in zip(states, images, strict=True)]

    def _one(self, state, shown):
        state["frame"] += 1
        assert shown == state["frame"], "the window starts with the frame after the snapshot"
        says = state["says"].pop(0) if len(state["says"]) > 1 else state["says"][0]
        if says == "fail":
            raise RuntimeError("lost")
        if says == "nan":
            return Prediction([np.nan] * 4)
        x, y, w, h = TRUTH
        return Prediction([x, y, w, h * float(says)])  # inside the truth: the overlap is the part that it covers

    def end(self, state):
        self.open -= 1
        return {}


def sequence(length: int, absent: tuple[int, ...] = (), unannotated: tuple[int, ...] = ()) -> Sequence:
    frames = [np.full((40, 40, 3), i, np.uint8) for i in range(length)]
    truth = np.tile(TRUTH, (length, 1))
    truth[list(unannotated)] = np.nan
    present = np.ones(length, bool)
    present[list(absent)] = False
    return Sequence("s", Annotation(truth, present, "a car"), ArrayFrames(frames))


def test_the_gain_is_the_difference_of_mean_overlaps() -> None:
    tracker = Scripted()
    window = Window.of(sequence(50), 8, 4)
    found = gains(tracker, 7, ".2 .4 .2 .4", ["1 1 .5 .5", ".2 .4 .2 .4", "0"], window)
    assert found == pytest.approx([0.75 - 0.3, 0.0, -0.3])
    assert tracker.steps == [3] * 4, "one batch a frame, and the old description once"
    assert tracker.open == 0


def test_a_window_is_cut_at_the_sequences_end() -> None:
    window = Window.of(sequence(10), 7, 20)
    assert len(window.images) == 3
    assert gains(Scripted(), 6, "0", ["1 .5 0"], window) == pytest.approx([0.5])
    assert gains(Scripted(), 9, "0", ["1"], Window.of(sequence(10), 10, 20)) == [None]


def test_frames_without_the_target_do_not_count() -> None:
    window = Window.of(sequence(10, absent=(3,), unannotated=(4,)), 2, 4)
    assert gains(Scripted(), 1, "0", ["1 0 0 .5"], window) == pytest.approx([0.75])
    tracker = Scripted()
    gone = Window.of(sequence(10, absent=(2, 3, 4)), 2, 3)
    assert gains(tracker, 1, "0", ["1"], gone) == [None] and tracker.started == 0
    ends = Window.of(sequence(10, absent=(4, 5)), 2, 4)
    assert gains(tracker, 1, "0", ["1"], ends) == [1.0] and len(tracker.steps) == 2, "nothing is tracked in vain"


@pytest.mark.parametrize("failure", ["fail", "1 fail", "nan"])
def test_a_failed_tracker_gives_no_gain_and_costs_its_own_description_only(failure: str) -> None:
    tracker = Scripted()
    window = Window.of(sequence(10), 2, 3)
    assert gains(tracker, 1, ".5", ["1", failure, ".25"], window) == [0.5, None, -0.25]
    assert gains(tracker, 1, failure, ["1", ".25"], window) == [None, None]
    assert tracker.open == 0


def test_real_snapshots_track_on_as_the_tracker_itself() -> None:
    pytest.importorskip("torch")
    from tnllt.reasoningtrack import ReasoningTrack

    rng = np.random.default_rng(0)
    frames = list(rng.integers(0, 256, (24, 60, 80, 3), dtype=np.uint8))
    box = [30.0, 20.0, 20.0, 16.0]
    tracker = ReasoningTrack()
    state = tracker.start(frames[0], box, "a red car")
    shots = {}
    boxes = [box]
    for i, image in enumerate(frames[1:], 1):
        shots[i] = tracker.snapshot(state, 9)
        boxes.append(np.asarray(tracker.step([state], [image])[0].box).tolist())
    tracker.end(state)
    for start in (1, 2, 14):
        resumed = tracker.resume(shots[start], "a red car")
        again = [tracker.step([resumed], [image])[0].box for image in frames[start : start + 9]]
        np.testing.assert_allclose(again, boxes[start : start + 9], atol=1e-3)
        tracker.end(resumed)
    truth = Sequence("s", Annotation(np.array(boxes)), ArrayFrames(frames))
    same, other = mean_overlaps(tracker, shots[14], ["a red car", "a dog"], Window.of(truth, 14, 9))
    assert same == pytest.approx(1.0, abs=1e-4) and other is not None and other < 1
