"""Long-term measures: what confidence and reported absence are worth. Every value stays within [0, 1] for any input."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import overlap
from tnllt.sequence import Sequence, Trajectory

Array = NDArray[np.float64]
#: How many confidence thresholds a tracker is judged at.
RESOLUTION = 100
#: Overlap from which a report counts as right (OxUvA).
HIT_OVERLAP = 0.5


def confidence_of(trajectory: Trajectory, length: int) -> Array:
    """(T,) confidence: 1 where the tracker gives none, NaN where it calls the target absent or answered nothing."""
    confidence = np.full(length, np.nan)
    given = trajectory.confidence if trajectory.confidence is not None else np.ones(len(trajectory))
    count = min(length, len(trajectory))
    confidence[:count] = given[:count]
    if trajectory.absent is not None:
        confidence[:count][trajectory.absent[:count]] = np.nan
    return confidence


def confidence_thresholds(confidences: list[Array]) -> Array:
    """(N,) ascending thresholds shared by a tracker's sequences: quantiles of all its confidences; empty if none."""
    pooled = np.concatenate(confidences) if confidences else np.empty(0)
    pooled = np.unique(pooled[~np.isnan(pooled)])
    if len(pooled) <= RESOLUTION:
        return pooled
    # "nearest" keeps thresholds among the values given, so infinities never meet in an interpolation.
    return np.asarray(np.quantile(pooled, np.linspace(0, 1, RESOLUTION), method="nearest"))


def frame_overlaps(sequence: Sequence, trajectory: Trajectory) -> tuple[Array, NDArray[np.bool_]]:
    """Overlap (T,) in [0, 1], 0 where there is nothing to overlap, and presence (T,): in view and with a box."""
    truth = sequence.groundtruth
    present = np.asarray((truth[:, 2:] > 0).all(1) & ~np.isnan(truth).any(1))
    if sequence.present is not None:
        present &= sequence.present
    boxes = np.full((len(truth), 4), np.nan)
    count = min(len(truth), len(trajectory))
    boxes[:count] = trajectory.boxes[:count]
    with np.errstate(all="ignore"):
        values = np.nan_to_num(overlap(boxes, truth), nan=0.0)
    return np.where(present & (boxes[:, 2:] > 0).all(1), values, 0.0), present


def precision_recall(values: Array, present: NDArray[np.bool_], confidence: Array, thresholds: Array) -> Array:
    """(2, N): long-term precision and recall at each threshold, as in VOT-LT (Lukežič et al., 2018).

    Precision is NaN where no frame is reported, recall where the target is never in view.
    """
    order = np.argsort(-confidence, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(values[order])])
    reported = np.array([np.count_nonzero(confidence >= t) for t in thresholds], dtype=np.int64)
    gained = sums[reported]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(reported > 0, gained / reported, np.nan)
        recall = np.where(present.any(), gained / present.sum(), np.nan)
    return np.asarray(np.minimum(np.stack([precision, recall]), 1.0))


def oxuva_counts(values: Array, present: NDArray[np.bool_], confidence: Array, known: bool) -> Array:
    """(4,): hits, present frames, absences found, absent frames. Where presence is not known, none is absent."""
    reported = ~np.isnan(confidence)
    absent = ~present if known else np.zeros_like(present)
    hits = np.count_nonzero(present & reported & (values >= HIT_OVERLAP))
    return np.array([hits, present.sum(), np.count_nonzero(absent & ~reported), absent.sum()], dtype=np.float64)


def best_f(curves: Array) -> tuple[float, float, float]:
    """F, precision and recall at the best threshold, from (S, 2, N) curves of S sequences; NaN where none is defined.

    A sequence with nothing reported has no precision and is left out of the mean precision, not of the mean recall.
    """
    if not curves.size:
        return (np.nan, np.nan, np.nan)
    defined = ~np.isnan(curves)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = np.where(defined, curves, 0).sum(0) / defined.sum(0)
        f = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    f = np.where(np.isnan(precision) | np.isnan(recall), np.nan, f)
    if np.isnan(f).all():
        return (np.nan, np.nan, np.nan)
    best = int(np.nanargmax(f))
    return float(f[best]), float(precision[best]), float(recall[best])


def rates(counts: Array) -> tuple[float, float, float]:
    """TPR, TNR and MaxGM from summed `oxuva_counts` (4,); NaN where there is nothing to measure."""
    hits, present, found, absent = (float(c) for c in counts)
    tpr = hits / present if present else np.nan
    tnr = found / absent if absent else np.nan
    if np.isnan(tpr) or np.isnan(tnr):
        return tpr, tnr, np.nan
    # With q = 1 - p the square is TPR (q - q^2 (1 - TNR)), largest at q = 1 / (2 (1 - TNR)) if that is below 1.
    squared = tpr / (4 * (1 - tnr)) if tnr <= 0.5 else tpr * tnr
    return tpr, tnr, float(np.sqrt(squared))
