"""Variants of one tracker (texts, options, seeds) by name: `T@key=value,key=value`, keys sorted.

The name is a folder's, a column's and a plot's label, so that values keep letters, digits, ".", "+" and "-" alone;
what else a value holds becomes "-", and six hexadecimal digits of the value's hash keep two such values apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tnllt.errors import UsageError

#: Texts that a tracker is told, by word; other values of `text` are prompts.
TEXTS = ("own", "none", "shuffled", "class", "annotation")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAME = re.compile(rf"(?P<tracker>.+?)@(?P<values>{_KEY.pattern}=[^,=@]+(?:,{_KEY.pattern}=[^,=@]+)*)")
_PLAIN = re.compile(r"[A-Za-z0-9.+-]+")
_MOST_VALUE = 40


@dataclass(frozen=True)
class Variant:
    """A tracker's name in its parts. `values` is {key: value} as the name spells them; empty for a plain tracker."""

    tracker: str
    values: Mapping[str, str] = field(default_factory=dict)

    def without(self, *keys: str) -> str:
        """The name that remains where these keys are left out: variants that differ in them alone share it."""
        return variant_name(self.tracker, {k: v for k, v in self.values.items() if k not in keys})


def variant_name(tracker: str, values: Mapping[str, object]) -> str:
    """`T@key=value,...`; the tracker's own name where there are no values. What the name says already is replaced.

    Raises:
        UsageError: a key that is not an identifier.
    """
    known = parse_variant(tracker)
    merged = {**known.values, **{key: value_text(value) for key, value in values.items()}}
    wrong = [key for key in merged if not _KEY.fullmatch(key)]
    if wrong:
        raise UsageError(f"{wrong[0]!r} cannot name a variant's value: give letters, digits and '_'")
    listed = ",".join(f"{key}={merged[key]}" for key in sorted(merged))
    return f"{known.tracker}@{listed}" if listed else known.tracker


def value_text(value: object) -> str:
    """A value as names spell it; the same for the result."""
    text = str(value)
    if _PLAIN.fullmatch(text) and len(text) <= _MOST_VALUE + 7:
        return text
    plain = "-".join(_PLAIN.findall(text))[:_MOST_VALUE] or "value"
    return f"{plain}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:6]}"


def parse_variant(name: str) -> Variant:
    """The parts of a name; one that is not a variant's is a tracker without values."""
    match = _NAME.fullmatch(name)
    if match is None:
        return Variant(name)
    return Variant(match["tracker"], dict(pair.split("=") for pair in match["values"].split(",")))


def joined_names(words: Iterable[str]) -> list[str]:
    """Names of a list that was split at commas: `T@a=1` and `b=2` are one name again."""
    names: list[str] = []
    for word in words:
        if names and "@" in names[-1] and re.fullmatch(rf"{_KEY.pattern}=[^=@]+", word):
            names[-1] += f",{word}"
        else:
            names.append(word)
    return names


def variants_of(tracker: str, among: Iterable[str]) -> list[str]:
    """Of some names, those that are variants of a tracker, in their order."""
    return [name for name in among if name != tracker and parse_variant(name).tracker == tracker]
