"""Errors that a user sees: one or two lines that name the place and the remedy, and the exit code they end with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: Exit codes of every command (README, "Exit codes").
EXIT_OK, EXIT_GATE, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130


class TnlltError(Exception):
    """An error that the user can mend. Commands print its text without a traceback."""

    exit_code = EXIT_USAGE


class UsageError(TnlltError):
    """An invalid flag, option or argument."""


class DataError(TnlltError):
    """A file that is not what it should be, or cannot be read or written.

    Args:
        message: what is wrong, and the remedy.
        path: the file or folder at fault.
        row: its row, counted from 1.
    """

    def __init__(self, message: str, path: str | Path | None = None, row: int | None = None) -> None:
        self.path = Path(path) if path is not None else None
        self.row = row
        place = "" if path is None else f"{path}: " if row is None else f"{path}, row {row}: "
        super().__init__(place + message)


class EndOfStream(TnlltError):
    """There is no further frame: raised by frames whose number is not known beforehand."""


class DataWarning(UserWarning):
    """Data that can be used although something about it is wrong. The text states what was done."""


class IncompleteError(TnlltError):
    """A sequence or rows are missing, or a sequence failed to run."""

    exit_code = EXIT_INCOMPLETE


class GateError(TnlltError):
    """A score is below the gate that the user set."""

    exit_code = EXIT_GATE


class MissingExtraError(TnlltError):
    """A command needs packages that an extra installs."""

    def __init__(self, what: str, extra: str, cause: ImportError | None = None) -> None:
        detail = f" ({cause})" if cause is not None else ""
        remedy = f'in the folder of tnllt\'s source: pip install ".[{extra}]"'
        super().__init__(f'{what} needs the extra "{extra}"{detail}; {remedy}')


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A question that names the known word nearest to this one (upper and lower case count alike), else `otherwise`."""
    import difflib

    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, 1)
    return f"did you mean {folded[near[0]]!r}?" if near else otherwise
