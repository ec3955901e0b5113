"""Options declared once: a dataclass field that also states its flag, so that a function and a command share it.

`tnllt.cli.dataclass_options` makes click options from such a dataclass; nothing here needs click.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_KEY = "flag"


@dataclass(frozen=True)
class Flag:
    """How a command spells one field of a configuration.

    Attributes:
        help: one line for `--help`.
        names: its flags; by default `--name-of-the-field`, and `--no-name-of-the-field` where the default is True.
        kind: str, int, float, Path or a function of the text, where the field's annotation allows more than a command
            line can give.
        metavar: what stands for the value in the help.
        choices: the only values allowed.
        minimum, maximum: bounds, both included.
        above: a bound that is not included.
        multiple: whether the flag may be repeated; the value is a tuple then.
        environment: the environment variable that is read where the flag is not given, for the help alone.
    """

    help: str
    names: tuple[str, ...] = ()
    kind: Callable[[str], Any] | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    multiple: bool = False
    environment: str | None = None


def option(default: Any, help: str, *names: str, **how: Any) -> Any:
    """A dataclass field with a default and a `Flag`: `workers: int = option(1, "Processes at once.", "-w")`.

    A single short name is added to the flag that the field's name gives.
    """
    return field(default=default, metadata={_KEY: Flag(help, names, **how)})


def flag_of(metadata: Any) -> Flag | None:
    """The `Flag` of a field's metadata, or None where the field is not an option."""
    found: Flag | None = metadata.get(_KEY)
    return found


def takes_fields_of(config: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Gives a function that passes its arguments on to a dataclass the dataclass's signature, for readers and mypy."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        own: Any = function
        own.__signature__ = inspect.signature(config).replace(
            return_annotation=inspect.signature(own).return_annotation
        )
        return function

    return decorate
