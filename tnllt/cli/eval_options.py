"""What the scoring commands share besides the options of `ScoreConfig`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from tnllt.cli.dataclass_options import config_options
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

#: Adds the options of `ScoreConfig`; the command gets one argument `config`.
scoring_options = config_options(ScoreConfig)


def format_option(*formats: str) -> Callable[[F], F]:
    """Adds --format with these choices, the first of which is the default; the argument is `format_`."""
    return click.option(
        "--format", "format_", type=click.Choice(formats), default=formats[0], show_default=True,
        help="Format of the output.",
    )  # fmt: skip


def output_folder(out: Path) -> Path:
    """The folder, made if it does not exist. Raises UsageError where it cannot be made."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--out {out}: the folder cannot be made ({reason}); give another one") from error
    return out
