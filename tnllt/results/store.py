"""The result store: official layout and names, written so that a file that is there is whole.

For tracker NAME and sequence SEQ, below the results folder::

    NAME_tracking_result/SEQ.txt           x,y,w,h per frame, comma, four decimals (the official toolkit reads it)
    NAME_tracking_result/SEQ.run.json      the run record (`tnllt.results.records`)
    NAME_tracking_result/SEQ.trace.jsonl   events, one JSON object a line; only where there were any
    NAME_tracking_result/SEQ.masks.jsonl   with --masks: COCO's {"size", "counts"} a frame, null where there is none
    NAME_tracking_result/run.json          the run's identity (`tnllt.results.records`)

    NAME_tracking_result/SEQ.failure.json  the record of a later try that failed (SEQ.failure.jsonl: its trace)

The text file is written last: where it is, the rest is there too. A failed sequence has a record and no text file;
where a finished result of the same identity is there, it stays, and the failure's record lies beside it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.files import file_name, parse_json, plain, read_bytes, sweep, temporary_beside, write_atomic
from tnllt.locks import FileLock
from tnllt.masks import Mask, decode_mask
from tnllt.numbers import parse_table
from tnllt.results import records as identities
from tnllt.results.layouts import SUFFIX
from tnllt.results.records import RunIdentity, RunRecord, lacks_answers, read_record
from tnllt.sequence import Boxes, Trajectory

LOCKS = ".locks"
#: Endings of what a failure leaves beside a result that is kept.
_FAILURE = (".failure.json", ".failure.jsonl")
#: Those of all that belongs to a sequence, in the order in which they are removed.
_ALL = (".txt", ".run.json", ".trace.jsonl", ".masks.jsonl", *_FAILURE)
#: Seconds to wait for another run that writes the identity, which takes milliseconds.
LOCK_TIMEOUT = 60.0


@dataclass(frozen=True)
class StoredResult:
    """What the store holds of one tracker on one sequence.

    Attributes:
        status: "done"; "failed"; "missing"; or, without a run record, "foreign" (a whole result that another tool
            wrote) or "unusable" (a file that is none).
        record: the run record; of a result that is done, never None.
        reason: why a result that is there does not count, else "".
    """

    status: str
    record: RunRecord | None = None
    reason: str = ""


class ResultStore:
    """Results of any number of trackers below one folder.

    Args:
        folder: the results folder; made when the first result is written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def tracker_folder(self, tracker: str) -> Path:
        return self.folder / f"{file_name(tracker, 'tracker')}{SUFFIX}"

    def path(self, tracker: str, sequence: str, suffix: str = ".txt") -> Path:
        """Path of the result (`.txt`), the record (`.run.json`), the trace (`.trace.jsonl`) or a video (`.mp4`)."""
        return self.tracker_folder(tracker) / f"{file_name(sequence, 'sequence')}{suffix}"

    def lock(self, tracker: str, sequence: str) -> FileLock:
        """The lock of one sequence, not yet taken: whoever holds it may write its result."""
        return FileLock(self.tracker_folder(tracker) / LOCKS / file_name(sequence, "sequence"))

    def trackers(self) -> list[str]:
        """Names of the trackers with a folder here, sorted."""
        return sorted(p.name.removesuffix(SUFFIX) for p in self.folder.glob(f"*{SUFFIX}") if p.is_dir())

    def named(self, names: Iterable[str] = ()) -> list[str]:
        """These of the trackers here, by default all. Raises UsageError where one is not here, or none is."""
        there, wanted = self.trackers(), list(names)
        unknown = [name for name in wanted if name not in there]
        if unknown or not there:
            lacks, known = ", ".join(unknown) or "any tracker", ", ".join(there) or "none"
            raise UsageError(f"{self.folder} has no results of {lacks}; there are: {known}")
        return wanted or there

    def sequences(self, tracker: str) -> list[str]:
        """Names of the sequences that have a result or a record here, sorted."""
        names = [p.name for p in self.tracker_folder(tracker).glob("*") if not p.name.startswith(".")]
        suffixes = (".run.json", ".txt")
        return sorted({n.removesuffix(s) for n in names for s in suffixes if n.endswith(s)})

    def write(
        self,
        tracker: str,
        sequence: str,
        trajectory: Trajectory,
        trace: Iterable[Mapping[str, Any]] = (),
        masks: Iterable[Mapping[str, Any] | None] = (),
    ) -> RunRecord:
        """Writes one finished sequence and returns its record, with the text file's hash.

        `trajectory.record` holds the record's fields (`run_sequence` fills it); what is missing gets defaults.
        Raises DataError where the disk is full or the folder cannot be written: then an older result stays.
        """
        data = format_boxes(trajectory.boxes)
        record = _record_of(tracker, sequence, trajectory)
        record.sha256 = {**record.sha256, "result": hashlib.sha256(data).hexdigest()}
        files = {
            ".txt": data,
            ".run.json": record.to_json(),
            ".masks.jsonl": _lines(masks),
            ".trace.jsonl": _lines(trace),
        }
        with ExitStack() as stack:  # which is left in reverse order, so that the text comes last
            for suffix in (suffix for suffix, content in files.items() if content):
                temporary = stack.enter_context(temporary_beside(self.path(tracker, sequence, suffix)))
                temporary.write_bytes(files[suffix])
            self.forget(tracker, sequence)
        return record

    def write_failure(self, record: RunRecord, trace: Iterable[Mapping[str, Any]] = ()) -> str:
        """Writes the record of a failed sequence; an older result of it is removed, unless it is of the same identity.

        Returns what to add to the failure's message: where the record is, if beside a result that is kept.
        """
        run = identities.of_record(record.identity, record.sequence)
        there = self.entry(record.tracker, record.sequence, run=run)
        kept = there.status == "done" and there.record is not None and there.record.identity and record.identity
        suffixes = _FAILURE if kept else (".run.json", ".trace.jsonl")
        self._remove(record.tracker, record.sequence, _FAILURE if kept else _ALL)
        path, traced = (self.path(record.tracker, record.sequence, suffix) for suffix in suffixes)
        if lines := _lines(trace):
            write_atomic(traced, lines)
        write_atomic(path, record.to_json())
        return f"; its earlier result is kept, and the failure's record is {path.name}" if kept else ""

    def forget(self, tracker: str, sequence: str) -> None:
        """Removes result, then record, trace and masks of one sequence: in this order, so that no result stands alone.

        Raises DataError where one of them cannot be removed, because it is a folder, say.
        """
        self._remove(tracker, sequence, _ALL)

    def _remove(self, tracker: str, sequence: str, suffixes: Iterable[str]) -> None:
        for suffix in suffixes:
            path = self.path(tracker, sequence, suffix)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise DataError(f"cannot be replaced ({error.strerror}); move it away", path) from error

    # --- identity ------------------------------------------------------------------------------------------------

    def identity(self, tracker: str) -> RunIdentity | None:
        """The identity of the run that the tracker's folder belongs to. Raises DataError where it cannot be read."""
        return identities.read_identity(self.tracker_folder(tracker) / identities.IDENTITY_FILE)

    def check_identity(self, tracker: str, run: RunIdentity) -> None:
        """Raises UsageError, which names the difference, where the folder belongs to another run."""
        there = self.identity(tracker)
        if there is not None:
            identities.refuse(tracker, there.differences(run))

    def is_unused(self, tracker: str) -> bool:
        """Whether no result is here and no sequence is being tracked: then failures alone do not bind the next run."""
        folder = self.tracker_folder(tracker)
        if any(not path.name.startswith(".") for path in folder.glob("*.txt")):
            return False
        for lock in map(FileLock, (folder / LOCKS).glob("[!.]*")):
            if not lock.take():
                return False
            lock.release()
        return True

    def identity_digest(self, tracker: str) -> str:
        """SHA-256 of the identity file, or "" where there is none."""
        try:
            return hashlib.sha256((self.tracker_folder(tracker) / identities.IDENTITY_FILE).read_bytes()).hexdigest()
        except OSError:
            return ""

    def join(self, tracker: str, run: RunIdentity, replaces: str = "") -> None:
        """Fixes the folder's identity, or adds sequences to it.

        Args:
            tracker, run: whose, and the identity.
            replaces: digest of an identity file that may be replaced, so that of two runs only one replaces it.

        Raises:
            UsageError: the folder belongs to another run. DataError: it cannot be written.
        """
        path = self.tracker_folder(tracker) / identities.IDENTITY_FILE
        with self._identity_lock(tracker):
            if not replaces or self.identity_digest(tracker) != replaces:
                self.check_identity(tracker, run)
            there = self.identity(tracker)
            data = {**there.data, **run.data} if there is not None and there.facts == run.facts else run.data
            joined = RunIdentity(run.facts, data)
            if joined != there:
                write_atomic(path, joined.to_json())

    @contextmanager
    def _identity_lock(self, tracker: str) -> Iterator[None]:
        lock = FileLock(self.tracker_folder(tracker) / LOCKS / ".identity")
        end = time.monotonic() + LOCK_TIMEOUT
        while not lock.take():
            if time.monotonic() > end:
                raise DataError(f"is locked by another run ({lock.holder()}); wait for it or end it", lock.path)
            time.sleep(0.02)
        with lock:
            yield

    # --- reading -------------------------------------------------------------------------------------------------

    def entry(
        self, tracker: str, sequence: str, rows: int | None = None, run: RunIdentity | None = None
    ) -> StoredResult:
        """What is here of one sequence. Never raises for a broken file: it counts as missing, with the reason.

        Args:
            tracker, sequence: whose.
            rows: how many a whole result has, where that is known.
            run: the folder's identity: a result of another run counts as missing.
        """
        try:
            record = self.record(tracker, sequence)
        except DataError as error:
            return StoredResult("missing", None, str(error))
        try:
            data = self.path(tracker, sequence).read_bytes()
        except OSError:
            if record is not None and record.failed:
                return StoredResult("failed", record)
            return StoredResult("missing", None)
        if record is None:
            fault = _fault(data, rows)
            return StoredResult(
                "unusable" if fault else "foreign", None, fault or "has no run record: another tool wrote it"
            )
        if record.failed or record.sha256.get("result") != hashlib.sha256(data).hexdigest():
            return StoredResult(
                "missing", None, f"{self.path(tracker, sequence)} is not the result that its run record describes"
            )
        if rows is not None and record.frames != rows:
            return StoredResult("missing", record, f"{record.frames} rows, but the sequence has {rows} frames")
        found = identities.of_record(record.identity, sequence).differences(run) if run and record.identity else []
        if found:
            return StoredResult("missing", record, f"made by another run ({'; '.join(found)})")
        return StoredResult("done", record)

    def record(self, tracker: str, sequence: str) -> RunRecord | None:
        """The run record, or None where there is none. Raises DataError where it cannot be read."""
        path = self.path(tracker, sequence, ".run.json")
        return read_record(path) if path.is_file() else None

    def failures(self, tracker: str) -> list[RunRecord]:
        """Records of the sequences that failed or lack answers of a reasoner, by name.

        Raises DataError where a record cannot be read.
        """
        paths = sorted(self.tracker_folder(tracker).glob("*.run.json"))
        return [r for r in map(read_record, paths) if r.failed or lacks_answers(*r.unanswered)]

    def read(self, tracker: str, sequence: str) -> Trajectory:
        """A finished sequence as this store wrote it. Raises DataError where it is missing or not four numbers a row.

        Other tools' files are read by the tolerant reader of `tnllt.results`, not here.
        """
        path = self.path(tracker, sequence)
        if not path.is_file():
            raise DataError("no such result", path)
        boxes = parse_table(read_bytes(path), 4, path)
        record = self.record(tracker, sequence)
        if record is None:
            return Trajectory(boxes)
        return record.trajectory(boxes, self.path(tracker, sequence, ".run.json"))

    def trace(self, tracker: str, sequence: str) -> list[dict[str, Any]]:
        """The events of one sequence, oldest first; empty where there were none. Raises DataError with file and row."""
        path = self.path(tracker, sequence, ".trace.jsonl")
        if not path.is_file():
            return []
        events = [parse_json(line, path, row) for row, line in enumerate(read_bytes(path).splitlines(), 1)]
        if not all(isinstance(event, dict) for event in events):
            raise DataError("holds a row that is not an event (a JSON object)", path)
        return events

    def masks(self, tracker: str, sequence: str) -> list[Mask | None]:
        """The masks (H, W) of one sequence, frame by frame; empty where none were kept. Raises DataError with file."""
        path = self.path(tracker, sequence, ".masks.jsonl")
        lines = read_bytes(path).splitlines() if path.is_file() else []
        tables = [parse_json(line, path, row) for row, line in enumerate(lines, 1)]
        return [None if table is None else decode_mask(table) for table in tables]

    def sweep(self, tracker: str) -> None:
        """Removes temporary files that killed runs left behind more than an hour ago."""
        sweep(self.tracker_folder(tracker))


def _lines(rows: Iterable[Mapping[str, Any] | None]) -> bytes:
    """JSON objects, one a line."""
    lines = [json.dumps(plain(row), ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
    # A lone surrogate, which JSON may spell and UTF-8 may not, stays as JSON spells it: \ud800.
    return "".join(lines).encode("utf-8", "backslashreplace")


def _fault(data: bytes, rows: int | None) -> str:
    """Why the text of a result without a run record is not a whole result, or ""."""
    try:
        count = len(parse_table(data, 4, ""))
    except DataError as error:
        return f"is not a result ({str(error).lstrip(', :')})"
    if not count:
        return "is empty"
    return "" if rows in (None, count) else f"has {count} rows, but the sequence has {rows} frames"


def format_boxes(boxes: Boxes) -> bytes:
    """Boxes (T, 4) as the official text: `x,y,w,h`, four decimals, a newline after every row."""
    rows = (",".join(f"{v:.4f}" for v in row) for row in np.asarray(boxes, np.float64).tolist())
    return "".join(f"{row}\n" for row in rows).encode("ascii")


def _record_of(tracker: str, sequence: str, trajectory: Trajectory) -> RunRecord:
    known = {k: v for k, v in trajectory.record.items() if k in RunRecord.__dataclass_fields__}
    record = RunRecord(**{**known, "tracker": tracker, "sequence": sequence, "status": "done", "failure": None})
    record.frames = len(trajectory)
    if trajectory.confidence is not None:
        record.confidence = [plain(v) for v in trajectory.confidence.tolist()]
    if trajectory.absent is not None:
        record.absent = trajectory.absent.tolist()
    if trajectory.seconds is not None:
        record.seconds = {**record.seconds, "track": [round(v, 6) for v in trajectory.seconds.tolist()]}
    return record
