"""Masks of a target, (H, W) bool: their boxes, and COCO's run-length encoding, in which `--masks` keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError

Mask: TypeAlias = NDArray[np.bool_]
#: Which pixels the box goes around: all of the mask, or those of its largest part (8-connected).
BoxRule: TypeAlias = Literal["all", "largest"]

#: A mask that is read may have so many; larger ones would be a way to fill the memory.
_MOST_PIXELS = 1 << 28


def mask_box(mask: Mask, rule: BoxRule = "all") -> tuple[float, float, float, float] | None:
    """The box x, y, w, h around a mask's pixels, each of width 1; None where the mask is empty."""
    pixels = mask.astype(np.uint8)
    if rule == "all":
        x, y, w, h = cv2.boundingRect(pixels)
        return (float(x), float(y), float(w), float(h)) if w and h else None
    _, _, parts, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    if len(parts) == 1:  # the background alone
        return None
    x, y, w, h = parts[1 + int(parts[1:, cv2.CC_STAT_AREA].argmax())][:4]
    return float(x), float(y), float(w), float(h)


def encode_mask(mask: Mask) -> dict[str, Any]:
    """COCO's compressed form {"size": [H, W], "counts": text}: lengths of runs, column by column, zeros first.

    Of each length from the fourth on, the difference to the one before the last is written, five bits a character.
    """
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(changes, prepend=0, append=flat.size).tolist()
    if flat.size and flat[0]:
        lengths.insert(0, 0)
    return {"size": list(mask.shape), "counts": "".join(_characters(lengths))}


def decode_mask(table: Any) -> Mask:
    """The mask of `encode_mask`. Raises DataError where the text does not describe a mask of that size."""
    try:
        height, width = (int(side) for side in table["size"])
        lengths = _lengths(table["counts"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"not a run-length encoded mask: {error}") from error
    if sum(lengths) != height * width or min(lengths, default=0) < 0 or height * width > _MOST_PIXELS:
        raise DataError(f"a mask of {height} x {width} pixels whose runs have {sum(lengths)}")
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.ascontiguousarray(flat.reshape((height, width), order="F"))


def _characters(lengths: list[int]) -> Iterator[str]:
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index > 2 else length
        while True:
            bits, value = value & 31, value >> 5
            last = value == (-1 if bits & 16 else 0)
            yield chr(48 + bits + (0 if last else 32))
            if last:
                break


def _lengths(text: str) -> list[int]:
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:  # the highest bit is the sign
                value -= 1 << shift
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths
