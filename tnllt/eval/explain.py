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
from tnllt.eval.evaluate import attribute_flags, raise_if_incomplete, require_presence
from tnllt.eval.frame_changes import changed_frames
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.protocol import RULES, Protocol
from tnllt.eval.protocols import get_protocol
from tnllt.eval.rule_text import rule_text
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import TrackerCurves, score_sequence
from tnllt.sequence import Sequence, Trajectory

Array = NDArray[np.float64]
Results = Mapping[str, Mapping[str, Trajectory]]

#: Rules that act after the curves are made: they never change what is measured on a sequence.
_REDUCING = frozenset(
    {"success", "precision", "precision_at", "normalized_precision", "normalized_precision_at", "drop_zero_curves",
     "min_sequences"}
)  # fmt: skip


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
        return rule_text(self.rule).label

    @property
    def change(self) -> str:
        """From what to what, in words."""
        text = rule_text(self.rule)
        return f"{text.value(self.before)} -> {text.value(self.after)}"

    @property
    def why(self) -> str:
        return rule_text(self.rule).why

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

    a: Protocol
    b: Protocol
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
    """Scores one result folder under many protocols, measuring a sequence again only where a changed rule can act."""

    def __init__(self, sequences: Seq[Sequence], results: Results, allow_short: bool = False) -> None:
        self.sequences, self.results, self.allow_short = list(sequences), results, allow_short
        self._attributes = attribute_flags(self.sequences)
        self._lengths = np.array([len(s) for s in self.sequences], np.int64)
        self._facts = [_facts(s, results) for s in self.sequences]
        self._acting = {
            facts: tuple(r for r in RULES if r not in _REDUCING and _can_act(r, facts)) for facts in set(self._facts)
        }
        self._held: dict[tuple[int, tuple[Any, ...]], list[TrackerCurves]] = {}

    def key(self, index: int, protocol: Protocol) -> tuple[Any, ...]:
        """Equal for two protocols that must measure the same on this sequence."""
        return tuple(getattr(protocol, rule) for rule in self._acting[self._facts[index]])

    def scores(self, protocol: Protocol) -> Scores:
        """The scores under a protocol. Raises DataError where it needs a presence file that is missing."""
        require_presence(self.sequences, protocol)
        rows = [TrackerCurves.empty(name, len(self.sequences), protocol) for name in self.results]
        for index in range(len(self.sequences)):
            for row, single in zip(rows, self._measured(index, protocol), strict=True):
                _copy(single, row, index)
        names = tuple(s.name for s in self.sequences)
        return Scores(protocol, tuple(self.results), names, self._lengths, self._attributes, tuple(rows))

    def _measured(self, index: int, protocol: Protocol) -> list[TrackerCurves]:
        key = (index, self.key(index, protocol))
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
    start = rescorer.scores(first)
    raise_if_incomplete(start.tracker_curves, first, allow_missing, allow_short)
    rules = list(first.differences(second))
    steps = []
    here, here_scores = first, start
    end_scores = rescorer.scores(_relabelled(first, second, rules))
    for rule in rules:
        there = replace(here, **{rule: getattr(second, rule)})
        there_scores = rescorer.scores(there)
        alone = rescorer.scores(replace(first, **{rule: getattr(second, rule)}))
        without = rescorer.scores(replace(second, **{rule: getattr(first, rule)}))
        steps.append(
            Step(
                rule, getattr(first, rule), getattr(second, rule),
                _table(there_scores, metrics) - _table(here_scores, metrics),
                _table(alone, metrics) - _table(start, metrics),
                _table(end_scores, metrics) - _table(without, metrics),
                _changed_sequences(rescorer, here_scores, there_scores, metrics),
            )
        )  # fmt: skip
        here, here_scores = there, there_scores
    return Explanation(
        first, second, start.trackers, tuple(metrics), _table(start, metrics), _table(end_scores, metrics),
        tuple(steps), int(start.lengths.sum()), len(start.sequences),
    )  # fmt: skip


def _relabelled(first: Protocol, second: Protocol, rules: Seq[str]) -> Protocol:
    return replace(first, **{rule: getattr(second, rule) for rule in rules})


def _table(scores: Scores, metrics: Seq[Metric]) -> Array:
    return np.stack([scores.score(m) for m in metrics], axis=1)


def _changed_sequences(
    rescorer: Rescorer, before: Scores, after: Scores, metrics: Seq[Metric]
) -> dict[str, tuple[ChangedSequence, ...]]:
    """Per tracker, the sequences whose own score or place in the mean a step changes, largest contribution first."""
    values = [np.stack([s.per_sequence(m) for m in metrics], axis=-1) for s in (before, after)]
    kept = [np.stack([s.kept(m) for m in metrics], axis=-1) for s in (before, after)]
    fraction = [
        np.where(k, np.nan_to_num(v), 0) / np.maximum(k.sum(axis=1, keepdims=True), 1)
        for v, k in zip(values, kept, strict=True)
    ]
    moved = ~_alike(values[0], values[1]) | (kept[0] != kept[1])
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
                before.sequences[s], int(frames[s]), values[0][k, s], values[1][k, s],
                np.stack([kept[0][k, s], kept[1][k, s]]), fraction[1][k, s] - fraction[0][k, s],
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


def _copy(single: TrackerCurves, row: TrackerCurves, index: int) -> None:
    for name, values in single.arrays.items():
        row.arrays[name][index] = values[0]
    row.missing[index], row.refused[index] = single.missing[0], single.refused[0]
    row.notes.extend(single.notes)


@dataclass(frozen=True)
class _Facts:
    """What a sequence has that a rule could act on."""

    odd_truth: bool
    nan_truth: bool
    absent: bool
    broken: bool
    nan_result: bool
    short: bool


def _facts(sequence: Sequence, results: Results) -> _Facts:
    truth = sequence.groundtruth
    boxes = [own[sequence.name].boxes for own in results.values() if sequence.name in own]
    present = sequence.present
    return _Facts(
        odd_truth=bool((~(truth > 1)).any()),  # below 1 pixel, a positive box can have a centre that is not positive
        nan_truth=bool(np.isnan(truth).any()),
        absent=present is not None and not bool(present.all()),
        broken=any(bool((~(b[:, 2:] > 0)).any() | ~np.isfinite(b).all()) for b in boxes),
        nan_result=any(bool(np.isnan(b).any()) for b in boxes),
        short=any(len(b) < len(truth) for b in boxes),
    )


def _can_act(rule: str, facts: _Facts) -> bool:
    """False only where changing the rule cannot change what is measured; every other rule is taken to act."""
    unmeasured = facts.odd_truth or facts.nan_truth
    return {
        "overlap_valid": unmeasured,
        "error_valid": unmeasured,
        "invalid_error": unmeasured or facts.absent,
        "invalid_normalized_error": unmeasured or facts.absent,
        "absent": facts.absent,
        "absent_error": facts.absent,
        "count_invalid": unmeasured or facts.absent,
        "invalid_result": facts.broken or facts.nan_result,
        "short_result": facts.short,
        "refuse_nan_annotation": facts.nan_truth,
        "refuse_nan_overlap": unmeasured or facts.broken or facts.nan_result,
        "ignore_nan_corner": facts.nan_truth or facts.nan_result,
    }.get(rule, True)
