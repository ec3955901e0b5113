"""The identity of a run: what decides its results, fixed in one file of the tracker's folder and compared ever after.

`<tracker>_tracking_result/run.json`, schema `tnllt.identity/1`::

    schema    "tnllt.identity/1"
    facts     {name: value}: tracker, code, options, mode, seed, and what the tracker's class adds, such as weights
    data      {sequence: digest of its frames and annotation}

What depends on the machine (device, threads, workers, host) is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tnllt.errors import UsageError
from tnllt.files import check_schema, parse_json, read_bytes, to_json
from tnllt.records import from_table

SCHEMA = "tnllt.identity/1"
FILE = "run.json"
_SHOWN = 3  # differences named in an error


@dataclass(frozen=True)
class RunIdentity:
    """See the module."""

    facts: dict[str, Any]
    data: dict[str, str] = field(default_factory=dict)
    schema: str = SCHEMA

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
    table = check_schema(parse_json(read_bytes(path), path), SCHEMA, path)
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
