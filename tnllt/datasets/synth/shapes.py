"""Outlines of the procedural sprites: simple shapes, and objects built of named parts.

Coordinates are in a square from -1 to 1, y downwards. A drawing is a list of (role, outline) painted in order; a role
is "main", "second" or a key of `colours.FIXED`. The drawings are data, in `drawings.toml`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.files import read_toml

Outline = NDArray[np.float64]
Drawing = list[tuple[str, Outline]]
_QUARTER = np.array([[0, 1], [-1, 0]])  #: a quarter turn


def _turn(count: int, start: float = -90.0, sweep: float = 360.0) -> Outline:
    """Unit vectors (count, 2) around a circle, beginning at the top."""
    angle = np.radians(start + sweep * np.arange(count) / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(x: float, y: float, rx: float, ry: float | None = None, tilt: float = 0.0) -> Outline:
    ry = rx if ry is None else ry
    points = _turn(40) * (rx, ry)
    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    return np.asarray(points @ np.array([[c, s], [-s, c]]) + (x, y))


def box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Outline:
    if corner <= 0:
        return poly((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    arc = _turn(9, 180, 101.25)
    turns = [arc @ np.linalg.matrix_power(_QUARTER, k) for k in range(4)]
    mids = [
        (x0 + corner, y0 + corner),
        (x1 - corner, y0 + corner),
        (x1 - corner, y1 - corner),
        (x0 + corner, y1 - corner),
    ]
    return np.concatenate([t * corner + m for t, m in zip(turns, mids, strict=True)])


def poly(*points: float | tuple[float, float]) -> Outline:
    return np.array(points, np.float64).reshape(-1, 2)


def _star(tips: int, inner: float) -> Outline:
    points = _turn(2 * tips)
    points[1::2] *= inner
    return points


def _radial(formula: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Outline:
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    radius = formula(angle)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _around(part: Outline) -> Outline:
    """A quarter of an outline, four times about the origin."""
    return np.concatenate([part @ np.linalg.matrix_power(_QUARTER, k) for k in range(4)])


def _heart() -> Outline:
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], axis=1) / 17


def _crescent() -> Outline:
    """The unit circle without another one, its horns cut short, so that they can be seen at any size."""
    outer, inner = _turn(41, 58, 250), _turn(41, 270, -184) * 0.8
    return np.concatenate([outer + np.array([0.2, 0]), inner + np.array([0.7, 0])])


def _drop() -> Outline:
    t = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    return np.stack([0.95 * np.sin(t) * np.sin(t / 2) ** 1.6, -np.cos(t)], axis=1)


#: Simple shapes: one outline, painted with a colour and a pattern.
SHAPES: dict[str, Outline] = {
    "circle": ellipse(0, 0, 0.95),
    "square": box(-0.85, -0.85, 0.85, 0.85),
    "triangle": poly((0, -0.95), (0.98, 0.8), (-0.98, 0.8)),
    "star": _star(5, 0.42),
    "pentagon": _turn(5),
    "hexagon": _turn(6),
    "diamond": poly((0, -1), (0.72, 0), (0, 1), (-0.72, 0)),
    "heart": _heart(),
    "cross": _around(poly((-0.33, -1), (0.33, -1), (0.33, -0.33))),
    "crescent": _crescent(),
    "drop": _drop(),
    "oval": ellipse(0, 0, 1.0, 0.6),
    "rectangle": box(-1.0, -0.52, 1.0, 0.52),
    "flower": _radial(lambda a: 0.72 + 0.25 * np.cos(5 * a)),
    "gear": _radial(lambda a: 0.84 + 0.14 * np.tanh(6 * np.sin(9 * a))),
    "leaf": np.concatenate([_turn(30, 210, 120) * 1.15 + (0, 0.575), _turn(30, 30, 120) * 1.15 - (0, 0.575)]),
    "arrow": poly((-1, -0.3), (0.15, -0.3), (0.15, -0.8), (1, 0), (0.15, 0.8), (0.15, 0.3), (-1, 0.3)),
    "lightning bolt": poly((0.1, -1), (-0.6, 0.15), (-0.08, 0.15), (-0.28, 1), (0.6, -0.25), (0.08, -0.25), (0.5, -1)),
}


def _dome(rx: float, height: float, *rest: float) -> Outline:
    """A half ellipse that stands on the origin, closed by a line of points."""
    return np.concatenate([_turn(30, 180, 186) * (rx, height), poly(*rest)])


_FORMS: dict[str, Callable[..., Outline]] = {"poly": poly, "box": box, "ellipse": ellipse, "dome": _dome}
_TABLE = read_toml(Path(__file__).with_name("drawings.toml"))

#: Objects with parts.
DRAWINGS: dict[str, Drawing] = {
    kind: [(role, _FORMS[form](*numbers)) for role, form, *numbers in about["parts"]] for kind, about in _TABLE.items()
}
#: Their noun phrases with both colours.
OBJECTS: dict[str, str] = {kind: about["phrase"] for kind, about in _TABLE.items()}
#: The same objects where there are no colours (grey images).
PLAIN_NAMES: dict[str, str] = {kind: about["plain"] for kind, about in _TABLE.items() if "plain" in about}
