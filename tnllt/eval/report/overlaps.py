"""Overlaps of every frame in a few bytes: one byte a frame, differences along time, deflate, base64.

A code is round(overlap * LEVELS), 255 where the protocol measures no overlap; each series is stored as differences
modulo 256, which deflate packs smaller than the codes. Where all that is too much, neighbouring frames are averaged.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LEVELS = 250
NOTHING = 255


@dataclass(frozen=True)
class Packed:
    """Series of all sequences, each of all trackers in order.

    Attributes:
        data: base64 of the deflated bytes.
        index: per sequence {"start", "points", "stride"}: where its first series begins in the inflated bytes, how long
            each series is, and how many frames one point stands for.
    """

    data: str
    index: list[dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        return {"data": self.data, "index": self.index, "levels": LEVELS}


def pack(series: Iterable[Array], budget: int) -> Packed:
    """Packs overlaps, one array (K, T) per sequence, NaN where there is none, into about `budget` bytes of text.

    Args:
        series: in the order of the sequences; K is the same for all.
    """
    whole_series = list(series)
    codes = [_codes(values) for values in whole_series]
    strides = [1] * len(codes)
    whole = _deflate(codes)
    while len(whole) * 4 / 3 > budget and max((c.shape[1] for c in codes), default=0) > 64:
        # The longest lose their detail first: on a screen a thousand points wide nobody misses it.
        limit = float(np.quantile([c.shape[1] for c in codes], 0.5))
        for i, code in enumerate(codes):
            if code.shape[1] >= max(limit, 64):
                strides[i] *= 2
                codes[i] = _codes(_thinned(whole_series[i], strides[i]))
        whole = _deflate(codes)
    index, start = [], 0
    for code, stride in zip(codes, strides, strict=True):
        index.append({"start": start, "points": code.shape[1], "stride": stride})
        start += code.size
    return Packed(base64.b64encode(whole).decode("ascii"), index)


def unpack(packed: Packed, trackers: int) -> list[Array]:
    """The arrays (K, points) again, to within half a level."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), np.uint8)
    found = []
    for entry in packed.index:
        size = trackers * entry["points"]
        differences = raw[entry["start"] : entry["start"] + size].reshape(trackers, entry["points"])
        codes = np.cumsum(differences, axis=1, dtype=np.uint8)
        found.append(np.where(codes == NOTHING, np.nan, codes / LEVELS))
    return found


def _codes(values: Array) -> NDArray[np.uint8]:
    known = np.isfinite(values)
    codes = np.rint(np.clip(np.where(known, values, 0.0), 0.0, 1.0) * LEVELS)
    return np.where(known, codes, NOTHING).astype(np.uint8)


def _deflate(codes: Seq[NDArray[np.uint8]]) -> bytes:
    parts = [np.diff(c, axis=1, prepend=np.zeros((len(c), 1), np.uint8)).astype(np.uint8).tobytes() for c in codes]
    return zlib.compress(b"".join(parts), 9)


def _thinned(values: Array, stride: int) -> Array:
    """Means of `stride` neighbours along time; NaN where none of them is known."""
    missing = -values.shape[1] % stride
    groups = np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan).reshape(len(values), -1, stride)
    known = ~np.isnan(groups)
    count = known.sum(axis=2)
    return np.where(count > 0, np.where(known, groups, 0.0).sum(axis=2) / np.maximum(count, 1), np.nan)
