"""The system prompt: ours by default, any other from a file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from tnllt.errors import UsageError

_LIMIT = 64 * 1024


def load_prompt(path: str | Path | None = None) -> str:
    """The system prompt's text; None gives the one that ships here.

    Weights trained with another prompt want that one: give its file. Raises UsageError where it cannot be read.
    """
    if path is None:
        return (files("tnllt.reasoningtrack.reasoners") / "prompts" / "default.txt").read_text("utf-8").strip()
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_LIMIT + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the system prompt: {error}") from error
    if not text:
        raise UsageError(f"{path}: the system prompt is empty")
    if len(text) > _LIMIT:
        raise UsageError(f"{path}: longer than {_LIMIT} characters; is this a system prompt?")
    return text
