"""Records and traces for a blind review: without host, user, absolute paths, addresses and printed output."""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tnllt.errors import DataError
from tnllt.files import parse_json, to_json

#: Fields of a run record that are emptied whatever they hold.
_EMPTIED = {"host": "", "output": "", "traceback": None}
#: Users of machines that are nobody's own.
_COMMON = {"root", "user", "ubuntu", "admin", ""}
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_LINK = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://[^\s\"'<>]+", re.I)
_PATH = re.compile(r"(?<![\w./:~])~?(?:/[^\s/\"'<>|:,;()\[\]{}]+)+/?|(?<!\w)(?:[A-Za-z]:|\\)\\[^\s\"'<>|,;]+")


def blinded(data: bytes, place: str | Path) -> bytes:
    """A run record, or a trace of a JSON document per line, without what says who ran it and where.

    A path keeps its last name, a link its scheme. Raises DataError where the data is not JSON, or nested too deeply.
    """
    lines = str(place).endswith(".jsonl")
    documents = [parse_json(d, place) for d in (data.splitlines() if lines else [data]) if d.strip()]
    names = _names(documents)
    try:
        return "".join(to_json(_clean(d, names), None if lines else 1) + "\n" for d in documents).encode()
    except RecursionError:
        raise DataError("is not JSON that can be read: it is nested too deeply", place) from None


def _names(documents: list[Any]) -> re.Pattern[str]:
    """Hosts and users that the records name, and those of this machine."""
    found = {platform.node(), platform.node().partition(".")[0]}
    found |= {d["machine"].get("host") for d in documents if isinstance(d, dict) and isinstance(d.get("machine"), dict)}
    with suppress(Exception):  # a user without a name or a home folder
        found |= {getpass.getuser(), Path.home().name}
    words = [re.escape(w) for w in found if isinstance(w, str) and w.lower() not in _COMMON and len(w) > 1]
    return re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words) or '(?!)'})(?![A-Za-z0-9])", re.I)


def _clean(value: Any, names: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return _clean_text(value, names)
    if isinstance(value, Mapping):
        return {
            _clean_text(key, names): _EMPTIED[key] if key in _EMPTIED else _clean(inner, names)
            for key, inner in value.items()
        }
    return [_clean(inner, names) for inner in value] if isinstance(value, list) else value


def _clean_text(text: str, names: re.Pattern[str]) -> str:
    for absolute in (PurePosixPath(text), PureWindowsPath(text)):
        if absolute.is_absolute() and "\n" not in text:
            text = absolute.name  # whole values may hold blanks, which end a path inside a text
    text = _ADDRESS.sub("address", _LINK.sub(r"\g<scheme>://host", text))
    return names.sub("host", _PATH.sub(lambda path: re.split(r"[/\\]", path[0].rstrip("/\\"))[-1], text))
