"""Cached rows: the numbers of one tracker, found again by the content of everything that they depend on.

The key is a digest of the result files, annotations, rules and this module's version, so that a changed file is never
mistaken for an old one and a stale entry is never found. Entries are written whole and renamed; a damaged one counts as
missing. Nothing of it shows in results.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.config import cache_folder
from tnllt.eval.protocol import Protocol
from tnllt.eval.tracker_curves import Note, TrackerCurves
from tnllt.sequence import Sequence

#: Changes whenever scoring changes what it computes from the same input.
VERSION = 4
_MOST_BYTES = 256 << 20
_KEEP_DAYS = 30


def annotation_digest(sequences: Iterable[Sequence]) -> bytes:
    """A digest of names, ground truth, presence and the stated image size."""
    digest = hashlib.blake2b(digest_size=16)
    for sequence in sequences:
        present = sequence.present
        digest.update(f"{sequence.name}\0{len(sequence)}\0{present is not None}\0{sequence.size}\0".encode())
        digest.update(np.ascontiguousarray(sequence.groundtruth).tobytes())
        if present is not None:
            digest.update(present.tobytes())
    return digest.digest()


def content_digest(raws: Iterable[bytes]) -> bytes:
    """A digest of one result: the bytes of the file and of what lies beside it."""
    digest = hashlib.sha256()  # processors have instructions for it
    for raw in raws:
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.digest()


def cache_key(
    annotations: bytes, contents: Iterable[tuple[str, bytes]], protocol: Protocol, allow_short: bool, rounding: str
) -> str:
    """The name of a tracker's entry. `contents`: (sequence, digest of its result), missing ones left out."""
    digest = hashlib.blake2b(annotations, digest_size=24)
    digest.update(json.dumps([VERSION, protocol.digest(), allow_short, rounding]).encode())
    for name, content in contents:
        digest.update(name.encode() + b"\0" + content)
    return digest.hexdigest()


class ScoreCache:
    """Rows below a folder of the user's cache. Every failure to read or write counts as "not there"."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder() / "scores"

    def get(self, key: str, tracker: str) -> TrackerCurves | None:
        try:
            return _unpack((self.folder / key[:2] / f"{key}.npz").read_bytes(), tracker)
        except Exception:  # a damaged entry can raise whatever zip, NumPy and JSON raise
            return None

    def put(self, key: str, row: TrackerCurves) -> None:
        path = self.folder / key[:2] / f"{key}.npz"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as stream:
                    stream.write(_pack(row))
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        self._prune_daily()

    def _prune_daily(self) -> None:
        mark = self.folder / "pruned"
        with suppress(OSError):
            if not mark.exists() or mark.stat().st_mtime < time.time() - 86400:
                mark.touch()
                self.prune()

    def prune(self) -> None:
        """Removes entries unused for a month, and the oldest ones where the folder is larger than 256 MB."""
        found = []
        with suppress(OSError):
            for path in self.folder.glob("*/*"):
                stat = path.stat()
                found.append((max(stat.st_mtime, stat.st_atime), stat.st_size, path))
        total = sum(size for _, size, _ in found)
        for used, size, path in sorted(found, key=lambda f: f[0]):
            if total <= _MOST_BYTES and used > time.time() - _KEEP_DAYS * 86400:
                break
            with suppress(OSError):
                path.unlink()
            total -= size


def _pack(row: TrackerCurves) -> bytes:
    arrays: dict[str, NDArray[Any]] = {f"curve/{n}": a for n, a in row.curves.items()}
    arrays |= {f"value/{n}": a for n, a in row.values.items()}
    arrays |= {"missing": row.missing, "refused": row.refused}
    if row.longterm is not None and row.thresholds is not None:
        arrays |= {"longterm": row.longterm, "thresholds": row.thresholds}
    notes = json.dumps([asdict(note) for note in row.notes])
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, notes=np.frombuffer(notes.encode(), np.uint8), **arrays)
    return buffer.getvalue()


def _unpack(raw: bytes, tracker: str) -> TrackerCurves:
    with np.load(io.BytesIO(raw), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    notes = [Note(**{**note, "tracker": tracker}) for note in json.loads(arrays["notes"].tobytes())]
    return TrackerCurves(
        tracker,
        {n.removeprefix("curve/"): a for n, a in arrays.items() if n.startswith("curve/")},
        {n.removeprefix("value/"): a for n, a in arrays.items() if n.startswith("value/")},
        arrays["missing"],
        arrays["refused"],
        notes,
        arrays.get("longterm"),
        arrays.get("thresholds"),
    )
