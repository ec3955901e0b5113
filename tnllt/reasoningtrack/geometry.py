"""Crops around boxes, and boxes back in the image, to the pixel as the published tracker computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import clip_to_image
from tnllt.crops import cut, square_around
from tnllt.reasoningtrack.config import Config
from tnllt.sequence import Image

#: RGB; rare in images, so that a linear layer can detect it.
TINT = (160, 0, 255)

#: Pixels of a box that always stay inside the image, and its least width and height.
MARGIN = 10


def crop_square(image: Image, box: Sequence[float], factor: float, size: int) -> tuple[Image, int]:
    """A square around the box, `factor` times sqrt(w h) wide, zero outside the image, resized to `size`.

    A square that reaches the right or bottom border loses the image's last column or row to the padding, as in the
    published tracker.

    Args:
        image: RGB uint8 (H, W, 3). box: x, y, w, h in pixels.

    Returns:
        the crop, uint8 (size, size, 3), and the square's side in pixels.

    Raises:
        DataError: the box has no area.
    """
    left, top, side = square_around(box, factor)
    height, width = image.shape[:2]
    seen = image[: height - (top + side >= height), : width - (left + side >= width)]
    return cut(seen, (left, top, left + side, top + side), size), side


def first_template(image: Image, box: Sequence[float], config: Config) -> Image:
    """The template of the initial box: its square of `template_factor`, tinted around the box as the config has it."""
    crop, _ = crop_square(image, box, config.template_factor, config.template_size)
    left, top, side = square_around(box, config.template_factor)
    x, y, w, h = (float(v) for v in box)
    return tint_around(crop, ((x - left) / side, (y - top) / side, w / side, h / side), config.template_tint)


def tint_around(crop: Image, box: Sequence[float], amount: float) -> Image:
    """A crop (z, z, 3) with `amount` of the light outside the box replaced by `TINT`.

    Args:
        box: x, y, w, h as parts of the crop; a pixel that it covers in part is tinted in part.
    """
    if amount == 0:
        return crop
    pixels = np.arange(len(crop))
    across, down = (
        np.clip(np.minimum(pixels + 1, (start + length) * len(crop)) - np.maximum(pixels, start * len(crop)), 0, 1)
        for start, length in ((box[0], box[2]), (box[1], box[3]))
    )
    fraction = (amount * (1 - np.outer(down, across))).astype(np.float32)[..., None]
    return np.asarray(np.rint(crop + fraction * (np.array(TINT, np.float32) - crop)), np.uint8)


def box_in_image(
    predicted: Sequence[float], last: Sequence[float], side: int, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """The network's box in the image, with at least `MARGIN` pixels of it inside.

    Args:
        predicted: cx, cy, w, h as parts of the search square. last: the box that the square was cut around.
        side: the square's side in pixels. shape: the image's.

    Returns:
        x, y, w, h in pixels, (4,) float64.
    """
    cx, cy, w, h = (float(v) * side for v in predicted)
    cx += last[0] + last[2] / 2 - side / 2
    cy += last[1] + last[3] / 2 - side / 2
    return clip_to_image([cx - w / 2, cy - h / 2, w, h], shape[0], shape[1], MARGIN)


def hann_window(side: int) -> NDArray[np.float32]:
    """(side, side): 0.5 (1 - cos(2 pi k / (side + 1))), k = 1..side, in both directions."""
    row = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, side + 1) / (side + 1)))
    return np.outer(row, row).astype(np.float32)


def has_changed(
    box: Sequence[float], reference: Sequence[float], shape: tuple[int, ...], area: float, move: float
) -> bool:
    """Whether the target's size or place changed enough to ask for its description again.

    True where the smaller area / the larger < `area`, or the top-left corner moved further than min(H, W) / `move`.
    """
    smaller, larger = sorted((box[2] * box[3], reference[2] * reference[3]))
    moved = math.hypot(box[0] - reference[0], box[1] - reference[1])
    return smaller / larger < area or moved > min(shape[:2]) / move
