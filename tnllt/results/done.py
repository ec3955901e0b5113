"""What was seen of finished results, so that a look at a large results folder reads only what changed since the last.

One file of the user's cache for each tracker's folder. A result is taken as it was found where result and run record
are the same files, of the same size, and were not changed since; and where the run's identity and the sequence's
length are what they were. Nothing is kept of a result that does not count, nor of one that has just been written: a
file system may give two changes within some milliseconds the same time. A cache that cannot be read or written counts
as empty.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnllt._version import __version__
from tnllt.config import cache_folder
from tnllt.errors import TnlltError
from tnllt.files import read_bytes, write_atomic
from tnllt.records import from_table
from tnllt.results.records import RunIdentity

#: Changes whenever something else is put.
VERSION = 3
#: Seconds that a file must have been left alone.
SETTLED = 2.0


@dataclass
class _Kept:
    """The file: whose it is, and {sequence: (state, what was put)}."""

    head: list[Any]
    known: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)


class DoneResults:
    """What is known of the finished results in one tracker's folder.

    Args:
        folder: the tracker's folder.
        run: its identity.
    """

    def __init__(self, folder: Path, run: RunIdentity | None) -> None:
        self._data = {} if run is None else run.data
        self._before = time.time_ns() - SETTLED * 1e9
        self._files: dict[str, os.stat_result] = {}
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    self._files[entry.name] = entry.stat()
        place = os.path.realpath(folder)
        self._name = hashlib.sha256(os.fsencode(place)).hexdigest()[:48]
        self._kept = _Kept([__version__, VERSION, place, None if run is None else run.facts])
        self._changed = False
        with suppress(TnlltError, ValueError):
            there = from_table(json.loads(read_bytes(self._path())), _Kept, unknown="ignore")
            if there.head == self._kept.head:
                self._kept = there

    def holds(self, sequence: str) -> bool:
        """Whether there is a result or a run record."""
        return f"{sequence}.txt" in self._files or f"{sequence}.run.json" in self._files

    def get(self, sequence: str, rows: int | None) -> dict[str, Any] | None:
        """What was put for a sequence of so many frames, where nothing changed since; else None."""
        state, told = self._kept.known.get(sequence, ("", None))
        return told if state and state == self._state(sequence, rows) else None

    def put(self, sequence: str, rows: int | None, told: dict[str, Any]) -> dict[str, Any]:
        """Keeps what was read of a finished result after this object was made; returns it."""
        self._changed = True
        self._kept.known[sequence] = (self._state(sequence, rows), told)
        return told

    def save(self) -> None:
        """Writes what is known, where it changed."""
        if self._changed:
            with suppress(TnlltError):
                write_atomic(
                    self._path(), json.dumps({"head": self._kept.head, "known": self._kept.known}), durable=False
                )

    def _path(self) -> Path:
        """Among the scores, which are pruned."""
        return cache_folder() / "scores" / self._name[:2] / f"{self._name}.json"

    def _state(self, sequence: str, rows: int | None) -> str:
        """All that a finished result depends on; "" where it may still change without a trace."""
        parts: list[Any] = [rows, self._data.get(sequence)]
        for name in (f"{sequence}.txt", f"{sequence}.run.json"):
            about = self._files.get(name)
            if about is None or max(about.st_mtime_ns, about.st_ctime_ns) > self._before:
                return ""
            parts += about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
        return " ".join(map(str, parts))
