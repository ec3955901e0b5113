"""Colours with unambiguous names, and which of them are far apart."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

#: Name -> sRGB. Chosen to be far apart, so that a description with the name is true at a glance.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (206, 34, 36),
    "orange": (244, 132, 20),
    "yellow": (248, 216, 36),
    "green": (38, 150, 60),
    "blue": (36, 84, 206),
    "purple": (126, 50, 164),
    "pink": (246, 136, 184),
    "brown": (118, 70, 36),
    "black": (28, 28, 30),
    "white": (242, 242, 240),
    "grey": (132, 132, 136),
    "turquoise": (54, 196, 190),
}

#: Parts that keep their colour whatever the sprite is painted.
FIXED: dict[str, tuple[int, int, int]] = {
    "dark": (36, 36, 40),
    "glass": (150, 190, 214),
    "light": (226, 226, 222),
    "skin": (222, 172, 136),
    "tan": (176, 132, 84),
    "outline": (22, 22, 24),
}


@lru_cache(maxsize=1)
def _lab() -> dict[str, NDArray[np.float32]]:
    rgb = np.array([list(COLOURS.values())], np.float32) / 255
    return dict(zip(COLOURS, cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[0], strict=True))


@lru_cache(maxsize=64)
def distinct(name: str, least: float = 45.0) -> tuple[str, ...]:
    """The colour names whose CIE Lab distance (CIE76) from `name` is at least `least`."""
    lab = _lab()
    return tuple(other for other in COLOURS if np.linalg.norm(lab[other] - lab[name]) >= least)


def nearest(rgb: NDArray[np.float64]) -> tuple[str, float]:
    """The colour name nearest to an sRGB triple (0..255), and its Lab distance."""
    lab = cv2.cvtColor(np.asarray(rgb, np.float32).reshape(1, 1, 3) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    return min(((n, float(np.linalg.norm(v - lab))) for n, v in _lab().items()), key=lambda pair: pair[1])
