"""Options, declared once for functions and commands as dataclass fields, and options given as text, KEY=VALUE.

`tnllt.cli.dataclass_options` makes click options from such a dataclass; nothing here needs click.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ParamSpec, TypeVar

from tnllt.errors import UsageError

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

    def fits(self, value: float) -> bool:
        low = self.above is None or value > self.above
        return (
            low and (self.minimum is None or value >= self.minimum) and (self.maximum is None or value <= self.maximum)
        )


def option(default: Any, help: str, *names: str, **how: Any) -> Any:
    """A dataclass field with a default and a `Flag`: `workers: int = option(1, "Processes at once.", "-w")`.

    A single short name is added to the flag that the field's name gives.
    """
    return field(default=default, metadata={_KEY: Flag(help, names, **how)})


def flag_of(metadata: Any) -> Flag | None:
    """The `Flag` of a field's metadata, or None where the field is not an option."""
    found: Flag | None = metadata.get(_KEY)
    return found


def check_fields(config: Any) -> None:
    """Raises UsageError where a field's value is outside of what its flag allows, as the command refuses it."""
    for f in fields(config):
        flag, value = flag_of(f.metadata), getattr(config, f.name)
        if flag is None or value is None:
            continue
        if flag.choices and value not in flag.choices:
            raise UsageError(f"{f.name}={value!r}: give {' or '.join(flag.choices)}")
        bounds = {"above": flag.above, "at least": flag.minimum, "at most": flag.maximum}
        words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
        kinds: Any = int if isinstance(f.default, int) else (int, float)
        if words and not (isinstance(value, kinds) and not isinstance(value, bool) and flag.fits(value)):
            raise UsageError(f"{f.name}={value!r}: give a number {words}")


def takes_fields_of(config: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Gives a function that passes its arguments on to a dataclass the dataclass's signature, for readers and mypy."""

    def decorate(function: Callable[..., R]) -> Callable[P, R]:
        own: Any = function
        own.__signature__ = inspect.signature(config).replace(
            return_annotation=inspect.signature(own).return_annotation
        )
        return function

    return decorate


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
