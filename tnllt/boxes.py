"""Box arithmetic, in one place. Boxes are float64 (..., 4): x, y, w, h in pixels, top-left corner, unless named."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from tnllt.sequence import Boxes, Flags


def overlap(a: ArrayLike, b: ArrayLike) -> Boxes:
    """Intersection over union of boxes (..., 4), as real numbers: no pixel is added.

    Returns (...) float64 in [0, 1]; 0 where the union is not positive, NaN where a box has NaN.
    """
    a, b = columns(np.asarray(a, np.float64)), columns(np.asarray(b, np.float64))
    width = np.minimum(a[0] + a[2], b[0] + b[2]) - np.maximum(a[0], b[0])
    height = np.minimum(a[1] + a[3], b[1] + b[3]) - np.maximum(a[1], b[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(union <= 0, 0.0, shared / union)
    return np.asarray(np.minimum(np.maximum(ratio, 0.0), 1.0))


def columns(boxes: Boxes) -> Boxes:
    """(..., 4) -> (4, ...), each column on its own: arithmetic on these is several times faster."""
    return np.ascontiguousarray(boxes.transpose(-1, *range(boxes.ndim - 1)))


def all_columns(flags: Flags) -> Flags:
    """(...) True where every column of flags (..., C) is: many times faster than `all` over so short an axis."""
    return np.asarray(functools.reduce(np.logical_and, [flags[..., i] for i in range(flags.shape[-1])]))


def centers(boxes: ArrayLike) -> Boxes:
    """Centres (..., 2) of boxes, as real numbers: x + w/2, y + h/2."""
    boxes = np.asarray(boxes, np.float64)
    return boxes[..., :2] + boxes[..., 2:] / 2


def center_error(a: ArrayLike, b: ArrayLike) -> Boxes:
    """Euclidean distance (...) in pixels between the centres of boxes (..., 4)."""
    return np.asarray(np.linalg.norm(centers(a) - centers(b), axis=-1), np.float64)


def to_corners(boxes: ArrayLike) -> Boxes:
    """x, y, w, h -> x1, y1, x2, y2."""
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def from_corners(boxes: ArrayLike) -> Boxes:
    """x1, y1, x2, y2 -> x, y, w, h."""
    boxes = np.asarray(boxes, np.float64)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def clip_to_image(box: ArrayLike, height: int, width: int, margin: float = 0.0) -> Boxes:
    """The box (..., 4) cut so that at least `margin` pixels of it stay inside the image (spec: dutrack, loop 3)."""
    x1, y1, x2, y2 = np.moveaxis(to_corners(box), -1, 0)
    x1, x2 = np.minimum(np.maximum(0, x1), width - margin), np.minimum(np.maximum(margin, x2), width)
    y1, y2 = np.minimum(np.maximum(0, y1), height - margin), np.minimum(np.maximum(margin, y2), height)
    return np.stack([x1, y1, np.maximum(margin, x2 - x1), np.maximum(margin, y2 - y1)], axis=-1)
