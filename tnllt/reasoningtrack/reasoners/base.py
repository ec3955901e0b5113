"""What a reasoner is: a model that decides from two frames whether the target's description has to change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tnllt.sequence import Image
from tnllt.text import redact


@dataclass(frozen=True)
class Reasoning:
    """A reasoner's answer, before the tracker's rule is applied (yes: the new text; no: the sequence's own).

    Attributes:
        think: the text of `<think>`, or None.
        update: True where the model decided that the description has to change.
        description: the text of `<answer>`, or None.
        raw: everything that the model wrote.
        seconds: from question to answer.
        detail: facts for the trace that JSON can hold (model, prompt's hash, attempts, missing tags, cached).
    """

    think: str | None = None
    update: bool = False
    description: str | None = None
    raw: str = ""
    seconds: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Reasoner(Protocol):
    """Anything with `describe`.

    `describe` may raise: the tracker then keeps the current description and records why. `concurrency` (int, default 1)
    is how many calls of `describe` may run at once in threads. `info()` and `close()` are called where they exist. The
    time of `describe` is not limited here: an object of your own limits its own time.
    """

    def describe(self, first: Image, second: Image, description: str) -> Reasoning:
        """Whether `description` still holds in the second frame, and a new one where it does not.

        Args:
            first: RGB uint8 (H, W, 3), the frame of the last refresh; before any, the first frame.
            second: RGB uint8 (H, W, 3), the current frame.
            description: the sequence's own description, never a revised one.
        """
        ...


class ReasonerError(Exception):
    """No usable answer. `kind` is a short stable name (timeout, status, cut_off, too_large, circuit_open, ...).

    Args:
        seconds: of a failure that was recorded earlier; None for the time that it took now.
    """

    def __init__(
        self, kind: str, message: str, detail: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> None:
        super().__init__(redact(message))
        self.kind = kind
        self.detail: Mapping[str, Any] = detail or {}
        self.seconds = seconds


class StaticReasoner:
    """Never changes the description."""

    name = "reasoner static"
    concurrency = 64

    def describe(self, first: Image, second: Image, description: str) -> Reasoning:
        started = time.perf_counter()
        return Reasoning(None, False, description, "", time.perf_counter() - started)

    def info(self) -> Mapping[str, Any]:
        return {"reasoner": "static"}
