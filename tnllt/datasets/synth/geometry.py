"""From a sprite's raster to the frame: matrices, deformation, boxes around points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.sprites import SIDE, Sprite

Points = NDArray[np.float64]
WAVES = 2 * np.pi / (0.9 * SIDE)  #: wave number of deformations, per raster pixel


def affine(
    center: NDArray[np.float64], scale: NDArray[np.float64], angle: NDArray[np.float64], sprite: Sprite
) -> NDArray[np.float64]:
    """Matrices (T, 2, 3) that put the sprite's own centre at `center` (T, 2), scaled (T, 2), turned (T,) degrees."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    out = np.empty((len(center), 2, 3))
    out[:, 0, 0], out[:, 0, 1] = cos * scale[:, 0], -sin * scale[:, 1]
    out[:, 1, 0], out[:, 1, 1] = sin * scale[:, 0], cos * scale[:, 1]
    out[:, :, 2] = center - out[:, :, :2] @ sprite.center
    return out


def bounds(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (T, 4) around points, x and y (T, P)."""
    left, top = x.min(axis=1), y.min(axis=1)
    return np.stack([left, top, x.max(axis=1) - left, y.max(axis=1) - top], axis=1)


def warped(x: Points, y: Points, wave: NDArray[np.float64] | None) -> tuple[Points, Points]:
    """Raster points deformed as `wave` (T, 4) says: x' = x + a sin(k y + p), then y' = y + b sin(k x' + q)."""
    if wave is None:
        return x, y
    x = x + wave[:, :1] * np.sin(WAVES * y + wave[:, 2:3])
    return x, y + wave[:, 1:2] * np.sin(WAVES * x + wave[:, 3:4])


def unwarped(x: Points, y: Points, wave: NDArray[np.float64] | None) -> tuple[Points, Points]:
    """The inverse of `warped`."""
    if wave is None:
        return x, y
    y = y - wave[:, 1:2] * np.sin(WAVES * x + wave[:, 3:4])
    return x - wave[:, :1] * np.sin(WAVES * y + wave[:, 2:3]), y


def placed(
    points: NDArray[np.float64], wave: NDArray[np.float64] | None, matrix: NDArray[np.float64]
) -> tuple[Points, Points]:
    """Raster points (P, 2) in the frame, x and y (T, P), under matrices (T, 2, 3)."""
    u, v = warped(points[None, :, 0], points[None, :, 1], wave)
    x = matrix[:, 0, :1] * u + matrix[:, 0, 1:2] * v + matrix[:, 0, 2:]
    return x, matrix[:, 1, :1] * u + matrix[:, 1, 1:2] * v + matrix[:, 1, 2:]
