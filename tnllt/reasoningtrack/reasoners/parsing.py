"""What a model is told, and reading `<think>...</think><d>yes|no|keep</d><answer>...</answer>` out of what it wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

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


Compat = Literal["ours", "released"]

_TAGS = ("think", "d", "answer")
_PATTERNS = {tag: re.compile(rf"<{tag}>(.*?)</{tag}>", re.DOTALL) for tag in _TAGS}
_CLOSE = "</think>"


@dataclass(frozen=True)
class Parsed:
    """The parts of one answer.

    Attributes:
        think: the thought, or None.
        decision: the text in `<d>`, stripped, or None.
        answer: the text in `<answer>`, stripped, or None.
        missing: the tags that are not there, or not closed.
    """

    think: str | None
    decision: str | None
    answer: str | None
    missing: tuple[str, ...]

    @property
    def update(self) -> bool:
        """True for exactly "yes" with a text to change to; a missing decision is "no"."""
        return self.decision == "yes" and bool(self.answer)

    @property
    def keep(self) -> bool:
        """True for exactly "keep", which no published model writes."""
        return self.decision == "keep"


def parse_answer(raw: str, compat: Compat = "ours") -> Parsed:
    """Split an answer into thought, decision and new description.

    `released` takes the first match of each tag anywhere. `ours` reads decision and answer behind the thought only,
    because models quote the tags in their thoughts. The opening tag of a thought may be missing, as some servers remove
    it.
    """
    if compat == "released":
        return _collect(_first("think", raw), raw)
    head, tail = _split_thought(raw)
    return _collect(head, tail)


def _collect(think: str | None, rest: str) -> Parsed:
    parts = {"think": think, "d": _first("d", rest), "answer": _first("answer", rest)}
    missing = tuple(tag for tag in _TAGS if parts[tag] is None)
    return Parsed(parts["think"], parts["d"], parts["answer"], missing)


def _first(tag: str, text: str) -> str | None:
    match = _PATTERNS[tag].search(text)
    return match.group(1).strip() if match else None


def _split_thought(raw: str) -> tuple[str | None, str]:
    """The thought and what follows the last `</think>` that still has an answer behind it."""
    answer = max(raw.rfind("<d>"), raw.rfind("<answer>"))
    cut = raw.rfind(_CLOSE, 0, answer) if answer >= 0 else -1
    cut = cut if cut >= 0 else raw.rfind(_CLOSE)
    if cut < 0:
        return None, raw
    thought = raw[:cut].strip()
    return thought.removeprefix("<think>").strip(), raw[cut + len(_CLOSE) :]
