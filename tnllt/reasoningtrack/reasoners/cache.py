"""Answers kept on disk by the content of the question, so that a second run of the same costs nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnllt.config import cache_folder

log = logging.getLogger(__name__)


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
            kept = json.loads(self._file(key).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        raw = kept.get("raw") if isinstance(kept, dict) else None
        return raw if isinstance(raw, str) else None

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
