"""Asks a reasoner for a running tracker: decides what the description becomes, records it, and never raises."""

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
from tnllt.text import redact

log = logging.getLogger(__name__)

#: Characters of a failure's message in the record.
_MOST_MESSAGE = 500


@dataclass(frozen=True, eq=False)
class Question:
    """One refresh of one sequence.

    Attributes:
        first, second: RGB uint8 (H, W, 3); `first_frame`, `second_frame` are their numbers.
        own: the sequence's own description, which the model is asked about.
        current: the current description, which a failure keeps.
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
    """Asks one question. On "yes" the answer becomes the description, on "no" the sequence's own one comes back; a
    failure of any kind keeps the current one."""
    started = time.perf_counter()
    failure = None
    try:
        answer = _copied(reasoner.describe(question.first, question.second, question.own))
        after = str(answer.description) if answer.update and answer.description else question.own
    except Exception as error:
        failure, answer = _failed(error, time.perf_counter() - started)
        after = question.current
        kind, message = failure["kind"], failure["message"]
        log.warning("refresh at frame %d failed (%s: %s); the description stays", question.frame, kind, message)
    event = {
        "schema": SCHEMA,
        "event": REFRESH,
        "frame": question.frame,
        "first": {"frame": question.first_frame, "sha256": image_hash(question.first)},
        "second": {"frame": question.second_frame, "sha256": image_hash(question.second)},
        "own": question.own,
        "before": question.current,
        "after": after,
        "raw": answer.raw,
        "think": answer.think,
        "update": answer.update,
        "answer": answer.description,
        "seconds": round(answer.seconds, 6),
        "error": failure,
        "detail": dict(answer.detail),
    }
    if failure is not None:
        return Refresh(after, None, f"{failure['kind']}: {failure['message']}", event)
    return Refresh(after, answer, None, event)


def _copied(answer: Any) -> Reasoning:
    """A `Reasoning` of any object with its attributes; `update` and `description` are needed."""
    return Reasoning(
        _clean(getattr(answer, "think", None)),
        bool(answer.update),
        _clean(answer.description),
        _clean(getattr(answer, "raw", "") or "") or "",
        float(getattr(answer, "seconds", 0.0) or 0.0),
        dict(getattr(answer, "detail", None) or {}),
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
