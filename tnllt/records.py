"""JSON and TOML tables checked against dataclasses, by msgspec; an error names file, field and remedy.

msgspec is imported where a table is checked: it costs 30 ms, which `--help` need not pay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from tnllt.errors import DataError, did_you_mean

T = TypeVar("T")

_EXPECTED = re.compile(r"Expected `(?P<wanted>.+)`, got `(?P<given>.+)`$", re.S)
_WORDS = {
    "int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "array": "a list",
    "object": "a table", "null": "null",
}  # fmt: skip


def from_table(
    table: Any, kind: type[T], path: str | Path | None = None, *, row: int | None = None, unknown: str = "refuse"
) -> T:
    """The dataclass that a table from JSON or TOML states.

    Numbers, texts and lists are never converted into each other, but a whole number may stand for a float, and a text
    for a `Path`. Fields that are dataclasses are checked alike. A ValueError in `__post_init__` becomes a DataError,
    and a DataError there gets the file's name.

    Args:
        table: what `parse_json` or `read_toml` gave.
        kind: the dataclass.
        path: the file, named in errors.
        row: its row, counted from 1.
        unknown: "refuse" fields that the dataclass does not have, or "ignore" them.

    Raises:
        DataError: names the field, what it must be and what it is.
    """
    import msgspec

    if unknown == "refuse":
        for name, known in _unknown_fields(table, kind):
            remedy = did_you_mean(name.rpartition(".")[2], known, f"remove it; known are {', '.join(known)}")
            raise DataError(f"has an unknown field `{name}`; {remedy}", path, row)
    try:
        return msgspec.convert(table, kind, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        raise DataError(_fault(str(error), kind), path, row) from None
    except DataError as error:  # of a `__post_init__`, which does not know the file
        raise (error if error.path is not None else DataError(str(error), path, row)) from None
    except (OverflowError, RecursionError, UnicodeError) as error:
        raise DataError(f"holds a value that cannot be read ({error})", path, row) from None


def _from_text(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise TypeError(f"Expected `{'str' if kind is Path else kind.__name__}`, got `{type(value).__name__}`")


def _fault(message: str, kind: Any) -> str:
    """msgspec's message in the words of this package: the field first, then what is wrong."""
    text, _, place = message.partition(" - at `$")
    place = place.rstrip("`").lstrip(".")
    if (missing := re.fullmatch(r"Object missing required field `(.+)`", text)) is not None:
        return f"lacks the field `{'.'.join(filter(None, (place, missing[1])))}`; add it"
    field = f"`{place}`" if place else "the file"
    if (types := _EXPECTED.fullmatch(text)) is not None:
        return f"{field} must be {_words(types['wanted'])}, not {_words(types['given'])}; mend it"
    if (value := re.fullmatch(r"Invalid enum value (.+)", text, re.S)) is not None:
        allowed = _choices(kind, place)
        return f"{field} cannot be {value[1][:60]}{allowed and '; use ' + allowed}"
    return f"{field}: {text}" if place else text


def _words(types: str) -> str:
    return " or ".join(_WORDS.get(name, name) for name in types.split(" | "))


def _choices(kind: Any, place: str) -> str:
    """The values of a field of literals or of an enumeration, by its dotted name; "" where they are not found."""
    hint = kind
    for name in place.partition("[")[0].split("."):
        if not is_dataclass(hint):
            return ""
        hint = get_type_hints(hint).get(name)
    parts = (hint, *get_args(hint))
    values = [repr(v) for part in parts for v in get_args(part) if isinstance(v, str)]
    values += [repr(m.value) for part in parts if isinstance(part, type) and issubclass(part, Enum) for m in part]
    return ", ".join(dict.fromkeys(values))


def _unknown_fields(table: Any, kind: Any, place: str = "") -> Iterator[tuple[str, list[str]]]:
    """The dotted names of fields that a dataclass, or one inside it, does not have; and those that it has."""
    if is_dataclass(kind) and isinstance(table, Mapping):
        known = [f.name for f in fields(kind) if f.init]
        hints = get_type_hints(kind)
        for name, value in table.items():
            if name not in known:
                yield f"{place}{name}", known
            else:
                yield from _unknown_fields(value, hints[name], f"{place}{name}.")
        return
    parts = get_args(kind)
    if isinstance(table, Mapping) and get_origin(kind) in (dict, Mapping):
        for name, value in table.items():
            yield from _unknown_fields(value, parts[1], f"{place}{name}.")
    elif isinstance(table, list) and get_origin(kind) in (list, tuple, Sequence):
        for value in table:
            yield from _unknown_fields(value, parts[0], place)
    else:  # a union
        for part in parts:
            if isinstance(table, Mapping | list) and not isinstance(part, str):
                yield from _unknown_fields(table, part, place)
