"""From errors per frame to curves over thresholds: counts by one histogram, exact for any thresholds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.measure import FrameErrors
from tnllt.eval.protocol import Protocol

Array = NDArray[np.float64]
#: The three curves, in the order in which they are always listed.
CURVES = ("success", "precision", "normalized_precision")


def count_above(values: Array, thresholds: Array, strict: bool = True) -> NDArray[np.int64]:
    """(K, N): how many of each row's values (K, T) are > (not strict: >=) each ascending threshold; NaN never is."""
    values = np.where(np.isnan(values), -np.inf, values)
    passed = np.searchsorted(thresholds, values, side="left" if strict else "right")
    histogram = _histogram(passed, len(thresholds) + 1)
    return np.asarray(histogram[:, :0:-1].cumsum(1)[:, ::-1])


def count_within(values: Array, thresholds: Array) -> NDArray[np.int64]:
    """(K, N): how many of each row's values (K, T) are <= each ascending threshold. NaN never is."""
    # NaN sorts behind every number, so it falls into the bin that no threshold reaches.
    reached = np.searchsorted(thresholds, values, side="left")
    return np.asarray(_histogram(reached, len(thresholds) + 1)[:, :-1].cumsum(1))


def _histogram(bins: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    rows = len(bins)
    flat = (bins + np.arange(rows)[:, None] * size).ravel()
    return np.bincount(flat, minlength=rows * size).reshape(rows, size)


def curves(errors: FrameErrors, protocol: Protocol) -> dict[str, Array]:
    """{curve: (K, N) float64 in [0, 1]}: the share of frames that pass each threshold. No frame counted: zeros."""
    counts = {
        "success": count_above(errors.overlap, protocol.thresholds("success"), protocol.overlap_strict),
        "precision": count_within(errors.center_error, protocol.thresholds("precision")),
        "normalized_precision": count_within(errors.normalized_error, protocol.thresholds("normalized_precision")),
    }
    frames = errors.frames + protocol.count_epsilon
    return {name: count / frames if errors.frames else np.zeros(count.shape) for name, count in counts.items()}
