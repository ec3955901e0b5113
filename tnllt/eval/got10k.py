"""GOT-10k's own measures: average overlap and success rates over frames, the same under every protocol.

Source: Huang et al., GOT-10k (2019), and what the authors' `got10k` package (0.1.3) computes on the validation split.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import all_columns, columns
from tnllt.sequence import Boxes, Sequence

_EPSILON = np.finfo(np.float64).eps


def frame_sums(sequence: Sequence, boxes: Boxes) -> NDArray[np.float64]:
    """Sums over the frames of one sequence; those of all sequences added up give AO, SR 0.5 and SR 0.75.

    The first frame does not count, nor do frames whose target is out of view or not annotated. Where the benchmark
    states the image size, boxes are first brought into the image, the result's and the ground truth's: GOT-10k
    moves a negative corner to 0 and keeps the width. A result that is not a number is a miss.

    Args:
        boxes: (K, T', 4) x, y, w, h in pixels, T' up to the sequence's length: frames behind are not counted.

    Returns:
        (K, 4): sum of overlaps, frames with overlap above 0.5, above 0.75, frames counted.
    """
    frames = slice(1, boxes.shape[1])
    truth = sequence.groundtruth[frames]
    counted = all_columns(~np.isnan(truth))
    if sequence.present is not None:
        counted &= sequence.present[frames]
    result, expected = columns(boxes[:, frames]), columns(truth)
    with np.errstate(all="ignore"):
        if sequence.size is not None:
            result, expected = _into_image(result, sequence.size), _into_image(expected, sequence.size)
        overlap = np.fmax(_overlap(result, expected), 0.0)  # no number: a miss
    overlap[:, ~counted] = 0.0
    passed = [[np.count_nonzero(row) for row in overlap > threshold] for threshold in (0.5, 0.75)]
    return np.stack([overlap.sum(axis=1), *passed, np.full(len(boxes), int(counted.sum()))], axis=1)


def _into_image(columns: Boxes, size: tuple[int, int]) -> Boxes:
    width, height = size
    x, y = np.clip(columns[0], 0, width), np.clip(columns[1], 0, height)
    return np.stack([x, y, np.clip(columns[2], 0, width - x), np.clip(columns[3], 0, height - y)])


def _overlap(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    shared = np.ones(1)
    for corner, side in ((0, 2), (1, 3)):
        end = np.minimum(a[corner] + a[side], b[corner] + b[side])
        shared = shared * np.maximum(end - np.maximum(a[corner], b[corner]), 0)
    union = a[2] * a[3] + b[2] * b[3] - shared
    return np.asarray(np.minimum(shared / (union + _EPSILON), 1.0))
