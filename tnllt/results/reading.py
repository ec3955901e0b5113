"""Reading results: one tolerant reader for all layouts; many files are parsed together.

Numbers equal Python's `float()` of their text (`tnllt.numbers`); what cannot be read is named with file and row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tnllt.errors import DataError
from tnllt.files import read_bytes
from tnllt.numbers import Array, parse_table, parse_tables
from tnllt.realtime import as_streamed
from tnllt.results.layouts import ResultFile
from tnllt.results.records import RunRecord, parse_record
from tnllt.sequence import Boxes, Trajectory

#: In place of a run record that describes another result than the one it lies beside.
FOREIGN = "foreign"


def read_boxes(path: str | Path) -> Boxes:
    """Boxes (T, 4) of one result file. Raises DataError with file and row; an empty file is one."""
    return _boxes(parse_table(read_bytes(path), 4, path), str(path))


def read_many(files: list[ResultFile], raws: list[bytes] | None = None) -> list[Trajectory]:
    """Trajectories of many files, parsed together.

    Args:
        files: what to read.
        raws: their bytes, where they have been read already.
    """
    raws = [f.read() for f in files] if raws is None else raws
    tables = parse_tables(raws, 4, [f.place for f in files])
    return [trajectory(f, raw, _boxes(table, f.place)) for f, raw, table in zip(files, raws, tables, strict=True)]


def read_results(files: Mapping[str, ResultFile]) -> dict[str, Trajectory]:
    """`read_many` of files by name, such as one tracker's by sequence."""
    return dict(zip(files, read_many(list(files.values())), strict=True))


def _boxes(table: Array, place: str) -> Boxes:
    if not len(table):
        raise DataError("is empty; a result has one row x,y,w,h per frame", place)
    return table


def run_record(file: ResultFile, raw: bytes) -> RunRecord | None:
    """The run record beside a result of these bytes; None where there is none, or where it describes another result."""
    if "record" not in file.beside:
        return None
    record = parse_record(file.beside["record"](), f"{file.place} (run record)")
    digest = record.sha256.get("result")
    return record if not digest or digest == hashlib.sha256(raw).hexdigest() else None


def trajectory(file: ResultFile, raw: bytes, boxes: Boxes) -> Trajectory:
    """The boxes with what lies beside them: the run record, else confidence and time files of other frameworks.

    Args:
        raw: the bytes that the boxes were read from; beside others than a run record describes, it does not apply, and
            `FOREIGN` is the only field of the trajectory's record.
    """
    if "record" in file.beside:
        record = run_record(file, raw)
        if record is None:
            found = Trajectory(boxes, record={FOREIGN: True})
        elif len(boxes) != record.frames:
            found = Trajectory(boxes)
        else:
            found = record.trajectory(boxes, f"{file.place} (run record)")
    else:
        confidence = _column(file, "confidence", len(boxes))
        found = Trajectory(boxes, confidence=confidence, seconds=_column(file, "seconds", len(boxes)))
    return found if file.realtime is None else as_streamed(found, file.realtime, file.place)


def _column(file: ResultFile, what: str, length: int) -> Array | None:
    """One number per frame from a file beside the result; NaN for the first frame where that has none (VOT)."""
    if what not in file.beside:
        return None
    raw = file.beside[what]()
    if raw[:1] in (b"\n", b"\r"):  # VOT leaves the first frame's line empty
        raw = b"nan" + raw
    place = f"{file.place} ({what})"
    values = parse_table(raw, None, place)
    values = values[:, 0] if values.size and 1 not in values.shape else values.reshape(-1)
    if what == "seconds" and len(values) != length:
        return None  # times of another length cannot be used; a score does not need them
    if len(values) == length - 1:
        values = np.concatenate([[1.0 if what == "confidence" else np.nan], values])
    if len(values) != length:
        raise DataError(f"{len(values)} values for {length} rows of boxes", place)
    if what == "confidence" and np.isnan(values[0]):
        values = np.concatenate([[1.0], values[1:]])  # the initial box is given to the tracker
    return values
