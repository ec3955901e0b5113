"""Click options made from a dataclass whose fields are `tnllt.options.option`s."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.options import Flag, flag_of

F = TypeVar("F", bound=Callable[..., Any])
_KINDS = {"bool": bool, "int": int, "float": float, "Path": Path}


class _PathType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.3
    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        return user_path(value)


#: The type of an argument or option that is a path: one that a file can have, with `~` expanded.
PATH = _PathType()


def config_options(config: type, argument: str = "config", without: Iterable[str] = ()) -> Callable[[F], F]:
    """Adds an option for each field of a dataclass; the command gets one argument, an instance of it.

    Args:
        config: the dataclass; a field without `option` keeps its default, an option without a default is required.
        argument: name of the command's argument.
        without: fields that this command does not offer.
    """
    left_out = set(without)
    offered = [(f, flag) for f in fields(config) if f.name not in left_out and (flag := flag_of(f.metadata))]

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def wrapper(*args: Any, **given: Any) -> Any:
            values = {f.name: given.pop(f.name) for f, _ in offered}
            for f, _ in offered:
                if f.default is True:  # a switch that is on by default is turned off by its flag
                    values[f.name] = not values[f.name]
                elif values[f.name] == ():
                    values[f.name] = f.default
            try:
                made = config(**values)
            except ValueError as error:
                raise UsageError(str(error)) from error
            return function(*args, **{argument: made}, **given)

        decorated: Any = wrapper
        for field, flag in reversed(offered):
            # The type is stated, or the first one of the field's annotation, which is text.
            kind = flag.kind or _KINDS.get(str(field.type).partition(" | ")[0], str)
            decorated = _option(field, flag, kind)(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _option(field: Field[Any], flag: Flag, kind: Any) -> Callable[[F], F]:
    word = field.name.rstrip("_").replace("_", "-")
    names = flag.names if any(n.startswith("--") for n in flag.names) else (f"--{word}", *flag.names)
    text = flag.help
    if kind is bool:
        if field.default is True and not flag.names:
            names = (f"--no-{word}",)
        default = None if field.default is None else False
        return click.option(*names, field.name, is_flag=True, default=default, help=text)
    if flag.environment:
        text += f"  [env: {flag.environment}]"
    stated = "[default:" in text or isinstance(field.default, tuple)
    shown = not stated and field.default not in (None, "", MISSING)
    given: dict[str, Any] = {"default": None if flag.multiple else field.default}
    if field.default is MISSING:
        given = {"required": True}  # without `default=None`, which click counts as given
    return click.option(
        *names, field.name, type=_click_type(flag, kind), show_default=shown, metavar=flag.metavar,
        multiple=flag.multiple, help=text, **given,
    )  # fmt: skip


def _click_type(flag: Flag, kind: Any) -> Any:
    if flag.choices:
        return click.Choice(flag.choices)
    if kind is Path:
        return PATH
    low = flag.minimum if flag.above is None else flag.above
    if kind in (int, float) and (low is not None or flag.maximum is not None):
        bounds: Any = click.IntRange if kind is int else click.FloatRange
        return bounds(low, flag.maximum, min_open=flag.above is not None)
    return kind
