"""Trace events of a reasoner (JSON lines, schema `tnllt.trace/2`): what it was shown and answered, enough for a replay.

One event per refresh::

    {"schema": "tnllt.trace/2", "event": "refresh", "frame": 31, "sequence": its name or null,
     "initial": {"frame": 0, "box": the initial box},
     "first": {"frame": 10, "sha256": ..., "box": ...}, "second": {"frame": 30, "sha256": ..., "box": ...},
     "confidence": the tracker's of its last box,
     "own": the sequence's own description, "before": the description until now, "after": the description from now on,
     "raw": ..., "think": ..., "update": true, "decision": "yes", "no", "keep", or null after a failure,
     "answer": ..., "seconds": 1.2,
     "error": null or {"kind": ..., "message": ...}, "detail": {"prompt_sha256": ..., "model": ..., ...}}

`first` is the frame of the last refresh, or before any the sequence's first. Version 1 has no `sequence`, `initial`,
`box`, `confidence` and `decision`, and no "keep".
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.files import check_schema, parse_json, read_bytes
from tnllt.reasoningtrack.reasoners.base import ReasonerError, Reasoning
from tnllt.records import from_table
from tnllt.sequence import Image

SCHEMA = "tnllt.trace/2"
REFRESH = "refresh"


@dataclass(frozen=True)
class ShownFrame:
    sha256: str


@dataclass(frozen=True)
class RefreshEvent:
    """The fields of a recorded refresh that a replay needs."""

    first: ShownFrame
    second: ShownFrame
    own: str
    raw: str
    think: str | None = None
    update: Any = False
    decision: str | None = None
    answer: str | None = None
    seconds: float | None = None
    error: dict[str, str] | None = None
    detail: dict[str, Any] | None = None


def image_hash(image: Image) -> str:
    """SHA-256 of an image's shape and pixels, which does not depend on the file's compression."""
    pixels = np.ascontiguousarray(image, dtype=np.uint8)
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_refreshes(path: Path) -> Iterator[tuple[int, RefreshEvent]]:
    """Refresh events of one trace with their rows (from 1); events of other kinds are passed over.

    Raises:
        DataError: a row is not JSON, not of this schema, lacks a field, or has one of another type.
    """
    for row, line in enumerate(read_bytes(path).splitlines(), 1):
        if not line.strip():
            continue
        event = parse_json(line, path, row)
        if not isinstance(event, dict):
            raise DataError("is not an event (a JSON object)", path, row)
        if event.get("event") == REFRESH:
            check_schema({"schema": SCHEMA, **event}, SCHEMA, path, row)
            yield row, from_table(event, RefreshEvent, path, row=row, unknown="ignore")


_Key = tuple[str, str, str]


class ReplayReasoner:
    """Answers as recorded, failures and seconds included.

    Args:
        path: a trace (`<sequence>.trace.jsonl`), or a folder that has some, at any depth.

    A question is found by the pixels of both frames and the description. Where the same question was recorded several
    times, its answers come in their order, and then from the start again.

    Raises:
        UsageError: no trace there. DataError: a row is not an event.
    """

    name = "reasoner replay"
    concurrency = 1

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        files = sorted(self.path.rglob("*.trace.jsonl")) if self.path.is_dir() else [self.path]
        if not files or not files[0].is_file():
            raise UsageError(f"{path}: no trace to replay; give a *.trace.jsonl file or a folder of them")
        self._answers: dict[_Key, list[RefreshEvent]] = defaultdict(list)
        for file in files:
            for _, event in read_refreshes(file):
                self._answers[event.first.sha256, event.second.sha256, event.own].append(event)
        if not self._answers:
            raise UsageError(f"{path}: the trace has no refresh to replay")
        self._used: dict[_Key, int] = defaultdict(int)
        self._lock = threading.Lock()

    def describe(self, first: Image, second: Image, description: str) -> Reasoning:
        key = (image_hash(first), image_hash(second), description)
        events = self._answers.get(key)
        if events is None:
            raise ReasonerError("not_recorded", f"{self.path} has no answer for these two frames and this description")
        with self._lock:
            event = events[self._used[key] % len(events)]
            self._used[key] += 1
        detail = {**(event.detail or {}), "replayed": True}
        seconds = event.seconds or 0.0
        if event.error:
            kind, message = event.error.get("kind", "failed"), event.error.get("message", "")
            raise ReasonerError(kind, message, detail, seconds)
        keep = event.decision == "keep"
        return Reasoning(event.think, bool(event.update), event.answer, event.raw, seconds, detail, keep)

    def info(self) -> Mapping[str, Any]:
        return {"reasoner": "replay", "trace": str(self.path)}
