"""Template crops: what is tinted, and that the published configurations tint nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from tnllt.errors import UsageError
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.geometry import TINT, crop_square, first_template, tint_around

GREY = np.full((8, 8, 3), 100, np.uint8)


def test_pixels_in_the_box_keep_their_light() -> None:
    tinted = tint_around(GREY, (0.25, 0.5, 0.5, 0.25), 1.0)
    inside = np.zeros((8, 8), bool)
    inside[4:6, 2:6] = True
    assert (tinted[inside] == 100).all()
    assert (tinted[~inside] == TINT).all()


def test_a_pixel_half_in_the_box_is_half_tinted() -> None:
    tinted = tint_around(GREY, (0.0, 0.0, 0.5 + 1 / 16, 1.0), 0.5)
    assert (tinted[:, 3] == 100).all()
    assert np.allclose(tinted[:, 4], 100 + 0.25 * (np.array(TINT) - 100), atol=1)
    assert np.allclose(tinted[:, 5], 100 + 0.5 * (np.array(TINT) - 100), atol=1)


def test_box_beyond_the_crop_and_no_tint() -> None:
    assert np.array_equal(tint_around(GREY, (-1, -1, 3, 3), 0.7), GREY)
    assert tint_around(GREY, (0, 0, 0.1, 0.1), 0.0) is GREY


@pytest.mark.parametrize("name", ["256", "384"])
def test_published_templates_are_plain_crops(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    config, box = Config.make(name), [30.2, 20.7, 25.0, 40.0]
    plain = crop_square(image, box, config.template_factor, config.template_size)[0]
    assert np.array_equal(first_template(image, box, config), plain)


def test_the_tinys_templates_show_the_box() -> None:
    image = np.full((200, 200, 3), 100, np.uint8)
    config = Config.make("tiny")
    crop = first_template(image, [90.0, 80.0, 20.0, 40.0], config)
    side = np.sqrt(20 * 40) * config.template_factor
    plain = (crop == 100).all(axis=2)
    width, height = plain.any(axis=0).sum(), plain.any(axis=1).sum()
    assert abs(width - 20 / side * config.template_size) <= 2
    assert abs(height - 40 / side * config.template_size) <= 2


def test_tint_and_window_are_shares() -> None:
    for name in ("template_tint", "window"):
        with pytest.raises(UsageError, match=name):
            Config.make({"size": "tiny", name: 1.5})
