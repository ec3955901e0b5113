"""Trace events of a reasoner (JSON lines, schema `tnllt.trace/1`): everything it saw and said, enough to replay it.

One event per refresh::

    {"schema": "tnllt.trace/1", "event": "refresh", "frame": 31,
     "first": {"frame": 10, "sha256": ...}, "second": {"frame": 30, "sha256": ...},
     "own": the sequence's sentence, "before": the description until now, "after": the description from now on,
     "raw": ..., "think": ..., "update": true, "answer": ..., "seconds": 1.2,
     "error": null or {"kind": ..., "message": ...}, "detail": {"prompt_sha256": ..., "model": ..., ...}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError
from tnllt.sequence import Image

SCHEMA = "tnllt.trace/1"
REFRESH = "refresh"


def image_hash(image: Image) -> str:
    """SHA-256 of a picture's shape and pixels: the same however a file was compressed."""
    pixels = np.ascontiguousarray(image, dtype=np.uint8)
    digest = hashlib.sha256("x".join(map(str, pixels.shape)).encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def text_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_refreshes(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Refresh events of one trace with their rows (from 1); events of other kinds are passed over.

    Raises:
        DataError: a row is not JSON, not of this schema, or lacks a field.
    """
    with path.open(encoding="utf-8") as lines:
        for row, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"not JSON ({error.msg}); is this a trace, and whole?", path, row) from error
            if not isinstance(event, dict) or event.get("schema", SCHEMA) != SCHEMA:
                raise DataError(f"not a {SCHEMA} event; record it again with this version", path, row)
            if event.get("event") == REFRESH:
                _check(event, path, row)
                yield row, event


def _check(event: Mapping[str, Any], path: Path, row: int) -> None:
    for side in ("first", "second"):
        if not isinstance(event.get(side), dict) or not isinstance(event[side].get("sha256"), str):
            raise DataError(f"refresh event without {side}.sha256", path, row)
    for name in ("own", "raw"):
        if not isinstance(event.get(name), str):
            raise DataError(f"refresh event without `{name}`", path, row)
