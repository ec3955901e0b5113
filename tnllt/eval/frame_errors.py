"""Overlap and centre errors per frame under a protocol's rules, and the curves over thresholds that they make.

Pure functions on arrays. Results of several trackers are measured at once: boxes (K, T, 4). The order of floating-point
operations is that of the toolkits, because curves must equal theirs bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import all_columns, columns
from tnllt.eval.protocol import Protocol, Validity
from tnllt.sequence import Boxes, Flags

Array = NDArray[np.float64]


class RefusedError(ValueError):
    """A protocol's own toolkit stops at this sequence. The message is the reason."""


@dataclass(frozen=True)
class FrameErrors:
    """What K results do on each of T frames.

    Attributes:
        overlap: (K, T) float64; -1 where the ground truth is invalid, NaN where the frame is out of the count.
        center_error: (K, T) float64 in pixels, NaN where the frame is out of the count.
        normalized_error: (K, T) float64, in sizes of the ground truth.
        counted: (T,) bool, frames whose overlap is measured.
        frames: number of frames that counts are divided by.
    """

    overlap: Array
    center_error: Array
    normalized_error: Array
    counted: Flags
    frames: int

    def of(self, k: int) -> FrameErrors:
        """Those of one of the results, arrays (1, T)."""
        overlap, center, normalized = (a[k : k + 1] for a in (self.overlap, self.center_error, self.normalized_error))
        return FrameErrors(overlap, center, normalized, self.counted, self.frames)


def frame_errors(
    groundtruth: Boxes, present: Flags | None, boxes: Boxes, protocol: Protocol, rows: int | None = None
) -> FrameErrors:
    """Overlaps and centre errors of results (K, T, 4), already as long as the ground truth (T, 4).

    Args:
        groundtruth: (T, 4) x, y, w, h in pixels, NaN where not annotated.
        present: (T,) True where the target is in view, None where that is unknown (every frame counts as present).
        boxes: (K, T, 4) results; not changed.
        protocol: the rules.
        rows: how many rows the results had; padding with zeros behind them is not repaired. None: all.

    Raises:
        RefusedError: the protocol refuses the annotation (see `refusals` for results).
    """
    if protocol.refuse_nan_annotation and np.isnan(groundtruth).any():
        row = int(np.flatnonzero(np.isnan(groundtruth).any(1))[0]) + 1
        raise RefusedError(f"NaN in the annotation (row {row})")
    if protocol.round_boxes:
        groundtruth, boxes = np.round(groundtruth), np.round(boxes)
    broken = broken_boxes(boxes) if protocol.invalid_result == "miss" else None
    boxes = repair(boxes, groundtruth, protocol, rows)
    (gt_x, gt_y, gt_w, gt_h), (x, y, w, h) = columns(groundtruth), columns(boxes)
    seen = np.ones(len(groundtruth), bool) if present is None else np.asarray(present, bool)
    with np.errstate(all="ignore"):
        right, bottom, gt_right, gt_bottom = x + w, y + h, gt_x + gt_w, gt_y + gt_h
        if protocol.stores_corners:
            w, h, gt_w, gt_h = right - x, bottom - y, gt_right - gt_x, gt_bottom - gt_y
        overlap = _overlap((x, y, w, h, right, bottom), (gt_x, gt_y, gt_w, gt_h, gt_right, gt_bottom), protocol)
        center, gt_center = _center(x, y, w, h, protocol), _center(gt_x, gt_y, gt_w, gt_h, protocol)
        error = np.sqrt((center[0] - gt_center[0]) ** 2 + (center[1] - gt_center[1]) ** 2)
        normalized, gt_normal = _normalized(center, gt_center, gt_w, gt_h, protocol)
    overlap_valid = valid_frames(groundtruth, gt_center, protocol.overlap_valid)
    error_valid = valid_frames(groundtruth, gt_center, protocol.error_valid)
    normal_valid = valid_frames(groundtruth, gt_normal, protocol.error_valid)
    if protocol.absent == "invalid":
        overlap_valid, error_valid, normal_valid = overlap_valid & seen, error_valid & seen, normal_valid & seen
    if broken is not None:
        overlap[broken] = -1.0
        error[broken] = normalized[broken] = np.inf
    np.copyto(overlap, -1.0, where=~overlap_valid)
    if protocol.invalid_error is not None:
        np.copyto(error, protocol.invalid_error, where=~error_valid)
    if protocol.invalid_normalized_error is not None:
        np.copyto(normalized, protocol.invalid_normalized_error, where=~normal_valid)
    if protocol.absent_error is not None:
        for values in (error, normalized):
            np.copyto(values, protocol.absent_error, where=~seen)
    if protocol.zero_overlap_misses:
        overlap[overlap == 0] = -1.0
    out, gone = _left_out(seen, overlap_valid, protocol)
    if gone.all() and not protocol.drop_zero_curves:
        raise RefusedError("no frame that counts")
    for values in (overlap, error, normalized):
        np.copyto(values, np.nan, where=out)
    return FrameErrors(overlap, error, normalized, overlap_valid & ~out, len(groundtruth) - int(gone.sum()))


def _left_out(seen: Flags, valid: Flags, protocol: Protocol) -> tuple[Flags, Flags]:
    """Frames (T,) out of the curves' counts, and those of them that are out of the denominator too."""
    gone = ~seen if protocol.absent == "excluded" else np.zeros(len(seen), bool)
    if not protocol.count_invalid:
        gone |= ~valid
    if protocol.first_frame == "excluded":
        gone[:1] = True
    return (gone | ~seen if protocol.absent == "removed" else gone), gone


def valid_frames(groundtruth: Boxes, center: tuple[Array, Array], rule: Validity) -> Flags:
    """(T,) True where the ground truth can be measured against. `center` is what "positive_center" looks at."""
    if rule == "positive_box":
        return all_columns(groundtruth > 0)
    if rule == "positive_size":
        return all_columns(groundtruth[:, 2:] > 0)
    if rule == "positive_center":
        return np.asarray((center[0] > 0) & (center[1] > 0))
    if rule == "not_nan":
        return all_columns(~np.isnan(groundtruth))
    return np.ones(len(groundtruth), bool)


def broken_boxes(boxes: Boxes) -> Flags:
    """(...) True where a box has NaN, or a width or height that is not positive."""
    sized = (boxes[..., 2] > 0) & (boxes[..., 3] > 0)
    placed = ~np.isnan(boxes[..., 0]) & ~np.isnan(boxes[..., 1])
    return np.asarray(~(sized & placed))


def repair(boxes: Boxes, groundtruth: Boxes, protocol: Protocol, rows: int | None = None) -> Boxes:
    """Results (K, T, 4) with invalid boxes and the initial box replaced as the protocol demands; a copy if changed."""
    broken = None
    if protocol.invalid_result == "previous":
        broken = broken_boxes(boxes)
    elif protocol.invalid_result == "zero_to_previous":
        broken = np.asarray((boxes[..., 2] == 0) | (boxes[..., 3] == 0))
    if broken is not None:
        broken[:, 0] = False
        if rows is not None and protocol.short_result == "zeros":
            broken[:, rows:] = False  # that toolkit repairs first, then pads
        if broken.any():
            broken &= all_columns(~np.isnan(groundtruth))
            source = np.where(broken, 0, np.arange(boxes.shape[1]))
            np.maximum.accumulate(source, axis=1, out=source)
            boxes = np.take_along_axis(boxes, source[..., None], axis=1)
    if protocol.first_frame == "groundtruth":
        boxes = boxes.copy()
        boxes[:, 0] = groundtruth[0]
    return boxes


def refusal(boxes: Boxes, length: int, protocol: Protocol) -> str | None:
    """Why the protocol's own toolkit stops at one result (T', 4) for `length` frames; None where it does not."""
    if protocol.invalid_result == "zero_to_previous":
        bad = ~all_columns(~np.isnan(boxes)) | (boxes[:, 2] < 0) | (boxes[:, 3] < 0)
        if bad.any():
            return f"NaN or a negative size in the result (row {int(np.argmax(bad)) + 1})"
    if protocol.short_result == "refused" and len(boxes) < length:
        return f"{len(boxes)} rows for {length} frames"
    return None


def _overlap(a: tuple[Array, ...], b: tuple[Array, ...], protocol: Protocol) -> Array:
    """Overlap of boxes given as x, y, w, h, x + w, y + h."""
    minimum, maximum = (np.fmin, np.fmax) if protocol.ignore_nan_corner else (np.minimum, np.maximum)
    if protocol.inclusive_corners:
        width = maximum(0, minimum(a[4] - 1, b[4] - 1) - maximum(a[0], b[0]) + 1)
        height = maximum(0, minimum(a[5] - 1, b[5] - 1) - maximum(a[1], b[1]) + 1)
    else:
        width = maximum(0, minimum(a[4], b[4]) - maximum(a[0], b[0]))
        height = maximum(0, minimum(a[5], b[5]) - maximum(a[1], b[1]))
    shared = width * height
    union = a[2] * a[3] + b[2] * b[3] - shared
    ratio = shared / (union + protocol.overlap_epsilon if protocol.overlap_epsilon else union)
    return np.clip(ratio, 0.0, 1.0) if protocol.clip_overlap else np.asarray(ratio)


def _center(x: Array, y: Array, w: Array, h: Array, protocol: Protocol) -> tuple[Array, Array]:
    if protocol.stores_corners:
        return (x + (x + w)) / 2, (y + (y + h)) / 2
    return x + (w - 1) / 2, y + (h - 1) / 2


def _normalized(
    center: tuple[Array, Array], gt_center: tuple[Array, Array], width: Array, height: Array, protocol: Protocol
) -> tuple[Array, tuple[Array, Array]]:
    """The normalised error (K, T), and the ground truth's normalised centre."""
    if protocol.size_epsilon:
        width, height = width + protocol.size_epsilon, height + protocol.size_epsilon
    if protocol.size_floor:
        width, height = np.maximum(protocol.size_floor, width), np.maximum(protocol.size_floor, height)
    gt_normal = (gt_center[0] / width, gt_center[1] / height)
    if protocol.divide_centers:
        across, down = center[0] / width - gt_normal[0], center[1] / height - gt_normal[1]
    else:
        across, down = (center[0] - gt_center[0]) / width, (center[1] - gt_center[1]) / height
    return np.sqrt(across**2 + down**2), gt_normal


def count_above(values: Array, thresholds: Array, strict: bool = True) -> NDArray[np.int64]:
    """(K, N): how many of each row's values (K, T) are > (not strict: >=) each ascending threshold; NaN never is."""
    return _passed(values, thresholds, np.greater if strict else np.greater_equal)[:, ::-1]


def count_within(values: Array, thresholds: Array) -> NDArray[np.int64]:
    """(K, N): how many of each row's values (K, T) are <= each ascending threshold; NaN never is."""
    return _passed(values, thresholds, np.less_equal)


def _passed(values: Array, thresholds: Array, compare: np.ufunc) -> NDArray[np.int64]:
    """(K, N): how many of each row's values pass N, N - 1, ... 1 thresholds or more.

    Comparing everything with each threshold is faster than sorting for up to a hundred of them: both the comparison
    and the sum of its bytes take a fraction of a nanosecond a value.
    """
    count = len(thresholds)
    passed = np.zeros(values.shape, np.uint8 if count < 256 else np.uint32)
    passes = np.empty(values.shape, bool)
    ones = passes.view(np.uint8)
    for threshold in thresholds:
        compare(values, threshold, out=passes)
        passed += ones
    return np.array([np.bincount(row, minlength=count + 1)[:0:-1].cumsum() for row in passed])


def success_curve(errors: FrameErrors, protocol: Protocol) -> Array:
    """(K, N) in [0, 1]: fraction of frames whose overlap passes each threshold; zeros where no frame counts."""
    counts = count_above(errors.overlap, protocol.thresholds("success"), protocol.overlap_strict)
    return _fraction(counts, errors, protocol)


def precision_curve(errors: FrameErrors, protocol: Protocol) -> Array:
    """(K, N) in [0, 1]: fraction of frames whose centre error is within each threshold."""
    return _fraction(count_within(errors.center_error, protocol.thresholds("precision")), errors, protocol)


def normalized_precision_curve(errors: FrameErrors, protocol: Protocol) -> Array:
    """(K, N) in [0, 1]: fraction of frames whose normalised centre error is within each threshold."""
    counts = count_within(errors.normalized_error, protocol.thresholds("normalized_precision"))
    return _fraction(counts, errors, protocol)


def _fraction(counts: NDArray[np.int64], errors: FrameErrors, protocol: Protocol) -> Array:
    return counts / (errors.frames + protocol.count_epsilon) if errors.frames else np.zeros(counts.shape)


def average_overlap(errors: FrameErrors) -> Array:
    """(K, 1): mean overlap of the frames that the protocol counts; one without a valid overlap counts 0."""
    overlap = np.fmin(np.fmax(errors.overlap, 0.0), 1.0)  # NaN counts 0
    return (overlap.sum(1) / errors.frames if errors.frames else np.zeros(len(overlap)))[:, None]
