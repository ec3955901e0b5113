"""The run record: what a run knows beside its boxes. One JSON file per sequence, `<sequence>.run.json`.

Schema `tnllt.run/1`. Lists are per frame and as long as the result has rows; `null` in them is "not given"::

    schema            "tnllt.run/1"
    status            "done" or "failed"
    tracker           the name its results go under
    implementation    "package.module:Class" that ran, or the baseline's name
    options           {name: value} as given by --set
    mode              "BB", "NL" or "NL+BB"
    oracle            true where the tracker was shown the annotation (`groundtruth`)
    sequence, dataset, frames
    seed              what every random number generator was seeded with before this sequence
    device            "cpu", "cuda:0", ...
    decoder           what decoded the frames
    versions          {"tnllt": ..., "python": ..., "numpy": ..., "opencv": ..., "torch": ...}
    machine           {"host", "system", "processor", "cores"}
    concurrency       {"workers", "threads", "batch", "read_ahead", "exclusive"}
    started           UTC, ISO 8601
    seconds           {"load", "total", "read": [per frame], "track": [per frame]}
    confidence        [per frame] or null
    absent            [per frame] or null
    description_changes  [{"frame": i, "description": text}], frames counted from 0
    sha256            {"result": of the text file, "read": of what was read, see `tnllt.tracking.readahead`}
    memory_mb         {"start", "end", "peak"}: resident memory of the process
    info              facts the tracker gives of itself
    output            the end of what the tracker printed, or ""
    attempts          1, or more where a worker was lost
    failure           null, or {"kind", "frame", "message", "traceback"}
"""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import DataError
from tnllt.files import check_schema, parse_json, read_bytes
from tnllt.sequence import Boxes, Trajectory

SCHEMA = "tnllt.run/1"


#: What the fields that hold tables hold, as far as anything reads it.
_INSIDE: tuple[tuple[str, Any], ...] = (
    ("seconds.track", list[float | None] | None),
    ("seconds.read", list[float | None] | None),
    ("failure.message", str | None),
    ("failure.kind", str | None),
    ("description_changes.frame", list[int | None] | None),
    ("description_changes.description", list[str] | None),
)


@dataclass
class RunRecord:
    """A run record in memory; see the module for what each field holds."""

    tracker: str
    sequence: str
    status: str = "done"
    implementation: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    mode: str = "BB"
    oracle: bool = False
    dataset: str = ""
    frames: int = 0
    seed: int = 0
    device: str = "cpu"
    decoder: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    concurrency: dict[str, Any] = field(default_factory=dict)
    started: str = ""
    seconds: dict[str, Any] = field(default_factory=dict)
    confidence: list[float | None] | None = None
    absent: list[bool] | None = None
    description_changes: list[dict[str, Any]] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    attempts: int = 1
    failure: dict[str, Any] | None = None
    schema: str = SCHEMA

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    def fps(self) -> float | None:
        """Frames per second of tracking alone (accelerator synchronised), without the first frame; None if unknown."""
        track = self.seconds.get("track") or []
        if None in track:
            return None
        total = sum(track[1:])
        return (len(track) - 1) / total if total > 0 else None

    def trajectory(self, boxes: Boxes, place: str | Path) -> Trajectory:
        """Boxes (T, 4) with the confidence, absence and times that this record, read from `place`, holds.

        Raises DataError where there are not as many of them as boxes.
        """
        columns = {"confidence": self.confidence, "absent": self.absent, "seconds": self.seconds.get("track")}
        for name, column in columns.items():
            if column is not None and len(column) != len(boxes):
                raise DataError(f"{len(column)} values of {name} for {len(boxes)} rows", place)
        kinds = {"confidence": np.float64, "absent": np.bool_, "seconds": np.float64}
        arrays: dict[str, Any] = {n: None if c is None else np.array(c, kinds[n]) for n, c in columns.items()}
        return Trajectory(boxes, record=dict(vars(self)), **arrays)

    def to_json(self) -> bytes:
        """UTF-8 JSON, one field a line; NaN becomes null."""
        table = {"schema": self.schema, **asdict(self)}
        lines = [f"{json.dumps(k)}: {json.dumps(plain(v), allow_nan=False)}" for k, v in table.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_record(path: Path) -> RunRecord:
    """Reads a run record. Raises DataError where the file is not one, naming it; unknown fields are passed over."""
    return parse_record(read_bytes(path), path)


def parse_record(raw: bytes, path: Path | str) -> RunRecord:
    """A run record from its bytes (they may come from a zip file); `path` names it in errors, as in `read_record`."""
    table = check_schema(parse_json(raw, path), SCHEMA, path)
    hints = _hints()
    if not {"tracker", "sequence"} <= table.keys():
        raise DataError("not a run record: `tracker` or `sequence` is missing", path)
    known = {name: value for name, value in table.items() if name in hints}
    wrong = [name for name, value in known.items() if not _fits(value, hints[name])]
    wrong = wrong or [name for name, hint in _INSIDE if not _fits(_inside(known, name), hint)]
    if known.get("status", "done") not in ("done", "failed"):
        wrong.append("status")
    if wrong:
        raise DataError(f"not a run record: `{wrong[0]}` holds something else; delete it to run again", path)
    return RunRecord(**known)


def _inside(table: Mapping[str, Any], name: str) -> Any:
    """A value in a field, by its dotted name; of a field that lists them, the values of all."""
    field_, _, key = name.partition(".")
    value = table.get(field_)
    return [one.get(key) for one in value] if isinstance(value, list) else (value or {}).get(key)


@cache
def _hints() -> dict[str, Any]:
    return typing.get_type_hints(RunRecord)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of a field's type. Of a list, one value of each type is looked at."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(_fits(v, inner[0]) for v in {type(v): v for v in value}.values())
    if origin is dict:
        return isinstance(value, dict) and all(_fits(v, inner[1]) for v in value.values())
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def plain(value: Any) -> Any:
    """The value as JSON can say it: NumPy numbers and arrays, paths and tuples made plain; NaN and infinity None."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)
