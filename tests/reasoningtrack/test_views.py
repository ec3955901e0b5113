"""What a reasoner is shown: the two images of each view, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tnllt.reasoningtrack.geometry import crop_square
from tnllt.reasoningtrack.reasoners import Look, Question, ReasonerError
from tnllt.reasoningtrack.reasoners.views import SIDE, pictures, shown

IMAGES = np.random.default_rng(0).integers(0, 200, (3, 120, 160, 3), dtype=np.uint8)
FIRST, PREVIOUS, CURRENT = (
    Look(image, box, frame)
    for image, box, frame in zip(
        IMAGES, ((20.0, 30, 40, 20), (1.0, 1, 9, 9), (100.0, 50, 30, 30)), (0, 10, 20), strict=True
    )
)
QUESTION = Question(FIRST, PREVIOUS, CURRENT, "a car", "a red car")


def test_whole_frames_are_those_of_the_publication() -> None:
    assert all(a is b for a, b in zip(pictures(QUESTION, "frames"), (PREVIOUS.image, CURRENT.image), strict=True))


def test_boxes_are_drawn_into_copies() -> None:
    before = IMAGES.copy()
    first, current = pictures(QUESTION, "boxes")
    for image, look in ((first, FIRST), (current, CURRENT)):
        x, y, w, h = map(int, look.box)
        drawn = (image != look.image).any(axis=2)
        assert (image[y, x : x + w] == (255, 0, 0)).all() and (image[y : y + h, x + w] == (255, 0, 0)).all()
        assert not drawn[y + 3 : y + h - 3, x + 3 : x + w - 3].any(), "the target itself is not painted over"
        assert not drawn[: y - 3].any()
    np.testing.assert_array_equal(IMAGES, before)


@pytest.mark.parametrize(("view", "factor"), [("search", 4.0), ("crops", 2.0)])
def test_squares_are_cut_around_the_initial_box_and_the_trackers(view, factor) -> None:
    for image, look in zip(pictures(QUESTION, view), (FIRST, CURRENT), strict=True):
        np.testing.assert_array_equal(image, crop_square(look.image, look.box, factor, SIDE)[0])


def test_two_frames_alone_have_one_view() -> None:
    first, second = shown(IMAGES[0], IMAGES[1], None, "frames")
    assert first is not None and first.base is IMAGES and second.base is IMAGES
    with pytest.raises(ReasonerError, match="pass the whole question"):
        shown(IMAGES[0], IMAGES[1], None, "search")
