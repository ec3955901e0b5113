"""Answers kept on disk by the content of the question, so that asking again costs nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tnllt.config import cache_folder
from tnllt.errors import DataError
from tnllt.files import parse_json, read_bytes, user_path, write_atomic
from tnllt.reasoningtrack.reasoners.base import Reasoning
from tnllt.reasoningtrack.reasoners.parsing import Compat, parse_answer

log = logging.getLogger(__name__)

#: Of a kept answer: more than a server may send.
_MOST_BYTES = 16 << 20


class AnswerCache:
    """One JSON file an answer. A cache that cannot be read or written is not a failure of the question.

    Args:
        place: "on" for the user's cache folder, "off" for none, else a folder.
    """

    def __init__(self, place: str | Path = "on") -> None:
        self.folder: Path | None = None
        if str(place) != "off":
            self.folder = cache_folder() / "reasoner" if str(place) == "on" else user_path(place)

    def answer(
        self, question: Mapping[str, Any], compat: Compat, detail: dict[str, Any], ask: Callable[[], str]
    ) -> Reasoning:
        """The reasoning in the kept answer to a question, or in a new one, which is kept where it has all its tags.

        Args:
            question: everything that the answer depends on.
            detail: facts for the trace; `cached` and the tags that are `missing` are added.
            ask: gives a new answer's text, or raises ReasonerError.
        """
        started = time.perf_counter()
        key = _key(question)
        raw = self.get(key)
        detail["cached"] = raw is not None
        if raw is None:
            raw = ask()
        parsed = parse_answer(raw, compat)
        if parsed.missing:
            detail["missing"] = list(parsed.missing)
        elif not detail["cached"]:
            self._put(key, raw)
        seconds = time.perf_counter() - started
        return Reasoning(parsed.think, parsed.update, parsed.answer, raw, seconds, detail, parsed.keep)

    def text(self, question: Mapping[str, Any], ask: Callable[[], str]) -> str:
        """The kept text of a question, or a new one, which is kept."""
        key = _key(question)
        raw = self.get(key)
        if raw is None:
            raw = ask()
            self._put(key, raw)
        return raw

    def get(self, key: str) -> str | None:
        if self.folder is None:
            return None
        try:
            kept = parse_json(read_bytes(self._file(key), _MOST_BYTES))
        except DataError:
            return None
        raw = kept.get("raw") if isinstance(kept, dict) else None
        return raw if isinstance(raw, str) else None

    def _put(self, key: str, raw: str) -> None:
        if self.folder is None:
            return
        try:
            write_atomic(self._file(key), json.dumps({"raw": raw}), durable=False)
        except DataError as error:
            log.warning("answers are not cached from here on: %s", error)
            self.folder = None

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"


def _key(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(question, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
