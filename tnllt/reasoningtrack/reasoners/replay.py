"""Exact re-runs without a model: answers come from a recorded trace and are found by the question."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners.base import ReasonerError, Reasoning
from tnllt.reasoningtrack.reasoners.trace import RefreshEvent, image_hash, read_refreshes
from tnllt.sequence import Image

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
