"""Parts of all commands: locations as flags, findings, errors as one line, exit codes."""

from __future__ import annotations

import codecs
import functools
import io
import os
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, cast

import click

from tnllt import __version__
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import LocationConfig, ScoreConfig
from tnllt.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, TnlltError, UsageError
from tnllt.files import write_atomic
from tnllt.options import option
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.findings import Findings

F = TypeVar("F", bound=Callable[..., Any])

#: Adds the options of `ScoreConfig`; the command gets one argument `config`.
scoring_options = config_options(ScoreConfig)
#: Those of them that say what is read, for commands that score nothing, or by several rules.
reading_options = config_options(ScoreConfig, without=("workers", "cluster"))
#: Adds --dataset, --root, --annos, --results, --config; the command gets one argument `place`.
location_options = config_options(LocationConfig, "place")


STYLE_HELP = "TOML file with a [style]: names, colours, order, sizes.  [default: that of tnllt.toml]"
#: Adds --style, a path for `tnllt.eval.style.load_style`.
style_option = click.option("--style", type=PATH, help=STYLE_HELP)


def format_option(*formats: str) -> Callable[[F], F]:
    """Adds --format with these choices, the first of which is the default; the argument is `format_`."""
    return click.option(
        "--format", "format_", type=click.Choice(formats), default=formats[0], show_default=True,
        help="Format of the output.",
    )  # fmt: skip


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it is a file or a pipe."""
    return max(40, shutil.get_terminal_size().columns) if sys.stdout is not None and sys.stdout.isatty() else None


def wrapped(text: str, first: str = "", after: str | None = None) -> str:
    """The text in lines as wide as the terminal, or 100: one that begins with `first`, and others with `after`.

    Words stay whole, so that addresses and commands can be copied.
    """
    return textwrap.fill(
        text, terminal_width() or 100, initial_indent=first, subsequent_indent=first if after is None else after,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def output_folder(out: Path) -> Path:
    """The folder, made if it does not exist. Raises UsageError where it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: the folder cannot be made ({error.strerror}); give another one") from error
    return out


def prints_findings(checker: str) -> Callable[[Callable[..., Findings]], Callable[..., Any]]:
    """The command returns `Findings`; the decorator adds the options that say how they are printed.

    Args:
        checker: where the `Checker` is, "package.module:attribute"; --codes lists its kinds.
    """

    def list_codes(context: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            click.echo(_attribute(checker).listing())
            context.exit()

    def decorate(function: Callable[..., Findings]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, printing: _Printing, **kwargs: Any) -> int:
            findings = function(*args, **kwargs)
            text = findings.render(printing.format_, printing.verbose)
            if printing.out is not None:
                write_atomic(printing.out, text + "\n")
            elif text:
                click.echo(text)
            return findings.exit_code(printing.strict)

        codes = click.option("--codes", is_flag=True, is_eager=True, expose_value=False, callback=list_codes,
                             help="List every code with its meaning and remedy.")  # fmt: skip
        decorated: Callable[..., Any] = config_options(_Printing, "printing")(codes(wrapper))
        return decorated

    return decorate


@dataclass(frozen=True)
class _Printing:
    format_: str = option("text", "Format.", choices=("text", "json", "github"))
    out: Path | None = option(None, "Write the findings to a file.", "-o")
    verbose: bool = option(False, "Name every finding, not the first three of a kind.", "-v")
    strict: bool = option(False, "Warnings, too, make the exit code 1.")


def _attribute(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


class LazyGroup(click.Group):
    """A group some of whose subcommands' modules are imported when these are called, so that help is instant.

    Args:
        subcommands: name -> (where it is, "package.module:attribute"; what it does, a line of the help).
    """

    def __init__(self, *args: Any, subcommands: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.subcommands = subcommands

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self.subcommands]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name in self.subcommands:
            command: click.Command = _attribute(self.subcommands[name][0])
            return command
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [(name, command.get_short_help_str(200)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(own + [(name, summary) for name, (_, summary) in self.subcommands.items()])


def run_command(command: click.Command, prog: str) -> None:
    """Runs a click command and ends the process.

    Whatever goes wrong ends in one line on standard error and an exit code: that of a `TnlltError`, else 2. Code 1
    means that a gate failed, and nothing else. With --verbose, or TNLLT_DEBUG=1, an unexpected error shows its
    traceback.
    """
    # As one line: where in the code a warning arose does not help a user.
    warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {printable(str(message))}", err=True)
    if sys.stdout is not None:
        sys.stdout = cast(TextIO, _PrintableStream(sys.stdout))
    try:
        # click would strip escape sequences from what goes to a pipe, which can leave a formula behind; we escape them.
        code = command.main(prog_name=prog, standalone_mode=False, color=True)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing is left to say, and Python must not try at exit.
        _drop_output()
        sys.exit(EXIT_OK)
    except click.Abort:
        _fail("Interrupted.", EXIT_INTERRUPTED)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        usage = f"{context.get_usage()}\n" if context is not None else ""
        _fail(f"{usage}Error: {error.format_message()}", EXIT_USAGE)
    except TnlltError as error:
        _fail(f"Error: {error}", error.exit_code)
    except (Exception, SystemExit) as error:
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):  # Python wraps it in some imports
            _fail("Interrupted.", EXIT_INTERRUPTED)
        if os.environ.get("TNLLT_DEBUG") or not {"--verbose", "-v"}.isdisjoint(sys.argv):
            sys.excepthook(*sys.exc_info())
        _fail(f"Error: {_unexpected(error)}", EXIT_USAGE)
    sys.exit(code if isinstance(code, int) else EXIT_OK)


def _fail(message: str, code: int) -> NoReturn:
    lines = printable(message).split("\n")  # an error may quote a file's one endless line
    click.echo("\n".join(line if len(line) <= 1000 else f"{line[:1000]}..." for line in lines), err=True)
    try:
        sys.stdout.flush()
    except (OSError, AttributeError):  # a full disk, or no standard output at all
        _drop_output()
    sys.exit(code)


def _drop_output() -> None:
    """What is still to be written to standard output goes nowhere, so that Python does not fail at its end."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: BaseException) -> str:
    """One line about an error that no part of the package has put into words."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory; give the process more, or fewer sequences or trackers at once"
    if isinstance(error, SystemExit):
        return f"code that was loaded ended the process (sys.exit({error.code!r}))"
    what = " ".join(str(error).split()) or "no further message"
    return f"unexpected {type(error).__name__}: {what}\nTNLLT_DEBUG=1 shows where; please report it"


class _PrintableStream:
    """Standard output on which nothing steers a terminal, and no secret is written, whoever prints it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            # As click does, and so that click writes here: an ASCII stream takes UTF-8.
            ascii_only = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding="utf-8" if ascii_only else stream.encoding, errors="backslashreplace")

    def write(self, text: str) -> int:
        self._stream.write(printable(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


version_option = click.version_option(__version__, prog_name="tnllt", message="%(prog)s %(version)s")
