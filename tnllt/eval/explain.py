"""Why two protocols give one result folder two scores: the difference is explained rule by rule, exactly.

The rules in which A and B differ are changed from A's value to B's in the order of `Protocol`'s fields. Each step's
change of the score is that rule's contribution; their sum telescopes to the gap. How much a rule adds depends on the
rules changed before it, so two more numbers are given: what it adds alone, as the first change of A (`alone`), and what
it adds last, when everything else is B's already (`last`). Where the three agree, order does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import UsageError
from tnllt.eval.evaluate import assemble, require_presence
from tnllt.eval.frame_errors import FrameErrors, RefusedError, refusal
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.protocol import RULE_TEXTS, RULES, Protocol
from tnllt.eval.protocols import get_protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import TrackerCurves, match_length, score_sequence, sequence_errors
from tnllt.sequence import Sequence, Trajectory

Array = NDArray[np.float64]
Results = Mapping[str, Mapping[str, Trajectory]]

#: What a sequence must have for a rule to change what is measured on it; other rules can act on any. Those that act on
#: nothing come after the curves are made.
_ACTS_ON: dict[str, set[str] | frozenset[str]] = {
    "overlap_valid": {"odd truth"},
    "error_valid": {"odd truth"},
    "invalid_error": {"odd truth", "absent"},
    "invalid_normalized_error": {"odd truth", "absent"},
    "absent": {"absent"},
    "absent_error": {"absent"},
    "count_invalid": {"odd truth", "absent"},
    "invalid_result": {"broken"},
    "short_result": {"short"},
    "refuse_nan_annotation": {"nan truth"},
    "refuse_nan_overlap": {"odd truth", "broken"},
    "ignore_nan_corner": {"nan truth", "nan result"},
    **dict.fromkeys(
        ("success", "precision", "precision_at", "normalized_precision", "normalized_precision_at", "drop_zero_curves",
         "min_sequences"), frozenset(),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ChangedSequence:
    """One sequence that a rule changes for one tracker.

    Attributes:
        sequence: its name.
        frames: frames that pass other thresholds than before, or leave or enter the count.
        before, after: the sequence's own score per metric; NaN where refused.
        kept: (2, metric) whether it enters the mean before and after.
        contribution: what it adds to the tracker's mean score, per metric.
    """

    sequence: str
    frames: int
    before: Array
    after: Array
    kept: NDArray[np.bool_]
    contribution: Array


@dataclass(frozen=True)
class Step:
    """One rule toggled. Arrays are (tracker, metric)."""

    rule: str
    before: Any
    after: Any
    contribution: Array
    alone: Array
    last: Array
    changed: Mapping[str, tuple[ChangedSequence, ...]] = field(repr=False)

    @property
    def label(self) -> str:
        return RULE_TEXTS[self.rule].label

    @property
    def change(self) -> str:
        """From what to what, in words."""
        text = RULE_TEXTS[self.rule]
        return f"{text.value(self.before)} -> {text.value(self.after)}"

    @property
    def why(self) -> str:
        return RULE_TEXTS[self.rule].why

    @property
    def order_matters(self) -> bool:
        spread = np.maximum(np.abs(self.alone - self.contribution), np.abs(self.last - self.contribution))
        return bool((spread > 1e-9).any())

    def acts(self, tracker: int | None = None) -> bool:
        """Whether the rule changes any score of the tracker (of any tracker) by more than rounding, in any order."""
        rows = slice(None) if tracker is None else tracker
        found = (self.contribution[rows], self.alone[rows], self.last[rows])
        # A score that ceases to be a number has moved, too.
        if np.isnan(self.contribution[rows]).any() and any(self.changed.values()):
            return True
        return any(bool((np.abs(a) > 1e-12).any()) for a in found)


@dataclass(frozen=True)
class Explanation:
    """The gap between two protocols. Arrays are (tracker, metric), scores as `Scores.score` gives them."""

    trackers: tuple[str, ...]
    metrics: tuple[Metric, ...]
    score_a: Array
    score_b: Array
    steps: tuple[Step, ...]
    frames: int
    sequences: int

    @property
    def gap(self) -> Array:
        return self.score_b - self.score_a

    @property
    def residual(self) -> float:
        """Largest difference between the gap and the sum of the contributions, over the scores that are numbers."""
        total = np.sum([step.contribution for step in self.steps], axis=0) if self.steps else np.zeros(self.gap.shape)
        left = np.abs(self.gap - total)
        return float(left[~np.isnan(left)].max(initial=0.0))


class Rescorer:
    """Scores the same results under many protocols, measuring a sequence again only where a changed rule can act."""

    def __init__(self, sequences: Seq[Sequence], results: Results, allow_short: bool = False) -> None:
        self.sequences, self.results, self.allow_short = list(sequences), results, allow_short
        facts = [_facts(sequence, results) for sequence in self.sequences]
        self._acting = [[r for r in RULES if not _ACTS_ON.get(r, own).isdisjoint(own)] for own in facts]
        self._held: dict[tuple[Any, ...], list[TrackerCurves]] = {}

    def scores(self, protocol: Protocol, allow_missing: bool = True, allow_short: bool = True) -> Scores:
        """The scores under a protocol.

        Raises:
            DataError: it needs a presence file that is missing.
            IncompleteError: a result is missing or short, and that is not allowed.
        """
        require_presence(self.sequences, protocol)
        measured = [self._measured(index, protocol) for index in range(len(self.sequences))]
        rows = [TrackerCurves.joined(parts) for parts in zip(*measured, strict=True)]
        return assemble(self.sequences, rows, (), protocol, self.results, allow_missing, allow_short)

    def _measured(self, index: int, protocol: Protocol) -> list[TrackerCurves]:
        key = (index, *(getattr(protocol, rule) for rule in self._acting[index]))
        if key not in self._held:
            sequence = self.sequences[index]
            rows = [TrackerCurves.empty(name, 1, protocol) for name in self.results]
            found = {name: own[sequence.name].boxes for name, own in self.results.items() if sequence.name in own}
            score_sequence(rows, 0, sequence, found, protocol, self.allow_short)
            self._held[key] = rows
        return self._held[key]


def explain(
    sequences: Seq[Sequence],
    results: Results,
    a: str | Protocol,
    b: str | Protocol,
    *,
    metrics: Seq[Metric] = CURVE_METRICS,
    allow_missing: bool = False,
    allow_short: bool = False,
) -> Explanation:
    """Takes the gap between protocols `a` and `b` apart, rule by rule.

    Args:
        sequences: annotated sequences.
        results: {tracker: {sequence: Trajectory}}.
        metrics: curve metrics; others are not linear in the sequences.

    Raises:
        UsageError: a metric without a curve.
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    first, second = get_protocol(a), get_protocol(b)
    odd = [m.name for m in metrics if not m.is_mean]
    if odd:
        raise UsageError(f"{odd[0]} cannot be explained rule by rule: it is not a mean over sequences")
    rescorer = Rescorer(sequences, results, allow_short)
    start = rescorer.scores(first, allow_missing, allow_short)
    rules = list(first.differences(second))
    steps = []
    here, here_scores = first, start
    end_scores = rescorer.scores(second)
    for rule in rules:
        there = replace(here, **{rule: getattr(second, rule)})
        there_scores = rescorer.scores(there)
        alone = rescorer.scores(replace(first, **{rule: getattr(second, rule)}))
        without = rescorer.scores(replace(second, **{rule: getattr(first, rule)}))
        steps.append(
            Step(
                rule, getattr(first, rule), getattr(second, rule),
                table(there_scores, metrics) - table(here_scores, metrics),
                table(alone, metrics) - table(start, metrics),
                table(end_scores, metrics) - table(without, metrics),
                _changed_sequences(rescorer, here_scores, there_scores, metrics),
            )
        )  # fmt: skip
        here, here_scores = there, there_scores
    return Explanation(
        start.trackers, tuple(metrics), table(start, metrics), table(end_scores, metrics),
        tuple(steps), int(start.lengths.sum()), len(start.sequences),
    )  # fmt: skip


def table(scores: Scores, metrics: Seq[Metric]) -> Array:
    """(tracker, metric) scores."""
    return np.stack([scores.score(m) for m in metrics], axis=1)


def parts(scores: Scores, metrics: Seq[Metric]) -> tuple[Array, NDArray[np.bool_], Array]:
    """(tracker, sequence, metric): each sequence's own score, whether it enters the mean, and what it adds to it."""
    values = np.stack([scores.per_sequence(m) for m in metrics], axis=-1)
    kept = np.stack([scores.kept(m) for m in metrics], axis=-1)
    return values, kept, np.where(kept, np.nan_to_num(values), 0) / np.maximum(kept.sum(axis=1, keepdims=True), 1)


def _changed_sequences(
    rescorer: Rescorer, before: Scores, after: Scores, metrics: Seq[Metric]
) -> dict[str, tuple[ChangedSequence, ...]]:
    """Per tracker, the sequences whose own score or place in the mean a step changes, largest contribution first."""
    own_before, kept_before, part_before = parts(before, metrics)
    own_after, kept_after, part_after = parts(after, metrics)
    moved = ~_alike(own_before, own_after) | (kept_before != kept_after)
    redrawn = np.any([_redrawn(before.curve(m), after.curve(m)) for m in metrics], axis=0)
    changed: dict[int, dict[str, int]] = {
        int(s): changed_frames(rescorer.sequences[s], rescorer.results, before.protocol, after.protocol)
        for s in np.flatnonzero(redrawn)
    }
    found: dict[str, tuple[ChangedSequence, ...]] = {}
    for k, tracker in enumerate(before.trackers):
        frames = np.array([changed.get(s, {}).get(tracker, 0) for s in range(len(before.sequences))])
        listed = [
            ChangedSequence(
                before.sequences[s], int(frames[s]), own_before[k, s], own_after[k, s],
                np.stack([kept_before[k, s], kept_after[k, s]]), part_after[k, s] - part_before[k, s],
            )
            for s in np.flatnonzero(moved[k].any(axis=-1) | (frames > 0))
        ]  # fmt: skip
        found[tracker] = tuple(sorted(listed, key=lambda t: (-np.abs(t.contribution).max(), t.sequence)))
    return found


def _alike(one: Array, two: Array) -> NDArray[np.bool_]:
    """Equal up to the rounding that an epsilon in a denominator causes; NaN equals NaN."""
    return np.asarray((np.abs(one - two) <= 1e-12) | (np.isnan(one) & np.isnan(two)))


def _redrawn(one: Array, two: Array) -> NDArray[np.bool_]:
    """(S,) sequences whose curves (K, S, N) differ for some tracker; all, where the thresholds differ in number."""
    if one.shape != two.shape:
        return np.ones(one.shape[1], bool)
    return np.asarray(~_alike(one, two).all(axis=(0, 2)))


def _facts(sequence: Sequence, results: Results) -> set[str]:
    """What a sequence has that a rule could act on."""
    truth, present = sequence.groundtruth, sequence.present
    boxes = [own[sequence.name].boxes for own in results.values() if sequence.name in own]
    found = {
        "any": True,
        "odd truth": (~(truth > 1)).any(),  # below 1 pixel, a positive box can have a centre that is not positive
        "nan truth": np.isnan(truth).any(),
        "absent": present is not None and not present.all(),
        "broken": any((~(b[:, 2:] > 0)).any() or not np.isfinite(b).all() for b in boxes),
        "nan result": any(np.isnan(b).any() for b in boxes),
        "short": any(len(b) < len(truth) for b in boxes),
    }
    return {fact for fact, holds in found.items() if holds}


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
