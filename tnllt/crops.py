"""Squares cut out of images, to the pixel as the published trackers cut them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.sequence import Image


def square_around(box: Sequence[float] | NDArray[np.float64], factor: float) -> tuple[int, int, int]:
    """left, top, side in pixels of the square around a box x, y, w, h. Raises DataError: the box has no area."""
    x, y, w, h = (float(v) for v in box)
    if not w * h > 0:
        raise DataError(f"a box without area cannot be cropped: {[x, y, w, h]}")
    side = math.ceil(math.sqrt(w * h) * factor)
    return round(x + w / 2 - side / 2), round(y + h / 2 - side / 2), side


def cut(image: Image, region: tuple[int, int, int, int], size: int) -> Image:
    """The region left, top, right, bottom of an image, zero outside it, resized bilinearly to (size, size, 3)."""
    left, top, right, bottom = region
    inside = image[max(0, top) : max(0, bottom), max(0, left) : max(0, right)]
    whole = inside
    if inside.shape[:2] != (bottom - top, right - left):
        whole = np.zeros((bottom - top, right - left, 3), np.uint8)
        if inside.size:
            y, x = max(0, -top), max(0, -left)
            whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return np.asarray(cv2.resize(whole, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
