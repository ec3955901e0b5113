"""One tracker's numbers on every sequence: what evaluation makes, the cache keeps, and `Scores` are made of."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.curves import CURVES, curves
from tnllt.eval.frame_errors import FrameErrors, RefusedError, frame_errors, refusal
from tnllt.eval.got10k import frame_sums
from tnllt.eval.longterm import (
    confidence_of,
    confidence_thresholds,
    frame_overlaps,
    oxuva_counts,
    precision_recall,
)
from tnllt.eval.protocol import Protocol
from tnllt.sequence import Boxes, Flags, Sequence, Trajectory

Array = NDArray[np.float64]
#: Boxes measured at once: arrays this small stay in the processor's cache and need no fresh pages from the system.
_BATCH = 60_000
NoteKind = Literal["missing", "refused", "short", "long", "dropped"]


@dataclass(frozen=True)
class Note:
    """Something that every output must say about a score."""

    kind: NoteKind
    tracker: str
    sequence: str
    text: str


@dataclass
class TrackerCurves:
    """One tracker's numbers on S sequences.

    Attributes:
        curves: {curve: (S, N)}, NaN where a sequence is missing or refused.
        values: {name: (S,)} or (S, M): per-sequence values and frame sums (`tnllt.eval.metrics` names them).
        missing: (S,) the tracker has no result.
        refused: (S,) the protocol's own toolkit stops here.
        longterm: (S, 2, N') long-term precision and recall, or None where the results carry no confidence.
        thresholds: (N',) the confidence thresholds of `longterm`.
    """

    tracker: str
    curves: dict[str, Array]
    values: dict[str, Array]
    missing: Flags
    refused: Flags
    notes: list[Note] = field(default_factory=list)
    longterm: Array | None = None
    thresholds: Array | None = None

    @classmethod
    def empty(cls, tracker: str, count: int, protocol: Protocol) -> TrackerCurves:
        return cls(
            tracker,
            {name: np.full((count, len(protocol.thresholds(name))), np.nan) for name in CURVES},
            {"average_overlap": np.full(count, np.nan), "got10k": np.full((count, 4), np.nan)},
            np.zeros(count, bool),
            np.zeros(count, bool),
        )

    def take(self, index: NDArray[np.int64], names: Seq[str]) -> TrackerCurves:
        """The row on some sequences."""
        chosen = set(names)
        return TrackerCurves(
            self.tracker,
            {name: curve[index] for name, curve in self.curves.items()},
            {name: value[index] for name, value in self.values.items()},
            self.missing[index],
            self.refused[index],
            [note for note in self.notes if note.sequence in chosen],
            None if self.longterm is None else self.longterm[index],
            self.thresholds,
        )


def match_length(
    boxes: Boxes, length: int, protocol: Protocol, allow_short: bool = False
) -> tuple[Boxes, int, NoteKind | None]:
    """A result (T', 4) cut or padded to the ground truth's length as the protocol says.

    Returns the boxes, how many frames can be scored (fewer than `length` only where a protocol cuts both), and what
    was done. A short result under "refused" is padded with its last box if `allow_short`, else returned as it is.
    """
    count = len(boxes)
    if count > length:
        return boxes[:length], length, "long"
    if count == length:
        return boxes, length, None
    if protocol.short_result == "cut":
        return boxes, count, "short"
    if protocol.short_result == "zeros":
        return np.concatenate([boxes, np.zeros((length - count, 4))]), length, "short"
    if allow_short and count:
        return np.concatenate([boxes, np.repeat(boxes[-1:], length - count, axis=0)]), length, "short"
    return boxes, count, "short"


def sequence_errors(sequence: Sequence, boxes: Seq[Boxes], protocol: Protocol, rows: int | None = None) -> FrameErrors:
    """`frame_errors` for results of equal length, at most that of the sequence. Raises RefusedError."""
    length = len(boxes[0]) if boxes else len(sequence)
    present = None if sequence.present is None else sequence.present[:length]
    return frame_errors(sequence.groundtruth[:length], present, np.stack(boxes), protocol, rows)


def score_sequence(
    rows: Seq[TrackerCurves],
    index: int,
    sequence: Sequence,
    results: Mapping[str, Boxes],
    protocol: Protocol,
    allow_short: bool,
) -> None:
    """Scores every row's result on one sequence; a row whose tracker is not in `results` is marked missing."""
    length = len(sequence)
    groups: dict[tuple[int, int], list[tuple[TrackerCurves, Boxes]]] = {}
    for row in rows:
        boxes = results.get(row.tracker)
        if boxes is None:
            row.missing[index] = True
            row.notes.append(Note("missing", row.tracker, sequence.name, "no result"))
            continue
        answered = len(boxes)
        boxes, scored, change = match_length(boxes, length, protocol, allow_short)
        reason = refusal(boxes, length, protocol)
        if reason is not None:
            _refuse(row, index, sequence.name, reason)
            continue
        if change is not None:
            row.notes.append(Note(change, row.tracker, sequence.name, _changed(change, protocol, len(boxes), length)))
        groups.setdefault((scored, min(answered, scored)), []).append((row, boxes))
    batch = max(1, _BATCH // max(1, length))
    batches = ((key[1], group[i : i + batch]) for key, group in groups.items() for i in range(0, len(group), batch))
    for answered, members in batches:
        try:
            errors = sequence_errors(sequence, [boxes for _, boxes in members], protocol, answered)
        except RefusedError as error:
            for row, _ in members:
                _refuse(row, index, sequence.name, str(error))
            continue
        _store(members, index, sequence, errors, protocol)


def _changed(change: NoteKind, protocol: Protocol, count: int, length: int) -> str:
    if change == "long":
        return f"more rows than the {length} frames; the rest is not scored"
    how = {"cut": "frames without a row are not scored", "zeros": "missing rows are zeros"}
    return f"fewer rows than the {length} frames; {how.get(protocol.short_result, 'padded with the last box')}"


def _refuse(row: TrackerCurves, index: int, sequence: str, reason: str) -> None:
    row.refused[index] = True
    row.notes.append(Note("refused", row.tracker, sequence, reason))


def _store(
    members: list[tuple[TrackerCurves, Boxes]], index: int, sequence: Sequence, errors: FrameErrors, protocol: Protocol
) -> None:
    found = curves(errors, protocol)
    counted = np.fmin(np.fmax(errors.overlap, 0.0), 1.0)  # NaN counts 0
    average = counted.sum(1) / errors.frames if errors.frames else np.zeros(len(members))
    got10k = frame_sums(sequence, np.stack([boxes for _, boxes in members]))
    for k, (row, _) in enumerate(members):
        if protocol.refuse_nan_overlap and np.isnan(errors.overlap[k, errors.counted]).any():
            _refuse(row, index, sequence.name, "an overlap that is no number (infinite or zero areas)")
            continue
        for name in CURVES:
            row.curves[name][index] = found[name][k]
        row.values["average_overlap"][index] = average[k]
        row.values["got10k"][index] = got10k[k]


def add_longterm(row: TrackerCurves, sequences: Seq[Sequence], trajectories: Mapping[str, Trajectory]) -> None:
    """Adds the long-term measures to a row, if any of its results carries confidence or absence."""
    if not any(t.confidence is not None or t.absent is not None for t in trajectories.values()):
        return
    confidences = {s.name: confidence_of(trajectories[s.name], len(s)) for s in sequences if s.name in trajectories}
    thresholds = confidence_thresholds(list(confidences.values()))
    row.thresholds = thresholds
    row.longterm = np.full((len(sequences), 2, len(thresholds)), np.nan)
    row.values["oxuva"] = np.full((len(sequences), 4), np.nan)
    for index, sequence in enumerate(sequences):
        if sequence.name not in confidences:
            continue
        values, present = frame_overlaps(sequence, trajectories[sequence.name])
        confidence = confidences[sequence.name]
        row.longterm[index] = precision_recall(values, present, confidence, thresholds)
        row.values["oxuva"][index] = oxuva_counts(values, present, confidence, sequence.present is not None)
