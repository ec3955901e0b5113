"""The tracker as its users meet it: options, corrections, refreshes, failures, records, memory. Made-up pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.checkpoint import save_safetensors
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.reasoners import Question, Reasoning
from tnllt.reasoningtrack.reasoners.trace import image_hash
from tnllt.tracking.tracker import Mode, SupportsBatch

CONFIG = Config.make(
    {"size": "tiny", "search_size": 64, "template_size": 32, "depths": [0, 0, 1], "dims": [16, 16, 32]}
)
BOX = (40.0, 30.0, 20.0, 16.0)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return Network(CONFIG).state_dict()


def pictures(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 96, 128, 3), dtype=np.uint8))


class Recorder:
    """Answers from a list, or raises what the list holds; keeps what it was asked."""

    concurrency = 4

    def __init__(self, *answers: Reasoning | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str]] = []
        self.lock = threading.Lock()

    def describe(self, first: Any, second: Any, description: str) -> Reasoning:
        with self.lock:
            self.asked.append((image_hash(first), image_hash(second), description))
            answer = self.answers.pop(0) if self.answers else Reasoning(None, False, description)
        if isinstance(answer, Exception):
            raise answer
        return answer


def yes(text: str) -> Reasoning:
    return Reasoning("it turned", True, text, "raw", 0.1)


def follow(tracker: ReasoningTrack, frames: list[Any], language: str | None = "a red car") -> list[NDArray[Any]]:
    """Every frame's box is then put back, far from the first one: a refresh is due whenever it is looked at."""
    tracker.initialize(frames[0], BOX, language)
    boxes = []
    for i, image in enumerate(frames[1:], 1):
        boxes.append(np.asarray(tracker.track(image).box))
        tracker.box = (60.0 - i, 50.0, 20.0, 16.0)
    return boxes


def test_it_is_a_tracker_with_batches(weights: dict[str, torch.Tensor]) -> None:
    tracker = ReasoningTrack(CONFIG, weights)
    assert isinstance(tracker, SupportsBatch)
    assert tracker.modes == (Mode.BB, Mode.NL_BB)
    with pytest.raises(UsageError, match="NL"):
        tracker.initialize(pictures(1)[0], None, "a red car")
    with pytest.raises(UsageError, match="initialize"):
        tracker.track(pictures(1)[0])


def test_refreshes_ask_about_the_sequences_own_sentence(weights: dict[str, torch.Tensor]) -> None:
    frames, events = pictures(12), []
    reasoner = Recorder(
        yes("a blue car"), yes("a green car"), Reasoning("still", False, "never used"), OSError("no net")
    )
    tracker = ReasoningTrack(CONFIG, weights, reasoner, refresh_interval=2, refresh_area=1.1)
    tracker.emit = events.append
    follow(tracker, frames)
    hashes = [image_hash(f) for f in frames]
    looked = [(0, 3), (3, 5), (5, 7), (7, 9), (9, 11)]
    assert reasoner.asked == [(hashes[a], hashes[b], "a red car") for a, b in looked]
    assert [e["frame"] for e in events] == [3, 5, 7, 9, 11]
    assert [e["after"] for e in events] == ["a blue car", "a green car", "a red car", "a red car", "a red car"]
    assert [e["before"] for e in events][:3] == ["a red car", "a blue car", "a green car"]
    assert events[3]["error"]["message"] == "no net"
    info = tracker.info()
    assert (info["refreshes"], info["reasoner_failures"], info["description"]) == ([3, 5, 7, 9, 11], 1, "a red car")
    tracker.finish()
    assert tracker.info()["refreshes"] == [3, 5, 7, 9, 11]


def test_a_question_has_the_very_first_frame_both_boxes_and_the_confidence(weights: dict[str, torch.Tensor]) -> None:
    asked: list[Question] = []

    class Whole:
        def describe(self, question: Question) -> Reasoning:
            asked.append(question)
            return Reasoning("hidden", len(asked) == 1, "a blue car", keep=True)

    frames = pictures(8)
    tracker = ReasoningTrack(CONFIG, weights, Whole(), refresh_interval=2, refresh_area=1.1)  # type: ignore[arg-type]
    tracker.sequence_name = "car-1"
    follow(tracker, frames)
    assert [(q.first.frame, q.previous.frame, q.current.frame) for q in asked] == [(0, 0, 3), (0, 3, 5), (0, 5, 7)]
    for q in asked:
        for look in (q.first, q.previous, q.current):
            np.testing.assert_array_equal(look.image, frames[look.frame])
        assert q.first.box == tuple(BOX) and q.sequence == "car-1"
        assert q.confidence is not None and 0 < q.confidence < 1
    assert [q.current.box for q in asked] == [(60.0 - i, 50.0, 20.0, 16.0) for i in (2, 4, 6)]
    assert [q.description for q in asked] == ["a red car", "a blue car", "a blue car"]


def test_a_failure_keeps_the_description_in_force(weights: dict[str, torch.Tensor]) -> None:
    tracker = ReasoningTrack(CONFIG, weights, Recorder(yes("a blue car"), RuntimeError("x")), refresh_interval=2)
    follow(tracker, pictures(6))
    assert tracker.description == "a blue car"


def test_released_shows_the_frame_before(weights: dict[str, torch.Tensor]) -> None:
    frames, reasoner = pictures(8), Recorder()
    follow(ReasoningTrack(CONFIG, weights, reasoner, refresh_interval=2, refresh_area=1.1, compat="released"), frames)
    hashes = [image_hash(f) for f in frames]
    assert [(a, b) for a, b, _ in reasoner.asked] == [(hashes[a], hashes[b]) for a, b in ((0, 2), (3, 4), (5, 6))]


def test_the_description_decides_the_box(weights: dict[str, torch.Tensor]) -> None:
    frames = pictures(8)
    same, changed = Recorder(), Recorder(yes("something else entirely"))
    a, b = (follow(ReasoningTrack(CONFIG, weights, r, refresh_interval=2), frames) for r in (same, changed))
    assert same.asked
    assert np.array_equal(a[:2], b[:2])
    assert not np.array_equal(a[2:], b[2:])


def test_without_a_sentence_nothing_is_asked(weights: dict[str, torch.Tensor]) -> None:
    reasoner = Recorder()
    follow(ReasoningTrack(CONFIG, weights, reasoner, refresh_interval=2), pictures(6), language=None)
    assert reasoner.asked == []


def test_a_cut_description_is_reported(weights: dict[str, torch.Tensor]) -> None:
    events: list[Any] = []
    tracker = ReasoningTrack(CONFIG, weights)
    tracker.emit = events.append
    tracker.initialize(pictures(1)[0], BOX, "the dog " * 7 + "sits")
    assert events[0]["event"] == "description_cut"
    assert tracker.info()["description_cut"] == [
        {"description": "the dog " * 7 + "sits", "read": ("the dog " * 7).strip()}
    ]


def test_a_correction_moves_the_search(weights: dict[str, torch.Tensor]) -> None:
    frames = pictures(3)
    tracker = ReasoningTrack(CONFIG, weights)
    tracker.initialize(frames[0], BOX, "a car")
    tracker.track(frames[1])
    tracker.box = [5, 6, 12, 12]
    assert tracker.box.tolist() == [5, 6, 12, 12]
    corrected = tracker.track(frames[2]).box
    tracker.initialize(frames[0], BOX, "a car")
    tracker.track(frames[1])
    assert not np.allclose(tracker.track(frames[2]).box, corrected)
    for bad in ([1, 2, 3], [1, 2, 0, 5], [1, 2, float("nan"), 5]):
        with pytest.raises(DataError, match="box"):
            tracker.box = bad


def test_batches_with_refreshes_are_as_one_at_a_time(weights: dict[str, torch.Tensor]) -> None:
    clips = [pictures(n, seed) for seed, n in enumerate((9, 7, 9, 4))]
    sentences = ["a red car", "a man", None, "the dog"]
    together = ReasoningTrack(CONFIG, weights, Recorder(), refresh_interval=2)
    states = [together.start(c[0], BOX, s) for c, s in zip(clips, sentences, strict=True)]
    found: list[list[Any]] = [[] for _ in clips]
    for n in range(1, 9):
        active = [i for i, c in enumerate(clips) if n < len(c)]
        for i, answer in zip(
            active, together.step([states[i] for i in active], [clips[i][n] for i in active]), strict=True
        ):
            found[i].append(answer.box)
    facts = [together.end(state) for state in states]
    for clip, sentence, boxes, fact in zip(clips, sentences, found, facts, strict=True):
        alone = ReasoningTrack(CONFIG, weights, Recorder(), refresh_interval=2)
        alone.initialize(clip[0], BOX, sentence)
        np.testing.assert_allclose([alone.track(f).box for f in clip[1:]], boxes, rtol=0, atol=2e-3)
        assert alone.info()["refreshes"] == fact["refreshes"]


def test_requests_of_several_sequences_run_at_the_same_time(weights: dict[str, torch.Tensor]) -> None:
    meeting = threading.Barrier(3, timeout=30)

    class Meets:
        concurrency = 3

        def describe(self, first: Any, second: Any, description: str) -> Reasoning:
            meeting.wait()  # raises where the three do not ask together
            return yes(f"not {description}")

    tracker = ReasoningTrack(CONFIG, weights, Meets(), refresh_interval=1, refresh_area=1.1)
    frames = pictures(3)
    states = [tracker.start(frames[0], BOX, name) for name in ("a", "b", "c")]
    for image in frames[1:]:
        tracker.step(states, [image] * 3)
    assert [state.description for state in states] == ["not a", "not b", "not c"]


def test_weights_from_a_file_bring_their_config(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    network = Network(CONFIG)
    network.load_state_dict(weights)
    save_safetensors(network, tmp_path / "w.safetensors", CONFIG.to_dict())
    frames = pictures(4)
    from_file, from_dict = ReasoningTrack(weights=tmp_path / "w.safetensors"), ReasoningTrack(CONFIG, weights)
    assert from_file.config == CONFIG
    assert np.array_equal(follow(from_file, frames), follow(from_dict, frames))
    assert len(from_file.info()["weights_sha256"]) == 64
    with pytest.raises(DataError, match=r"w\.safetensors: the weights do not fit"):
        ReasoningTrack("256", tmp_path / "w.safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "int8"}, "precision"),
        ({"compat": "theirs"}, "compat"),
        ({"device": "tpu9"}, "device"),
        ({"reasoner": "gpt"}, "openai:URL"),
        ({"reasoner": object()}, "describe"),
        ({"reasoner": "static", "prompt": "p.txt"}, "no option 'prompt'"),
        ({"reasoner_options": "timeout"}, "NAME=VALUE"),
        ({"refresh_interval": 0}, "refresh_interval"),
    ],
)
def test_options_that_cannot_be_meant(weights: dict[str, torch.Tensor], options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ReasoningTrack(CONFIG, weights, **options)


def test_without_weights_a_size_is_refused() -> None:
    with pytest.raises(UsageError, match="--set weights=FILE"):
        ReasoningTrack("256")


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.float32), "a.jpg"])
def test_pictures_that_are_none(weights: dict[str, torch.Tensor], image: Any) -> None:
    with pytest.raises(DataError, match="RGB uint8"):
        ReasoningTrack(CONFIG, weights).initialize(image, BOX)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def test_the_history_leaves_nothing_behind(history: Path, weights: dict[str, torch.Tensor]) -> None:
    tracker = ReasoningTrack(CONFIG, weights, history=history)
    follow(tracker, pictures(5))
    tracker.initialize(pictures(1)[0], BOX)
    tracker.close()


@pytest.mark.parametrize("config", [{"size": "tiny", "template_factor": 2.2}, {"size": "tiny", "templates": 1}])
def test_the_bundled_weights_run_with_another_way_of_tracking(config: dict[str, Any]) -> None:
    assert ReasoningTrack(config=config, device="cpu").config == Config.make(config)


def test_the_bundled_weights_fit_no_other_network() -> None:
    for config in ("256", {"size": "tiny", "depths": [1, 1, 3]}):
        with pytest.raises(UsageError, match="no weights"):
            ReasoningTrack(config=config, device="cpu")


def test_identity_is_the_content_of_files(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"other" if name == "c" else b"same")
    a, b, c = (ReasoningTrack.identity({"weights": str(tmp_path / n), "prompt": tmp_path / "a"}) for n in "abc")
    assert a == b != c and a.keys() == {"weights_sha256", "prompt_sha256"}
    assert "weights_sha256" in ReasoningTrack.identity({}), "the bundled ones"
    own = ReasoningTrack.identity({"reasoner": "bundled", "reasoner_options": f"weights={tmp_path / 'a'}"})
    assert own["reasoner_weights_sha256"] == a["weights_sha256"]
    assert "reasoner_weights_sha256" not in ReasoningTrack.identity({"reasoner": "static"})
