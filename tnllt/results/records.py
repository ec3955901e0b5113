"""The run record: what a run keeps beside its boxes. One JSON file per sequence, `<sequence>.run.json`.

Schema `tnllt.run/1`. Lists are per frame and as long as the result has rows; `null` in them is "not given"::

    schema            "tnllt.run/1"
    status            "done" or "failed"
    tracker           the name its results go under
    implementation    "package.module:Class" that ran, or the baseline's name
    options           {name: value} as given by --set
    mode              "BB", "NL" or "NL+BB"
    text              {} for the sequence's own description, else {"source", "texts": [[frame, text], ...], "note"}
    oracle            true where the tracker was shown the annotation (`groundtruth`), or texts of later frames
    sequence, dataset, frames
    seed              what every random number generator was seeded with before this sequence
    device            "cpu", "cuda:0", ...
    decoder           what decoded the frames
    versions          {"tnllt": ..., "python": ..., "numpy": ..., "opencv": ..., "torch": ...}
    machine           {"host", "system", "processor", "cores"}
    concurrency       {"workers", "threads", "batch", "read_ahead", "exclusive"}
    started           UTC, ISO 8601
    seconds           {"load", "total", "read": [per frame], "track": [per frame]}
    confidence        [per frame] or null; an infinite one is "Infinity" or "-Infinity"
    absent            [per frame] or null
    description_changes  [{"frame": i, "description": text}], frames counted from 0
    sha256            {"result": of the text file, "read": of what was read, see `tnllt.tracking.sequence_run`}
    memory_mb         {"start", "end", "peak"}: resident memory of the process
    costs             with --profile {"parameters", "flops" a frame, "accelerator_mb", "joules"}: what is known of them
    info              facts the tracker gives of itself
    output            the end of what the tracker printed, or ""
    attempts          1, or more where a worker was lost
    failure           null, or {"kind", "frame", "message", "traceback"}
    identity          the run's identity (`tnllt.results.identity`): its facts, and "data" for this sequence
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from tnllt.errors import DataError
from tnllt.files import check_schema, float_array, parse_json, plain, read_bytes
from tnllt.records import from_table
from tnllt.sequence import Boxes, Trajectory

SCHEMA = "tnllt.run/1"
#: A sequence of which a larger fraction of refreshes failed makes a run incomplete.
MOST_UNANSWERED = 0.1


class _Seconds(TypedDict, total=False):
    load: float | None
    total: float | None
    read: list[float | None] | None
    track: list[float | None] | None


class _Change(TypedDict, total=False):
    frame: int | None
    description: str


class FailureFields(TypedDict, total=False):
    kind: str | None
    frame: int | None
    message: str | None
    traceback: str | None


@dataclass
class RunRecord:
    """A run record in memory; see the module for what each field holds."""

    tracker: str
    sequence: str
    status: Literal["done", "failed"] = "done"
    implementation: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    mode: str = "BB"
    text: dict[str, Any] = field(default_factory=dict)
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
    seconds: _Seconds = field(default_factory=_Seconds)
    confidence: list[float | Literal["Infinity", "-Infinity"] | None] | None = None
    absent: list[bool] | None = None
    description_changes: list[_Change] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    output: str = ""
    attempts: int = 1
    failure: FailureFields | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA

    @property
    def failed(self) -> bool:
        return self.status == "failed"

    @property
    def unanswered(self) -> tuple[int, int]:
        """Refreshes of the description that failed, and all refreshes."""
        return unanswered_refreshes(self.info)

    def fps(self) -> float | None:
        """Frames per second of tracking alone (accelerator synchronised), without the first frame; None if unknown."""
        track = self.seconds.get("track") or []
        known = [seconds for seconds in track[1:] if seconds is not None]  # a run with --realtime drops frames
        return len(known) / total if (total := sum(known)) > 0 else None

    def trajectory(self, boxes: Boxes, place: str | Path) -> Trajectory:
        """Boxes (T, 4) with the confidence, absence and times that this record, read from `place`, holds.

        Raises DataError where there are not as many of them as boxes.
        """
        track = self.seconds.get("track")
        columns: dict[str, Any] = {"confidence": self.confidence, "absent": self.absent, "seconds": track}
        for name, column in columns.items():
            if column is not None and len(column) != len(boxes):
                raise DataError(f"{len(column)} values of {name} for {len(boxes)} rows", place)
        arrays: dict[str, Any] = {
            n: None if c is None else np.array(c, np.bool_) if n == "absent" else float_array(c)
            for n, c in columns.items()
        }
        return Trajectory(boxes, record=dict(vars(self)), **arrays)

    def to_json(self) -> bytes:
        """UTF-8 JSON, one field a line; NaN becomes null, infinity a string."""
        table = {"schema": self.schema, **asdict(self)}
        lines = [f"{json.dumps(k)}: {json.dumps(plain(v), allow_nan=False)}" for k, v in table.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def unanswered_refreshes(info: Mapping[str, Any]) -> tuple[int, int]:
    """Refreshes of the description that failed, and all refreshes, from the `info` of a run record."""
    failed, asked = info.get("reasoner_failures", 0), info.get("refreshes", ())
    return (failed if isinstance(failed, int) else 0), (len(asked) if isinstance(asked, list) else 0)


def lacks_answers(failed: int, asked: int) -> bool:
    """Whether so many refreshes failed that the sequence has to be tracked again."""
    return failed > MOST_UNANSWERED * asked


def read_record(path: Path) -> RunRecord:
    """Reads a run record. Raises DataError where the file is not one, naming it; unknown fields are passed over."""
    return parse_record(read_bytes(path), path)


def parse_record(raw: bytes, path: Path | str) -> RunRecord:
    """A run record from its bytes (they may come from a zip file); `path` names it in errors, as in `read_record`."""
    return from_table(check_schema(parse_json(raw, path), SCHEMA, path), RunRecord, path, unknown="ignore")
