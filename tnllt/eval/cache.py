"""The cache of scores: one tracker's numbers, found again by the content of everything that they depend on.

The key is a digest of the result files, annotations, rules and this module's version, so that a changed file is never
mistaken for an old one and a stale entry is never found. Entries are written whole; a damaged one, or one of another
shape, counts as missing. Nothing of it shows in results.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tnllt.config import cache_folder
from tnllt.errors import DataError
from tnllt.eval import arrays
from tnllt.eval.metrics import METRICS, FrameMeasure, measures
from tnllt.eval.protocol import Protocol
from tnllt.eval.tracker_curves import Note, TrackerCurves
from tnllt.files import read_bytes, write_atomic
from tnllt.sequence import Sequence

#: Changes whenever scoring changes what it computes from the same input.
VERSION = 7
#: A leaderboard of 100 trackers on LaSOT takes 383 MB.
_MOST_BYTES = 1 << 30
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
    """Numbers of trackers below a folder of the user's cache. Every failure to read or write counts as "not there"."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else cache_folder() / "scores"

    def get(self, key: str, tracker: str, count: int, protocol: Protocol) -> TrackerCurves | None:
        """The numbers of a tracker on `count` sequences; None where they are not there, or damaged."""
        found = self.load(key)
        if found is None:
            return None
        try:
            notes = [Note(**{**note, "tracker": tracker}) for note in json.loads(found["notes"].tobytes())]
            measured = {n.removeprefix("measure/"): a for n, a in found.items() if n.startswith("measure/")}
            own = TrackerCurves(tracker, measured, found["missing"], found["refused"], notes)
            own.check(count, protocol)
        except Exception:  # a damaged entry can raise whatever JSON and a missing array raise
            return None
        return own if all(own.array(measure) is not None for measure in measures(FrameMeasure)) else None

    def put(self, key: str, own: TrackerCurves) -> None:
        notes = json.dumps([asdict(note) for note in own.notes])
        flags = {"missing": own.missing, "refused": own.refused, "notes": np.frombuffer(notes.encode(), np.uint8)}
        self.save(key, {**{f"measure/{name}": array for name, array in own.arrays.items()}, **flags})

    def load(self, key: str) -> arrays.Arrays | None:
        """Named arrays that were saved; None where they are not there, or damaged."""
        try:
            return arrays.unpack(read_bytes(self._path(key)))
        except Exception:  # a damaged entry can raise whatever zip and NumPy raise
            return None

    def save(self, key: str, named: arrays.Arrays) -> None:
        with suppress(DataError):
            write_atomic(self._path(key), arrays.pack(named), durable=False)
        mark = self.folder / "pruned"
        with suppress(OSError):  # once a day
            if not mark.exists() or mark.stat().st_mtime < time.time() - 86400:
                mark.touch()
                self.prune()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"

    def prune(self) -> None:
        """Removes entries unused for a month, and the oldest ones where the folder is larger than 1 GB."""
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


def can_cache() -> bool:
    """Whether every measure is tnllt's own: `VERSION` does not cover the code of others."""
    return all(metric.measure.compute.__module__.startswith("tnllt.") for metric in METRICS.values())
