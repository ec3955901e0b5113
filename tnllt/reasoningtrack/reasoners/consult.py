"""Asks a reasoner for a running tracker: decides what the description becomes, records it, and never raises."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tnllt.reasoningtrack.reasoners.base import Look, Question, Reasoner, ReasonerError, Reasoning
from tnllt.reasoningtrack.reasoners.trace import REFRESH, SCHEMA, image_hash
from tnllt.text import redact

log = logging.getLogger(__name__)

#: Characters of a failure's message in the record.
_MOST_MESSAGE = 500


@dataclass(frozen=True)
class Refresh:
    """The result of a refresh.

    Attributes:
        description: the description from now on.
        reasoning: the answer, or None after a failure.
        error: what failed, or None.
        event: for the trace (schema in `trace.py`).
    """

    description: str
    reasoning: Reasoning | None
    error: str | None
    event: dict[str, Any]


def consult(reasoner: Reasoner, questions: Sequence[Question]) -> list[Refresh]:
    """Asks about several sequences at once, at most `reasoner.concurrency` at a time. The order is kept."""
    workers = min(len(questions), max(1, int(getattr(reasoner, "concurrency", 1) or 1)))
    if workers <= 1:
        return [ask(reasoner, question) for question in questions]
    with ThreadPoolExecutor(workers, thread_name_prefix="reasoner") as pool:
        return list(pool.map(lambda question: ask(reasoner, question), questions))


def ask(reasoner: Reasoner, question: Question) -> Refresh:
    """Asks one question, and applies the rule of `Reasoning.after`; a failure of any kind keeps the description in
    force."""
    started = time.perf_counter()
    failure = None
    try:
        answer = answer_to(reasoner, question)
        after = answer.after(question)
    except Exception as error:
        failure, answer = _failed(error, time.perf_counter() - started)
        after = question.description
        kind, message = failure["kind"], failure["message"]
        log.warning("refresh at frame %d failed (%s: %s); the description stays", question.frame, kind, message)
    event = {
        "schema": SCHEMA,
        "event": REFRESH,
        "frame": question.frame,
        "sequence": question.sequence,
        "initial": {"frame": question.first.frame, "box": _rounded(question.first)},
        "first": _shown(question.previous),
        "second": _shown(question.current),
        "confidence": question.confidence,
        "own": question.own,
        "before": question.description,
        "after": after,
        "raw": answer.raw,
        "think": answer.think,
        "update": answer.update,
        "decision": None if failure else answer.decision,
        "answer": answer.description,
        "seconds": round(answer.seconds, 6),
        "error": failure,
        "detail": dict(answer.detail),
    }
    if failure is not None:
        return Refresh(after, None, f"{failure['kind']}: {failure['message']}", event)
    return Refresh(after, answer, None, event)


def answer_to(reasoner: Reasoner, question: Question) -> Reasoning:
    """The reasoner's answer, given what its `describe` takes by its signature. Raises what it raises."""
    describe: Any = reasoner.describe
    try:
        taken = list(inspect.signature(describe).parameters)
    except (TypeError, ValueError):  # of a callable that is not written in Python
        taken = []
    if taken == ["question"]:
        return _copied(describe(question))
    whole = {"question": question} if "question" in taken else {}
    return _copied(describe(question.previous.image, question.current.image, question.own, **whole))


def _shown(look: Look) -> dict[str, Any]:
    return {"frame": look.frame, "sha256": image_hash(look.image), "box": _rounded(look)}


def _rounded(look: Look) -> list[float]:
    return [round(float(value), 3) for value in look.box]


def _copied(answer: Any) -> Reasoning:
    """A `Reasoning` of any object with its attributes; `update` and `description` are needed."""
    return Reasoning(
        _clean(getattr(answer, "think", None)),
        bool(answer.update),
        _clean(answer.description),
        _clean(getattr(answer, "raw", "") or "") or "",
        float(getattr(answer, "seconds", 0.0) or 0.0),
        dict(getattr(answer, "detail", None) or {}),
        bool(getattr(answer, "keep", False)),
    )


def _clean(text: object) -> str | None:
    """Text without secrets, and without lone surrogates, which no tokenizer or file takes; they become "?"."""
    return None if text is None else redact(str(text).encode("utf-8", "replace").decode("utf-8"))


def _failed(error: Exception, seconds: float) -> tuple[dict[str, str], Reasoning]:
    """Kind and message of a failure, and the parts of an answer that there are nevertheless."""
    message = redact(" ".join(str(error).split()))[:_MOST_MESSAGE]
    if not isinstance(error, ReasonerError):
        log.debug("the reasoner raised", exc_info=error)
        return {"kind": type(error).__name__, "message": message}, Reasoning(seconds=seconds)
    detail = dict(error.detail)
    raw = _clean(detail.pop("raw", "")) or ""
    seconds = seconds if error.seconds is None else error.seconds
    return {"kind": error.kind, "message": message}, Reasoning(raw=raw, seconds=seconds, detail=detail)
