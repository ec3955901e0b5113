"""An entry of a leaderboard: a folder with the archives that `tnllt-eval pack` writes and a file `entry.toml`.

`entry.toml`, schema `tnllt.entry/1`, holds the fields of `Entry`. Without an archive it claims a paper's numbers::

    schema = "tnllt.entry/1"
    tracker = "OSTrack"
    mode = "BB"

    [claims.tnllt]            # protocol
    success = 0.523

Archives beside the tracker's own hold its variants (`T@text=none.zip`, see `tnllt.results.variants`). A folder
`reproduced/` holds the archive of somebody who ran the tracker again, and `reproduced_by` links to their record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import DataError, UsageError
from tnllt.files import check_schema, file_name, read_toml, sha256_of, user_path
from tnllt.options import option
from tnllt.records import from_table
from tnllt.text import toml_text

SCHEMA = "tnllt.entry/1"
FILE = "entry.toml"
REPRODUCED = "reproduced"
MODES = ("BB", "NL", "NL+BB")
_LONGEST = 1_000
_LINKS = ("repository", "paper", "reproduced_by")
#: Fields that say who the authors are: `--blind` leaves them out.
IDENTIFYING = ("contact", "repository", "commit", "paper", "reproduced_by")


def weights_digest(text: str) -> str:
    """SHA-256 of a file; 64 hexadecimal digits, or none, as they are. Raises UsageError where there is no such file."""
    if re.fullmatch(r"|[0-9a-fA-F]{64}", text):
        return text.lower()
    try:
        return sha256_of(user_path(text))
    except OSError as error:
        raise UsageError(
            f"--weights {text}: cannot be read ({error.strerror}); give the file or its SHA-256"
        ) from error


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What an entry's author states. Every text is at most 1,000 characters; links begin with http:// or https://.

    Attributes:
        tracker: name of its results.
        weights: SHA-256 of the weights, or "".
        claims: {protocol: {metric: score}}; where there are boxes, they must give these scores.
    """

    tracker: str = ""
    name: str = option("", "Display name.  [default: the tracker's]", "--display-name")
    mode: Literal["BB", "NL", "NL+BB"] = option(
        "BB", "What the tracker is given.  [default: as it ran]", kind=str, choices=MODES
    )
    repository: str = option("", "Link to the tracker's code.", metavar="URL")
    commit: str = option("", "Commit of the code.")
    weights: str = option("", "The weights' file, or its SHA-256.", kind=weights_digest, metavar="FILE|SHA256")
    training: str = option("", "Training data.")
    command: str = option("", "Command that made the results.")
    machine: str = option("", "Machine that made them.  [default: from the run record]")
    contact: str = option("", "Whom to ask.")
    paper: str = option("", "Link to the paper.", metavar="URL")
    date: str = option("", "When the entry was made.  [default: today]", metavar="YYYY-MM-DD")
    reproduced_by: str = option("", "Link to the record of who ran it again.", metavar="URL")
    claims: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    schema: str = SCHEMA

    def __post_init__(self) -> None:
        if self.tracker:
            file_name(self.tracker, "tracker")
        for name, value in vars(self).items():
            if isinstance(value, str) and (len(value) > _LONGEST or "\0" in value):
                raise ValueError(f"`{name}` is longer than {_LONGEST:,} characters, or holds a zero character")
        for name in _LINKS:
            if (link := getattr(self, name)) and not re.fullmatch(r"https?://[^\s\"'<>\\]+", link):
                raise ValueError(f"`{name}` must be a link that begins with http:// or https://, not {link[:60]!r}")
        for name, form, words in (
            ("commit", r"[0-9a-f]{7,64}", "7 to 64 hexadecimal digits"),
            ("weights", r"[0-9a-f]{64}", "64 hexadecimal digits"),
            ("date", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "YYYY-MM-DD, a day that is there and not to come"),
        ):
            if (value := getattr(self, name)) and not (
                re.fullmatch(form, value) and (name != "date" or _is_past(value))
            ):
                raise ValueError(f"`{name}` must be {words}, not {value[:70]!r}")

    @property
    def label(self) -> str:
        return self.name or self.tracker

    def to_toml(self) -> str:
        """The file's text; fields that say nothing are left out."""
        return "\n".join(_lines({f.name: getattr(self, f.name) for f in fields(self)})) + "\n"


def _is_past(day: str) -> bool:
    """Whether it is a day that has begun somewhere: of several entries the newest is shown."""
    try:
        return date.fromisoformat(day) <= datetime.now(timezone.utc).date() + timedelta(days=1)
    except ValueError:
        return False


def _lines(table: Mapping[str, Any]) -> Iterator[str]:
    yield f"schema = {toml_text(table['schema'])}"
    for name, value in table.items():
        if isinstance(value, str) and value and name != "schema":
            yield f"{name} = {toml_text(value)}"
    for protocol, scores in table["claims"].items():
        yield f"\n[claims.{toml_text(protocol)}]"
        yield from (f"{metric} = {score!r}" for metric, score in scores.items())


def read_entry(folder: Path) -> Entry:
    """The entry's file. Raises DataError where it is missing, or holds a field that is not known or not allowed."""
    path = folder / FILE
    if not path.is_file() or path.is_symlink():
        raise DataError(f"holds no file {FILE}; `tnllt-eval pack --entry` writes one", folder)
    entry = from_table(check_schema(read_toml(path), SCHEMA, path), Entry, path)
    if not entry.tracker:
        raise DataError("lacks the field `tracker`; add it", path)
    return entry
