"""The system prompt: the bundled one by default, any other from a file."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from tnllt.errors import DataError, UsageError
from tnllt.files import read_bytes

_MOST_BYTES = 64 << 10


def load_prompt(path: str | Path | None = None) -> str:
    """The system prompt's text; None gives the bundled one.

    Weights that were trained with another prompt need that one: give its file. Raises UsageError where it is not text.
    """
    if path is None:
        return (files("tnllt.reasoningtrack.reasoners") / "prompts" / "default.txt").read_text("utf-8").strip()
    try:
        text = read_bytes(path, _MOST_BYTES).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: the system prompt is not UTF-8 text: {error}") from error
    except DataError as error:
        raise UsageError(
            f"the system prompt {path} is not a text of at most {_MOST_BYTES >> 10} kB: {error}"
        ) from error
    if not text:
        raise UsageError(f"{path}: the system prompt is empty")
    return text
