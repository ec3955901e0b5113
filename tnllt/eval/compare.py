"""Two trackers on the same sequences: is the difference real, and where does it come from?"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import UsageError, did_you_mean
from tnllt.eval.intervals import group_runs, weighted_scores
from tnllt.eval.metrics import Metric, get_metric
from tnllt.eval.scores import Scores
from tnllt.eval.statistics import (
    CONFIDENCE,
    CriticalDifference,
    RankStability,
    WeightedScores,
    critical_difference,
    difference_intervals,
    holm,
    permutation_test,
    rank_stability,
)

Array = NDArray[np.float64]
#: Bounds memory: a resample of a pair takes about a hundred bytes, and there are 10,000 of them.
_PAIRS_AT_ONCE = 30


@dataclass(frozen=True)
class Comparison:
    """score(a) - score(b) over one set of sequences.

    Attributes:
        members: what is compared over: "all", or an attribute.
        sequences: number of sequences that both trackers are scored on.
        difference, low, high: the difference and its interval; NaN where there are too few sequences.
        p_value: two-sided, of the paired permutation test.
        adjusted: after Holm's correction over all comparisons made together.
        wins, losses, ties: sequences on which `a` scores higher, lower, the same.
    """

    a: str
    b: str
    members: str
    sequences: int
    score_a: float
    score_b: float
    difference: float
    low: float
    high: float
    p_value: float
    adjusted: float
    wins: int
    losses: int
    ties: int

    @property
    def significant(self) -> bool:
        return bool(self.adjusted < 1 - CONFIDENCE)


def compare(scores: Scores, a: str, b: str, metric: str | Metric = "success") -> list[Comparison]:
    """The paired comparison over all sequences, then one per attribute; Holm's correction is over the attributes.

    `a` and `b` are trackers, or names of several runs (`group_runs`): then every sequence counts with its mean score
    over the runs.

    Raises:
        UsageError: no such tracker, the same tracker twice, or a metric that is not a mean over sequences.
    """
    chosen = linear(metric)
    sets = [("all", None), *scores.attribute_members().items()]
    one, two = members_of(scores, a), members_of(scores, b)
    if set(one) & set(two):
        raise UsageError(f"{a!r} and {b!r} have runs in common: nothing to compare")
    found = []
    for name, members in sets:
        table = weighted_scores(scores, chosen, members)
        found += compared([a], [b], name, mean_of(table, one), mean_of(table, two))
    return [found[0], *corrected(found[1:])]


def compare_all(scores: Scores, metric: str | Metric = "success") -> list[Comparison]:
    """Every pair of trackers over all sequences, better one first; Holm's correction over all pairs."""
    chosen = linear(metric)
    table = weighted_scores(scores, chosen)
    pairs = list(combinations(scores.ranking(chosen), 2))
    found: list[Comparison] = []
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[start : start + _PAIRS_AT_ONCE]
        i, j = [a for a, _ in some], [b for _, b in some]
        names = [scores.trackers[a] for a in i], [scores.trackers[b] for b in j]
        found += compared(*names, "all", table[i], table[j])
    return corrected(found)


def groups(scores: Scores, metric: str | Metric = "success") -> NDArray[np.int64]:
    """(K,) the group of each tracker, from 1: those that cannot be told apart from the best of their group.

    Down the ranking, the first tracker that differs from the best of the group begins the next one (permutation test,
    Holm's correction over the tests against one best). 0: a tracker without a score.
    """
    chosen = linear(metric)
    table, values = weighted_scores(scores, chosen), scores.score(chosen)
    order = [k for k in scores.ranking(chosen) if not np.isnan(values[k])]
    found = np.zeros(len(values), np.int64)
    group = 0
    while order:
        group += 1
        best, rest = order[0], order[1:]
        first, second = table[[best] * len(rest)].paired(table[rest])
        differs = np.flatnonzero(holm(permutation_test(first, second)) < 1 - CONFIDENCE) if rest else np.zeros(0, int)
        size = 1 + (int(differs[0]) if len(differs) else len(rest))
        found[order[:size]] = group
        order = order[size:]
    return found


def ranks(scores: Scores, metric: str | Metric = "success") -> RankStability:
    """How stable each tracker's rank is under resampling of the sequences."""
    table = weighted_scores(scores, linear(metric))
    return rank_stability(table.values, table.weights)


def diagram(scores: Scores, metric: str | Metric = "success") -> CriticalDifference:
    """Friedman's test and the critical difference over the sequences that every tracker is scored on."""
    return critical_difference(scores.per_sequence(linear(metric)))


def gaps(scores: Scores, a: str, b: str, metric: str | Metric = "success") -> list[tuple[str, float, float]]:
    """(sequence, score of a, score of b), largest lead of `a` first; sequences without both are left out."""
    values = scores.per_sequence(linear(metric))
    first = values[list(members_of(scores, a))].mean(axis=0)
    second = values[list(members_of(scores, b))].mean(axis=0)
    both = np.flatnonzero(~np.isnan(first - second))
    return [
        (scores.sequences[s], float(first[s]), float(second[s]))
        for s in sorted(both, key=lambda s: (second[s] - first[s], scores.sequences[s]))
    ]


def members_of(scores: Scores, name: str) -> tuple[int, ...]:
    """Indices of a tracker, or of the runs that go by that name. Raises UsageError where there is neither."""
    if name in scores.trackers:
        return (scores.trackers.index(name),)
    groups = group_runs(scores.trackers)
    if name in groups:
        return groups[name]
    lower = {t.lower(): i for i, t in enumerate(scores.trackers)}
    if name.lower() in lower:
        return (lower[name.lower()],)
    known = [*scores.trackers, *groups]
    hint = did_you_mean(name, known, f"there are: {', '.join(known)}")
    raise UsageError(f"no tracker {name!r} among the results; {hint}")


def linear(metric: str | Metric) -> Metric:
    """The metric, where it is a mean over sequences. Raises UsageError where it is not."""
    chosen = get_metric(metric)
    if not chosen.is_mean:
        raise UsageError(f"{chosen.option} is not a mean over sequences: a paired test per sequence would not test it")
    return chosen


def mean_of(table: WeightedScores, index: Seq[int]) -> WeightedScores:
    """One row: per sequence the mean over runs, of those that keep it."""
    rows = list(index)
    kept = table.weights[rows].sum(axis=0)
    values = np.where(kept > 0, table.values[rows].sum(axis=0) / np.maximum(kept, 1), 0.0)
    missing = np.asarray(table.missing[rows].all(axis=0))
    return WeightedScores(values[None], (kept > 0).astype(np.float64)[None], missing[None])


def compared(a: Seq[str], b: Seq[str], members: str, first: WeightedScores, second: WeightedScores) -> list[Comparison]:
    """One comparison per row, over the sequences that neither misses; not yet corrected."""
    first, second = first.paired(second)
    interval, p_values = difference_intervals(first, second), permutation_test(first, second)
    mean_a, mean_b = first.means, second.means
    found = []
    for row, (name_a, name_b) in enumerate(zip(a, b, strict=True)):
        # A sequence that only one keeps was dropped for the other: a zero curve is a loss there.
        either = (first.weights[row] > 0) | (second.weights[row] > 0)
        gap = first.values[row][either] - second.values[row][either]
        p_value = float(p_values[row]) if either.any() else float("nan")
        found.append(
            Comparison(
                name_a, name_b, members, int(either.sum()), float(mean_a[row]), float(mean_b[row]),
                float(interval.estimate[row]), float(interval.low[row]), float(interval.high[row]), p_value, p_value,
                int((gap > 0).sum()), int((gap < 0).sum()), int((gap == 0).sum()),
            )
        )  # fmt: skip
    return found


def corrected(found: list[Comparison]) -> list[Comparison]:
    """The comparisons with Holm's correction over all of them."""
    adjusted = holm([c.p_value for c in found]).tolist()
    return [replace(c, adjusted=p) for c, p in zip(found, adjusted, strict=True)]
