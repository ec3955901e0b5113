"""The oracle `reasoner=annotation`, and texts that reach ReasoningTrack while it tracks."""

from __future__ import annotations

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.reasoners import Look, Question, ask, make_reasoner
from tnllt.sequence import Annotation, Sequence

BOXES = np.array([[30.0, 20.0, 24.0, 20.0]] * 14) + np.arange(14)[:, None] * [3.0, 0, 0, 0]
TEXTS = ("a red car",) * 5 + ("a blue car",) * 9


def sequence(texts: tuple[str, ...] | None = TEXTS) -> Sequence:
    return Sequence("s", Annotation(BOXES, language="a red car", descriptions=texts))


def question(frame: int) -> Question:
    look = Look(np.zeros((24, 32, 3), np.uint8), (1, 2, 3, 4), frame)
    return Question(look, look, look, "a red car", "a red car", None, frame, "s")


def test_the_text_of_the_moment() -> None:
    reasoner = make_reasoner("annotation")
    reasoner.receive(sequence())
    assert [ask(reasoner, question(frame)).description for frame in (0, 4, 5, 13)] == [
        "a red car", "a red car", "a blue car", "a blue car",
    ]  # fmt: skip
    with pytest.raises(DataError, match="'s' has no descriptions over time"):
        reasoner.receive(sequence(None))


def test_reasoningtrack_asks_the_annotation_by_its_own_rule() -> None:
    images = np.random.default_rng(0).integers(0, 256, (14, 90, 120, 3), dtype=np.uint8)
    tracker = ReasoningTrack(reasoner="annotation", refresh_interval=2, refresh_area=1.1, device="cpu")
    assert tracker.oracle and not ReasoningTrack(device="cpu").oracle
    tracker.receive(sequence())
    tracker.sequence_name = "s"
    tracker.initialize(images[0], BOXES[0].tolist(), "a red car")
    seen = []
    for image in images[1:]:
        tracker.track(image)
        seen.append(tracker.description)
    assert seen[3] == "a red car" and seen[-1] == "a blue car"
    tracker.describe(" a green car ")
    assert tracker.description == "a green car"
    tracker.close()
