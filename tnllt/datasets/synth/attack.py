"""Adversarial samples without a victim: procedural noise of bounded size, which fools networks it has never seen.

Source: Co, Munoz-Gonzalez, de Maupeou, Lupu, "Procedural Noise Adversarial Examples for Black-Box Attacks on Deep
Convolutional Networks", CCS 2019: a sine of smooth noise, its sign times the bound.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.textures import octaves

_SIDE = 512


@lru_cache(maxsize=8)
def pattern(seed: int) -> NDArray[np.uint8]:
    """Where to add and where to take away: 255 and 0, (512, 512)."""
    rng = np.random.default_rng([seed, 15])
    field = octaves(rng, _SIDE, _SIDE, int(rng.integers(6, 12)), 3, 0.5)
    return np.where(np.sin(2 * np.pi * field * rng.uniform(10, 18)) > 0, 255, 0).astype(np.uint8)


def perturb(image: NDArray[np.uint8], seed: int, bound: float, view: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Adds the pattern, `bound` grey levels at most per pixel and channel.

    Args:
        view: (2, 3), from frame to image pixels: the pattern is fixed in the frame.
    """
    height, width = image.shape[:2]
    signs = cv2.warpAffine(pattern(seed), view, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP)
    step = round(bound)
    more, less = np.where(signs > 127, step, 0).astype(np.uint8), np.where(signs > 127, 0, step).astype(np.uint8)
    return np.asarray(cv2.subtract(cv2.add(image, cv2.merge([more] * 3)), cv2.merge([less] * 3)), np.uint8)
