"""Where to look for a target that is not where it was: squares over the whole picture, the nearest first.

The published tracker only ever looks around its last box, so a target that left the view, was hidden, or jumped is lost
for good. `Config.search_again` lets the same network look elsewhere. Not part of the published tracker.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: Squares looked at in one frame; a picture that has more of them is gone through over several frames.
AT_ONCE = 24


def places(box: Sequence[float], shape: tuple[int, ...], side: float, lost: int) -> list[NDArray[np.float64]]:
    """Boxes around which to look, of the last box's size, at most `AT_ONCE`.

    Their squares overlap by half, so that a target that is smaller than half of one is whole in some square. The last
    box's own place is not among them.

    Args:
        box: the last one, x, y, w, h in pixels. shape: the picture's. side: of a search square, in pixels.
        lost: frames since the target was seen, from 0: says which part of a large picture's squares is next.
    """
    middle, size = np.array([box[0] + box[2] / 2, box[1] + box[3] / 2]), np.array([box[2], box[3]], float)
    ways = []
    for at, length in zip(middle, (shape[1], shape[0]), strict=True):
        step = max(side / 2, 1.0)
        low, high = math.floor(at / step), math.floor(max(0.0, length - at) / step)
        ways.append([at + k * step for k in range(-low, high + 1)])
    centers = np.array([(x, y) for x in ways[0] for y in ways[1]])
    distance = np.abs(centers - middle).max(axis=1)
    order = np.argsort(distance, kind="stable")[1:]
    if len(order) == 0:
        return []
    start = lost * AT_ONCE % (math.ceil(len(order) / AT_ONCE) * AT_ONCE)
    return [np.concatenate([centers[i] - size / 2, size]) for i in order[start : start + AT_ONCE]]
