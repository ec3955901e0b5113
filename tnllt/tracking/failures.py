"""Failures of a tracker: answers that are not a box, and whatever it raises."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np

from tnllt.errors import EXIT_INCOMPLETE, DataError, TnlltError
from tnllt.results.records import FailureFields
from tnllt.tracking.tracker import Prediction

#: What a tracker may raise: code that ends its process by `sys.exit` must not end a run.
FAULTS = (Exception, SystemExit)


class TrackerFailure(TnlltError):
    """A tracker did not get through a sequence.

    Args:
        kind: "exception", "answer" (not a box), "data", "timeout", "memory" or "lost" (its process died).
        message: one or two lines.
        frame: the frame at fault, counted from 0, or None.
        trace: the traceback, or "".
    """

    exit_code = EXIT_INCOMPLETE

    def __init__(self, kind: str, message: str, frame: int | None = None, trace: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.frame, self.trace = kind, message, frame, trace

    def as_json(self) -> FailureFields:
        return {"kind": self.kind, "frame": self.frame, "message": self.message, "traceback": self.trace}


def checked(prediction: Any, frame: int) -> tuple[list[float], float | None, bool]:
    """Box, confidence and absence of an answer. Raises TrackerFailure that names the fault."""
    box, confidence, absent = prediction, None, False
    if isinstance(prediction, Prediction):
        box, confidence, absent = prediction.box, prediction.confidence, bool(prediction.absent)
    if box is None:
        raise TrackerFailure("answer", _wrong(frame, "None", "four numbers x, y, w, h"), frame)
    try:
        numbers = [float(v) for v in np.asarray(box, dtype=np.float64).reshape(-1)]
    except (TypeError, ValueError):
        raise TrackerFailure("answer", _wrong(frame, f"{box!r:.80}", "four numbers x, y, w, h"), frame) from None
    if len(numbers) != 4:
        raise TrackerFailure("answer", _wrong(frame, f"{len(numbers)} numbers {numbers!r:.80}", "four"), frame)
    if not np.isfinite(numbers).all():
        raise TrackerFailure("answer", _wrong(frame, f"{numbers}", "finite numbers"), frame)
    if confidence is not None:
        confidence = float(confidence)
        if np.isnan(confidence):
            raise TrackerFailure("answer", _wrong(frame, "a confidence of NaN", "a number or None"), frame)
    return numbers, confidence, absent


def failure_of(error: BaseException, frame: int) -> TrackerFailure:
    """The error as a `TrackerFailure` with its traceback."""
    if isinstance(error, TrackerFailure):
        return error
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, DataError):
        return TrackerFailure("data", str(error), frame, trace)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return TrackerFailure("exception", f"frame {frame + 1}: {text[:500]}", frame, trace)


def _wrong(frame: int, got: str, wanted: str) -> str:
    return f"frame {frame + 1}: the tracker answered {got} instead of {wanted}"
