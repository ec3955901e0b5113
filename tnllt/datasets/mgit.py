"""MGIT's text tables: an xlsx per sequence whose rows describe a span of frames as action, activity or story."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tnllt.errors import DataError, MissingExtraError

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
