"""Text to numbers, fast and exact: every value equals Python's `float()` of its text.

A decimal of up to 15 digits is an integer below 2^53 divided by a power of ten not above 10^22; both are exact in
float64, so one correctly rounded division gives the correctly rounded value (Clinger, 1990). Digits become integers
eight at a time in 64-bit words. Numbers in another form (exponents, NaN, longer numbers, padded columns) are read by
`float()` itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.processes import map_in_threads

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]

_SEPARATOR = re.compile(r"\s*[,;]\s*|\s+")
_CHUNK = 1 << 19  # bytes parsed at once: large enough for NumPy, small enough for the processor's cache
_LONGEST_ROW = 4 << 20  # bytes; a row is split into its numbers at once
_KEPT = 31 << 20  # bytes; glibc looks at blocks of up to 32 MB
_DIGITS = 15  # any integer of so many digits is exact in float64
_TENS = np.array([10.0**k for k in range(23)])
_LOW_NIBBLES = 0x0F0F0F0F0F0F0F0F
# Keeps the digits of the last n bytes of a little-endian word; more than eight keep all.
_KEEP = np.array(
    [(_LOW_NIBBLES >> 8 * (8 - n)) << 8 * (8 - n) if n < 8 else _LOW_NIBBLES for n in range(_DIGITS + 1)], np.uint64
)
_BOM = b"\xef\xbb\xbf"
_FOUR_BY_COMMAS = int.from_bytes(b",,,\n", "little")


def parse_table(text: bytes | str, columns: int | None = None, path: str | Path | None = None) -> Array:
    """A table of numbers, (rows, columns) float64.

    Columns are separated by comma, semicolon, tab, spaces, or a mixture; lines end with LF, CRLF or CR. A byte-order
    mark, blank lines at the end and a separator at a line's end do not change the table.

    Args:
        text: the file's content.
        columns: how many numbers every row has; None: as many as the first row.
        path: named in errors.

    Raises:
        DataError: with the row, where a row is blank, has another number of values, or holds what is not a number; and
            where the content is binary. An empty file gives (0, columns).
    """
    raw = text.encode() if isinstance(text, str) else text
    clean = _clean(raw)
    width = columns or _width(clean)
    if clean is not None and width:
        table = _fast_table(clean, width)
        if table is not None:
            return table
    del clean
    return _slow(raw, columns, path)


def parse_tables(texts: Seq[bytes], columns: int, paths: Seq[str | Path | None] | None = None) -> list[Array]:
    """`parse_table` of many files; small ones are parsed together. Raises DataError that names a bad file."""
    if not texts:
        return []
    # Freed at once: from then on glibc keeps the memory of arrays for the next ones, which need no fresh pages.
    np.empty(_KEPT, np.uint8)
    groups: list[list[int]] = [[]]
    size = 0
    # Numbers of as many decimals are parsed fastest, so files that are alike go together.
    for index in sorted(range(len(texts)), key=lambda i: _places(texts[i])):
        if size and size + len(texts[index]) > _CHUNK:
            groups.append([])
            size = 0
        groups[-1].append(index)
        size += len(texts[index])

    def work(group: list[int]) -> list[Array]:
        if len(group) == 1:
            return [parse_table(texts[group[0]], columns, paths[group[0]] if paths else None)]
        cleaned = [_clean(texts[i]) for i in group]
        whole = [c for c in cleaned if c is not None]
        tables = _fast(whole, columns) if len(whole) == len(group) else None
        if tables is not None:
            return tables
        return [parse_table(texts[i], columns, paths[i] if paths else None) for i in group]

    done = [work(groups[0])] if len(groups) == 1 else map_in_threads(work, groups)
    pairs = (pair for group, tables in zip(groups, done, strict=True) for pair in zip(group, tables, strict=True))
    found = dict(pairs)
    return [found[index] for index in range(len(texts))]


def _places(text: bytes) -> int:
    """Decimals of a file's first number, as far as a look at its head tells."""
    return len(re.split(rb"[^0-9.]", text[:40].lstrip(b" -"), maxsplit=1)[0].partition(b".")[2])


def _clean(raw: bytes) -> bytes | None:
    """The text with plain line ends and separators, ending in one line end; None where it must be read slowly."""
    if raw.startswith(_BOM):
        raw = raw[3:]
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n")
    if b";" in raw:
        raw = raw.replace(b";", b",")
    if b" " in raw:  # one byte is looked for much faster than two
        raw = raw.replace(b", ", b",")
    raw = raw.rstrip(b" \t\n")
    return raw + b"\n" if raw else None


def _width(clean: bytes | None) -> int:
    if clean is None or clean.index(b"\n") > _LONGEST_ROW:
        return 0
    return len(_SEPARATOR.split(clean[: clean.index(b"\n")].decode("latin-1").strip()))


def _blocks(text: bytes) -> Iterator[bytes]:
    """The text in blocks of whole rows, so that what is made of a block does not grow with the file."""
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + _CHUNK) + 1 or len(text)
        yield text[start:end] if start or end < len(text) else text
        start = end


def _fast_table(clean: bytes, columns: int) -> Array | None:
    """The table of one plainly spelled text, or None if it holds anything unusual."""
    rows = clean.count(b"\n")
    if rows * columns > len(clean) // 2:  # a number takes two bytes: rows are missing some
        return None
    table, row = np.empty((rows, columns)), 0
    for block in _blocks(clean):
        if len(block) > _CHUNK + _LONGEST_ROW or (part := _fast([block], columns)) is None:
            return None
        table[row : row + len(part[0])] = part[0]
        row += len(part[0])
    return table


def _fast(texts: list[bytes], columns: int) -> list[Array] | None:
    """Tables of plainly spelled texts, or None if any of them holds anything unusual."""
    joined = b"0" * 16 + b"".join(texts)  # room for the words before the first number's end
    data = np.frombuffer(joined, np.uint8)
    if data.max() > 57:
        return None
    minus = np.flatnonzero(data == 45)
    found = _even(data, len(minus), _places(texts[0])) or _ends_and_decimals(data)
    if found is None:
        return None
    ends, decimals, dotted, dots_before = found
    kinds = data[ends]
    if len(ends) % columns:
        return None
    if columns != 4 or (kinds.view("<u4") != _FOUR_BY_COMMAS).any():
        line_ends = kinds == 10
        if not ((kinds == 44) | line_ends | (kinds == 9) | (kinds == 32)).all():
            return None
        grid = line_ends.reshape(-1, columns)
        if not grid[:, -1].all() or grid[:, :-1].any():
            return None
    digits = np.empty_like(ends)
    digits[0] = ends[0] - 15
    np.subtract(ends[1:], ends[:-1], out=digits[1:])
    digits -= 1 + dotted
    negative = np.searchsorted(ends, minus)
    digits[negative] -= 1
    if (data[minus[minus > 16] - 1] > 44).any():  # a sign anywhere but at a number's start
        return None
    if digits.min() < (decimals or 1 if isinstance(decimals, int) else 1) or digits.max() > _DIGITS:
        return None  # fewer digits than decimals: the dot is another number's
    mantissas, places = _mantissas(joined, ends, digits, decimals, dots_before)
    values = mantissas.astype(np.float64)
    if dots_before is not None or decimals:
        values /= _TENS[places]
    values[negative] *= -1.0
    table = values.reshape(-1, columns)
    if len(texts) == 1:
        return [table]
    rows = np.searchsorted(ends[columns - 1 :: columns], 15 + np.cumsum([len(t) for t in texts]), side="right")
    return np.split(table, rows[:-1])


#: Where numbers end, decimals of each or of all, whether dotted, dots up to there (None: as many decimals everywhere).
_Found = tuple[Index, "Index | int", "Flags | int", "Index | None"]


def _even(data: NDArray[np.uint8], signs: int, places: int) -> _Found | None:
    """What `_ends_and_decimals` finds, where every number has so many decimals: the usual case, and faster.

    It has as many dots as numbers, one before the last decimals of each; that each is the number's own is left to see.
    """
    ends = np.flatnonzero(data < 45)
    dots = len(ends) if places else 0
    if not 0 <= places < 8 or np.count_nonzero(data < 48) != len(ends) + signs + dots:
        return None
    if places and not (len(ends) and (data[ends - places - 1] == 46).all()):
        return None
    return ends, places, min(places, 1), None


def _ends_and_decimals(data: NDArray[np.uint8]) -> _Found | None:
    """None where a number has two dots."""
    marks = np.flatnonzero((data < 48) & (data != 45))
    is_dot = data[marks] == 46
    if is_dot[-1] or (is_dot[1:] & is_dot[:-1]).any():
        return None
    at = np.flatnonzero(~is_dot)
    ends = marks[at]
    dotted = is_dot[at - 1]  # the first mark's neighbour wraps around to the last, which is not a dot
    decimals = np.where(dotted, ends - marks[at - 1] - 1, 0)
    return ends, np.asarray(decimals, np.int64), np.asarray(dotted), np.asarray(np.cumsum(is_dot, dtype=np.int64)[at])


def _mantissas(
    joined: bytes, ends: Index, digits: Index, decimals: Index | int, dots_before: Index | None
) -> tuple[NDArray[np.uint64], Index | int]:
    """The digits of each number as an integer, its dot left out; and decimals, one number where all have as many."""
    low_digits = 8
    if dots_before is None:
        low, high_at = _words(joined, ends), ends
        if isinstance(decimals, int) and decimals:
            # The dot is the same byte of every word, and the bytes before it move up.
            low_digits = 7
            tail = (1 << 64) - (1 << 8 * (8 - decimals))
            head = (1 << 8 * (7 - decimals)) - 1
            low = (low & np.uint64(tail)) | ((low & np.uint64(head)) << np.uint64(8))
    else:
        joined, high_at = joined.translate(None, b"."), ends - dots_before
        low = _words(joined, high_at)
    if digits.max() <= low_digits:
        return _eight_digits(low & _KEEP[digits]), decimals
    mantissa = _eight_digits(low & _KEEP[np.minimum(digits, low_digits)])
    high = _words(joined, high_at - 8) & _KEEP[np.maximum(digits - low_digits, 0)]
    mantissa += _eight_digits(high) * np.uint64(10**low_digits)
    return mantissa, decimals


def _words(joined: bytes, ends: Index) -> NDArray[np.uint64]:
    """The eight bytes before each end, as little-endian words."""
    return np.ndarray((len(joined) - 7,), "<u8", joined, 0, (1,))[ends - 8]


def _eight_digits(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers of eight digits, one per byte (the first in the lowest), in place: pairs, then fours, then all."""
    for factor, shift, keep in (
        (2561, 8, 0x00FF00FF00FF00FF),
        (6553601, 16, 0x0000FFFF0000FFFF),
        (42949672960001, 32, 0xFFFFFFFF),
    ):
        words *= np.uint64(factor)
        words >>= np.uint64(shift)
        words &= np.uint64(keep)
    return words


def _slow(raw: bytes, columns: int | None, path: str | Path | None) -> Array:
    """The table of any text, by `float()` itself, a block of rows at a time."""
    if b"\0" in raw:
        raise DataError("is not text (it holds zero bytes); expected rows of numbers", path)
    raw = raw.removeprefix(_BOM)
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    raw = raw.rstrip()
    tables: list[Array] = []
    width, rows = columns, 0
    for block in _blocks(raw):
        try:
            lines = block.removesuffix(b"\n").decode().split("\n")
        except UnicodeDecodeError as error:
            raise DataError("is not text (binary, or not UTF-8); expected rows of numbers", path) from error
        values = []
        for row, line in enumerate(lines, start=rows + 1):
            values.append(_numbers(line, width, path, row))
            width = len(values[0])
        tables.append(np.array(values, np.float64))
        rows += len(lines)
    return np.concatenate(tables) if tables else np.empty((0, columns or 0))


def _numbers(line: str, width: int | None, path: str | Path | None, row: int) -> list[float]:
    """A row's numbers. Raises DataError where there are not as many as `width`, or one is not a number."""
    if len(line) > _LONGEST_ROW:
        raise DataError(f"is longer than {_LONGEST_ROW >> 20} MB; no row of numbers is", path, row)
    cells = _cells(line)
    if not cells:
        raise DataError("is blank; every frame needs its row", path, row)
    if width is not None and len(cells) != width:
        what = "number" if len(cells) == 1 else "numbers"
        raise DataError(f"{len(cells)} {what} instead of {width}: {line[:60]!r}", path, row)
    values = []
    for cell in cells:
        try:
            values.append(float(cell))
        except ValueError:
            raise DataError(f"{cell[:60]!r} is not a number", path, row) from None
    return values


def _cells(line: str) -> list[str]:
    stripped = line.strip()
    if not stripped:
        return []
    cells = _SEPARATOR.split(stripped)
    return cells[:-1] if cells[-1] == "" else cells
