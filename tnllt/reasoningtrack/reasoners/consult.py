"""Asking a reasoner on behalf of a running tracker: never raises, decides what the description becomes, records it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tnllt.reasoningtrack.reasoners.base import Reasoner, ReasonerError, Reasoning
from tnllt.reasoningtrack.reasoners.trace import REFRESH, SCHEMA, image_hash
from tnllt.sequence import Image

log = logging.getLogger(__name__)

#: Longer messages of a failure are cut in the record.
_MESSAGE = 500


@dataclass(frozen=True, eq=False)
class Question:
    """One refresh of one sequence.

    Attributes:
        first, second: RGB uint8 (H, W, 3); `first_frame`, `second_frame` are their numbers.
        own: the sequence's own sentence, which is what the model is asked about.
        current: the description in force, which a failure keeps.
        frame: the frame before whose forward pass the refresh happens.
    """

    first: Image
    second: Image
    own: str
    current: str
    first_frame: int
    second_frame: int
    frame: int


@dataclass(frozen=True)
class Refresh:
    """What a refresh came to.

    Attributes:
        description: in force from now on.
        reasoning: the answer, or None after a failure.
        error: what failed, or None.
        event: for the trace (schema in `trace.py`).
    """

    description: str
    reasoning: Reasoning | None
    error: str | None
    event: dict[str, Any]


def consult(reasoner: Reasoner, questions: Sequence[Question]) -> list[Refresh]:
    """Ask about several sequences at once, at most `reasoner.concurrency` at a time. Order is kept."""
    workers = min(len(questions), max(1, int(getattr(reasoner, "concurrency", 1) or 1)))
    if workers <= 1:
        return [ask(reasoner, question) for question in questions]
    with ThreadPoolExecutor(workers, thread_name_prefix="reasoner") as pool:
        return list(pool.map(lambda question: ask(reasoner, question), questions))


def ask(reasoner: Reasoner, question: Question) -> Refresh:
    """One question. On "yes" the answer becomes the description, on "no" the sequence's own comes back; a failure of
    any kind keeps the one in force."""
    started = time.perf_counter()
    try:
        # Any object with these attributes is welcome, not only our dataclass.
        said = reasoner.describe(question.first, question.second, question.own)
        reasoning = Reasoning(
            _speakable(getattr(said, "think", None)),
            bool(said.update),
            _speakable(said.description),
            _speakable(getattr(said, "raw", "") or "") or "",
            float(getattr(said, "seconds", 0.0) or 0.0),
            dict(getattr(said, "detail", None) or {}),
        )
    except Exception as error:
        return _failed(question, error, time.perf_counter() - started)
    changed = reasoning.update and bool(reasoning.description)
    after = str(reasoning.description) if changed else question.own
    return Refresh(after, reasoning, None, _event(question, reasoning, after, None))


def _speakable(text: object) -> str | None:
    """Text without lone surrogates, which JSON can spell but no tokenizer or file takes; they become "?"."""
    return None if text is None else str(text).encode("utf-8", "replace").decode("utf-8")


def _failed(question: Question, error: Exception, seconds: float) -> Refresh:
    known = isinstance(error, ReasonerError)
    kind = error.kind if isinstance(error, ReasonerError) else type(error).__name__
    text = " ".join(str(error).split())[:_MESSAGE]
    log.warning("refresh at frame %d failed (%s: %s); the description stays", question.frame, kind, text)
    if not known:
        log.debug("reasoner raised", exc_info=error)
    detail = dict(error.detail) if isinstance(error, ReasonerError) else {}
    if isinstance(error, ReasonerError) and error.seconds is not None:
        seconds = error.seconds
    raw = str(detail.pop("raw", ""))
    event = _event(
        question,
        Reasoning(None, False, None, raw, seconds, detail),
        question.current,
        {"kind": kind, "message": text},
    )
    return Refresh(question.current, None, f"{kind}: {text}", event)


def _event(question: Question, said: Reasoning, after: str, error: dict[str, str] | None) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "event": REFRESH,
        "frame": question.frame,
        "first": {"frame": question.first_frame, "sha256": image_hash(question.first)},
        "second": {"frame": question.second_frame, "sha256": image_hash(question.second)},
        "own": question.own,
        "before": question.current,
        "after": after,
        "raw": said.raw,
        "think": said.think,
        "update": said.update,
        "answer": said.description,
        "seconds": round(said.seconds, 6),
        "error": error,
        "detail": dict(said.detail),
    }
