"""Outlines of the procedural sprites: simple shapes, and objects built of named parts.

Coordinates are in a square from -1 to 1, y downwards. A drawing is a list of (role, outline) painted in order; a role
is "main", "second" or a key of `colours.FIXED`. Long because it is a table of drawings.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

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


def poly(*points: tuple[float, float]) -> Outline:
    return np.array(points, np.float64)


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


def _wheels(role: str, y: float, xs: tuple[float, ...], r: float) -> Drawing:
    return [part for x in xs for part in ((role, ellipse(x, y, r)), ("light", ellipse(x, y, r * 0.4)))]


#: Objects with parts.
DRAWINGS: dict[str, Drawing] = {
    "car": [
        (
            "main",
            poly(
                (-1, 0.3), (-0.98, -0.02), (-0.6, -0.1), (-0.35, -0.48), (0.3, -0.48), (0.6, -0.1), (0.95, 0), (1, 0.3)
            ),
        ),
        ("glass", poly((-0.5, -0.1), (-0.3, -0.4), (-0.05, -0.4), (-0.05, -0.1))),
        ("glass", poly((0.03, -0.1), (0.03, -0.4), (0.26, -0.4), (0.46, -0.1))),
        *_wheels("second", 0.3, (-0.55, 0.55), 0.25),
    ],
    "bus": [
        ("main", box(-1, -0.58, 1, 0.45, 0.12)),
        *[("glass", box(x, -0.42, x + 0.3, -0.12)) for x in (-0.9, -0.53, -0.16, 0.21, 0.6)],
        ("second", box(-1, 0.06, 1, 0.24)),
        *_wheels("dark", 0.45, (-0.6, 0.6), 0.19),
    ],
    "truck": [
        ("main", box(-1, -0.62, 0.38, 0.35)),
        ("second", poly((0.42, 0.35), (0.42, -0.35), (0.75, -0.35), (1, 0.02), (1, 0.35))),
        ("glass", poly((0.52, -0.02), (0.52, -0.25), (0.71, -0.25), (0.86, -0.02))),
        *_wheels("dark", 0.38, (-0.65, -0.2, 0.7), 0.21),
    ],
    "sailing boat": [
        ("dark", box(-0.06, -0.95, 0.04, 0.4)),
        ("second", poly((0.08, -0.9), (0.85, 0.22), (0.08, 0.22))),
        ("second", poly((-0.1, -0.75), (-0.65, 0.22), (-0.1, 0.22))),
        ("main", poly((-1, 0.32), (1, 0.32), (0.65, 0.85), (-0.65, 0.85))),
    ],
    "fish": [
        ("second", poly((-0.45, 0), (-1, -0.5), (-0.85, 0), (-1, 0.5))),
        ("second", poly((-0.15, -0.3), (0.2, -0.72), (0.4, -0.25))),
        ("second", poly((-0.1, 0.3), (0.1, 0.68), (0.35, 0.25))),
        ("main", ellipse(0.2, 0, 0.78, 0.42)),
        ("light", ellipse(0.65, -0.1, 0.11)),
        ("dark", ellipse(0.67, -0.1, 0.06)),
    ],
    "bird": [
        ("main", poly((-0.4, 0.1), (-1, -0.1), (-0.95, 0.25), (-0.4, 0.3))),
        ("main", ellipse(0, 0.12, 0.6, 0.36, -12)),
        ("main", ellipse(0.56, -0.22, 0.27)),
        ("tan", poly((0.78, -0.3), (1, -0.18), (0.78, -0.12))),
        ("dark", ellipse(0.62, -0.28, 0.05)),
        ("second", poly((-0.35, 0.05), (0.3, 0.0), (0.1, -0.35), (-0.55, -0.85))),
    ],
    "butterfly": [
        *[("main", ellipse(s * 0.5, -0.35, 0.5, 0.45, s * -25)) for s in (-1, 1)],
        *[("main", ellipse(s * 0.4, 0.42, 0.38, 0.4, s * 25)) for s in (-1, 1)],
        *[("second", ellipse(s * x, y, r)) for s in (-1, 1) for x, y, r in ((0.58, -0.38, 0.22), (0.42, 0.45, 0.18))],
        ("dark", ellipse(0, 0, 0.1, 0.75)),
    ],
    "drone": [
        ("dark", box(-0.8, -0.12, 0.8, 0.0)),
        ("dark", poly((-0.5, 0.2), (-0.35, 0.2), (-0.5, 0.7), (-0.65, 0.7))),
        ("dark", poly((0.5, 0.2), (0.35, 0.2), (0.5, 0.7), (0.65, 0.7))),
        *[("dark", box(x - 0.05, -0.3, x + 0.05, -0.05)) for x in (-0.62, 0.62)],
        *[("second", ellipse(x, -0.3, 0.38, 0.13)) for x in (-0.62, 0.62)],
        ("main", ellipse(0, 0.05, 0.46, 0.36)),
        ("glass", ellipse(0, 0.16, 0.15)),
    ],
    "person": [
        ("second", poly((-0.26, 0.1), (0.0, 0.1), (-0.04, 0.95), (-0.24, 0.95))),
        ("second", poly((0.0, 0.1), (0.26, 0.1), (0.26, 0.95), (0.06, 0.95))),
        ("skin", box(-0.42, -0.5, -0.28, 0.2, 0.06)),
        ("skin", box(0.28, -0.5, 0.42, 0.2, 0.06)),
        ("main", box(-0.3, -0.58, 0.3, 0.16, 0.1)),
        ("main", box(-0.43, -0.56, -0.27, -0.15, 0.07)),
        ("main", box(0.27, -0.56, 0.43, -0.15, 0.07)),
        ("skin", ellipse(0, -0.77, 0.2, 0.23)),
        ("dark", poly((-0.2, -0.8), (-0.14, -0.98), (0, -1.02), (0.14, -0.98), (0.2, -0.8), (0, -0.88))),
    ],
    "walking person": [
        ("second", poly((-0.12, 0.1), (0.12, 0.1), (-0.24, 0.95), (-0.42, 0.88))),
        ("second", poly((-0.1, 0.1), (0.16, 0.1), (0.44, 0.9), (0.26, 0.97))),
        ("main", box(-0.2, -0.56, 0.2, 0.16, 0.1)),
        ("skin", poly((0.05, -0.42), (0.16, -0.36), (0.4, 0.1), (0.3, 0.14))),
        ("main", poly((-0.02, -0.5), (0.16, -0.48), (0.3, -0.12), (0.16, -0.06))),
        ("skin", ellipse(0.03, -0.76, 0.19, 0.23)),
        (
            "dark",
            poly(
                (-0.17, -0.7), (-0.17, -0.93), (0, -1.02), (0.17, -0.95), (0.16, -0.85), (-0.04, -0.84), (-0.08, -0.7)
            ),
        ),
    ],
    "plane": [
        ("second", poly((-0.1, -0.1), (0.2, -0.1), (-0.25, -0.95), (-0.45, -0.95))),
        ("main", ellipse(0, 0, 1.0, 0.19)),
        ("main", poly((-0.95, -0.05), (-0.6, -0.1), (-0.88, -0.5), (-1, -0.5))),
        ("second", poly((-0.15, 0.05), (0.22, 0.05), (-0.3, 0.9), (-0.52, 0.9))),
        ("glass", ellipse(0.76, -0.06, 0.12, 0.07)),
    ],
    "rocket": [
        ("second", poly((-0.3, 0.25), (-0.72, 0.85), (-0.28, 0.7))),
        ("second", poly((0.3, 0.25), (0.72, 0.85), (0.28, 0.7))),
        ("tan", poly((-0.16, 0.7), (0.16, 0.7), (0, 1))),
        ("main", ellipse(0, -0.1, 0.36, 0.85)),
        ("glass", ellipse(0, -0.3, 0.15)),
    ],
    "house": [
        ("main", box(-0.75, -0.1, 0.75, 0.9)),
        ("second", poly((-1, -0.05), (0, -0.95), (1, -0.05))),
        ("dark", box(-0.15, 0.35, 0.2, 0.9)),
        ("glass", box(-0.58, 0.1, -0.28, 0.4)),
        ("glass", box(0.36, 0.1, 0.62, 0.4)),
    ],
    "balloon": [
        ("dark", poly((-0.4, 0.2), (-0.36, 0.2), (-0.12, 0.72), (-0.18, 0.72))),
        ("dark", poly((0.4, 0.2), (0.36, 0.2), (0.12, 0.72), (0.18, 0.72))),
        ("main", ellipse(0, -0.3, 0.68)),
        ("main", poly((-0.6, 0), (0.6, 0), (0.2, 0.42), (-0.2, 0.42))),
        ("second", box(-0.2, 0.66, 0.2, 0.98, 0.06)),
    ],
    "umbrella": [
        ("second", box(-0.05, -0.3, 0.06, 0.8)),
        ("second", box(-0.3, 0.76, 0.06, 0.9, 0.06)),
        (
            "main",
            np.concatenate(
                [
                    _turn(30, 180, 186) * (0.98, 0.85),
                    poly((0.65, -0.12), (0.33, 0), (0, -0.12), (-0.33, 0), (-0.65, -0.12)),
                ]
            ),
        ),
    ],
    "mushroom": [
        ("light", box(-0.27, -0.1, 0.27, 0.9, 0.14)),
        ("main", np.concatenate([_turn(30, 180, 186) * (0.95, 0.85), poly((0, 0.14))])),
        *[
            ("second", ellipse(x, y, r, r * 0.8))
            for x, y, r in ((-0.45, -0.3, 0.16), (0.1, -0.52, 0.17), (0.5, -0.2, 0.14))
        ],
    ],
    "robot": [
        ("dark", box(-0.05, -1, 0.05, -0.7)),
        ("second", box(-0.4, -0.8, 0.4, -0.25, 0.08)),
        ("light", ellipse(-0.17, -0.53, 0.1)),
        ("light", ellipse(0.17, -0.53, 0.1)),
        ("dark", box(-0.78, -0.15, -0.6, 0.45, 0.06)),
        ("dark", box(0.6, -0.15, 0.78, 0.45, 0.06)),
        ("main", box(-0.58, -0.2, 0.58, 0.55, 0.08)),
        ("dark", box(-0.4, 0.55, -0.12, 0.95)),
        ("dark", box(0.12, 0.55, 0.4, 0.95)),
    ],
    "cup": [
        ("second", ellipse(0.55, 0, 0.42, 0.4)),
        ("light", ellipse(0.55, 0, 0.24, 0.22)),
        ("main", poly((-0.8, -0.7), (0.6, -0.7), (0.45, 0.8), (-0.65, 0.8))),
        ("dark", ellipse(-0.1, -0.7, 0.7, 0.13)),
    ],
    "helmet": [
        ("main", ellipse(-0.08, -0.1, 0.85, 0.78)),
        ("skin", poly((0.25, 0.0), (0.72, 0.0), (0.62, 0.62), (0.1, 0.62))),
        ("second", poly((-0.45, -0.9), (-0.15, -0.92), (0.5, -0.55), (0.72, -0.18), (0.55, -0.2), (0.3, -0.5))),
        ("dark", poly((0.2, 0.2), (0.95, 0.2), (0.95, 0.3), (0.2, 0.3))),
        ("dark", poly((0.2, 0.48), (0.9, 0.48), (0.9, 0.57), (0.2, 0.57))),
        ("dark", poly((0.85, 0.2), (0.95, 0.2), (0.9, 0.57), (0.8, 0.57))),
    ],
    "motorbike": [
        *_wheels("dark", 0.58, (-0.62, 0.62), 0.36),
        ("second", poly((-0.7, 0.15), (0.3, 0.05), (0.5, 0.55), (-0.45, 0.5))),
        ("dark", poly((0.28, -0.12), (0.42, -0.14), (0.68, 0.5), (0.55, 0.55))),
        (
            "main",
            poly((-0.5, 0.12), (-0.3, -0.55), (0.05, -0.6), (0.3, -0.08), (0.18, -0.02), (-0.05, -0.3), (-0.15, 0.15)),
        ),
        ("dark", poly((-0.25, 0.02), (0.1, 0.08), (0.16, 0.45), (0.04, 0.45), (0, 0.18), (-0.3, 0.2))),
        ("main", ellipse(-0.02, -0.76, 0.22)),
    ],
    "head": [
        ("main", ellipse(0, -0.2, 0.78, 0.78)),
        ("skin", ellipse(0, 0.12, 0.62, 0.82)),
        ("main", poly((-0.66, -0.1), (-0.6, -0.6), (0, -0.8), (0.6, -0.6), (0.66, -0.1), (0.3, -0.4), (-0.3, -0.4))),
        ("second", ellipse(-0.25, 0.05, 0.22, 0.17)),
        ("second", ellipse(0.25, 0.05, 0.22, 0.17)),
        ("light", ellipse(-0.25, 0.05, 0.15, 0.11)),
        ("light", ellipse(0.25, 0.05, 0.15, 0.11)),
        ("dark", ellipse(-0.25, 0.06, 0.06)),
        ("dark", ellipse(0.25, 0.06, 0.06)),
        ("tan", poly((-0.07, 0.38), (0, 0.15), (0.07, 0.38))),
        ("dark", ellipse(0, 0.62, 0.24, 0.05)),
    ],
    "dog": [
        *[("main", box(x, 0.1, x + 0.16, 0.85, 0.05)) for x in (-0.62, -0.38, 0.12, 0.36)],
        ("main", poly((-0.6, -0.1), (-0.95, -0.6), (-0.82, -0.65), (-0.5, -0.2))),
        ("main", box(-0.68, -0.25, 0.55, 0.35, 0.22)),
        ("main", poly((0.2, 0.1), (0.4, -0.6), (0.7, -0.5), (0.56, 0.1))),
        ("main", ellipse(0.62, -0.52, 0.27, 0.22)),
        ("main", box(0.65, -0.6, 1.0, -0.34, 0.1)),
        ("dark", ellipse(0.97, -0.52, 0.06)),
        ("dark", ellipse(0.66, -0.58, 0.04)),
        ("dark", poly((0.4, -0.7), (0.55, -0.7), (0.46, -0.3), (0.34, -0.36))),
        ("second", poly((0.3, -0.34), (0.62, -0.24), (0.6, -0.12), (0.25, -0.22))),
    ],
}

#: Their noun phrases with both colours.
OBJECTS: dict[str, str] = {
    "car": "{main} car with {second} wheels",
    "bus": "{main} bus with a {second} stripe",
    "truck": "{main} truck with a {second} cab",
    "sailing boat": "{main} sailing boat with {second} sails",
    "fish": "{main} fish with {second} fins",
    "bird": "{main} bird with a {second} wing",
    "butterfly": "{main} butterfly with {second} spots",
    "drone": "{main} drone with {second} rotors",
    "person": "person in a {main} shirt and {second} trousers",
    "walking person": "walking person in a {main} shirt and {second} trousers",
    "plane": "{main} plane with {second} wings",
    "rocket": "{main} rocket with {second} fins",
    "house": "{main} house with a {second} roof",
    "balloon": "{main} hot-air balloon with a {second} basket",
    "umbrella": "{main} umbrella with a {second} handle",
    "mushroom": "mushroom with a {main} cap and {second} dots",
    "robot": "{main} robot with a {second} head",
    "cup": "{main} cup with a {second} handle",
    "helmet": "head in a {main} helmet with a {second} stripe",
    "motorbike": "rider in {main} on a {second} motorbike",
    "head": "head with {main} hair and {second} glasses",
    "dog": "{main} dog with a {second} collar",
}

#: The same objects where there are no colours (grey images).
PLAIN_NAMES = {
    "balloon": "hot-air balloon",
    "helmet": "head in a helmet",
    "motorbike": "rider on a motorbike",
    "head": "head with glasses",
}
