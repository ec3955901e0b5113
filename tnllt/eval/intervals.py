"""Intervals and runs on `Scores`: from the numbers to `tnllt.eval.statistics`."""

from __future__ import annotations

import re
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.metrics import Metric, get_metric
from tnllt.eval.statistics import (
    MIN_SEQUENCES,
    TAILS,
    Intervals,
    WeightedScores,
    bootstrap_counts,
    bootstrap_intervals,
)
from tnllt.processes import map_in_threads
from tnllt.sequence import Flags

if TYPE_CHECKING:
    from tnllt.eval.scores import Scores

Array = NDArray[np.float64]
_RUN = re.compile(r"(?P<name>.+?)(?:[_\-# ]run[_\-]?(?P<a>\d+)|_(?P<b>0\d\d)|#(?P<c>\d+))", re.IGNORECASE)


def weighted_scores(scores: Scores, metric: str | Metric = "success", members: Flags | None = None) -> WeightedScores:
    """Per-sequence scores (K, S) with weight 0 where the metric leaves the sequence out."""
    return WeightedScores.of(scores.per_sequence(metric), scores.kept(metric, members))


def score_intervals(scores: Scores, metric: str | Metric = "success", members: Flags | None = None) -> Intervals:
    """Bootstrap intervals (K,) over sequences of `scores.score(metric, members)`.

    Means get the studentised bootstrap; scores of sums, which are not means, the percentile bootstrap (at most
    `Metric.resamples` resamples). NaN where fewer than three sequences remain.
    """
    chosen = get_metric(metric)
    return all_intervals(scores, [chosen], members)[chosen.name]


def all_intervals(scores: Scores, metrics: Seq[Metric], members: Flags | None = None) -> dict[str, Intervals]:
    """`score_intervals` of several metrics {name: intervals}, all means in one pass."""
    means = [m for m in metrics if m.is_mean]
    found: dict[str, Intervals] = {}
    if means:
        every = [weighted_scores(scores, m, members) for m in means]
        stacked = bootstrap_intervals(
            np.concatenate([one.values for one in every]), np.concatenate([one.weights for one in every])
        )
        bounds = zip(np.split(stacked.low, len(means)), np.split(stacked.high, len(means)), strict=True)
        for metric, (low, high) in zip(means, bounds, strict=True):
            # The estimate is the score that is printed, to the last bit.
            estimate = scores.score(metric, members)
            found[metric.name] = Intervals(estimate, low, high)
    sums: dict[tuple[str, int], list[Metric]] = {}
    for metric in metrics:
        if not metric.is_mean:
            sums.setdefault((metric.measure.name, metric.resamples), []).append(metric)
    for alike in sums.values():
        found |= _percentiles(scores, alike, members)
    return {metric.name: found[metric.name] for metric in metrics}


def _percentiles(scores: Scores, metrics: Seq[Metric], members: Flags | None) -> dict[str, Intervals]:
    """Percentile intervals of metrics that are read off the same sums: those of every resample are one product."""
    estimates = [scores.score(metric, members) for metric in metrics]
    bounds = np.full((len(metrics), 2, len(scores.trackers)), np.nan)
    every = scores.kept(metrics[0], members)

    def work(k: int) -> None:
        kept = every[k]
        if np.isnan([estimate[k] for estimate in estimates]).all() or kept.sum() < MIN_SEQUENCES:
            return
        array = scores.tracker_curves[k].arrays[metrics[0].measure.name][kept]
        resampled = bootstrap_counts(len(array), metrics[0].resamples) @ array
        for metric, estimate, found in zip(metrics, estimates, bounds, strict=True):
            draws = metric.read(resampled, scores.protocol)
            known = draws[~np.isnan(draws)]
            if len(known) and not np.isnan(estimate[k]):
                found[:, k] = np.quantile(known, TAILS)

    map_in_threads(work, range(len(every)))
    return {m.name: Intervals(e, *found) for m, e, found in zip(metrics, estimates, bounds, strict=True)}


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
    """Trackers that are runs of one: `NAME_000`, `NAME_run1`, `NAME-run-2`, `NAME#3`, at least two of a name.

    Three digits from 100 on are a size or a version: OSTrack_256 and OSTrack_384 are two trackers.
    """
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
    """Mean, deviation, lowest and highest score over the runs of each tracker that has several.

    A tracker with a run that has no score (n/a) is left out: the mean of its other runs would be another number.
    """
    values = scores.score(metric, members)
    found = []
    for name, index in group_runs(scores.trackers).items():
        own = values[list(index)]
        if not np.isnan(own).any():
            low, high = float(own.min()), float(own.max())
            found.append(Runs(name, index, float(own.mean()), float(own.std(ddof=1)), low, high))
    return sorted(found, key=lambda r: (-r.mean, r.name))
