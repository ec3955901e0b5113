"""Long-term measures: what confidence and reported absence are worth. Every value stays within [0, 1] for any input."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import overlap
from tnllt.sequence import Boxes, Flags, Sequence, Trajectory

Array = NDArray[np.float64]
#: How many confidence thresholds a tracker is judged at.
RESOLUTION = 100
#: Overlap from which a reported frame is a hit (OxUvA).
HIT_OVERLAP = 0.5


@dataclass(frozen=True, eq=False)
class ReportedFrames:
    """The T frames of one sequence as long-term measures take them.

    Attributes:
        overlap: (T,) in [0, 1]; 0 where there is nothing to overlap.
        present: (T,) the target is in view and has a box.
        absent: (T,) the annotation says that the target is not in view; a frame in view without a box is neither.
        confidence: (T,) NaN where the tracker reports the target absent, or has no row. Infinities are confidences.
    """

    overlap: Array
    present: Flags
    absent: Flags
    confidence: Array


def in_view(sequence: Sequence) -> Flags:
    """(T,) True where the target is in view and has a box."""
    truth = sequence.groundtruth
    annotated = _sized(truth) & ~np.isnan(truth[:, 0]) & ~np.isnan(truth[:, 1])
    return annotated if sequence.present is None else annotated & sequence.present


def _sized(boxes: Boxes) -> Flags:
    return np.asarray((boxes[:, 2] > 0) & (boxes[:, 3] > 0))


def fitted(boxes: Boxes, length: int) -> Boxes:
    """Boxes cut to `length` rows, or filled up with NaN."""
    if len(boxes) >= length:
        return boxes[:length]
    return np.concatenate([boxes[:length], np.full((max(0, length - len(boxes)), 4), np.nan)])


def reported_frames(sequence: Sequence, trajectory: Trajectory, overlaps: Array | None = None) -> ReportedFrames:
    """One result as long-term measures take it; confidence is 1 where the tracker gives none.

    Args:
        overlaps: (T,) of a result as long as the sequence, where they are known already.
    """
    truth, present = sequence.groundtruth, in_view(sequence)
    count = min(len(truth), len(trajectory))
    boxes = fitted(trajectory.boxes, len(truth))
    with np.errstate(all="ignore"):
        values = overlap(boxes, truth) if overlaps is None else overlaps
    values = np.where(present & _sized(boxes) & ~np.isnan(values), values, 0.0)
    confidence = np.full(len(truth), np.nan)
    confidence[:count] = 1.0 if trajectory.confidence is None else trajectory.confidence[:count]
    if trajectory.absent is not None:
        confidence[:count][trajectory.absent[:count]] = np.nan
    absent = np.zeros(len(truth), bool) if sequence.present is None else ~sequence.present
    return ReportedFrames(values, present, absent, confidence)


def confidence_thresholds(confidences: Seq[Array]) -> Array:
    """(N,) ascending thresholds shared by a tracker's sequences: quantiles of all its confidences; empty if none."""
    pooled = np.concatenate(confidences) if confidences else np.empty(0)
    pooled = np.sort(pooled[~np.isnan(pooled)])
    pooled = pooled[np.append(True, pooled[1:] != pooled[:-1])[: len(pooled)]]  # `np.unique` takes twice as long
    if len(pooled) <= RESOLUTION:
        return np.asarray(pooled)
    # "nearest" keeps thresholds among the values given, so infinities never meet in an interpolation.
    return np.asarray(np.quantile(pooled, np.linspace(0, 1, RESOLUTION), method="nearest"))


def precision_recall(frames: ReportedFrames, thresholds: Array) -> Array:
    """(2, N): long-term precision and recall at each threshold, as in VOT-LT (Lukežič et al., 2018).

    Precision is NaN where no frame is reported, recall where the target is never in view.
    """
    falling = -frames.confidence
    order = np.argsort(falling)  # NaN last
    given = falling[order][: np.count_nonzero(~np.isnan(falling))]
    if (given[1:] == given[:-1]).any():  # sums depend on the order of these; a stable sort takes three times as long
        order = np.argsort(falling, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(frames.overlap[order])])
    reported = np.searchsorted(given, -thresholds, side="right")
    gained = sums[reported]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(reported > 0, gained / reported, np.nan)
        recall = np.where(frames.present.any(), gained / frames.present.sum(), np.nan)
    return np.asarray(np.minimum(np.stack([precision, recall]), 1.0))


def longterm_sums(sequences: Seq[ReportedFrames | None]) -> Array:
    """(S, 4 N) at N confidence thresholds: precision, recall, and for each whether it is defined (else it is 0).

    Their sums over sequences give the mean precision and recall of those in which they are defined. A sequence without
    a result is NaN.
    """
    thresholds = confidence_thresholds([f.confidence for f in sequences if f is not None])
    found = np.full((len(sequences), 4 * len(thresholds)), np.nan)
    for row, frames in zip(found, sequences, strict=True):
        if frames is not None:
            values = precision_recall(frames, thresholds)
            defined = ~np.isnan(values)
            row[:] = np.concatenate([np.where(defined, values, 0.0), defined], axis=None)
    return found


def best_f(sums: Array) -> Array:
    """(..., 3): F, precision and recall at the best threshold, from sums (..., 4 N); NaN where none is defined.

    A sequence with nothing reported has no precision and is left out of the mean precision, not of the mean recall.
    """
    if not sums.size:
        return np.full((*sums.shape[:-1], 3), np.nan)
    table = sums.reshape(*sums.shape[:-1], 4, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = np.moveaxis(table[..., :2, :] / table[..., 2:, :], -2, 0)
        f = np.where(precision + recall > 0, 2 * precision * recall / (precision + recall), 0.0)
    f = np.where(np.isnan(precision) | np.isnan(recall), -np.inf, f)
    best = f.argmax(axis=-1)[..., None]
    chosen = np.concatenate([np.take_along_axis(v, best, axis=-1) for v in (f, precision, recall)], axis=-1)
    return np.where(np.isinf(chosen[..., :1]), np.nan, chosen)


def oxuva_sums(sequences: Seq[ReportedFrames | None]) -> Array:
    """(S, 4): hits, present frames, absences found, absent frames. Where presence is not known, none is absent."""
    found = np.full((len(sequences), 4), np.nan)
    for row, frames in zip(found, sequences, strict=True):
        if frames is not None:
            reported = ~np.isnan(frames.confidence)
            hits = frames.present & reported & (frames.overlap >= HIT_OVERLAP)
            counted = (hits, frames.present, frames.absent & ~reported, frames.absent)
            row[:] = [np.count_nonzero(flags) for flags in counted]
    return found


def rates(sums: Array) -> Array:
    """(..., 3): TPR, TNR and MaxGM from sums (..., 4) as `oxuva_sums` gives them; NaN where nothing is measured."""
    hits, present, found, absent = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        tpr, tnr = hits / present, found / absent
        # With q = 1 - p the square is TPR (q - q^2 (1 - TNR)), largest at q = 1 / (2 (1 - TNR)) if that is below 1.
        squared = np.where(tnr <= 0.5, tpr / (4 * (1 - tnr)), tpr * tnr)
        return np.stack([tpr, tnr, np.sqrt(squared)], axis=-1)
