"""Intervals, paired tests and runs on `Scores`: the bridge from the numbers to `tnllt.eval.statistics`."""

from __future__ import annotations

import re
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.metrics import METRICS, Metric
from tnllt.eval.rows import Row
from tnllt.eval.scores import Scores, _special
from tnllt.eval.statistics import CONFIDENCE, MIN_SEQUENCES, RESAMPLES, SEED, Intervals, Table, intervals
from tnllt.sequence import Flags

Array = NDArray[np.float64]
#: Metrics that are no mean over sequences are scored anew for each resample, so they get fewer of them.
SLOW_RESAMPLES = 1_000
_RUN = re.compile(r"(?P<name>.+?)(?:[_\-# ]run[_\-]?(?P<a>\d+)|[_\-](?P<b>\d{3})|#(?P<c>\d+))", re.IGNORECASE)


def linear(metric: Metric) -> bool:
    """Whether the score is the mean of per-sequence scores."""
    return metric.source in ("curve", "value")


def score_table(scores: Scores, metric: str | Metric = "success", members: Flags | None = None) -> Table:
    """Per-sequence scores (K, S) with weight 0 where the protocol's reduction leaves the sequence out."""
    chosen = METRICS[metric] if isinstance(metric, str) else metric
    curve = chosen.array if chosen.source == "curve" else "success"
    return Table.of(scores.per_sequence(chosen), scores.kept(curve, members))


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
    with at most `SLOW_RESAMPLES` resamples. NaN where fewer than three sequences remain.
    """
    chosen = METRICS[metric] if isinstance(metric, str) else metric
    if linear(chosen):
        table = score_table(scores, chosen, members)
        found = intervals(table.values, table.weights, confidence=confidence, resamples=resamples, seed=seed)
        # The estimate is the score that is printed, to the last bit.
        return Intervals(
            scores.score(chosen, members), found.low, found.high, confidence, found.method, found.resamples
        )
    return _resampled(scores, chosen, members, confidence, min(resamples, SLOW_RESAMPLES), seed)


def _resampled(
    scores: Scores, metric: Metric, members: Flags | None, confidence: float, resamples: int, seed: int
) -> Intervals:
    rng = np.random.default_rng(seed)
    estimate = scores.score(metric, members)
    low, high = np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    tail = (1 - confidence) / 2
    for k, row in enumerate(scores.rows):
        pool = np.flatnonzero(_usable(scores, row, members))
        if np.isnan(estimate[k]) or len(pool) < MIN_SEQUENCES:
            continue
        drawn = rng.choice(pool, size=(resamples, len(pool)))
        values = np.array([_special(row, metric, index) for index in drawn])
        known = values[~np.isnan(values)]
        if len(known):
            low[k], high[k] = np.quantile(known, [tail, 1 - tail])
    return Intervals(estimate, low, high, confidence, "percentile", resamples)


def _usable(scores: Scores, row: Row, members: Flags | None) -> Flags:
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
