"""One tracker's numbers on every sequence: what evaluation makes, the cache keeps, and `Scores` are made of."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.frame_errors import FrameErrors, RefusedError, frame_errors, refusal
from tnllt.eval.longterm import reported_frames
from tnllt.eval.metrics import ConfidenceMeasure, FrameMeasure, Measure, SequenceResults, measures
from tnllt.eval.protocol import Protocol
from tnllt.results.reading import FOREIGN
from tnllt.results.records import unanswered_refreshes
from tnllt.sequence import Boxes, Flags, Sequence, Trajectory
from tnllt.text import redact

Array = NDArray[np.float64]
T = TypeVar("T")
#: Boxes measured at once: arrays this small stay in the processor's cache and need no fresh pages from the system.
_BATCH = 60_000
NoteKind = Literal["missing", "refused", "short", "long", "dropped", "unanswered", "started", "foreign"]


@dataclass(frozen=True)
class Note:
    """Something that every output must state about a score."""

    kind: NoteKind
    tracker: str
    sequence: str
    text: str


@dataclass
class TrackerCurves:
    """One tracker's numbers on S sequences.

    Attributes:
        arrays: {measure: (S, M)}, NaN where a sequence is missing or refused; measures of confidence only where the
            results carry confidence or reported absence.
        missing: (S,) the tracker has no result.
        refused: (S,) the protocol's own toolkit stops here.
    """

    tracker: str
    arrays: dict[str, Array]
    missing: Flags
    refused: Flags
    notes: list[Note] = field(default_factory=list)

    @classmethod
    def empty(cls, tracker: str, count: int, protocol: Protocol) -> TrackerCurves:
        arrays = {measure.name: np.full((count, measure.size(protocol)), np.nan) for measure in measures(FrameMeasure)}
        return cls(tracker, arrays, np.zeros(count, bool), np.zeros(count, bool))

    def array(self, measure: Measure) -> Array | None:
        """(S, M) of a measure; None where these results do not have it."""
        return self.arrays.get(measure.name)

    def check(self, count: int, protocol: Protocol) -> None:
        """Raises ValueError where an array does not have the shape that scoring `count` sequences gives it."""
        sizes = {measure.name: measure.size(protocol) for measure in measures(FrameMeasure)}
        for name, array in self.arrays.items():
            if array.dtype != np.float64 or array.ndim != 2 or array.shape != (count, sizes.get(name, array.shape[1])):
                raise ValueError(f"the array {name!r} has another shape or type")
        if any(flags.dtype != bool or flags.shape != (count,) for flags in (self.missing, self.refused)):
            raise ValueError("the flags have another shape or type")

    @classmethod
    def joined(cls, parts: Seq[TrackerCurves]) -> TrackerCurves:
        """One tracker's numbers on some sequences after those on others, without measures of confidence."""
        return cls(
            parts[0].tracker,
            {m.name: np.concatenate([own.arrays[m.name] for own in parts]) for m in measures(FrameMeasure)},
            np.concatenate([own.missing for own in parts]),
            np.concatenate([own.refused for own in parts]),
            [note for own in parts for note in own.notes],
        )

    def take(self, index: NDArray[np.int64], names: Seq[str]) -> TrackerCurves:
        """The numbers on some sequences."""
        chosen = set(names)
        return TrackerCurves(
            self.tracker,
            {name: array[index] for name, array in self.arrays.items()},
            self.missing[index],
            self.refused[index],
            [note for note in self.notes if note.sequence in chosen],
        )


def match_length(
    boxes: Boxes, length: int, protocol: Protocol, allow_short: bool = False
) -> tuple[Boxes, int, NoteKind | None]:
    """A result (T', 4) cut or padded to the ground truth's length by the protocol's rule.

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


def sequence_errors(sequence: Sequence, boxes: Boxes, protocol: Protocol, rows: int | None = None) -> FrameErrors:
    """`frame_errors` of results (K, T', 4), T' at most the sequence's length. Raises RefusedError."""
    length = boxes.shape[1]
    present = None if sequence.present is None else sequence.present[:length]
    return frame_errors(sequence.groundtruth[:length], present, boxes, protocol, rows)


def score_sequence(
    trackers: Seq[TrackerCurves],
    index: int,
    sequence: Sequence,
    results: Mapping[str, Boxes],
    protocol: Protocol,
    allow_short: bool,
) -> dict[str, FrameErrors]:
    """Scores every tracker's result on one sequence; a tracker that is not in `results` is marked missing.

    Returns {tracker: errors of every frame, arrays (1, T)} of those that were measured.
    """
    length, found = len(sequence), dict[str, FrameErrors]()
    groups: dict[tuple[int, int], list[tuple[TrackerCurves, Boxes]]] = {}
    for own in trackers:
        boxes = results.get(own.tracker)
        if boxes is None:
            own.missing[index] = True
            own.notes.append(Note("missing", own.tracker, sequence.name, "no result"))
            continue
        answered = len(boxes)
        boxes, scored, change = match_length(boxes, length, protocol, allow_short)
        reason = refusal(boxes, length, protocol)
        if reason is not None:
            _refuse(own, index, sequence.name, reason)
            continue
        if change is not None:
            own.notes.append(Note(change, own.tracker, sequence.name, _changed(change, protocol, length)))
        groups.setdefault((scored, min(answered, scored)), []).append((own, boxes))
    for answered, members in ((key[1], some) for key, group in groups.items() for some in batches(group, length)):
        stack = np.stack([boxes for _, boxes in members])
        try:
            errors = sequence_errors(sequence, stack, protocol, answered)
        except RefusedError as error:
            for own, _ in members:
                _refuse(own, index, sequence.name, str(error))
            continue
        _store([own for own, _ in members], index, SequenceResults(sequence, stack, errors, protocol))
        found |= {own.tracker: errors.of(k) for k, (own, _) in enumerate(members)}
    return found


def batches(results: Seq[T], frames: int) -> list[Seq[T]]:
    """Results of so many frames each, as many together as are measured at once."""
    size = max(1, _BATCH // max(1, frames))
    return [results[i : i + size] for i in range(0, len(results), size)]


def _changed(change: NoteKind, protocol: Protocol, length: int) -> str:
    if change == "long":
        return f"more rows than the {length} frames; the rest is not scored"
    how = {"cut": "frames without a row are not scored", "zeros": "missing rows are zeros"}
    return f"fewer rows than the {length} frames; {how.get(protocol.short_result, 'padded with the last box')}"


def _refuse(own: TrackerCurves, index: int, sequence: str, reason: str) -> None:
    own.refused[index] = True
    own.notes.append(Note("refused", own.tracker, sequence, reason))


def _store(trackers: list[TrackerCurves], index: int, results: SequenceResults) -> None:
    found = {measure.name: measure.compute(results) for measure in measures(FrameMeasure)}
    errors = results.errors
    for k, own in enumerate(trackers):
        if results.protocol.refuse_nan_overlap and np.isnan(errors.overlap[k, errors.counted]).any():
            _refuse(own, index, results.sequence.name, "an overlap that is not a number (infinite or zero areas)")
            continue
        for name, values in found.items():
            own.arrays[name][index] = values[k]


def note_run_facts(own: TrackerCurves, trajectories: Mapping[str, Trajectory]) -> None:
    """Notes what run records say that a score must state: failed refreshes of the description, who made the initial
    boxes of a run from language alone, and that a record describes another result."""
    for name, trajectory in trajectories.items():
        if FOREIGN in trajectory.record:
            text = "the boxes alone are scored, because the run record beside them describes another result"
            own.notes.append(Note("foreign", own.tracker, name, text))
        info = trajectory.record.get("info")
        if not isinstance(info, Mapping):
            continue
        failed, asked = unanswered_refreshes(info)
        if failed:
            own.notes.append(Note("unanswered", own.tracker, name, f"{failed} of {asked}"))
        if trajectory.record.get("mode") == "NL":
            by = info.get("started_by")
            own.notes.append(Note("started", own.tracker, name, redact(str(by)) if by else "the tracker itself"))


def has_confidence(trajectories: Mapping[str, Trajectory]) -> bool:
    """Whether any of a tracker's results carries confidence or reported absence."""
    return any(t.confidence is not None or t.absent is not None for t in trajectories.values())


def add_confidence_measures(
    own: TrackerCurves, sequences: Seq[Sequence], trajectories: Mapping[str, Trajectory],
    overlaps: Mapping[str, Array] | None = None,
) -> None:  # fmt: skip
    """Adds the measures that need confidence, if any of the tracker's results carries confidence or absence.

    Args:
        overlaps: those known already, by the names of sequences; see `reported_frames`.
    """
    known = overlaps or {}
    if has_confidence(trajectories):
        frames = [
            reported_frames(s, trajectories[s.name], known.get(s.name)) if s.name in trajectories else None
            for s in sequences
        ]
        own.arrays |= {measure.name: measure.compute(frames) for measure in measures(ConfidenceMeasure)}
