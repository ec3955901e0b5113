"""Options given as text: KEY=VALUE, one a text or several with commas."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tnllt.errors import UsageError

_DECODER = json.JSONDecoder()


def key_values(texts: Iterable[str], flag: str, form: str = "KEY=VALUE") -> dict[str, str]:
    """{key: value} of texts KEY=VALUE.

    Args:
        texts: one pair each; `split_pairs` makes them from a list with commas.
        flag: the option, named in errors, as "--set".
        form: how a pair is written, for errors.

    Raises:
        UsageError: a text has no `=` or no key, or a key comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(f"{flag} {text}: write {flag} {form}")
        if key in found:
            raise UsageError(f"{flag} {key} is given twice; give it once")
        found[key] = value.strip()
    return found


def split_pairs(text: str) -> list[str]:
    """The pairs of "A=1,B=[2,3],C=x": split at commas, but not at those inside a value that is JSON."""
    pairs = []
    rest = text.strip()
    while rest:
        start = rest.find("=") + 1
        while rest[start : start + 1] == " ":
            start += 1
        end = _json_end(rest, start) if start else None
        if end is None:
            comma = rest.find(",", start)
            end = comma if comma >= 0 else len(rest)
        pairs.append(rest[:end].strip())
        rest = rest[end + 1 :].strip()
    return pairs


def _json_end(text: str, start: int) -> int | None:
    """Where a JSON value ends that begins at `start` and is followed by a comma or nothing; None without one."""
    try:
        end = _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None
    end += len(text[end:]) - len(text[end:].lstrip())
    return end if text[end : end + 1] in ("", ",") else None


def json_value(text: str) -> Any:
    """The value that the text is in JSON, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
