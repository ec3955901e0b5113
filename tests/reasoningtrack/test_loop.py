"""The loop against the golden clips: boxes, refresh frames, descriptions; alone and in batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.reasoningtrack.golden import golden_state
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.reasoners import Reasoning

CALM = ["calm_couple_256", "calm_man_384", pytest.param("calm_crossing_256_full", marks=pytest.mark.slow)]
FREE = ["track_couple_256", "track_motorrolling_384"]


@dataclass
class Scripted:
    """Answers as the golden case was recorded with; counts what it is asked."""

    own: str
    answers: list[tuple[bool, str]]
    asked: int = 0
    seconds: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def describe(self, first: Any, second: Any, description: str) -> Reasoning:
        assert description == self.own
        update, text = self.answers[self.asked]
        self.asked += 1
        self.seconds.append(second)
        return Reasoning(None, update, text, "scripted", 0.0)


@dataclass(frozen=True)
class Case:
    golden: Any
    config: Config
    weights: dict[str, Any]
    frames: list[np.ndarray[Any, Any]]
    own: str
    answers: list[tuple[bool, str]]


def load(shared: Path, name: str) -> Case:
    folder = shared / "golden/dutrack"
    golden = np.load(folder / f"{name}.npz")
    config = Config.make({"size": int(golden["size"]), "depths": tuple(int(d) for d in golden["depths"])})
    calm = config.search_factor if name.startswith("calm") else None
    files = sorted((shared / "data/otb" / str(golden["sequence"]) / "img").glob("*.jpg"))[: int(golden["frames"])]
    frames = [cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB) for f in files]
    if "decisions" in golden:
        answers = [(d == "yes", str(a)) for d, a in zip(golden["decisions"], golden["answers"], strict=True)]
    else:
        answers = [(True, str(text)) for text in golden["descriptions"]]
    return Case(golden, config, golden_state(folder, config, calm), frames, str(golden["description"]), answers)


def drive(case: Case, tracker: ReasoningTrack, forced: Any) -> Iterator[tuple[int, Any, str]]:
    """Frame number, the tracker's own answer, the description; the box is put to `forced` after each frame."""
    tracker.initialize(case.frames[0], case.golden["boxes"][0], case.own)
    for n, image in enumerate(case.frames[1:], 1):
        answer = np.asarray(tracker.track(image).box)
        yield n, answer, tracker.description
        tracker.box = forced[n]
    tracker.finish()


def check(case: Case, boxes: list[Any], events: list[Any], tolerance: float) -> None:
    golden = case.golden
    np.testing.assert_allclose(np.array(boxes), golden["boxes"][1:], rtol=0, atol=tolerance)
    assert [e["frame"] for e in events] == golden["updates"].tolist()
    assert [e["after"] for e in events] == golden["descriptions"].tolist()


@pytest.mark.parametrize("name", CALM)
def test_calm_clips(shared: Path, name: str) -> None:
    case, events = load(shared, name), []
    tracker = ReasoningTrack(case.config, case.weights, Scripted(case.own, case.answers))
    tracker.emit = events.append
    boxes = [answer for _, answer, _ in drive(case, tracker, case.golden["forced"])]
    check(case, boxes, events, 0.001)


@pytest.mark.parametrize("name", FREE)
def test_free_clips_one_step_at_a_time(shared: Path, name: str) -> None:
    case, events = load(shared, name), []
    tracker = ReasoningTrack(case.config, case.weights, Scripted(case.own, case.answers))
    tracker.emit = events.append
    boxes = [answer for _, answer, _ in drive(case, tracker, case.golden["boxes"])]
    check(case, boxes, events, 0.02)
