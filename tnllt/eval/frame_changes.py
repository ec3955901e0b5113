"""Which frames a change of protocol touches: those that pass other thresholds than before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.frame_errors import FrameErrors, RefusedError, refusal
from tnllt.eval.protocol import Protocol
from tnllt.eval.tracker_curves import match_length, sequence_errors
from tnllt.sequence import Sequence, Trajectory


def changed_frames(
    sequence: Sequence, results: Mapping[str, Mapping[str, Trajectory]], before: Protocol, after: Protocol
) -> dict[str, int]:
    """{tracker: number of frames} whose hits differ, or that leave or enter the denominator."""
    found = {}
    for tracker, own in results.items():
        if sequence.name not in own:
            continue
        errors = [_errors(sequence, own[sequence.name], protocol) for protocol in (before, after)]
        if errors[0] is None or errors[1] is None:
            found[tracker] = 0 if errors[0] is errors[1] else len(sequence)
        else:
            found[tracker] = _differing(errors[0], errors[1], before, after, len(sequence))
    return found


def _errors(sequence: Sequence, trajectory: Trajectory, protocol: Protocol) -> FrameErrors | None:
    """Errors per frame; None where the protocol's toolkit refuses the sequence."""
    if refusal(trajectory.boxes[: len(sequence)], len(sequence), protocol) is not None:
        return None
    boxes, _, _ = match_length(trajectory.boxes, len(sequence), protocol)
    try:
        return sequence_errors(sequence, boxes[None], protocol, len(trajectory))
    except RefusedError:
        return None


def _differing(first: FrameErrors, second: FrameErrors, before: Protocol, after: Protocol, length: int) -> int:
    if first.overlap.shape != second.overlap.shape:
        return int(abs(first.overlap.shape[1] - second.overlap.shape[1]))
    one, two = _passed(first, before), _passed(second, after)
    if any(a[1] != b[1] for a, b in zip(one, two, strict=True)):
        return length  # another number of thresholds: every frame is counted anew
    differ = np.zeros(first.overlap.shape[1], bool)
    for a, b in zip(one, two, strict=True):
        differ |= (a[0] != b[0])[0]
    return max(int(differ.sum()), abs(first.frames - second.frames))


def _passed(errors: FrameErrors, protocol: Protocol) -> list[tuple[NDArray[np.int64], int]]:
    """How many thresholds each frame passes, per curve, and of how many."""
    side = "left" if protocol.overlap_strict else "right"
    overlap = np.where(np.isnan(errors.overlap), -np.inf, errors.overlap)
    success = protocol.thresholds("success")
    found = [(np.searchsorted(success, overlap, side=side), len(success))]  # type: ignore[call-overload]
    for name, values in (("precision", errors.center_error), ("normalized_precision", errors.normalized_error)):
        thresholds = protocol.thresholds(name)
        found.append((np.searchsorted(thresholds, values, side="left"), len(thresholds)))
    return found
