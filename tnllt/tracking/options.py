"""Tracker options: `--set KEY=VALUE`, checked against the keyword parameters of the tracker's constructor."""

from __future__ import annotations

import collections.abc
import enum
import inspect
import json
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import UsageError, did_you_mean
from tnllt.files import user_path
from tnllt.options import json_value, key_values

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NONE = ("none", "null", "")
#: In a union, the stricter type is tried first: "3" is an int before it is a float, a path or a string.
_STRICTNESS = (bool, int, float, Path, str)


class _Mismatch(Exception):
    """The value cannot be converted to the type."""


def parse_settings(settings: typing.Iterable[str]) -> dict[str, str]:
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
            raise UsageError(f"{name} has no option {key!r}; {_suggest(key, named)}")
        hint = hints.get(key, type_of_default(named[key])) if key in named else Any
        try:
            values[key] = convert(value, hint)
        except _Mismatch:
            raise UsageError(f"--set {key}={value}: {name} takes {describe(hint)}") from None
    missing = [k for k, p in named.items() if p.default is inspect.Parameter.empty and k not in values]
    if missing:
        raise UsageError(f"{name} needs " + " and ".join(f"--set {k}={describe(hints.get(k, Any))}" for k in missing))
    return values


def convert(value: Any, hint: Any) -> Any:
    """`value`, a text or already typed, as `hint`. Raises _Mismatch."""
    if hint is Any or hint is inspect.Parameter.empty:
        return json_value(value) if isinstance(value, str) else value
    if typing.get_origin(hint) is typing.Annotated:
        return convert(value, typing.get_args(hint)[0])
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments)
    if origin is Literal:
        return _first(a for a in arguments if str(a) == str(value))
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return _first(m for m in origin if value is m or str(value) in (str(m.value), m.name))
    if origin is type(None):
        return _one_of(value is None or (isinstance(value, str) and value.lower() in _NONE), None)
    if origin in (bool, int, float, str, Path):
        return _convert_scalar(value, origin)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Collection):
        return _convert_collection(value, origin, arguments)
    return _one_of(not isinstance(value, str), value)


def describe(hint: Any) -> str:
    """A type in words, for messages and help."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is inspect.Parameter.empty:
        return "VALUE"
    if origin is typing.Annotated:
        return describe(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(a) for a in arguments if a is not type(None)))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(str(m.value) for m in hint)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return words.get(hint, "a JSON value" if origin else getattr(hint, "__name__", str(hint)))


def _convert_scalar(value: Any, kind: type) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        text = str(value).lower()
        return _one_of(text in _TRUE + _FALSE, text in _TRUE)
    if kind in (int, float):
        if isinstance(value, bool) or (kind is int and isinstance(value, float) and not value.is_integer()):
            raise _Mismatch
        try:
            return kind(value.replace("_", "") if isinstance(value, str) else value)
        except (TypeError, ValueError):
            raise _Mismatch from None
    if kind is Path:
        return _one_of(isinstance(value, str | Path) and str(value) != "", user_path(str(value)))
    return _one_of(isinstance(value, str), value)


def _is_there(text: str) -> bool:
    """Whether a file has this name; False for a text that no file can have as its name."""
    return os.path.exists(os.path.expanduser(text))  # noqa: PTH110, PTH111  # pathlib raises there


def _convert_union(value: Any, arguments: tuple[Any, ...]) -> Any:
    def strictness(hint: Any) -> int:
        if hint is type(None):
            return -1
        return _STRICTNESS.index(hint) if hint in _STRICTNESS else 2 if typing.get_origin(hint) is Literal else 3

    if isinstance(value, str) and {str, Path} <= set(arguments) and not _is_there(value):
        return value  # a name or an address rather than a file
    for argument in sorted(arguments, key=strictness):
        try:
            return convert(value, argument)
        except _Mismatch:
            continue
    raise _Mismatch


def _convert_collection(value: Any, origin: type, arguments: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            if issubclass(origin, collections.abc.Mapping) or "," not in value:
                raise _Mismatch from None
            value = [part.strip() for part in value.split(",")]
    if issubclass(origin, collections.abc.Mapping):
        return _one_of(isinstance(value, Mapping), value)
    if not isinstance(value, list | tuple | set | frozenset):
        raise _Mismatch
    inner = [a for a in arguments if a is not Ellipsis]
    items = [convert(v, inner[min(i, len(inner) - 1)] if inner else Any) for i, v in enumerate(value)]
    return origin(items) if origin in (tuple, set, frozenset) else items


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


def _suggest(key: str, known: Mapping[str, Any]) -> str:
    if not known:
        return "it takes none"
    return did_you_mean(key, known, f"it has {', '.join(known)}")


def _one_of(fits: bool, value: Any) -> Any:
    if not fits:
        raise _Mismatch
    return value


def _first(matches: typing.Iterable[Any]) -> Any:
    for match in matches:
        return match
    raise _Mismatch
