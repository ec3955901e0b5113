"""Is a difference real? Bootstrap over sequences, paired permutation test, Holm's correction, critical difference.

Everything here works on two arrays of shape (tracker, sequence): `values`, a score per sequence, and `weights`, 1 where
the sequence enters the tracker's mean and 0 where the protocol's reduction leaves it out (the TNLLT scoring rule drops
sequences whose curve is zero). A tracker's score is the weighted mean, and every resample follows the same reduction,
so that the interval belongs to the number printed beside it. Resamples are rows of counts, and the scores of all
trackers under all resamples one matrix product.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tnllt.errors import UsageError

Array = NDArray[np.float64]
RESAMPLES = 10_000
#: Of wide arrays (long-term curves) there are fewer resamples: each takes longer.
WIDE_RESAMPLES = 2_000
SEED = 0
CONFIDENCE = 0.95
#: Levels of the two bounds of an interval.
TAILS = [(1 - CONFIDENCE) / 2, 1 - (1 - CONFIDENCE) / 2]
#: A p-value below this is significant.
ALPHA = 0.05
#: Below this many kept sequences an interval would be a guess.
MIN_SEQUENCES = 3
#: Below this many, resamples repeat themselves and studentised intervals blow up: Student's t stands in.
FEW_SEQUENCES = 20


def interval_method(sequences: int, is_mean: bool = True) -> str:
    """How the interval of a score over so many sequences is computed."""
    if not is_mean:
        return "percentile bootstrap"
    return "studentised bootstrap" if sequences >= FEW_SEQUENCES else "Student's t"


def interval_methods(numbers: Iterable[tuple[int, bool]]) -> str:
    """`interval_method` of scores over so many sequences that are means, or not; each method once."""
    return ", ".join(sorted({interval_method(*number) for number in numbers}, reverse=True))


@dataclass(frozen=True, eq=False)
class WeightedScores:
    """Scores per sequence, cleaned: `values` is 0 wherever `weights` is 0. Both (tracker, sequence) float64.

    `missing` (tracker, sequence) tells those that have no score from those that a protocol drops for a zero curve.
    """

    values: Array
    weights: Array
    missing: NDArray[np.bool_]

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike | None = None) -> WeightedScores:
        """From raw arrays; NaN values (refused, not measurable) get weight 0, as does a single row of numbers."""
        raw = np.atleast_2d(np.asarray(values, np.float64))
        missing = np.isnan(raw)
        kept = ~missing
        if weights is not None:
            kept &= np.broadcast_to(np.atleast_2d(np.asarray(weights)) > 0, raw.shape)
        return cls(np.where(kept, raw, 0.0), kept.astype(np.float64), missing)

    def __getitem__(self, index: Any) -> WeightedScores:
        """The rows, or [rows, columns], of an index."""
        return WeightedScores(self.values[index], self.weights[index], self.missing[index])

    def paired(self, other: WeightedScores) -> tuple[WeightedScores, WeightedScores]:
        """Both, row by row, without the sequences that either misses. One that is dropped for one of them stays, as the
        loss that a zero curve is."""
        both = ~(self.missing | other.missing)
        one, two = (WeightedScores(t.values * both, t.weights * both, ~both) for t in (self, other))
        return one, two

    @property
    def means(self) -> Array:
        """(tracker,) weighted means; NaN where a tracker keeps no sequence."""
        return _ratio(self.values.sum(axis=1), self.weights.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Intervals:
    """Point estimates (tracker,) and bounds (tracker,). NaN: too few sequences."""

    estimate: Array
    low: Array
    high: Array


@functools.lru_cache(maxsize=4)
def bootstrap_counts(sequences: int, resamples: int = RESAMPLES, seed: int = SEED) -> Array:
    """(resample, sequence) how often each sequence is drawn when `sequences` are drawn with replacement; read-only."""
    if sequences < 1 or resamples < 1:
        raise UsageError("a bootstrap needs at least one sequence and one resample")
    drawn = np.random.default_rng(seed).integers(0, sequences, size=(resamples, sequences))
    drawn += np.arange(resamples)[:, None] * sequences
    counts = np.bincount(drawn.ravel(), minlength=resamples * sequences).astype(np.float64)
    counts.flags.writeable = False
    return counts.reshape(resamples, sequences)


def bootstrap_scores(table: WeightedScores, resamples: int = RESAMPLES, seed: int = SEED) -> Array:
    """(resample, tracker) scores; in one resample every tracker sees the same sequences."""
    counts = bootstrap_counts(table.values.shape[1], resamples, seed)
    return _ratio(counts @ table.values.T, counts @ table.weights.T)


def bootstrap_intervals(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Intervals:
    """Bootstrap intervals over sequences for the scores of N trackers.

    The bootstrap is the studentised one (bootstrap-t; Efron & Tibshirani 1993, 12.5): with 50 sequences, percentile
    and BCa intervals are too short (docs/explain), while this one covers at its nominal rate.

    Args:
        values: (N, S) scores per sequence; NaN is left out.
        weights: (N, S), 0 where the reduction drops the sequence; None: nothing is dropped.
        bounds: range of the metric, to which bounds are cut; None: unbounded.
    """
    table = WeightedScores.of(values, weights)
    counts = bootstrap_counts(table.values.shape[1], resamples, seed)
    estimate, kept = table.means, table.weights.sum(axis=1)
    error = _means_and_errors(table, np.ones((1, counts.shape[1])))[1][0]
    draws, errors = _means_and_errors(table, counts)
    low, high = _studentized(estimate, error, draws - estimate, errors, kept)
    if bounds is not None:
        low, high = np.clip(low, *bounds), np.clip(high, *bounds)
    return Intervals(estimate, low, high)


def difference_intervals(a: WeightedScores, b: WeightedScores, *, resamples: int = RESAMPLES) -> Intervals:
    """Studentised bootstrap intervals of score(a) - score(b), row by row; both see the same sequences.

    The standard error is the linearised one of a difference of two ratios, so that a sequence dropped for one tracker
    and kept for the other is weighed as the reduction weighs it.
    """
    counts = bootstrap_counts(a.values.shape[1], resamples)
    whole = np.ones((1, counts.shape[1]))
    estimate = a.means - b.means
    (_, (error,)), (draws, errors) = _differences(a, b, whole), _differences(a, b, counts)
    kept = np.minimum(a.weights.sum(axis=1), b.weights.sum(axis=1))
    low, high = _studentized(estimate, error, draws - estimate, errors, kept)
    return Intervals(estimate, low, high)


def permutation_test(a: WeightedScores, b: WeightedScores, *, resamples: int = RESAMPLES) -> Array:
    """(row,) two-sided p-values of score(a) = score(b), by swapping the two trackers' answers sequence by sequence.

    Where both keep every sequence this is the sign-flip test of the paired differences. With 2**S <= resamples all
    swaps are tried and p is exact; else p = (1 + hits) / (1 + resamples) (Phipson & Smyth 2010), never 0.
    """
    sequences = a.values.shape[1]
    swaps = _swaps(sequences, resamples)

    def moved(first: Array, second: Array) -> Array:
        return np.asarray(swaps @ (second - first).T, np.float64)

    sums, kept = (a.values.sum(axis=1), b.values.sum(axis=1)), (a.weights.sum(axis=1), b.weights.sum(axis=1))
    change = moved(a.values, b.values)
    if np.array_equal(a.weights, b.weights):
        gaps = (sums[0] - sums[1] + 2 * change) / np.maximum(kept[0], 1)
    else:
        switched = moved(a.weights, b.weights)
        # A swap that leaves a tracker without any kept sequence scores it 0, as the reduction does.
        gaps = np.nan_to_num(_ratio(sums[0] + change, kept[0] + switched))
        gaps -= np.nan_to_num(_ratio(sums[1] - change, kept[1] - switched))
    observed = np.nan_to_num(a.means) - np.nan_to_num(b.means)
    hits = (np.abs(gaps) >= np.abs(observed) - 1e-12).sum(axis=0)
    exact = 2**sequences <= resamples
    return np.asarray(hits / len(swaps) if exact else (1 + hits) / (1 + len(swaps)), np.float64)


@functools.lru_cache(maxsize=4)
def _swaps(sequences: int, resamples: int) -> Array:
    """(swap, sequence) 1 where the trackers' answers are swapped: all combinations, or drawn ones; read-only."""
    if 2**sequences <= resamples:
        found = ((np.arange(2**sequences)[:, None] >> np.arange(sequences)) & 1).astype(np.float64)
    else:
        found = np.random.default_rng(SEED).integers(0, 2, size=(resamples, sequences)).astype(np.float64)
    found.flags.writeable = False
    return found


def holm(p_values: ArrayLike) -> Array:
    """Holm's step-down correction (1979): adjusted p-values that keep the family's error rate. NaN stays NaN."""
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return adjusted


@dataclass(frozen=True, eq=False)
class RankStability:
    """How sure the ranking is, by bootstrap over sequences. All (tracker,); ranks count from 1, ties share the best."""

    rank: Array
    low: Array
    high: Array
    first: Array
    """Fraction of resamples in which the tracker is (or ties for) the best."""


def rank_stability(values: ArrayLike, weights: ArrayLike | None = None) -> RankStability:
    """Ranks with percentile intervals, and how often each tracker comes out first."""
    table = WeightedScores.of(values, weights)
    own = np.nan_to_num(table.means, nan=-np.inf)
    draws = np.nan_to_num(bootstrap_scores(table), nan=-np.inf)
    # Rank = 1 + number of better trackers; scipy's rankdata along an axis takes ten times as long here.
    ranks = 1 + np.stack([(draws > draws[:, i : i + 1]).sum(axis=1) for i in range(draws.shape[1])], axis=1)
    low, high = np.quantile(ranks, TAILS, axis=0, method="nearest")
    return RankStability(1 + (own > own[:, None]).sum(axis=1).astype(np.float64), low, high, (ranks == 1).mean(axis=0))


@dataclass(frozen=True, eq=False)
class CriticalDifference:
    """Friedman's test and Nemenyi's critical difference (Demsar 2006) over the sequences that all trackers share."""

    mean_ranks: Array
    statistic: float
    p_value: float
    critical_difference: float
    sequences: int
    alpha: float

    def cliques(self) -> list[tuple[int, ...]]:
        """Maximal groups of trackers (indices, best first) whose mean ranks lie within the critical difference."""
        order = np.argsort(self.mean_ranks, kind="stable")
        ranks = self.mean_ranks[order]
        groups: list[tuple[int, ...]] = []
        reach = 0
        for start in range(len(order)):
            stop = int(np.searchsorted(ranks, ranks[start] + self.critical_difference, side="right"))
            if stop > reach and stop - start > 1:
                groups.append(tuple(int(i) for i in order[start:stop]))
            reach = max(reach, stop)
        return groups


def critical_difference(values: ArrayLike) -> CriticalDifference:
    """Mean ranks (tracker,) over sequences, Friedman's test, Nemenyi's critical difference.

    Args:
        values: (N, S); sequences with NaN for any tracker are left out.

    Raises:
        UsageError: fewer than three trackers (compare two with the permutation test) or two sequences.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    scores = np.atleast_2d(np.asarray(values, np.float64))
    scores = scores[:, ~np.isnan(scores).any(axis=0)]
    trackers, sequences = scores.shape
    if trackers < 3 or sequences < 2:
        raise UsageError(
            f"a critical-difference diagram needs three trackers and two sequences, not {trackers} and {sequences}"
        )
    ranks = rankdata(-scores, axis=0)
    if np.all(ranks == ranks[:1]):  # all tie everywhere: scipy would divide by zero
        statistic, p_value = 0.0, 1.0
    else:
        statistic, p_value = map(float, friedmanchisquare(*scores))
    quantile = float(studentized_range.ppf(1 - ALPHA, trackers, np.inf)) / np.sqrt(2)
    width = float(quantile * np.sqrt(trackers * (trackers + 1) / (6 * sequences)))
    return CriticalDifference(ranks.mean(axis=1), statistic, p_value, width, sequences, ALPHA)


def _ratio(total: Array, weight: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(weight > 0, total / weight, np.nan), np.float64)


def _kept(weights: Array, counts: Array) -> Array:
    """(resample, row) how much of each resample a row keeps; one column where all rows keep the same sequences."""
    return np.asarray(counts @ (weights[:1] if (weights == weights[:1]).all() else weights).T, np.float64)


def _means_and_errors(table: WeightedScores, counts: Array) -> tuple[Array, Array]:
    """(resample, tracker) weighted mean of each resample, and its standard error."""
    kept = _kept(table.weights, counts)
    mean = _ratio(counts @ table.values.T, kept)
    square = _ratio(counts @ (table.values**2).T, kept)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, np.asarray(np.sqrt(np.maximum(square - mean**2, 0) / (kept - 1)), np.float64)


def _differences(a: WeightedScores, b: WeightedScores, counts: Array) -> tuple[Array, Array]:
    """(resample, row) difference of two weighted means, and its standard error by their influence per sequence."""

    def total(x: Array) -> Array:
        return np.asarray(counts @ x.T, np.float64)

    drawn = counts.sum(axis=1, keepdims=True)
    small = drawn / np.maximum(drawn - 1, 1)
    if np.array_equal(a.weights, b.weights):  # the differences per sequence are one sample then
        gap, kept = a.values - b.values, _kept(a.weights, counts)
        mean = _ratio(total(gap), kept)
        return mean, np.sqrt(np.maximum(_ratio(total(gap**2), kept) - mean**2, 0) * small / np.maximum(kept, 1))
    kept_a, kept_b = total(a.weights), total(b.weights)
    mean_a, mean_b = _ratio(total(a.values), kept_a), _ratio(total(b.values), kept_b)
    spread_a = total(a.values**2) - mean_a**2 * kept_a
    spread_b = total(b.values**2) - mean_b**2 * kept_b
    both = a.weights * b.weights
    cross = total(a.values * b.values) - mean_a * total(a.weights * b.values) - mean_b * total(a.values * b.weights)
    cross += mean_a * mean_b * total(both)
    variance = _ratio(spread_a, kept_a**2) + _ratio(spread_b, kept_b**2) - 2 * _ratio(cross, kept_a * kept_b)
    return mean_a - mean_b, np.asarray(np.sqrt(np.maximum(variance, 0) * small), np.float64)


def _studentized(estimate: Array, error: Array, draws: Array, errors: Array, kept: Array) -> tuple[Array, Array]:
    """Bounds by the studentised bootstrap; by Student's t with few sequences, NaN with fewer than `MIN_SEQUENCES`."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pivots = draws / errors
    # A resample of one sequence over and over has no spread: its pivot, 0/0 or infinite, is not an observation.
    pivots[(errors < 1e-12) | ~np.isfinite(pivots)] = np.nan
    pivots[:, error < 1e-12] = 0.0
    below, above = _nanquantile(pivots, TAILS)
    low, high = estimate - above * error, estimate - below * error
    few = kept < FEW_SEQUENCES
    if few.any():
        from scipy.special import stdtrit

        reach = stdtrit(np.maximum(kept - 1, 1), (1 + CONFIDENCE) / 2) * error
        low, high = np.where(few, estimate - reach, low), np.where(few, estimate + reach, high)
    none = kept < MIN_SEQUENCES
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _nanquantile(draws: Array, levels: list[float]) -> Array:
    """(level, column) quantiles without NaN; as `np.nanquantile`, which takes many times as long."""
    rows = np.sort(draws.T, axis=1)  # NaN comes last
    last = np.maximum(rows.shape[1] - np.isnan(rows).sum(axis=1) - 1, 0)
    at = np.multiply.outer(levels, last)
    below = np.floor(at).astype(np.int64)
    each = np.arange(len(rows))
    low, high = rows[each, below], rows[each, np.minimum(below + 1, last)]
    part = at - below
    return np.asarray(np.where(part < 0.5, low + (high - low) * part, high - (high - low) * (1 - part)))
