"""What a reasoner is: a model that decides from two frames whether the target's description has to change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from tnllt.errors import DataError
from tnllt.sequence import Image, Sequence
from tnllt.text import redact


@dataclass(frozen=True, eq=False)
class Look:
    """A frame that a reasoner may be shown.

    Attributes:
        image: RGB uint8 (H, W, 3).
        box: x, y, w, h in pixels: the initial box in the first frame, elsewhere the tracker's own, which may be wrong.
        frame: its number, from 0.
    """

    image: Image
    box: tuple[float, float, float, float]
    frame: int


@dataclass(frozen=True, eq=False)
class Question:
    """What a reasoner is asked: whether the description still holds in the current frame. One refresh of one sequence.

    Attributes:
        first: the sequence's first frame with the initial box, always.
        previous: the frame of the last refresh; before any, `first`.
        current: the current frame. Its box is the tracker's in the frame before: the search starts around it.
        own: the sequence's own description.
        description: the description in force, which a failure keeps.
        confidence: the tracker's of its last box; None before it has tracked a frame.
        frame: the frame before whose forward pass the refresh happens.
        sequence: the sequence's name, where it is known.
    """

    first: Look
    previous: Look
    current: Look
    own: str
    description: str
    confidence: float | None = None
    frame: int = 0
    sequence: str | None = None

    @classmethod
    def of_pair(cls, first: Look, current: Look, own: str, description: str | None = None) -> Question:
        """A question about two frames of which the first is also the one looked at before."""
        return cls(first, first, current, own, own if description is None else description, None, current.frame)


@dataclass(frozen=True)
class Reasoning:
    """A reasoner's answer, before the tracker's rule is applied (`after`).

    Attributes:
        think: the text of `<think>`, or None.
        update: True where the model decided that the description has to change.
        description: the text of `<answer>`, or None.
        raw: everything that the model wrote.
        seconds: from question to answer.
        detail: facts for the trace that JSON can hold (model, prompt's hash, attempts, missing tags, cached).
        keep: True where the model cannot tell, so that the description in force stays.
    """

    think: str | None = None
    update: bool = False
    description: str | None = None
    raw: str = ""
    seconds: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = False

    @property
    def decision(self) -> Literal["yes", "no", "keep"]:
        return "yes" if self.update and self.description else "keep" if self.keep else "no"

    def after(self, question: Question) -> str:
        """The description from now on: the new one ("yes"), that in force ("keep"), or the sequence's own ("no")."""
        return {"yes": str(self.description), "keep": question.description, "no": question.own}[self.decision]


@runtime_checkable
class Reasoner(Protocol):
    """Anything with `describe`; one with a parameter `question` is given the whole `Question` there, too, and one that
    has no other parameter is given that alone.

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


class AnnotationReasoner:
    """An oracle: the description that the dataset states for the current frame."""

    name = "reasoner annotation"
    concurrency = 1
    oracle = True

    def __init__(self) -> None:
        self._texts: dict[str | None, tuple[str, ...]] = {}

    def receive(self, sequence: Sequence) -> None:
        """Keeps a sequence's texts. Raises DataError where it has none."""
        if sequence.descriptions is None:
            raise DataError(
                f"sequence {sequence.name!r} has no descriptions over time, which reasoner=annotation gives"
            )
        self._texts[sequence.name] = sequence.descriptions

    def describe(self, question: Question) -> Reasoning:
        text = self._texts[question.sequence][question.frame]
        return Reasoning(None, text != question.own, text, text)

    def info(self) -> Mapping[str, Any]:
        return {"reasoner": "annotation"}
