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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError
from tnllt.files import check_schema, parse_json, read_bytes
from tnllt.sequence import Image

SCHEMA = "tnllt.trace/1"
REFRESH = "refresh"
#: What a replayed event may hold, and of what type it then is.
_OPTIONAL: dict[str, tuple[type, ...]] = {
    "think": (str, type(None)),
    "answer": (str, type(None)),
    "seconds": (int, float, type(None)),
    "error": (dict, type(None)),
    "detail": (dict, type(None)),
}


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
    for row, line in enumerate(read_bytes(path).splitlines(), 1):
        if not line.strip():
            continue
        event = parse_json(line, path, row)
        if not isinstance(event, dict):
            raise DataError("is no event (a JSON object)", path, row)
        if event.get("event") == REFRESH:
            check_schema({"schema": SCHEMA, **event}, SCHEMA, path, row)
            _check(event, path, row)
            yield row, event


def _check(event: Mapping[str, Any], path: Path, row: int) -> None:
    for side in ("first", "second"):
        if not isinstance(event.get(side), dict) or not isinstance(event[side].get("sha256"), str):
            raise DataError(f"refresh event without {side}.sha256", path, row)
    for name in ("own", "raw"):
        if not isinstance(event.get(name), str):
            raise DataError(f"refresh event without `{name}`", path, row)
    for name, kinds in _OPTIONAL.items():
        if not isinstance(event.get(name), kinds):
            raise DataError(f"refresh event with an odd `{name}`", path, row)
    if any(not isinstance(value, str) for value in (event.get("error") or {}).values()):
        raise DataError("refresh event with an odd `error`", path, row)
