"""Looking again for a lost target: where, when, and what is believed. A stand-in network scores a crop by its light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tnllt.errors import UsageError
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.again import AT_ONCE, places
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.inference import Answer, Query
from tnllt.reasoningtrack.network import Network, Output

SMALL = {"size": "tiny", "search_size": 64, "template_size": 32, "depths": [0, 0, 1], "dims": [16, 16, 32]}
BOX = (20.0, 20.0, 20.0, 20.0)


def test_the_squares_cover_the_picture_nearest_first() -> None:
    box, shape, side = (30.0, 40.0, 20.0, 10.0), (240, 320, 3), 48.0
    seen: list[NDArray[np.float64]] = []
    covered = np.zeros(shape[:2], int)
    for lost in range(10):
        now = places(box, shape, side, lost)
        assert 0 < len(now) <= AT_ONCE
        assert all(tuple(place[2:]) == (20.0, 10.0) for place in now)
        if lost and np.array_equal(now[0], seen[0]):
            break
        seen += now
    else:
        raise AssertionError("the squares were never gone through")
    centers = np.array([place[:2] + place[2:] / 2 for place in seen])
    assert len(np.unique(centers, axis=0)) == len(centers)
    distance = np.abs(centers - (40.0, 45.0)).max(axis=1)
    assert (np.diff(distance) >= 0).all() and distance[0] == side / 2
    for x, y in [*centers, np.array((40.0, 45.0))]:
        covered[
            max(0, round(y - side / 2)) : round(y + side / 2), max(0, round(x - side / 2)) : round(x + side / 2)
        ] += 1
    assert covered.min() >= 1
    inner = covered[int(side) : -int(side), int(side) : -int(side)]
    assert inner.min() >= 3, "a target smaller than half a square would be cut by all of them"


def test_a_square_as_large_as_the_picture_leaves_nowhere_else() -> None:
    assert places((10.0, 10.0, 100.0, 80.0), (100, 120, 3), 400.0, 3) == []


class Lamp:
    """Stands in for the network: the brighter a crop, the surer; the box is the middle of the crop."""

    def __init__(self, tracker: ReasoningTrack) -> None:
        self.asked: list[int] = []
        self._tokens = tracker.config.template_tokens
        self._token = torch.zeros(3, tracker.config.dims[2])
        tracker._engine.predict = self.predict  # type: ignore[method-assign]

    def predict(self, queries: Sequence[Query]) -> list[Answer]:
        self.asked.append(len(queries))
        self.templates = {len(query.templates) // self._tokens for query in queries}
        light = [float(query.search.mean()) / 255 for query in queries]
        return [Answer(np.array([0.5, 0.5, 0.3, 0.3]), score, self._token, score) for score in light]


def tracker(**config: Any) -> ReasoningTrack:
    made = Config.make({**SMALL, **config})
    return ReasoningTrack(config=made, weights=Network(made).state_dict(), device="cpu")


def picture(light: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Black, with a white square of 80 pixels in the middle of which `light` (x, y) lies."""
    image = np.zeros((200, 300, 3), np.uint8)
    if light is not None:
        x, y = light
        image[max(0, y - 40) : y + 40, max(0, x - 40) : x + 40] = 255
    return image


def middle(box: Any) -> tuple[float, float]:
    x, y, w, h = (float(v) for v in box)
    return x + w / 2, y + h / 2


def test_a_target_that_jumped_is_found_and_one_that_is_gone_is_waited_for() -> None:
    follow = tracker(lost_below=0.3, found_above=0.6)
    lamp = Lamp(follow)
    follow.initialize(picture((30, 30)), BOX)
    follow.track(picture((30, 30)))
    assert lamp.asked == [1], "a sure answer costs one look"
    where = follow.box

    gone = follow.track(picture(None))
    assert gone.confidence == 0.0
    np.testing.assert_array_equal(follow.box, where)
    again = follow.track(picture(None))
    np.testing.assert_array_equal(again.box, where)
    assert 1 < max(lamp.asked) <= AT_ONCE
    assert lamp.templates == {1}, "elsewhere, only the first template is believed"

    for _ in range(6):  # as many looks as the picture's squares take
        back = follow.track(picture((230, 140)))
        if back.confidence:
            break
    assert np.abs(np.subtract(middle(back.box), (230, 140))).max() < 40
    assert back.confidence is not None and back.confidence >= 0.6
    (found,) = follow.info()["found_elsewhere"]
    assert found > 3
    state = follow._current()
    assert state.lost == 0 and len(state.history) == state.frame + 1, "a template for every frame, lost or not"
    np.testing.assert_array_equal(state.history[2], state.history[1])


def test_a_weak_sight_elsewhere_is_not_believed() -> None:
    follow = tracker(lost_below=0.3, found_above=1.0)
    Lamp(follow)
    follow.initialize(picture((30, 30)), BOX)
    where = follow.box
    dim = picture((150, 100)) // 2
    for _ in range(5):
        follow.track(dim)
    np.testing.assert_array_equal(follow.box, where)
    assert "found_elsewhere" not in follow.info()


def test_as_published_nothing_else_is_ever_looked_at() -> None:
    follow = tracker()
    lamp = Lamp(follow)
    follow.initialize(picture((30, 30)), BOX)
    for _ in range(4):
        follow.track(picture(None))
    assert lamp.asked == [1] * 4


@pytest.mark.parametrize("name", ["lost_below", "found_above"])
def test_thresholds_are_scores(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        Config.make({**SMALL, name: 1.5})


def test_certainty_is_of_one_place() -> None:
    def certain(*peaks: tuple[int, int, float]) -> float:
        score = torch.full((1, 1, 8, 8), 1e-4)
        for row, column, value in peaks:
            score[0, 0, row, column] = value
        return float(Output(score, score, score, score).certainty())

    one, between = certain((3, 3, 0.9)), certain((3, 3, 0.45), (3, 4, 0.45))
    assert one == pytest.approx(0.9, abs=0.02) and between == pytest.approx(one, abs=1e-3)
    assert certain((0, 0, 0.45), (6, 6, 0.45)) < one / 2 < one
    assert certain((3, 3, 0.1)) < 0.11
    assert certain(*((r, c, 1.0) for r in (3, 4) for c in (3, 4))) == 1.0
    assert certain() < 1e-3


@pytest.mark.parametrize("config", [{"size": "tiny", "lost_below": 0.0}, {"size": "tiny", "templates": 1}])
def test_the_bundled_weights_run_with_another_way_of_tracking(config: dict[str, Any]) -> None:
    assert ReasoningTrack(config=config, device="cpu").config == Config.make(config)


def test_the_bundled_weights_fit_no_other_network() -> None:
    for config in ("256", {"size": "tiny", "depths": [1, 1, 3]}):
        with pytest.raises(UsageError, match="no weights"):
            ReasoningTrack(config=config, device="cpu")
