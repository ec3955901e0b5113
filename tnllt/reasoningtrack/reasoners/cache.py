"""Answers kept on disk by the content of the question, so that a second run of the same costs nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnllt.config import cache_folder
from tnllt.errors import DataError
from tnllt.files import parse_json, read_bytes
from tnllt.reasoningtrack.reasoners.base import Reasoning
from tnllt.reasoningtrack.reasoners.parsing import Compat, parse_answer

log = logging.getLogger(__name__)

#: Of an answer kept: more than a server may send.
_MOST_BYTES = 16 << 20


class AnswerCache:
    """One small JSON file an answer, written whole or not at all. A cache that cannot be used is no failure.

    Args:
        place: "on" for the user's cache folder, "off" for none, else a folder.
    """

    def __init__(self, place: str | Path = "on") -> None:
        named = {"off": None, "on": cache_folder() / "reasoner"}
        self.folder = named.get(str(place), Path(place))

    @staticmethod
    def key(question: Mapping[str, Any]) -> str:
        """Hash of everything that the answer depends on."""
        return hashlib.sha256(json.dumps(question, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def get(self, key: str) -> str | None:
        if self.folder is None:
            return None
        try:
            kept = parse_json(read_bytes(self._file(key), _MOST_BYTES))
        except DataError:
            return None
        raw = kept.get("raw") if isinstance(kept, dict) else None
        return raw if isinstance(raw, str) else None

    def keep(self, key: str, raw: str, compat: Compat, detail: dict[str, Any], started: float) -> Reasoning:
        """The reasoning that an answer holds; a whole and new answer is put into the cache.

        Args:
            detail: facts for the trace; `cached` says where the answer comes from, tags that it lacks are added.
            started: when the question was asked, by `time.perf_counter`.
        """
        parsed = parse_answer(raw, compat)
        if parsed.missing:
            detail["missing"] = list(parsed.missing)
        elif not detail["cached"]:
            self.put(key, raw)
        return Reasoning(parsed.think, parsed.update, parsed.answer, raw, time.perf_counter() - started, detail)

    def put(self, key: str, raw: str) -> None:
        if self.folder is None:
            return
        file = self._file(key)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"raw": raw}, out)
            Path(name).replace(file)
        except OSError as error:
            log.warning("answers are not cached from here on: %s", error)
            self.folder = None

    def _file(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / key[:2] / f"{key}.json"
