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
    fault = ""
    try:
        numbers = [] if box is None else [float(v) for v in np.asarray(box, dtype=np.float64).reshape(-1)]
    except (TypeError, ValueError):
        numbers = []
    if not numbers:
        fault = f"{box!r:.80} instead of four numbers x, y, w, h"
    elif len(numbers) != 4:
        fault = f"{len(numbers)} numbers {numbers!r:.80} instead of four"
    elif not np.isfinite(numbers).all():
        fault = f"{numbers} instead of finite numbers"
    elif confidence is not None and np.isnan(confidence := float(confidence)):
        fault = "a confidence of NaN instead of a number or None"
    if fault:
        raise TrackerFailure("answer", f"frame {frame + 1}: the tracker answered {fault}", frame)
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
