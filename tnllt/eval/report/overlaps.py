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
Codes = NDArray[np.uint8]
LEVELS = 250
NOTHING = 255
_DECODED = np.append(np.arange(NOTHING) / LEVELS, np.nan)
#: Series are never thinned to fewer points.
FEWEST_POINTS = 64


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


def pack(series: Iterable[Codes], budget: int, strides: Seq[int] | None = None) -> Packed:
    """Packs codes of overlaps, one array (K, points) per sequence, into about `budget` bytes of text.

    Args:
        series: in the order of the sequences; K is the same for all.
        strides: how many frames a point of each series stands for already; None: one.
    """
    given = list(series)
    base = list(strides) if strides is not None else [1] * len(given)
    codes, factors = list(given), [1] * len(given)
    longest = max((c.shape[1] for c in codes), default=0)
    # Deflating adds a thousandth at most.
    while (
        longest > FEWEST_POINTS
        and sum(c.size for c in codes) * 1.34 > budget
        and len(_deflate(codes, 6)) * 4 / 3 > budget
    ):
        # The longest lose their detail first: a screen is about a thousand points wide.
        longest = max(longest // 2, FEWEST_POINTS)
        for i, values in enumerate(given):
            if codes[i].shape[1] > longest:
                factors[i] = stride_for(values.shape[1], longest)
                codes[i] = thinned(values, np.arange(0, values.shape[1], factors[i]))
    whole = _deflate(codes, 9)
    index, start = [], 0
    for code, own, factor in zip(codes, base, factors, strict=True):
        index.append({"start": start, "points": code.shape[1], "stride": own * factor})
        start += code.size
    return Packed(base64.b64encode(whole).decode("ascii"), index)


def first_strides(lengths: Seq[int], trackers: int, points: int) -> list[int]:
    """Strides that leave at most about `points` points over all trackers and sequences."""
    longest = max(lengths, default=0)
    strides = [1] * len(lengths)
    while (
        longest > FEWEST_POINTS and trackers * sum(-(-n // s) for n, s in zip(lengths, strides, strict=True)) > points
    ):
        longest = max(longest // 2, FEWEST_POINTS)
        strides = [stride_for(n, longest) for n in lengths]
    return strides


def stride_for(length: int, most: int) -> int:
    """The smallest power of two that leaves at most `most` points of `length`."""
    return 1 << max(0, -(-length // most) - 1).bit_length()


def thinned(codes: Codes, starts: NDArray[np.int64]) -> Codes:
    """Codes (..., points) of means over the frames from each start to the next; `NOTHING` where none is known.

    The first start is 0.
    """
    if len(starts) == codes.shape[-1]:
        return codes
    known, last = codes != NOTHING, np.append(starts[1:], codes.shape[-1]) - 1

    def summed(values: NDArray[Any]) -> NDArray[np.int64]:  # `np.add.reduceat` takes three times as long
        return np.diff(np.cumsum(values, axis=-1, dtype=np.int64)[..., last], axis=-1, prepend=0)

    count, total = summed(known), summed(np.where(known, codes, 0))
    return np.where(count > 0, np.rint(total / np.maximum(count, 1)), NOTHING).astype(np.uint8)


def mean_known(values: NDArray[np.floating[Any]], axis: int) -> Array:
    """Means along an axis of the values that are not NaN; NaN where there is none."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    total = np.where(known, values, 0.0).sum(axis=axis, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def encoded(overlaps: NDArray[np.floating[Any]]) -> Codes:
    """Codes of overlaps; those outside [0, 1] are cut."""
    known = np.isfinite(overlaps)
    codes = np.rint(np.clip(np.where(known, overlaps, 0.0), 0.0, 1.0) * LEVELS)
    return np.where(known, codes, NOTHING).astype(np.uint8)


def decoded(codes: Codes) -> Array:
    """Overlaps of codes, NaN where there is none."""
    return np.asarray(_DECODED[codes])


def _deflate(codes: Seq[Codes], level: int) -> bytes:
    packer = zlib.compressobj(level)
    parts = [
        packer.compress(np.diff(c, axis=1, prepend=np.zeros((len(c), 1), np.uint8)).astype(np.uint8).tobytes())
        for c in codes
    ]
    return b"".join([*parts, packer.flush()])
