"""Tracker options: `--set KEY=VALUE`, checked against the keyword parameters of the tracker's constructor."""

from __future__ import annotations

import enum
import inspect
import json
import os
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import UsageError, did_you_mean
from tnllt.files import user_path
from tnllt.options import json_value, key_values

_UNIONS = (typing.Union, types.UnionType)
#: Spellings of what JSON calls true, false and null.
_SPELLINGS = {"yes": "true", "on": "true", "no": "false", "off": "false", "none": "null", "": "null"}
#: In a union, the stricter type is tried first: "3" is an int before it is a float, a path or a string.
_STRICTNESS = (type(None), bool, int, float, Path, str)


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """KEY=VALUE texts as a dictionary. Raises UsageError where one has no `=` or a key comes twice."""
    return {key.replace("-", "_"): value for key, value in key_values(settings, "--set").items()}


def parameters(tracker: type) -> dict[str, inspect.Parameter]:
    """The keyword parameters of a tracker's constructor, by name; `**` parameters under their own name."""
    try:
        signature = inspect.signature(tracker)
    except (TypeError, ValueError):
        return {}
    skip = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY
    return {name: p for name, p in signature.parameters.items() if p.kind not in skip}


def takes_device(tracker: type) -> bool:
    """Whether the tracker's constructor has an option `device`."""
    return "device" in parameters(tracker)


def check_options(tracker: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as values of the types that the tracker's constructor asks for.

    Args:
        tracker: the class.
        given: texts, or values that already have their type.

    Raises:
        UsageError: no such option, a value of another type, or one missing that has no default.
    """
    known = parameters(tracker)
    name = getattr(tracker, "name", None) or tracker.__name__
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    named = {k: p for k, p in known.items() if p.kind is not inspect.Parameter.VAR_KEYWORD}
    hints = hints_of(tracker)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in named and not open_ended:
            known_ones = f"it has {', '.join(named)}" if named else "it takes none"
            raise UsageError(f"{name} has no option {key!r}; {did_you_mean(key, named, known_ones)}")
        hint = hints.get(key, type_of_default(named[key])) if key in named else Any
        try:
            values[key] = convert(value, hint)
        except ValueError:
            raise UsageError(f"--set {key}={value}: {name} takes {describe(hint)}") from None
    missing = [k for k, p in named.items() if p.default is inspect.Parameter.empty and k not in values]
    if missing:
        if callable(ask := getattr(tracker, "missing", None)) and (lacks := ask()):  # as `tnllt-run list` says it
            raise UsageError(f"{name} lacks: {lacks}")
        words = [f"--set {k}=VALUE" + (f" ({describe(hints[k])})" if k in hints else "") for k in missing]
        raise UsageError(f"{name} needs {' and '.join(words)}")
    return values


def convert(value: Any, hint: Any) -> Any:
    """`value`, a text or already typed, as `hint`. Raises ValueError where it does not fit."""
    import msgspec

    if hint is Any or hint is inspect.Parameter.empty:
        return json_value(value) if isinstance(value, str) else value
    kinds = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    if isinstance(value, str) and {str, Path} <= set(kinds) and not os.path.exists(os.path.expanduser(value)):  # noqa: PTH110, PTH111  # pathlib raises for names that no file can have
        return value  # a name or an address rather than a file
    for kind in sorted(kinds, key=_strictness):
        for form in _forms(value) if isinstance(value, str) and kind not in (str, Path) else (value,):
            try:
                return msgspec.convert(form, kind, strict=False, dec_hook=_as_object)
            except msgspec.ValidationError:
                continue
            except TypeError:  # msgspec cannot check this type
                return json_value(value) if isinstance(value, str) else value
    raise ValueError(value)


def describe(hint: Any) -> str:
    """A type in words, for messages and help."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is inspect.Parameter.empty:
        return "VALUE"
    if origin in _UNIONS:
        return " or ".join(dict.fromkeys(describe(a) for a in arguments if a is not type(None)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(str(m.value) for m in hint)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return words.get(hint, "a JSON value" if origin else getattr(hint, "__name__", str(hint)))


def _forms(text: str) -> Iterator[Any]:
    """What a text may stand for: itself, a value in JSON's spelling, JSON, or a list with commas."""
    yield text
    yield _SPELLINGS.get(text.lower(), text.replace("_", ""))
    try:
        yield json.loads(text)
    except (ValueError, RecursionError):
        if "," in text:
            yield [part.strip() for part in text.split(",")]


def _as_object(kind: type, value: Any) -> Any:
    """The value for a type that JSON does not have: a path is made from a text, any other object is taken as it is."""
    if kind is Path and value and isinstance(value, str | Path):
        return user_path(str(value))
    if isinstance(value, str | float | int | list | dict):
        raise ValueError(value)
    return value


def _strictness(kind: Any) -> int:
    return _STRICTNESS.index(kind) if kind in _STRICTNESS else 3 if typing.get_origin(kind) is Literal else 4


def type_of_default(parameter: inspect.Parameter) -> Any:
    """The type of a parameter's default value, where it is a plain one; else anything."""
    default = parameter.default
    return type(default) if isinstance(default, bool | int | float | str | Path) else Any


def hints_of(tracker: type) -> dict[str, Any]:
    """The annotations of a tracker's constructor; empty where they cannot be evaluated."""
    try:
        return typing.get_type_hints(inspect.getattr_static(tracker, "__init__"))
    except Exception:  # an annotation that cannot be evaluated here: the default's type then decides
        return {}
