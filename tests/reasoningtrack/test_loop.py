"""The loop against the golden clips: boxes, refresh frames, descriptions; alone and in batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.reasoningtrack.golden import DATA, Case, Scripted, drive, golden_state, made_case
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.config import Config

#: Whole clips are slow; the first frames (and a refresh) run always.
CLIPS = ["calm_couple_256", "calm_man_384", "track_couple_256", "track_motorrolling_384"]


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
    return Case(golden, config, golden_state(config, calm), frames, str(golden["description"]), answers)


def check(case: Case, boxes: list[Any], events: list[Any]) -> None:
    golden, frames = case.golden, 1 + len(boxes)
    tolerance = 0.001 if "forced" in golden else 0.02
    np.testing.assert_allclose(np.array(boxes), golden["boxes"][1:frames], rtol=0, atol=tolerance)
    updates = [int(n) for n in golden["updates"] if n < frames]
    assert [e["frame"] for e in events if e["event"] == "refresh"] == updates
    assert [e["after"] for e in events if e["event"] == "refresh"] == golden["descriptions"][: len(updates)].tolist()


def track(case: Case, frames: int | None = None) -> None:
    events: list[Any] = []
    tracker = ReasoningTrack(case.config, case.weights, Scripted(case.own, case.answers), device="cpu")
    tracker.emit = events.append
    check(case, list(drive(case, tracker, frames or len(case.frames))), events)


def test_a_clip_made_by_formula_is_tracked_as_recorded() -> None:
    case = made_case(np.load(DATA / "loop_256.npz"))
    assert case.golden["updates"].tolist() == [11, 21, 31] and len(set(case.golden["descriptions"])) == 3
    track(case)


@pytest.mark.parametrize("name", CLIPS)
def test_clips_begin_as_the_golden_ones(shared: Path, name: str) -> None:
    track(load(shared, name), 13)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CLIPS, "calm_crossing_256_full"])
def test_whole_clips_are_the_golden_ones(shared: Path, name: str) -> None:
    track(load(shared, name))


def batch_of(shared: Path, frames: int) -> None:
    """The golden clip with two others that start later, so that the numbers of templates and tokens differ."""
    case, events = load(shared, "calm_couple_256"), []
    forced = case.golden["forced"]
    reasoner = Scripted(case.own, case.answers)
    tracker = ReasoningTrack(case.config, case.weights, reasoner, device="cpu")
    state = tracker.start(case.frames[0], case.golden["boxes"][0], case.own, events.append)
    others: dict[int, Any] = {}
    boxes, beside = [], {1: [], 3: []}
    for n in range(1, frames):
        states = [state, *others.values()]
        images = [case.frames[n], *(case.frames[n - start] for start in others)]
        first, *rest = tracker.step(states, images)
        boxes.append(first.box)
        state.box = forced[n].copy()
        for (start, other), answer in zip(others.items(), rest, strict=True):
            beside[start].append(answer.box)
            other.box = forced[n - start].copy()
        if n in beside:  # no sentence, so it asks nothing of the scripted reasoner
            others[n] = tracker.start(case.frames[0], forced[0], None)
    check(case, boxes, events)
    alone = ReasoningTrack(case.config, case.weights, device="cpu")
    for start, found in beside.items():
        alone.initialize(case.frames[0], forced[0])
        for n, box in enumerate(found, 1):
            np.testing.assert_allclose(np.asarray(alone.track(case.frames[n]).box), box, rtol=0, atol=0.001)
            alone.box = forced[n]
        assert len(found) == frames - 1 - start
    assert tracker.end(state)["refreshes"] == [int(n) for n in case.golden["updates"] if n < frames]


def test_a_batch_begins_as_one_at_a_time(shared: Path) -> None:
    batch_of(shared, 12)


@pytest.mark.slow
def test_a_batch_is_as_one_at_a_time_to_the_end(shared: Path) -> None:
    batch_of(shared, 60)
