"""The frozen tracker: overlaps in batches, and failures that stay failures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.tracking import Prediction
from tnllt.training.vlm.frozen import FrozenTracker, reasoning_track
from tnllt.training.vlm.records import PairRecord, read_samples


class Told:
    """Goes where the description says: "x,y,w,h", "fail", "nan"."""

    def __init__(self) -> None:
        self.open, self.steps = 0, []

    def start(self, image, box, language, emit=None):
        assert image.shape == (72, 96, 3) and len(box) == 4
        self.open += 1
        return language

    def step(self, states, images):
        self.steps.append(len(states))
        if "fail" in states:
            raise RuntimeError("lost")
        return [Prediction([np.nan] * 4 if s == "nan" else [float(v) for v in s.split(",")]) for s in states]

    def end(self, state):
        self.open -= 1
        return {}


@pytest.fixture
def records(box_pairs: Path) -> list[PairRecord]:
    return read_samples(box_pairs)[:3]


def as_text(record: PairRecord, dx: float = 0.0) -> str:
    x, y, w, h = record.boxes[1]
    return f"{x + dx},{y},{w},{h}"


def test_overlaps_in_one_batch_and_from_memory(records):
    told = Told()
    frozen = FrozenTracker(told)
    asked = [as_text(records[0]), as_text(records[1], 10), as_text(records[2], 100), as_text(records[0])]
    found = frozen.overlaps([*records, records[0]], asked)
    assert found == pytest.approx([1.0, 1 / 3, 0.0, 1.0])
    assert told.steps == [3] and told.open == 0
    assert frozen.overlaps(records[:1], asked[:1]) == [1.0] and told.steps == [3]


def test_a_failure_costs_its_own_pair_only(records):
    told = Told()
    found = FrozenTracker(told).overlaps(records, [as_text(records[0]), "fail", "nan"])
    assert found == [1.0, None, None] and told.open == 0


def test_batches_are_bounded(records):
    told = Told()
    FrozenTracker(told, batch=2).overlaps(records, [as_text(r) for r in records])
    assert told.steps == [2, 1]


def test_a_missing_picture_is_a_failure_and_missing_boxes_an_error(records, tmp_path):
    gone = PairRecord((tmp_path / "no.jpg", records[0].images[1]), "x", "", None, records[0].boxes)
    assert FrozenTracker(Told()).overlaps([gone], ["1,1,1,1"]) == [None]
    bare = PairRecord(records[0].images, "x", "")
    with pytest.raises(DataError, match="no boxes"):
        FrozenTracker(Told()).overlaps([bare], ["x"])


def test_grpo_wants_boxes_before_it_starts(records, tmp_path):
    pytest.importorskip("trl")
    from tnllt.training.vlm.grpo import make_trainer
    from tnllt.training.vlm.options import GrpoOptions, ModelOptions

    bare = PairRecord(records[0].images, "x", "", None, None, "records.json, row 7")
    with pytest.raises(DataError, match="row 7"):
        make_trainer([*records, bare], ModelOptions("none"), GrpoOptions(tmp_path), FrozenTracker(Told()))


def test_reward_functions_of_grpo(records):
    pytest.importorskip("trl")
    from tnllt.training.vlm.grpo import reward_functions
    from tnllt.training.vlm.options import GrpoOptions

    old = [PairRecord(r.images, as_text(r, 10), "", None, r.boxes) for r in records]
    answers = [
        f"<think>t</think><d>yes</d><answer>{as_text(records[0])}</answer>",  # better: 1/3 -> 1
        f"<think>t</think><d>no</d><answer>{as_text(records[1])}</answer>",  # "no" although better
        "<think>t</think><d>yes</d><answer>fail</answer>",
    ]
    completions = [[{"role": "assistant", "content": text}] for text in answers]
    options = GrpoOptions(Path("x"), reward_weights="with-iou")
    functions = reward_functions(old, options, FrozenTracker(Told()))
    assert [f.__name__ for f in functions] == ["format", "strict", "iou", "decision"]
    given = [f(completions=completions, record=[0, 1, 2], prompts=None) for f in functions]
    assert given == [[1, 1, 1], [1, 1, 1], [1.0, 1.0, None], [1.0, 0.0, None]]
    # No description at all: the stand-in is asked about, which this tracker fails on.
    assert functions[2](completions=["nothing"], record=[0]) == [None]
    only_format = reward_functions(old, GrpoOptions(Path("x"), reward_weights="0.5,0,0,0"), None)
    assert [f.__name__ for f in only_format] == ["format", "strict"]
    frozen = FrozenTracker(Told())
    frozen.gains = lambda records, texts: [0.25, -0.5, None]
    by_gain = reward_functions(old, GrpoOptions(Path("x"), reward_weights="gain"), frozen)
    assert [f.__name__ for f in by_gain] == ["format", "strict", "gain"]
    assert by_gain[2](completions=completions, record=[0, 1, 2]) == [0.25, -0.5, None]


@pytest.fixture(scope="module")
def random_tracker(tmp_path_factory) -> Path:
    """RewardWeights of a random tiny network."""
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")
    from tnllt.reasoningtrack.config import PRESETS
    from tnllt.reasoningtrack.network import Network

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "random.safetensors"
    safetensors.save_file(Network(PRESETS["tiny"]).state_dict(), file)
    return file


def test_our_network_measures_the_same_alone_and_together(records, random_tracker):
    network = reasoning_track(str(random_tracker), "tiny", "cpu")
    texts = [r.description for r in records]
    together = FrozenTracker(network).overlaps(records, texts)
    assert all(value is not None and 0 <= value <= 1 for value in together)
    assert FrozenTracker(network, batch=1).overlaps(records, texts) == pytest.approx(together, abs=1e-4)
