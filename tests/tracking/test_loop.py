"""Tracking in this process: the loop, its clocks, reading ahead, modes, and memory."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tnllt.datasets import ArrayFrames
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Annotation, Sequence
from tnllt.tracking import Mode, Prediction, Tracker, TrackerFailure, run_sequence
from tnllt.tracking.loop import choose_mode
from tnllt.tracking.sequence_run import ReadAhead, frame_count, frame_digest
from tnllt.tracking.system import resident_mb


def make(frames: int = 5, language: str | None = "a thing", box: tuple[float, ...] = (1, 2, 3, 4)) -> Sequence:
    images = np.random.default_rng(0).integers(0, 256, (frames, 32, 48, 3), dtype=np.uint8)
    annotation = Annotation(np.tile(np.array(box, float), (frames, 1)), language=language)
    return Sequence("made", annotation, ArrayFrames(images), "test")


class Noted(Tracker):
    modes = (Mode.BB, Mode.NL, Mode.NL_BB)

    def __init__(self) -> None:
        self.calls: list[str] = []

    def initialize(self, image, box=None, language=None):
        self.calls.append(f"initialize {box} {language}")

    def track(self, image):
        assert image.shape == (32, 48, 3) and image.dtype == np.uint8
        self.calls.append("track")
        return [5, 6, 7, 8]

    def finish(self):
        self.calls.append("finish")


@pytest.mark.parametrize("read_ahead", [0, 1, 4, 100])
def test_the_order_of_calls(read_ahead: int) -> None:
    tracker = Noted()
    answer = run_sequence(tracker, make(), "BB", read_ahead=read_ahead)
    assert tracker.calls == ["initialize [1.0, 2.0, 3.0, 4.0] None", "track", "track", "track", "track", "finish"]
    assert answer.boxes.tolist() == [[1, 2, 3, 4]] + [[5, 6, 7, 8]] * 4
    assert answer.confidence is None and answer.absent is None and answer.record["mode"] == "BB"
    digest = run_sequence(Noted(), make(), read_ahead=2).record["sha256"]["read"]
    assert answer.record["sha256"]["read"] == digest


def test_text_alone_asks_track_for_the_first_frame() -> None:
    tracker = Noted()
    answer = run_sequence(tracker, make(), Mode.NL)
    assert tracker.calls[:2] == ["initialize None a thing", "track"] and tracker.calls.count("track") == 5
    assert answer.boxes.tolist() == [[5, 6, 7, 8]] * 5


def test_one_frame_is_a_sequence() -> None:
    assert run_sequence(Noted(), make(1)).boxes.tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("language", "box", "wanted", "chosen"),
    [
        ("a thing", (1, 2, 3, 4), None, Mode.NL_BB),
        (None, (1, 2, 3, 4), None, Mode.BB),
        ("  ", (1, 2, 3, 4), None, Mode.BB),
        ("a thing", (np.nan,) * 4, None, Mode.NL),
        ("a thing", (1, 2, 0, 0), None, Mode.NL),
        ("a thing", (1, 2, 3, 4), "NL", Mode.NL),
        (None, (1, 2, 3, 4), "NL+BB", "has no language description"),
        ("a thing", (np.nan,) * 4, "BB", "has no initial box"),
    ],
)
def test_the_most_that_tracker_and_sequence_have(language, box, wanted, chosen) -> None:
    sequence = make(2, language, box)
    if isinstance(chosen, Mode):
        assert choose_mode(Noted(), sequence, wanted) is chosen
    else:
        with pytest.raises(DataError, match=chosen):
            choose_mode(Noted(), sequence, wanted)


def test_a_mode_that_the_tracker_does_not_take() -> None:
    class Boxes(Noted):
        modes = (Mode.BB,)

    with pytest.raises(UsageError, match="Boxes cannot start from NL; it takes BB"):
        run_sequence(Boxes(), make(), "NL")


def test_finish_is_called_however_it_ends() -> None:
    class Fails(Noted):
        def track(self, image):
            raise self.error

    for error, expected in ((ValueError("no"), TrackerFailure), (KeyboardInterrupt(), KeyboardInterrupt)):
        tracker = Fails()
        tracker.error = error
        with pytest.raises(expected):
            run_sequence(tracker, make())
        assert tracker.calls[-1] == "finish" and tracker.calls.count("finish") == 1 and tracker.emit is None


def test_a_fault_while_finishing_is_told() -> None:
    class Fails(Noted):
        def finish(self):
            raise ValueError("cannot finish")

    with pytest.raises(TrackerFailure, match="cannot finish"):
        run_sequence(Fails(), make())


@pytest.mark.parametrize("box", [[1, 2, 3], "four", [[1, 2], [3]], None, [1, 2, 3, np.inf], object()])
def test_answers_that_are_no_box(box: object) -> None:
    class Answers(Noted):
        def track(self, image):
            return Prediction(box)

    with pytest.raises(TrackerFailure, match="frame 2: the tracker answered") as caught:
        run_sequence(Answers(), make())
    assert caught.value.kind == "answer" and caught.value.frame == 1


def test_a_confidence_of_nan_is_refused_and_none_is_not() -> None:
    class Answers(Noted):
        confidence: float | None = float("nan")

        def track(self, image):
            return Prediction(np.array([[1, 2, 3, 4]]), self.confidence)

    with pytest.raises(TrackerFailure, match="confidence of NaN"):
        run_sequence(Answers(), make())
    Answers.confidence = None
    assert run_sequence(Answers(), make()).confidence is None


def test_an_absent_target_keeps_the_last_box() -> None:
    class Gone(Noted):
        def track(self, image):
            self.calls.append("track")
            return Prediction([len(self.calls), 0, 1, 1], 0.5, absent=len(self.calls) == 4)

    answer = run_sequence(Gone(), make())
    assert answer.boxes[:, 0].tolist() == [1, 2, 3, 3, 5]
    assert answer.absent is not None and answer.absent.tolist() == [False, False, False, True, False]


def test_reading_and_tracking_are_timed_apart() -> None:
    class Slow:
        def __len__(self):
            return 6

        def __getitem__(self, index):
            time.sleep(0.02)
            return np.zeros((32, 48, 3), np.uint8)

    class Slower(Noted):
        def track(self, image):
            time.sleep(0.05)
            return [1, 2, 3, 4]

    sequence = Sequence("slow", Annotation(np.tile([1.0, 2, 3, 4], (6, 1))), Slow())
    for depth in (0, 4):
        answer = run_sequence(Slower(), sequence, read_ahead=depth)
        read, track = np.array(answer.record["seconds"]["read"]), answer.seconds
        assert track is not None and (read >= 0.02).all() and (track[1:] >= 0.05).all()
        if depth == 0:
            assert answer.record["seconds"]["total"] >= read.sum() + track.sum()
        else:
            assert answer.record["seconds"]["total"] < read.sum() + track.sum(), "reading ahead hides the reading"


def test_frames_and_boxes_that_do_not_fit() -> None:
    images = ArrayFrames(np.zeros((3, 8, 8, 3), np.uint8))
    assert frame_count(Sequence("hidden", Annotation(np.ones((1, 4))), images)) == 3
    with pytest.raises(DataError, match="'short' has 5 boxes but 3 frames"):
        frame_count(Sequence("short", Annotation(np.ones((5, 4))), images))
    with pytest.raises(DataError, match="nothing to track"):
        frame_count(Sequence("none", Annotation(np.ones((0, 4))), images))


@pytest.mark.parametrize("depth", [0, 3])
def test_frames_that_cannot_be_read_name_sequence_and_frame(depth: int) -> None:
    class Broken:
        def __init__(self, bad: object) -> None:
            self.bad = bad

        def __len__(self):
            return 4

        def __getitem__(self, index):
            if index < 2:
                return np.zeros((4, 4, 3), np.uint8)
            if isinstance(self.bad, Exception):
                raise self.bad
            return self.bad

    for bad in (OSError("no"), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))):
        reader = ReadAhead(Broken(bad), 4, depth, "sequence 's'")
        reader.read(), reader.read()
        with pytest.raises(DataError, match="sequence 's': frame 3"):
            reader.read()
        reader.close()


def test_reading_ahead_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tnllt.tracking.sequence_run.MOST_BYTES", 5 * 300)
    asked: list[int] = []

    class Counted:
        def __len__(self):
            return 50

        def __getitem__(self, index):
            asked.append(index)
            return np.zeros((10, 10, 3), np.uint8)

    reader = ReadAhead(Counted(), 50, 1)
    for _ in range(10):
        reader.read()
    reader.close()
    assert asked == list(range(len(asked))) and len(asked) <= 12
    assert reader.digest() != ReadAhead(Counted(), 50, 0).digest()


def test_digests_tell_pixels_and_shapes_apart() -> None:
    image = np.arange(600, dtype=np.uint32).astype(np.uint8).reshape(10, 20, 3)
    other = image.copy()
    other[5, 5, 0] += 1
    assert frame_digest(image) == frame_digest(image.copy()) == frame_digest(np.asfortranarray(image))
    assert len({frame_digest(i) for i in (image, other, image.reshape(20, 10, 3), image[:5])}) == 4


def test_memory_is_flat_over_twenty_thousand_frames() -> None:
    class Many:
        picture = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)

        def __len__(self):
            return 20_000

        def __getitem__(self, index):
            return self.picture ^ np.uint8(index % 256)

    class Plain(Noted):
        def track(self, image):
            return Prediction((1, 2, 3, 4), 0.5)

    seen: dict[int, float | None] = {}

    def look(track) -> None:
        if track.index in (1_000, 20_000):
            seen[track.index] = resident_mb()

    sequence = Sequence("long", Annotation(np.tile([1.0, 2, 3, 4], (20_000, 1))), Many())
    run_sequence(Plain(), sequence, on_frame=look)
    if seen[1_000] is None:
        pytest.skip("this system does not tell a process's memory")
    assert seen[20_000] - seen[1_000] < 10, "megabytes"


def test_the_harness_costs_less_than_a_fifth_of_a_millisecond_a_frame() -> None:
    """Processor time, which other work on the machine does not lengthen as it does the clock's."""

    class Same:
        picture = np.zeros((360, 640, 3), np.uint8)

        def __len__(self):
            return 3_000

        def __getitem__(self, index):
            return self.picture

    class Free(Noted):
        def track(self, image):
            return Prediction((1, 2, 3, 4), 0.5)

    sequence = Sequence("many", Annotation(np.tile([1.0, 2, 3, 4], (3_000, 1))), Same())
    for depth in (0, 4):
        costs = []
        for _ in range(3):
            begin = time.process_time()
            run_sequence(Free(), sequence, read_ahead=depth)
            costs.append((time.process_time() - begin) / 3_000)
        assert min(costs) < 0.0002
