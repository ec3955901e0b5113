"""Annotation files as arrays and texts: all spellings of the releases are read, and contradictions are errors.

MGIT's texts are tables, an xlsx per sequence, whose rows describe a span of frames as action, activity or story.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError, MissingExtraError
from tnllt.files import read_bytes
from tnllt.numbers import parse_table
from tnllt.sequence import Boxes

#: How the columns of a box file are to be read, by name.
BOX_FORMATS = ("xywh", "xyxy", "cxcywh", "polygon", "vatic")
# Chinese releases carry GB18030 files; Latin-1 decodes anything and comes last.
_ENCODINGS = ("utf-8-sig", "gb18030", "latin-1")


def read_text(path: Path) -> str:
    """A text file in whatever encoding the releases use. Raises DataError that names a file that cannot be read."""
    raw = read_bytes(path)
    for encoding in _ENCODINGS:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes every byte")


def read_boxes(path: Path, form: str = "xywh") -> Boxes:
    """Boxes of a file, (T, 4) float64 x, y, w, h in pixels.

    Args:
        path: the box file.
        form: `xywh`, `xyxy` (corners), `cxcywh` (centre), `polygon` (8 numbers: the upright box around four corners)
            or `vatic` (`id x1 y1 x2 y2 frame ... "label"`, as in NfS; a file of four columns is read as x, y, w, h).
    """
    if form == "vatic" and len(read_text(path).lstrip().partition("\n")[0].replace(",", " ").split()) > 4:
        return _read_vatic(path)
    form = "xywh" if form == "vatic" else form
    table = parse_table(read_bytes(path), path=path)
    if not len(table):
        return np.empty((0, 4))
    expected = 8 if form == "polygon" else 4
    if table.shape[1] != expected:
        hint = '; four corners? state format = "polygon" in dataset.toml' if table.shape[1] == 8 else ""
        raise DataError(f"has {table.shape[1]} values, a box has {expected}{hint}", path, 1)
    first, second = table[:, :2], table[:, 2:4]
    if form == "xyxy":
        return np.concatenate([first, second - first], axis=1)
    if form == "cxcywh":
        return np.concatenate([first - second / 2, second], axis=1)
    if form == "polygon":
        corners = table.reshape(len(table), -1, 2)
        return np.concatenate([corners.min(1), corners.max(1) - corners.min(1)], axis=1)
    if form == "xywh":
        return table
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
    raw = read_bytes(path)
    # Nothing but single 0 and 1, padded or not, as all releases have it: a million of them are read in no time.
    if not raw.translate(None, b"01 ,\t\r\n"):
        data = np.frombuffer(raw, np.uint8)
        digit = data >= 48
        if not (digit[1:] & digit[:-1]).any():
            return (data[digit] - 48).astype(np.int64)
    values = parse_table(raw, path=path)
    bad = np.argwhere((values != np.floor(values)) | (np.abs(values) > 2**31))
    if len(bad):
        row, column = (int(i) for i in bad[0])
        raise DataError(f"{values[row, column]:g} is not a flag; an integer is expected", path, row + 1)
    return values.astype(np.int64).ravel()


def read_first_line(path: Path) -> str | None:
    """The first line of a language file without the white space around it; None where the file is empty."""
    return next((line.strip() for line in read_text(path).splitlines() if line.strip()), None)


#: No table of descriptions has more.
_MOST_BYTES, _MOST_ROWS = 64 << 20, 100_000


@dataclass(frozen=True)
class Span:
    """One row: a description that is true from frame `start` to frame `end`, both counted from 0 and inside."""

    level: str
    start: int
    end: int
    description: str


def read_spans(path: Path) -> list[Span]:
    """The rows of a table. Raises DataError where it is not such a table, MissingExtraError without openpyxl."""
    try:
        import openpyxl
    except ImportError as error:
        raise MissingExtraError("reading MGIT's language", "excel", error) from error
    try:
        with zipfile.ZipFile(path) as archive:  # a small zip file can unpack to more than memory holds
            if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
                raise DataError(f"unpacks to more than {_MOST_BYTES >> 20} MB; no such table does", path)
        sheet = openpyxl.load_workbook(path, read_only=True).active
        sheet.reset_dimensions()  # a table may claim a million columns
        rows = list(islice(sheet.iter_rows(values_only=True), _MOST_ROWS + 1))
    except DataError:
        raise
    except Exception as error:  # openpyxl raises whatever zip and XML raise
        raise DataError(f"is not an xlsx table ({str(error)[:200]})", path) from error
    if len(rows) > _MOST_ROWS:
        raise DataError(f"has more than {_MOST_ROWS:,} rows", path)
    columns = [str(cell).strip() for cell in rows[0]] if rows else []
    try:
        level, start, end, words = (columns.index(c) for c in ("level", "start_frame", "end_frame", "description"))
    except ValueError:
        raise DataError("needs the columns level, start_frame, end_frame, description", path, 1) from None
    spans = []
    for number, row in enumerate(rows[1:], start=2):
        row = (*row, *[None] * (len(columns) - len(row)))
        if row[words] is None:
            continue
        try:
            spans.append(Span(str(row[level]), int(row[start]), int(row[end]), " ".join(str(row[words]).split())))
        except (TypeError, ValueError, OverflowError):
            raise DataError("start_frame and end_frame must be whole numbers", path, number) from None
    return spans


def read_story(path: Path) -> str | None:
    """The description of the whole video: the story, which MGIT's toolkit gives its trackers."""
    spans = read_spans(path)
    return next((span.description for span in reversed(spans) if span.level == "story"), None) or (
        spans[-1].description if spans else None
    )


def read_descriptions(path: Path, length: int) -> tuple[str, ...]:
    """Per frame, the description of the action that goes on; empty where the table has none."""
    descriptions = [""] * length
    for span in read_spans(path):
        if span.level == "action":
            for frame in range(max(span.start, 0), min(span.end + 1, length)):
                descriptions[frame] = span.description
    return tuple(descriptions)
