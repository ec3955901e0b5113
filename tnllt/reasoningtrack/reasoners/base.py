"""What a reasoner is: it looks at two frames and says whether the target's description still holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tnllt.sequence import Image


@dataclass(frozen=True)
class Reasoning:
    """A reasoner's answer, before the tracker's rule is applied (yes: the new text; no: the sequence's own).

    Attributes:
        think: the thought, or None where none was given.
        update: True where the model decided that the description has to change.
        description: the text answered, or None where there is none.
        raw: everything the model wrote.
        seconds: from question to answer.
        detail: JSON-able facts for the trace (model, prompt's hash, attempts, missing tags, cached).
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

    It may raise: the tracker then keeps the description it has and records why. `concurrency` (int, default 1) is how
    many `describe` calls may run at once in threads; `info()` and `close()` are used where they are there.
    """

    def describe(self, first: Image, second: Image, description: str) -> Reasoning:
        """Is `description` still right?

        Args:
            first: RGB uint8 (H, W, 3), the frame the description was last looked at.
            second: RGB uint8 (H, W, 3), the frame now.
            description: the sequence's own sentence, never a revised one.
        """
        ...


class ReasonerError(Exception):
    """No usable answer. `kind` is a short stable name (timeout, status, cut_off, too_large, circuit_open, ...).

    `seconds` is for a failure that was recorded earlier; None: as long as it took now.
    """

    def __init__(
        self, kind: str, message: str, detail: Mapping[str, Any] | None = None, seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.detail: Mapping[str, Any] = detail or {}
        self.seconds = seconds


class StaticReasoner:
    """Never changes the description."""

    concurrency = 64

    def describe(self, first: Image, second: Image, description: str) -> Reasoning:
        started = time.perf_counter()
        return Reasoning(None, False, description, "", time.perf_counter() - started)

    def info(self) -> Mapping[str, Any]:
        return {"reasoner": "static"}
