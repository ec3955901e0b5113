"""Intervals, paired tests and runs on `Scores`: the bridge from the numbers to `tnllt.eval.statistics`."""

from __future__ import annotations

import re
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.metrics import LONGTERM_METRICS, Metric, get_metric
from tnllt.eval.scores import Scores
from tnllt.eval.statistics import (
    CONFIDENCE,
    MIN_SEQUENCES,
    RESAMPLES,
    SEED,
    Intervals,
    WeightedScores,
    bootstrap_counts,
    bootstrap_intervals,
)
from tnllt.eval.tracker_curves import TrackerCurves
from tnllt.sequence import Flags

Array = NDArray[np.float64]
#: Long-term curves are averaged anew for each resample, so they get fewer of them.
SLOW_RESAMPLES = 2_000
GOT10K_METRICS = ("got10k_ao", "got10k_sr50", "got10k_sr75")
_RUN = re.compile(r"(?P<name>.+?)(?:[_\-# ]run[_\-]?(?P<a>\d+)|[_\-](?P<b>\d{3})|#(?P<c>\d+))", re.IGNORECASE)


def linear(metric: Metric) -> bool:
    """Whether the score is the mean of per-sequence scores."""
    return metric.source in ("curve", "value")


def weighted_scores(scores: Scores, metric: str | Metric = "success", members: Flags | None = None) -> WeightedScores:
    """Per-sequence scores (K, S) with weight 0 where the protocol's reduction leaves the sequence out."""
    chosen = get_metric(metric)
    curve = chosen.array if chosen.source == "curve" else "success"
    return WeightedScores.of(scores.per_sequence(chosen), scores.kept(curve, members))


def score_intervals(
    scores: Scores,
    metric: str | Metric = "success",
    members: Flags | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Intervals:
    """Bootstrap intervals (K,) over sequences of `scores.score(metric, members)`.

    Means get the studentised bootstrap; long-term and pooled measures, which are no means, the percentile bootstrap
    (long-term ones with at most `SLOW_RESAMPLES` resamples). NaN where fewer than three sequences remain.
    """
    chosen = get_metric(metric)
    return all_intervals(scores, [chosen], members, confidence=confidence, resamples=resamples, seed=seed)[chosen.name]


def all_intervals(
    scores: Scores,
    metrics: Seq[Metric],
    members: Flags | None = None,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Intervals]:
    """`score_intervals` of several metrics {name: intervals}, all means in one go."""
    means = [m for m in metrics if linear(m)]
    found: dict[str, Intervals] = {}
    if means:
        tables = [weighted_scores(scores, m, members) for m in means]
        stacked = bootstrap_intervals(
            np.concatenate([t.values for t in tables]), np.concatenate([t.weights for t in tables]),
            confidence=confidence, resamples=resamples, seed=seed,
        )  # fmt: skip
        count = len(scores.trackers)
        for i, metric in enumerate(means):
            own = slice(i * count, (i + 1) * count)
            # The estimate is the score that is printed, to the last bit.
            found[metric.name] = Intervals(
                scores.score(metric, members),
                stacked.low[own],
                stacked.high[own],
                confidence,
                stacked.method,
                resamples,
            )
    for metric in metrics:
        if metric.name not in found:
            few = min(resamples, SLOW_RESAMPLES) if metric.source == "longterm" else resamples
            found[metric.name] = _resampled(scores, metric, members, confidence, few, seed)
    return found


def _resampled(
    scores: Scores, metric: Metric, members: Flags | None, confidence: float, resamples: int, seed: int
) -> Intervals:
    estimate = scores.score(metric, members)
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    tail = (1 - confidence) / 2
    for k, row in enumerate(scores.tracker_curves):
        pool = np.flatnonzero(_usable(scores, row, members))
        if np.isnan(estimate[k]) or len(pool) < MIN_SEQUENCES:
            continue
        values = _draws(row, metric, pool, bootstrap_counts(len(pool), resamples, seed))
        known = values[~np.isnan(values)]
        if len(known):
            low[k], high[k] = np.quantile(known, [tail, 1 - tail])
    return Intervals(estimate, low, high, confidence, "percentile", resamples)


def _draws(row: TrackerCurves, metric: Metric, pool: NDArray[np.int64], counts: Array) -> Array:
    """(resample,) scores of a metric that is no mean over sequences; `counts` are of the sequences in `pool`."""
    if metric.source == "longterm":
        assert row.longterm is not None
        return _best_f(row.longterm[pool], counts)[LONGTERM_METRICS.index(metric.name)]
    if metric.name in LONGTERM_METRICS:
        hits, present, found, absent = (counts @ row.values["oxuva"][pool]).T
        with np.errstate(divide="ignore", invalid="ignore"):
            tpr, tnr = hits / present, found / absent
            # The closed form of `longterm.rates`.
            both = np.sqrt(np.where(tnr <= 0.5, tpr / (4 * (1 - tnr)), tpr * tnr))
        return np.asarray({"tpr": tpr, "tnr": tnr, "maxgm": both}[metric.name])
    sums = counts @ row.values["got10k"][pool]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[:, GOT10K_METRICS.index(metric.name)] / sums[:, 3])


def _best_f(curves: Array, counts: Array) -> tuple[Array, Array, Array]:
    """F, precision and recall (resample,) at each resample's best threshold, as `longterm.best_f` for one set."""
    defined = ~np.isnan(curves)
    flat = (len(curves), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = (counts @ np.where(defined, curves, 0).reshape(flat)) / (counts @ defined.reshape(flat).astype(float))
        precision, recall = np.moveaxis(mean.reshape(len(counts), 2, -1), 1, 0)
        f = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    f = np.where(np.isnan(precision) | np.isnan(recall), -np.inf, f)
    best = f.argmax(axis=1)[:, None]
    chosen = [np.take_along_axis(v, best, axis=1)[:, 0] for v in (f, precision, recall)]
    missing = np.isinf(chosen[0])
    return chosen[0] + np.where(missing, np.nan, 0), chosen[1], chosen[2]


def _usable(scores: Scores, row: TrackerCurves, members: Flags | None) -> Flags:
    return np.asarray(~row.missing & ~row.refused & ~scores.refused & (True if members is None else members))


@dataclass(frozen=True)
class Runs:
    """Several runs of one tracker: their indices among the trackers, mean and sample deviation of their scores."""

    name: str
    members: tuple[int, ...]
    mean: float
    deviation: float
    low: float
    high: float


def group_runs(trackers: Seq[str]) -> dict[str, tuple[int, ...]]:
    """Trackers that are runs of one: `NAME_000`, `NAME_run1`, `NAME-run-2`, `NAME#3`, at least two of a name."""
    found: dict[str, list[int]] = {}
    for index, tracker in enumerate(trackers):
        match = _RUN.fullmatch(tracker)
        if match is not None:
            found.setdefault(match["name"], []).append(index)
    # got10k's first run goes by the tracker's own name, the others are #2, #3.
    for index, tracker in enumerate(trackers):
        if tracker in found and any(trackers[i].startswith(f"{tracker}#") for i in found[tracker]):
            found[tracker].insert(0, index)
    return {name: tuple(members) for name, members in found.items() if len(members) > 1}


def runs(scores: Scores, metric: str | Metric = "success", members: Flags | None = None) -> list[Runs]:
    """Mean, deviation, lowest and highest score over the runs of each tracker that has several."""
    from tnllt.eval.statistics import runs_summary

    values = scores.score(metric, members)
    found = []
    for name, index in group_runs(scores.trackers).items():
        own = values[list(index)]
        mean, deviation = runs_summary(own.tolist())
        found.append(Runs(name, index, mean, deviation, float(own.min()), float(own.max())))
    return sorted(found, key=lambda r: (-r.mean, r.name))
