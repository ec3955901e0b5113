"""Starts from language: tiny real detectors, a scripted one, a server; every tracker that takes a box."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from box_server import box_server
from test_vlm import frames

import tnllt
from tnllt.errors import DataError, UsageError
from tnllt.results.store import ResultStore
from tnllt.tracking import Mode, Prediction, Tracker
from tnllt.tracking.language_start import LanguageStart, StarterSpec

pytest.importorskip("transformers")


class Scripted:
    """Finds the target from the third look on; before, something of a low score."""

    def __init__(self, first: int = 0) -> None:
        self.first, self.looks, self.texts = first, 0, []

    def locate(self, image: np.ndarray, text: str) -> list[Any]:
        self.texts.append(text)
        self.looks += 1
        low = ([1.0, 2.0, 3.0, 4.0], 0.2)
        return [low, ([20.0, 40.0, 30.0, 24.0], 0.9)] if self.looks > self.first else [low]


class Recording(Tracker):
    """Remembers what it was started with."""

    modes = (Mode.BB, Mode.NL_BB)

    def initialize(self, image: Any, box: Any = None, language: Any = None) -> None:
        self.started = (list(box), language)

    def track(self, image: Any) -> Prediction:
        return Prediction(self.started[0], 0.5)


IMAGE = np.zeros((120, 160, 3), np.uint8)


def test_the_best_box_starts_the_tracker_and_is_recorded() -> None:
    tracker = LanguageStart(Recording(), Scripted(), "mine", threshold=0.5)
    events: list[Any] = []
    tracker.emit = events.append
    first = tracker.initialize(IMAGE, None, "the square")
    assert list(first.box) == [20, 40, 30, 24] and first.confidence == 0.9
    assert tracker.tracker.started == ([20, 40, 30, 24], "the square")
    info = tracker.info()
    assert (info["started_by"], info["start_frame"], info["start_score"]) == ("mine", 0, 0.9)
    assert info["start_alternatives"] == [{"box": [1, 2, 3, 4], "score": 0.2}]
    assert events[0]["event"] == "start" and events[0]["text"] == "the square"


def test_below_the_threshold_the_start_fails_or_waits() -> None:
    with pytest.raises(DataError, match=r"mine finds at most a box of score 0\.2 .*threshold is 0\.5.*wait=yes"):
        LanguageStart(Recording(), Scripted(first=2), "mine", threshold=0.5).initialize(IMAGE, None, "it")
    tracker = LanguageStart(Recording(), Scripted(first=2), threshold=0.5, wait=True)
    answers = [tracker.initialize(IMAGE, None, "it"), *(tracker.track(IMAGE) for _ in range(4))]
    assert [getattr(a, "absent", None) for a in answers] == [True, True, False, False, False]
    assert tracker.info()["start_frame"] == 2


@pytest.mark.parametrize(
    ("answer", "fault"),
    [([([1, 2, 3], 1.0)], "not a box"), ([5], "not a box"), ([([float("nan"), 1, 2, 3], 1.0)], "finds nothing"),
     ([([500.0, 1, 2, 3], 1.0)], "finds nothing"), ([], "finds nothing"), (None, "finds nothing")],
)  # fmt: skip
def test_what_is_no_box_in_the_image_starts_nothing(answer: Any, fault: str) -> None:
    class Bad:
        def locate(self, image: Any, text: str) -> Any:
            return answer

    with pytest.raises((UsageError, DataError), match=fault):
        LanguageStart(Recording(), Bad()).initialize(IMAGE, None, "it")


SCRIPT = '''
class Middle:
    """A starter of a user's own."""
    threshold = 0.1
    def __init__(self, score: float = 0.8) -> None:
        self.score = score
    def locate(self, image, text):
        return [((20.0, 40.0, 30.0, 24.0), self.score), ((0.0, 0.0, 9.0, 9.0), 0.1)]
'''


def test_runs_from_language_end_to_end_say_by_whom_they_were_started(tmp_path: Path, capfd: Any) -> None:
    data, results = frames(tmp_path / "data", 5), tmp_path / "runs"
    file = tmp_path / "middle.py"
    file.write_text(SCRIPT)
    starter = {"starter": f"{file}:Middle", "starter_set": {"score": "0.7"}}
    for name in ("MIL", "ReasoningTrack"):
        run = tnllt.run(name, dataset=data, results=results, threads=1, device="cpu", **starter)
        assert run.modes == {"NL": 1} and not run.failed
        record = ResultStore(results).record(name, "moves")
        assert record is not None and record.mode == "NL"
        assert record.info["started_by"] == starter["starter"]
        assert record.info["start_box"] == [20, 40, 30, 24] and record.info["start_score"] == 0.7
        assert record.identity["starter"]["score"] == 0.7
        assert ResultStore(results).read(name, "moves").boxes[0].tolist() == [20, 40, 30, 24]
    scores = tnllt.score(data, results=results, trackers="all")
    notes = {note.tracker: note.text for note in scores.notes if note.kind == "started"}
    assert notes == dict.fromkeys(("MIL", "ReasoningTrack"), starter["starter"])
    with pytest.raises(UsageError, match="another run made"):  # other results in the same folder would be mixed
        tnllt.run("MIL", dataset=data, results=results, threads=1, starter=starter["starter"])


def test_a_sequence_that_cannot_be_started_fails_and_the_reason_is_in_the_record(tmp_path: Path) -> None:
    data, results = frames(tmp_path / "data", 4), tmp_path / "runs"
    (tmp_path / "middle.py").write_text(SCRIPT)
    how = {"starter": f"{tmp_path / 'middle.py'}:Middle", "starter_set": ["threshold=0.9"]}
    run = tnllt.run("MIL", dataset=data, results=results, threads=1, **how)
    assert "finds at most a box of score 0.8" in run.failed["moves"]


@pytest.mark.parametrize(
    ("starter", "options", "message"),
    [("nothing", {}, "give transformers:MODEL"), ("transformers:no/such", {}, "neither a folder nor a model"),
     ("math:sqrt", {}, "needs locate"), ("", {"threshold": "1"}, "goes with --starter")],
)  # fmt: skip
def test_starters_that_are_not_there(starter: str, options: dict[str, str], message: str, tmp_path: Path) -> None:
    data = frames(tmp_path / "data", 2)
    with pytest.raises((UsageError, DataError), match=message):
        tnllt.run("MIL", dataset=data, results=tmp_path / "r", starter=starter, starter_set=options)


def test_a_misspelled_option_of_a_starter_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'download'"):
        StarterSpec.of("transformers:x/y", {"donwload": "yes"})


@pytest.mark.parametrize("kind", ["grounding_dino", "owlv2"])
def test_a_real_detector_class_finds_boxes(kind: str, tmp_path: Path) -> None:
    from tnllt.foundation.starters import DetectorStarter

    starter = DetectorStarter(str(getattr(tiny_models, kind)(tmp_path / kind)), device="cpu")
    found = starter.locate(np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8), "The square.")
    assert len(found) > 5 and starter.threshold in (0.25, 0.1)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True) and all(0 <= score <= 1 for score in scores)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grounding_dino", "owlv2"])
def test_a_real_detector_class_starts_a_run(kind: str, tmp_path: Path) -> None:
    folder = getattr(tiny_models, kind)(tmp_path / kind)
    data, results = frames(tmp_path / "data", 3), tmp_path / "runs"
    options = {"threshold": "0", "device": "cpu"}
    run = tnllt.run("still", dataset=data, results=results, starter=f"transformers:{folder}", starter_set=options)
    assert not run.failed, run.failed
    record = ResultStore(results).record("still", "moves")
    assert record is not None
    x, y, w, h = record.info["start_box"]
    assert 0 <= x < 160 and 0 <= y < 120 and w > 0 and h > 0
    assert record.info["start_alternatives"]
    assert len(record.identity["starter"]["model"]) == 64


def test_a_server_that_grounds_starts_a_run(tmp_path: Path) -> None:
    data, results = frames(tmp_path / "data", 3), tmp_path / "runs"
    reply = '[{"bbox_2d": [125, 333, 313, 533]}, {"bbox_2d": [0, 0, 100, 100]}]'
    with box_server(lambda images, text: reply) as (url, bodies):
        run = tnllt.run("MIL", dataset=data, results=results, threads=1, starter=f"openai:{url}")
        assert not run.failed and len(bodies) == 1
    record = ResultStore(results).record("MIL", "moves")
    assert record is not None
    assert np.abs(np.array(record.info["start_box"]) - [20, 40, 30, 24]).max() < 1
    assert record.info["start_score"] == 1 and record.info["start_alternatives"][0]["score"] == 0.5


@pytest.mark.slow
def test_a_tracker_of_masks_is_started_from_language(tmp_path: Path) -> None:
    folder = tiny_models.sam2(tmp_path / "sam2")
    data, results = frames(tmp_path / "data", 4), tmp_path / "runs"
    (tmp_path / "middle.py").write_text(SCRIPT)
    how = {"options": {"weights": folder}, "device": "cpu", "threads": 1, "masks": True}
    how["starter"] = f"{tmp_path / 'middle.py'}:Middle"
    run = tnllt.run("sam2", dataset=data, results=results, **how)
    assert not run.failed, run.failed
    assert ResultStore(results).masks("sam2", "moves")[0] is not None
    with pytest.raises(UsageError, match="leave --batch out"):
        tnllt.run("sam2", dataset=data, results=results, batch=2, **how)


@pytest.mark.skipif("TNLLT_NANOTRACK" not in os.environ, reason="TNLLT_NANOTRACK names no weights of NanoTrack")
def test_nanotrack_from_language(tmp_path: Path) -> None:
    data, results = frames(tmp_path / "data", 6), tmp_path / "runs"
    (tmp_path / "middle.py").write_text(SCRIPT)
    tnllt.run("NanoTrack", dataset=data, results=results, starter=f"{tmp_path / 'middle.py'}:Middle")
    assert ResultStore(results).read("NanoTrack", "moves").boxes[0].tolist() == [20, 40, 30, 24]
