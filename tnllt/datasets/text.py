"""Annotation files as arrays: tolerant of how the releases spell them, strict about what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.sequence import Boxes

#: How the columns of a box file are to be read, by name.
BOX_FORMATS = ("xywh", "xyxy", "cxcywh", "polygon", "vatic")
_SEPARATORS = re.compile(r"[\s,;]+")
# Chinese releases carry GB18030 files; Latin-1 decodes anything and comes last.
_ENCODINGS = ("utf-8-sig", "gb18030", "latin-1")


def read_text(path: Path) -> str:
    """A text file in whatever encoding the releases use. Raises DataError that names a file that cannot be read."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from error
    for encoding in _ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def read_table(path: Path, columns: int | None = None) -> NDArray[np.float64]:
    """Numbers of a text file, (rows, columns) float64; comma, tab, space and semicolon all separate.

    Blank lines at the end are of no matter. Raises DataError with the row where a line is empty, has another number
    of columns than `columns` (or than the first line), or holds something that is not a number.
    """
    lines = read_text(path).rstrip().splitlines()
    if not lines:
        return np.empty((0, columns or 0))
    rows = [_SEPARATORS.split(line.strip().rstrip(",;")) for line in lines]
    width = columns or len(rows[0])
    for number, row in enumerate(rows, start=1):
        if row == [""]:
            raise DataError("is empty; every frame needs its row (NaN where nothing is annotated)", path, number)
        if len(row) != width:
            raise DataError(f"has {len(row)} values instead of {width}: {lines[number - 1][:60]!r}", path, number)
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        number, value = next((n, v) for n, row in enumerate(rows, 1) for v in row if not _is_number(v))
        raise DataError(f"{value!r} is not a number", path, number) from None


def read_boxes(path: Path, form: str = "xywh") -> Boxes:
    """Boxes of a file, (T, 4) float64 x, y, w, h in pixels.

    Args:
        path: the box file.
        form: `xywh`, `xyxy` (corners), `cxcywh` (centre), `polygon` (8 numbers: the upright box around four corners)
            or `vatic` (`id x1 y1 x2 y2 frame ... "label"`, as in NfS; a file of four columns is read as x, y, w, h).
    """
    if form == "vatic" and len(_SEPARATORS.split(read_text(path).lstrip().partition("\n")[0].strip())) > 4:
        return _read_vatic(path)
    form = "xywh" if form == "vatic" else form
    table = read_table(path)
    if not len(table):
        return np.empty((0, 4))
    expected = 8 if form == "polygon" else 4
    if table.shape[1] != expected:
        hint = '; four corners? state format = "polygon" in dataset.toml' if table.shape[1] == 8 else ""
        raise DataError(f"has {table.shape[1]} values, a box has {expected}{hint}", path, 1)
    return to_xywh(table, form)


def to_xywh(table: NDArray[np.float64], form: str) -> Boxes:
    """Rows in a box format other than `vatic` as x, y, w, h."""
    if form == "xywh":
        return table
    first, second = table[:, :2], table[:, 2:4]
    if form == "xyxy":
        return np.concatenate([first, second - first], axis=1)
    if form == "cxcywh":
        return np.concatenate([first - second / 2, second], axis=1)
    if form == "polygon":
        corners = table.reshape(len(table), -1, 2)
        return np.concatenate([corners.min(1), corners.max(1) - corners.min(1)], axis=1)
    raise DataError(f"unknown box format {form!r}; known are {', '.join(BOX_FORMATS)}")


def _read_vatic(path: Path) -> Boxes:
    """Rows `id x1 y1 x2 y2 frame lost ...`; the label behind them may hold spaces."""
    boxes = []
    for number, line in enumerate(read_text(path).rstrip().splitlines(), start=1):
        cells = line.replace(",", " ").split()
        try:
            x1, y1, x2, y2 = (float(value) for value in cells[1:5])
        except ValueError:
            raise DataError(f"needs `id x1 y1 x2 y2 ...`: {line[:60]!r}", path, number) from None
        boxes.append((x1, y1, x2 - x1, y2 - y1))
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def read_flags(path: Path) -> NDArray[np.int64]:
    """Integers of a flag file (N,), whether one a row or all in one row; whatever they mean."""
    cells = _SEPARATORS.split(read_text(path).strip().rstrip(",;"))
    if cells == [""]:
        return np.empty(0, np.int64)
    try:
        values = np.array(cells, dtype=np.float64)
        if not (values == np.floor(values)).all():
            raise ValueError
    except ValueError:
        bad = next(c for c in cells if not _is_number(c) or not float(c).is_integer())
        raise DataError(f"{bad!r} is not a flag (an integer is expected)", path) from None
    return values.astype(np.int64)


def read_sentence(path: Path) -> str | None:
    """The first line of a language file without the white space around it; None where the file says nothing."""
    return next((line.strip() for line in read_text(path).splitlines() if line.strip()), None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
