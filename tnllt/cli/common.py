"""What the four commands share: locations as flags, errors as one line, exit codes."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO, TypeVar

import click

from tnllt import __version__
from tnllt.cli.dataclass_options import config_options
from tnllt.config import LocationConfig
from tnllt.errors import EXIT_USAGE, TnlltError
from tnllt.files import write_atomic
from tnllt.findings import FORMATS, Findings
from tnllt.text import printable

F = TypeVar("F", bound=Callable[..., Any])


def location_options(function: F) -> F:
    """Adds --dataset, --root, --annos, --results, --config; the command gets one argument `where: Locations`."""

    @functools.wraps(function)
    def wrapper(*args: Any, locations: LocationConfig, **kwargs: Any) -> Any:
        return function(*args, where=locations.locate(), **kwargs)

    decorated: Any = config_options(LocationConfig, "locations")(wrapper)
    return decorated  # type: ignore[no-any-return]


def prints_findings(checker: str) -> Callable[[Callable[..., Findings]], Callable[..., Any]]:
    """The command returns `Findings`; the decorator adds the options that say how they are printed.

    Args:
        checker: where the `Checker` is, "package.module:attribute"; --codes lists its kinds.
    """

    def list_codes(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(_attribute(checker).listing())
            context.exit()

    options = (
        click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="Format."),
        click.option("--out", "-o", type=click.Path(path_type=Path), help="Write the findings to a file."),
        click.option("--verbose", "-v", is_flag=True, help="Name every finding, not the first three of a kind."),
        click.option("--strict", is_flag=True, help="Warnings, too, make the exit code 1."),
        click.option("--codes", is_flag=True, is_eager=True, expose_value=False, callback=list_codes,
                     help="List every code with its meaning and remedy."),
    )  # fmt: skip

    def decorate(function: Callable[..., Findings]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, form: str, out: Path | None, verbose: bool, strict: bool, **kwargs: Any) -> int:
            findings = function(*args, **kwargs)
            text = findings.render(form, verbose)
            if out is not None:
                write_atomic(out, text + "\n")
            elif text:
                click.echo(text)
            return findings.exit_code(strict)

        decorated: Callable[..., Any] = wrapper
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _attribute(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is called, so that help is instant.

    Args:
        subcommands: name -> (where it is, "package.module:attribute"; what it does, a line of the help).
    """

    def __init__(self, *args: Any, subcommands: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subcommands = subcommands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.subcommands)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.subcommands:
            return None
        command: click.Command = _attribute(self.subcommands[name][0])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self.subcommands.items()])


def run_command(command: click.Command, prog: str) -> None:
    """Runs a click command; a `TnlltError` becomes its one line on stderr and its exit code. Never returns."""
    warnings.showwarning = _show_warning
    try:
        code = command.main(prog_name=prog, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except TnlltError as error:
        click.echo(f"Error: {_bounded(printable(str(error)))}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing is left to say, and Python must not try at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A warning as one line: where in the code it arose is of no use to a user."""
    click.echo(f"Warning: {printable(str(message))}", err=True)


def _bounded(text: str, most: int = 1000) -> str:
    """Lines of at most so many characters: a file's one endless line, quoted in an error, is no help."""
    return "\n".join(line if len(line) <= most else f"{line[:most]}..." for line in text.split("\n"))


version_option = click.version_option(__version__, prog_name="tnllt", message="%(prog)s %(version)s")
