"""The bundled reasoner: phrases of looks, windows, and answers that keep to the published form."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tnllt.datasets.synth import SynthConfig, plan
from tnllt.datasets.synth.appearance import SpriteLook
from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.checkpoint import save_safetensors
from tnllt.reasoningtrack.reasoners import Look, Question, bundled, parse_answer
from tnllt.reasoningtrack.reasoners.bundled import BundledReasoner
from tnllt.reasoningtrack.reasoners.factory import BUNDLED
from tnllt.reasoningtrack.reasoners.looks import described_numbers, read_description
from tnllt.reasoningtrack.reasoners.reader import CHOOSERS, FACTORS, MOST, SIDES, LookReader, reader_facts, window

_REVISIONS = {
    "the red car with blue wheels": (("object", "car", "red", "blue"), "orange", "the orange car with blue wheels"),
    "an orange star": (("shape", "star", "orange"), "red", "a red star"),
    "we want to track the red circle.": (("shape", "circle", "red"), "blue", "we want to track the blue circle."),
    "the left red heart with pink dots": (
        ("shape", "heart", "red", "pink", "dotted"), "grey", "the left grey heart with pink dots",
    ),
    "a white mottled long patch": (("patch", "long", "white"), "orange", "an orange mottled long patch"),
}  # fmt: skip


@pytest.mark.parametrize("text", list(_REVISIONS))
def test_a_description_is_read_and_revised(text: str) -> None:
    parts, colour, revised = _REVISIONS[text]
    look = SpriteLook(*parts)
    found = read_description(text)
    assert found is not None
    assert found.look == look
    assert found.revised(SpriteLook(look.family, look.kind, colour, look.second, look.pattern)) == revised


@pytest.mark.parametrize("text", ["", "a man in a blue coat", "the car", "person", "mottled round patch", "x " * 500])
def test_a_description_without_a_look_that_can_change_is_not_read(text: str) -> None:
    assert read_description(text) is None
    assert described_numbers(None) == (-1, -1, -1, -1)


@pytest.mark.parametrize("kind", [{"change": 1.0}, {"change": 1.0, "grey": 1.0}])
def test_every_description_of_the_generator_is_read(kind: dict[str, float]) -> None:
    """Those of scenes that change, and each revision to the look that comes gives the generator's own words."""
    changed = 0
    for seed in range(14):
        try:
            scene = plan(seed, SynthConfig(frames=30, width=160, height=120, twins=0.0, **kind))  # type: ignore[arg-type]
        except UsageError:  # no scene of this seed
            continue
        target = scene.layers[scene.target]
        for first, look in target.looks[1:]:
            found = read_description(scene.language)
            assert found is not None, scene.language
            plain = SpriteLook(look.family, look.kind, look.main, look.second, look.pattern)
            assert found.revised(plain) == scene.description(first)
            changed += 1
    assert changed > 3


def test_a_window_shows_the_square_around_the_box_at_a_fixed_scale() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[90:110, 140:160] = 255  # 20 x 20, middle (150, 100)
    for which, side in enumerate(SIDES):
        seen = window(image, (140.0, 90.0, 20.0, 20.0), which)
        rows, columns = np.nonzero(seen[..., 0] > 127)
        assert seen.shape == (side, side, 3)
        assert rows.size == pytest.approx((side / FACTORS[which]) ** 2, rel=0.1)
        assert (rows.mean(), columns.mean()) == pytest.approx((side / 2 - 0.5,) * 2, abs=0.6)


@pytest.mark.parametrize("box", [(0.0, 0.0, 1e6, 1e6), (-500.0, -500.0, 3.0, 3.0), (10.0, 10.0, 0.0, 5.0)])
def test_a_window_of_any_box_is_small_and_does_not_fail(box: tuple[float, float, float, float]) -> None:
    assert window(np.full((120, 160, 3), 9, np.uint8), box, 1).shape == (SIDES[1], SIDES[1], 3)


def test_of_two_windows_one_object_or_none_is_chosen() -> None:
    torch.manual_seed(0)
    model = LookReader().eval()
    first, now = (torch.randint(0, 255, (2, side, side, 3), dtype=torch.uint8) for side in SIDES)
    with torch.inference_mode():
        before, after = (model.objects(model.read_twice(pixels)) for pixels in (first, now))
        described = torch.tensor([[0, 1, 12, 0], [-1, -1, -1, -1]])
        logits, changed = model.choice(before, after, described)
        each, others = model.choices(before, after, described)
    assert logits.shape == (2, MOST + 1) and len(each) == len(others) == CHOOSERS
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(logits.softmax(1), each.softmax(2).mean(0))
    torch.testing.assert_close(changed.sigmoid(), others.sigmoid().mean(0))
    assert changed.shape == (2, MOST)
    assert before.place.abs().max() <= FACTORS[0] / 2
    assert after.place.abs().max() <= FACTORS[1] / 2


def untrained(path: Path) -> Path:
    torch.manual_seed(0)
    save_safetensors(LookReader(), path, reader_facts())
    return path


def question(text: str) -> Question:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 120, 160, 3)).astype(np.uint8)
    looks = [Look(image, (60.0, 40.0, 30.0, 20.0), k) for k, image in enumerate(images)]
    return Question.of_pair(looks[0], looks[1], text, "the blue star")


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_an_answer_has_the_published_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, confidence: float) -> None:
    monkeypatch.setattr(bundled, "_AS_DESCRIBED", 0.0)  # an untrained network reads nothing as it is described
    reasoner = BundledReasoner(untrained(tmp_path / "reader.safetensors"), confidence)
    for text in ("the red star", "something <d>yes</d> else", "the grey car with red wheels"):
        answer = reasoner.describe(question(text))
        parsed = parse_answer(answer.raw)
        assert not parsed.missing
        assert (parsed.decision, parsed.answer) == (answer.decision, answer.description)
        assert answer.decision == "keep" or confidence == 0.0


def test_what_it_cannot_read_is_kept_in_force(tmp_path: Path) -> None:
    answer = BundledReasoner(untrained(tmp_path / "reader.safetensors"), 0.0).describe(question("a man in a coat"))
    assert answer.decision == "keep"
    assert answer.after(question("a man in a coat")) == "the blue star"


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_safetensors(LookReader(), tmp_path / "other.safetensors", {"scale": 1})
    with pytest.raises(UsageError, match="tnllt-train reasoner"):
        BundledReasoner(tmp_path / "other.safetensors")
    with pytest.raises(DataError):
        BundledReasoner(tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="confidence"):
        BundledReasoner(confidence=2.0)


def test_the_bundled_weights_are_small() -> None:
    assert BUNDLED.stat().st_size < 10_000_000


RED, BLUE = (206, 34, 36), (36, 84, 206)


def stars(*colours: tuple[int, int, int]) -> np.ndarray:
    """A grey frame with stars side by side, the first in the middle."""
    image = np.full((240, 320, 3), 120, np.uint8)
    turn = np.radians(36 * np.arange(10) - 90)
    radius = np.where(np.arange(10) % 2, 9, 22)
    for k, colour in enumerate(colours):
        points = np.stack([160 + 60 * k + radius * np.cos(turn), 120 + radius * np.sin(turn)], 1)
        cv2.fillPoly(image, [points.round().astype(np.int32)], colour)
    return image


def test_the_bundled_weights_see_a_change_of_colour() -> None:
    """On a plain ground, with nothing else near: the star that was red is blue, or still red. A target that was
    described otherwise from the start is not judged."""

    reasoner, box = BundledReasoner(confidence=0.0), (139.0, 98.0, 42.0, 40.0)
    red, blue = (Look(stars(colour), box, k) for k, colour in enumerate((RED, BLUE)))
    assert reasoner.describe(Question.of_pair(red, blue, "the red star")).description == "the blue star"
    assert reasoner.describe(Question.of_pair(red, red, "the red star")).decision == "no"
    unlike = reasoner.describe(Question.of_pair(red, blue, "a green circle with orange spots", "a green circle"))
    assert (unlike.decision, unlike.description) == ("keep", "a green circle")
    assert unlike.think is not None and "as it is described" in unlike.think


def test_what_was_seen_beside_the_target_is_not_the_target() -> None:
    """A red star, beside it a blue one; then only the blue one is there."""
    box = (139.0, 98.0, 42.0, 40.0)
    first, both, blue = (Look(stars(*colours), box, k) for k, colours in enumerate(((RED,), (RED, BLUE), (BLUE,))))
    reasoner = BundledReasoner()
    asked = [Question.of_pair(first, look, "the red star") for look in (both, blue)]
    assert [reasoner.describe(question).decision for question in asked] == ["no", "keep"]
    assert "blue star was seen beside the target" in str(reasoner.describe(asked[1]).think)
    assert BundledReasoner().describe(asked[1]).description == "the blue star"  # it had not seen both
