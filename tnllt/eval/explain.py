"""Why two protocols give one result folder two scores: the difference is explained rule by rule, exactly.

The rules in which A and B differ are changed from A's value to B's in the order of `Protocol`'s fields. Each step's
change of the score is that rule's contribution; their sum telescopes to the gap. How much a rule adds depends on the
rules changed before it, so two more numbers are given: what it adds alone, as the first change of A (`alone`), and what
it adds last, when everything else is B's already (`last`). Where the three agree, order does not matter.

`find_reported` turns the question round: which protocol gives a score that somebody reports?
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import UsageError
from tnllt.eval.evaluate import ROUNDINGS, assemble, errors_by_tracker, require_presence, rounded
from tnllt.eval.frame_errors import FrameErrors
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.protocol import RULE_TEXTS, RULES, Protocol
from tnllt.eval.protocols import PROTOCOLS, TNLLT, get_protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import (
    TrackerCurves,
    add_confidence_measures,
    note_run_facts,
    score_sequence,
)
from tnllt.sequence import Sequence, Trajectory

Array = NDArray[np.float64]

#: What a sequence must have for a rule to change what is measured on it; other rules can act on any.
_ACTS_ON: dict[str, set[str]] = {
    "overlap_valid": {"odd truth"}, "error_valid": {"odd truth"}, "refuse_nan_annotation": {"odd truth"},
    "invalid_error": {"odd truth", "absent"}, "invalid_normalized_error": {"odd truth", "absent"},
    "count_invalid": {"odd truth", "absent"}, "absent": {"absent"}, "absent_error": {"absent"},
    "short_result": {"short"}, "invalid_result": {"broken", "short"},  # rows that are padded can be zeros
    "refuse_nan_overlap": {"odd truth", "broken", "short"}, "ignore_nan_corner": {"odd truth", "broken", "short"},
    # These act after the curves are made: nothing is measured again for them.
    "success": set(), "precision": set(), "precision_at": set(), "normalized_precision": set(),
    "normalized_precision_at": set(), "drop_zero_curves": set(), "min_sequences": set(),
}  # fmt: skip


@dataclass(frozen=True)
class ChangedSequence:
    """One sequence that a rule, or another file, changes for one tracker.

    Attributes:
        sequence: its name.
        frames: frames that pass other thresholds than before, or leave or enter the count; of files, rows that differ.
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
    """One cause of the gap: a rule that is toggled, or files that differ in one way. Arrays are (tracker, metric).

    Attributes:
        rule: its name; label, change, why: in words.
        contribution, alone, last: what it adds in its place, as the only change of A, and as the last one before B.
        changed: {tracker: the sequences that it changes}.
    """

    rule: str
    label: str
    change: str
    why: str
    contribution: Array
    alone: Array
    last: Array
    changed: Mapping[str, tuple[ChangedSequence, ...]] = field(repr=False)

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
    """The gap between two protocols, or two folders of results. Arrays are (tracker, metric), as `Scores.score`."""

    trackers: tuple[str, ...]
    metrics: tuple[Metric, ...]
    score_a: Array
    score_b: Array
    steps: tuple[Step, ...]
    frames: int
    sequences: int
    notes: tuple[str, ...] = ()

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
    """The same results scored under many protocols; a sequence is measured again only where a changed rule can act.

    Args:
        sequences: annotated sequences.
        results: {tracker: {sequence: Trajectory}}.
        allow_missing, allow_short: as for `evaluate`.
    """

    def __init__(
        self,
        sequences: Seq[Sequence],
        results: Mapping[str, Mapping[str, Trajectory]],
        allow_missing: bool = False,
        allow_short: bool = False,
    ) -> None:
        self.sequences, self.results = list(sequences), results
        self.allow_missing, self.allow_short = allow_missing, allow_short
        facts = [_facts(sequence, results) for sequence in self.sequences]
        self._acting = [[r for r in RULES if r not in _ACTS_ON or _ACTS_ON[r] & own] for own in facts]
        self._measured: dict[tuple[Any, ...], list[TrackerCurves]] = {}
        self._of_runs: dict[str, list[TrackerCurves]] = {}

    def scores(self, protocol: Protocol, rounding: str = "none", strict: bool = False) -> Scores:
        """The scores under a protocol.

        Raises:
            DataError: it needs a presence file that is missing.
            IncompleteError: with `strict`, a result is missing or short, and that is not allowed.
        """
        require_presence(self.sequences, protocol)
        measured = [self._rows(index, protocol, rounding) for index in range(len(self.sequences))]
        rows = [TrackerCurves.joined(own) for own in zip(*measured, strict=True)]
        for own, more in zip(rows, self._by_run(rounding), strict=True):
            own.arrays |= more.arrays
            own.notes += more.notes
        allowed = (self.allow_missing, self.allow_short) if strict else (True, True)
        return assemble(self.sequences, rows, (), protocol, *allowed)

    def _rows(self, index: int, protocol: Protocol, rounding: str) -> list[TrackerCurves]:
        """Every tracker's numbers on one sequence."""
        key = (index, rounding, *(getattr(protocol, rule) for rule in self._acting[index]))
        if key not in self._measured:
            sequence = self.sequences[index]
            rows = [TrackerCurves.empty(name, 1, protocol) for name in self.results]
            own = {t: own[sequence.name] for t, own in self.results.items() if sequence.name in own}
            found = {t: result.boxes for t, result in rounded(own, rounding).items()}
            score_sequence(rows, 0, sequence, found, protocol, self.allow_short)
            self._measured[key] = rows
        return self._measured[key]

    def _by_run(self, rounding: str) -> list[TrackerCurves]:
        """What no rule acts on: measures of confidence, and notes of run records."""
        if rounding not in self._of_runs:
            found = [TrackerCurves(name, {}, np.zeros(0, bool), np.zeros(0, bool)) for name in self.results]
            for own in found:
                results = rounded(self.results[own.tracker], rounding)
                note_run_facts(own, results)
                add_confidence_measures(own, self.sequences, results)
            self._of_runs[rounding] = found
        return self._of_runs[rounding]


def _facts(sequence: Sequence, results: Mapping[str, Mapping[str, Trajectory]]) -> set[str]:
    """What a sequence has that a rule could act on. A size below one pixel can become 0 by rounding, and the centre of
    an annotated box below one pixel need not be positive."""
    truth, present = sequence.groundtruth, sequence.present
    boxes = [own[sequence.name].boxes for own in results.values() if sequence.name in own]
    found = {
        "odd truth": bool((~(truth > 1)).any()),
        "absent": present is not None and not present.all(),
        "broken": any(bool((~(b[:, 2:] >= 1)).any()) or not np.isfinite(b).all() for b in boxes),
        "short": any(len(b) < len(truth) for b in boxes),
    }
    return {fact for fact, holds in found.items() if holds}


def explain(
    rescorer: Rescorer, a: str | Protocol, b: str | Protocol, metrics: Seq[Metric] = CURVE_METRICS
) -> Explanation:
    """Takes the gap between protocols `a` and `b` apart, rule by rule.

    Args:
        metrics: means over sequences.

    Raises:
        UsageError: a metric that is not a mean over sequences.
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    first, second = get_protocol(a), get_protocol(b)
    odd = [m.name for m in metrics if not m.is_mean]
    if odd:
        raise UsageError(f"{odd[0]} cannot be explained rule by rule: it is not a mean over sequences")
    start, end = rescorer.scores(first, strict=True), rescorer.scores(second)
    steps = []
    here, here_scores = first, start
    for rule, (old, new) in first.differences(second).items():
        text = RULE_TEXTS[rule]
        there = replace(here, **{rule: new})
        there_scores = rescorer.scores(there)
        alone = rescorer.scores(replace(first, **{rule: new}))
        without = rescorer.scores(replace(second, **{rule: old}))
        steps.append(
            Step(
                rule, text.label, f"{text.value(old)} -> {text.value(new)}", text.why,
                table(there_scores, metrics) - table(here_scores, metrics),
                table(alone, metrics) - table(start, metrics),
                table(end, metrics) - table(without, metrics),
                _changed_sequences(rescorer, here_scores, there_scores, metrics),
            )
        )  # fmt: skip
        here, here_scores = there, there_scores
    return Explanation(
        start.trackers, tuple(metrics), table(start, metrics), table(end, metrics),
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
    """Per tracker, the sequences whose curves or place in the mean a step changes, largest contribution first."""
    own_before, kept_before, part_before = parts(before, metrics)
    own_after, kept_after, part_after = parts(after, metrics)
    moved = ((kept_before != kept_after) | ~_alike(own_before, own_after)).any(axis=-1)
    for metric in metrics:
        one, two = before.curve(metric), after.curve(metric)
        moved |= ~_alike(one, two).all(axis=-1) if one.shape == two.shape else True
    found: dict[str, tuple[ChangedSequence, ...]] = {}
    for k, tracker in enumerate(before.trackers):
        found[tracker] = ordered(
            ChangedSequence(
                before.sequences[s], _changed_frames(rescorer, int(s), tracker, before.protocol, after.protocol),
                own_before[k, s], own_after[k, s], np.stack([kept_before[k, s], kept_after[k, s]]),
                part_after[k, s] - part_before[k, s],
            )
            for s in np.flatnonzero(moved[k])
        )  # fmt: skip
    return found


def ordered(changed: Iterable[ChangedSequence]) -> tuple[ChangedSequence, ...]:
    """Largest contribution first."""
    return tuple(sorted(changed, key=lambda t: (-np.abs(t.contribution).max(), t.sequence)))


def _alike(one: Array, two: Array) -> NDArray[np.bool_]:
    """Equal up to the rounding that an epsilon in a denominator causes; NaN equals NaN."""
    return np.asarray((np.abs(one - two) <= 1e-12) | (np.isnan(one) & np.isnan(two)))


def _changed_frames(rescorer: Rescorer, s: int, tracker: str, before: Protocol, after: Protocol) -> int:
    """How many frames pass other thresholds than before, or leave or enter the denominator."""
    sequence = rescorer.sequences[s]
    own = {t: found[sequence.name] for t, found in rescorer.results.items() if t == tracker and sequence.name in found}
    first, second = (
        errors_by_tracker(sequence, own, protocol, rescorer.allow_short).get(tracker) for protocol in (before, after)
    )
    if first is None or second is None:  # refused
        return 0 if first is second else len(sequence)
    one, two = _hits(first, before), _hits(second, after)
    if len(one) != len(two):
        return abs(len(one) - len(two))
    if one.shape != two.shape:  # another number of thresholds: every frame is counted anew
        return len(sequence)
    return max(int((one != two).any(axis=1).sum()), abs(first.frames - second.frames))


def _hits(errors: FrameErrors, protocol: Protocol) -> NDArray[np.bool_]:
    """(T, N) which thresholds of the three curves each frame passes."""
    overlap, levels = errors.overlap[0][:, None], protocol.thresholds("success")
    above = overlap > levels if protocol.overlap_strict else overlap >= levels
    near = errors.center_error[0][:, None] <= protocol.thresholds("precision")
    scaled = errors.normalized_error[0][:, None] <= protocol.thresholds("normalized_precision")
    return np.hstack([above, near, scaled])


#: Metrics that papers print in tables.
REPORTED_METRICS = ("success", "precision", "normalized_precision", "op50", "op75", "average_overlap")


@dataclass(frozen=True)
class ReportedScore:
    """A reported score in [0, 1], and the size of its last digit."""

    text: str
    value: float
    unit: float

    def fit(self, score: float) -> str:
        """ "rounded" or "cut" where the score would be printed as the reported; "" where it would not."""
        if abs(score - self.value) <= self.unit / 2 + 1e-12:
            return "rounded"
        return "cut" if self.value <= score < self.value + self.unit else ""


@dataclass(frozen=True)
class Match:
    """One way of scoring, and how near the reported it comes.

    Attributes:
        fit: "rounded", "cut" (digits cut off instead of rounded) or "" (another number).
    """

    tracker: str
    protocol: str
    metric: str
    round: str
    score: float
    fit: str
    distance: float


def parse_reported(text: str) -> ReportedScore:
    """A score as people print it: 0.559, .559, 55.9 or 55.9%. Raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d*)(?:\.(\d+))?\s*(%?)\s*", text)
    if match is None or not (match[1] or match[2]):
        raise UsageError(f"--reported {text!r}: expected a score such as 0.559 or 55.9")
    digits = f"{match[1] or '0'}.{match[2] or '0'}"
    percent = bool(match[3]) or float(digits) > 1
    value = float(f"{digits}e{-2 if percent else 0}")  # 55.9 / 100 is .5589999999999999
    if value > 1:
        raise UsageError(f"--reported {text!r}: scores lie between 0 and 1, or 0 and 100 per cent")
    return ReportedScore(text.strip(), value, 10.0 ** -(len(match[2] or "") + 2 * percent))


def find_reported(rescorer: Rescorer, reported: ReportedScore) -> list[Match]:
    """Every way of scoring these results, best fit first.

    Boxes as they are come first; only where no protocol gives the number are they tried rounded and truncated to
    integers, as some toolkits save them.

    Raises:
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    rescorer.scores(TNLLT, strict=True)
    found: list[Match] = []
    for rounding in ROUNDINGS:
        if any(m.fit for m in found):
            break
        for protocol in PROTOCOLS.values():
            scores = rescorer.scores(protocol, rounding)
            for metric in REPORTED_METRICS:
                for tracker, value in zip(scores.trackers, scores.score(metric).tolist(), strict=True):
                    if np.isfinite(value):
                        fit, distance = reported.fit(value), abs(value - reported.value)
                        found.append(Match(tracker, protocol.name, metric, rounding, value, fit, distance))
    # The metric that people mean when they say "the score" comes first among equals.
    place = {name: i for i, name in enumerate(REPORTED_METRICS)}
    return sorted(
        found,
        key=lambda m: (not m.fit, m.fit != "rounded", *((0,) if m.fit else (m.distance,)), place.get(m.metric, 9)),
    )
