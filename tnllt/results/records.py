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
    concurrency       {"workers", "threads", "batch", "read_ahead", "exclusive"}, "profile" and "realtime" where given
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
    identity          the run's identity (below): its facts, and "data" for this sequence

What decides a run's results is its identity, fixed in one file of the tracker's folder and compared ever after:
`<tracker>_tracking_result/run.json`, schema `tnllt.identity/1`::

    schema    "tnllt.identity/1"
    facts     {name: value}: tracker, code, options, mode, seed, and what the tracker's class adds, such as weights
    data      {sequence: digest of its frames and annotation}

What depends on the machine (device, threads, workers, host) is not part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError, UsageError
from tnllt.files import check_schema, float_array, has_long_integer, parse_json, plain, read_bytes, to_json
from tnllt.records import from_table
from tnllt.sequence import Boxes, Trajectory

SCHEMA = "tnllt.run/1"
#: A sequence of which a larger fraction of refreshes failed makes a run incomplete.
MOST_UNANSWERED = 0.1
#: How a record begins that `RunRecord.to_json` wrote; its fields with numbers of every frame.
_BEGINNING, _EACH_FRAME = f'{{\n"schema": "{SCHEMA}",\n'.encode(), {"seconds", "confidence", "absent"}


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
        known = known_times(self.seconds.get("track"))
        return len(known) / total if (total := float(known.sum())) > 0 else None

    def trajectory(self, boxes: Boxes, place: str | Path) -> Trajectory:
        """Boxes (T, 4) with the confidence, absence and times that this record, read from `place`, holds.

        Raises DataError where there are not as many of them as boxes.
        """
        seconds: dict[str, Any] = {**self.seconds}
        columns: dict[str, Any] = {
            "confidence": self.confidence, "absent": self.absent, "seconds": seconds.get("track")
        }  # fmt: skip
        for name, column in columns.items():
            if column is not None and len(column) != len(boxes):
                raise DataError(f"{len(column)} values of {name} for {len(boxes)} rows", place)
        arrays: dict[str, Any] = {
            n: None if c is None else np.array(c, np.bool_) if n == "absent" else float_array(c)
            for n, c in columns.items()
        }
        # Numbers of every frame are kept as arrays alone: as objects they would take four times as much memory.
        seconds |= {"track": arrays["seconds"]} if "track" in seconds else {}
        seconds |= {"read": float_array(seconds["read"])} if seconds.get("read") else {}
        record = {**vars(self), "confidence": arrays["confidence"], "absent": arrays["absent"], "seconds": seconds}
        return Trajectory(boxes, record=record, **arrays)

    def to_json(self) -> bytes:
        """UTF-8 JSON, one field a line; NaN becomes null, infinity a string."""
        table = {"schema": self.schema, **asdict(self)}
        lines = [f"{json.dumps(k)}: {json.dumps(plain(v), allow_nan=False)}" for k, v in table.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def known_times(seconds: Any) -> NDArray[np.float64]:
    """Of the seconds of every frame (or None): those known, without the first; a run with --realtime drops frames."""
    found = float_array([] if seconds is None else seconds)[1:]
    return found[np.isfinite(found)]


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
    if raw.startswith(_BEGINNING):
        import msgspec

        # In one pass, many times as fast; what is unusual is left to the parser that says where a fault is.
        with suppress(msgspec.MsgspecError, RecursionError, ValueError, OverflowError):
            record = msgspec.json.decode(raw, type=RunRecord)
            fields = {name: value for name, value in vars(record).items() if name not in _EACH_FRAME}
            if record.schema == SCHEMA and not has_long_integer(fields):
                return record
    return from_table(check_schema(parse_json(raw, path), SCHEMA, path), RunRecord, path, unknown="ignore")


IDENTITY_SCHEMA = "tnllt.identity/1"
#: The file of the identity in a tracker's folder.
IDENTITY_FILE = "run.json"
_SHOWN = 3  # differences named in an error


@dataclass(frozen=True)
class RunIdentity:
    """The identity of a run; see the module."""

    facts: dict[str, Any]
    data: dict[str, str] = field(default_factory=dict)
    schema: str = IDENTITY_SCHEMA

    def differences(self, now: RunIdentity) -> list[str]:
        """In words, what `now` has otherwise; of the data, only sequences that both have and could read."""
        changed = [n for n, digest in now.data.items() if digest and self.data.get(n, digest) not in (digest, "")]
        found = differences(self.facts, now.facts)
        if changed:
            names = ", ".join(changed[:_SHOWN]) + (", ..." if len(changed) > _SHOWN else "")
            found.append(f"other frames or annotations of {names}")
        return found

    def to_json(self) -> str:
        return to_json(asdict(self), sort_keys=True) + "\n"


def of_record(fields: Mapping[str, Any], sequence: str) -> RunIdentity:
    """The identity that a run record's field of this name holds."""
    facts = {name: value for name, value in fields.items() if name != "data"}
    return RunIdentity(facts, {sequence: str(fields.get("data", ""))})


def read_identity(path: Path) -> RunIdentity | None:
    """The identity in a file, None where there is no file. Raises DataError where it is not one."""
    if not path.is_file():
        return None
    table = check_schema(parse_json(read_bytes(path), path), IDENTITY_SCHEMA, path)
    return from_table(table, RunIdentity, path, unknown="ignore")


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words, the values that two mappings have otherwise, options one by one."""
    old, new = dict(_flat(was)), dict(_flat(now))
    return [
        f"{name} {_short(old.get(name))}, now {_short(new.get(name))}"
        for name in sorted({*old, *new}, key=str)
        if old.get(name) != new.get(name)
    ]


def refuse(tracker: str, found: list[str], where: str = "") -> None:
    """Raises UsageError that names the differences and the remedy, where there are any."""
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UsageError(
            f"results of {tracker} are here that another run made ({where}{'; '.join(found[:_SHOWN])}{more}); "
            "give the new ones a name of their own with --name NAME, or replace the old ones with --again"
        )


def _flat(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:13] + "...'" if isinstance(value, str) else text[:40] + "..."
