"""The rules of a protocol in words: what a field and its value mean, and why changing it changes a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tnllt.eval.protocol import RULES, Protocol

Words = dict[Any, str] | Callable[[Any], str]


@dataclass(frozen=True)
class RuleText:
    """A rule's label, its values in words, and why it matters."""

    label: str
    values: Words
    why: str

    def value(self, value: Any) -> str:
        if callable(self.values):
            return self.values(value)
        return self.values.get(value, str(value))


_VALID = {
    "positive_box": "x, y, width and height are all positive",
    "positive_size": "width and height are positive, wherever the box lies",
    "positive_center": "its centre is positive",
    "not_nan": "it has no NaN",
    "every_frame": "always",
}
_ERROR = {-1.0: "-1, which passes every threshold", float("inf"): "infinite: a miss", None: "as computed"}
_REDUCTION = {
    "mean": "mean of the curve",
    "area": "area under the curve (trapezoid rule)",
    "value": "curve at one threshold",
}


def _switch(yes: str, no: str) -> dict[Any, str]:
    return {True: yes, False: no}


def _thresholds(values: Any) -> str:
    return f"{len(values)} values, {values[0]:g} to {values[-1]:g}"


#: The words of every rule.
RULE_TEXTS: dict[str, RuleText] = {
    "overlap_valid": RuleText(
        "Ground truth valid, for overlap", _VALID,
        "A target cut by the left or top image border has x or y of 0 or less; where that makes the box invalid, the "
        "frame counts as a miss whatever the tracker did.",
    ),
    "error_valid": RuleText(
        "Ground truth valid, for centre errors", _VALID,
        "Frames with an invalid box get a fixed error instead of a measured one.",
    ),
    "invalid_error": RuleText(
        "Centre error of an invalid frame", _ERROR,
        "An error of -1 is below every threshold, so that frames without a usable box count as hits.",
    ),
    "invalid_normalized_error": RuleText(
        "Normalised error of an invalid frame", _ERROR,
        "An error of -1 is below every threshold, so that frames without a usable box count as hits.",
    ),
    "absent": RuleText(
        "Frames without the target",
        {
            "removed": "never hits, but in the denominator",
            "invalid": "treated as frames with an invalid box",
            "ignored": "flags ignored: scored as if the target were there",
            "excluded": "out of the count altogether",
        },
        "No tracker can overlap a target that is not there; what such frames count for changes every score by up to "
        "their fraction of the video.",
    ),
    "absent_error": RuleText(
        "Errors of an absent frame", {None: "like any invalid frame", float("inf"): "infinite: a miss", -1.0: "a hit"},
        "Where absent frames get an error of -1, a frame without the target counts as located; infinite makes it a "
        "miss.",
    ),
    "count_invalid": RuleText(
        "Invalid frames in the denominator", _switch("yes", "no"),
        "Frames that cannot be hits lower every score as long as they stay in the denominator.",
    ),
    "first_frame": RuleText(
        "First frame",
        {"groundtruth": "replaced by the initial box", "as_is": "as the tracker wrote it", "excluded": "not scored"},
        "The tracker starts from the initial box; scoring it adds one certain hit per sequence.",
    ),
    "invalid_result": RuleText(
        "Result box with NaN or without a size",
        {
            "previous": "the box before it",
            "zero_to_previous": "zero size: the box before it; NaN or negative: refused",
            "as_is": "taken as it is",
            "miss": "a miss",
        },
        "Repeating the box before a broken one can turn misses into hits.",
    ),
    "short_result": RuleText(
        "Result with too few rows",
        {"refused": "refused", "zeros": "padded with zeros", "cut": "result and ground truth cut to the shorter"},
        "Padding counts the missing frames as misses, cutting leaves them out of the count.",
    ),
    "refuse_nan_annotation": RuleText(
        "Sequence with NaN in its annotation", _switch("refused", "accepted"),
        "A refused sequence leaves the mean of every tracker.",
    ),
    "refuse_nan_overlap": RuleText(
        "Sequence with an overlap that is not a number", _switch("refused", "accepted"),
        "A refused sequence leaves the mean of every tracker.",
    ),
    "overlap_strict": RuleText(
        "An overlap passes", _switch("when it is above the threshold", "when it reaches the threshold"),
        "It matters at threshold 1 (only >= lets a perfect box pass), at 0 (>= passes everything) and where boxes are "
        "integers.",
    ),
    "zero_overlap_misses": RuleText(
        "An overlap of exactly 0", _switch("passes no threshold", "is compared like any other"),
        "With >=, frames without any overlap pass threshold 0 unless they are handled separately.",
    ),
    "inclusive_corners": RuleText(
        "Corners", _switch("right = x + w - 1, widths plus 1", "right = x + w"),
        "The two agree in exact arithmetic; they differ in the last bits; overlaps at a threshold can change.",
    ),
    "stores_corners": RuleText(
        "Boxes are kept as", _switch("corners: right = x + w is formed first", "corner and size"),
        "The two agree in exact arithmetic; they differ in the last bits.",
    ),
    "ignore_nan_corner": RuleText(
        "A NaN corner", _switch("loses every comparison, as in MATLAB", "makes the overlap NaN"),
        "It decides whether a box with NaN can still overlap.",
    ),
    "overlap_epsilon": RuleText(
        "Added to the union", lambda v: f"{v:g}", "It keeps the quotient defined; it changes the last bits of overlaps."
    ),
    "clip_overlap": RuleText(
        "Overlap clipped to [0, 1]", _switch("yes", "no"), "Boxes of negative size give overlaps outside [0, 1]."
    ),
    "round_boxes": RuleText(
        "Boxes rounded to integers", _switch("yes", "no"),
        "Rounding changes the overlap of small targets most.",
    ),
    "divide_centers": RuleText(
        "Normalised error",
        _switch("each centre divided by the size, then subtracted", "the difference divided by the size"),
        "The two agree in exact arithmetic; they differ in the last bits.",
    ),
    "size_epsilon": RuleText(
        "Added to the size that errors are divided by", lambda v: f"{v:g}", "It keeps the quotient defined."
    ),
    "size_floor": RuleText(
        "Smallest size that errors are divided by", lambda v: f"{v:g} px" if v else "none",
        "A floor keeps the error of targets below a pixel, and of frames without a box, from growing without bound.",
    ),
    "count_epsilon": RuleText(
        "Added to the number of frames", lambda v: f"{v:.3g}", "It changes the last bits only."
    ),
    "overlap_thresholds": RuleText(
        "Overlap thresholds", _thresholds, "A frame whose overlap lies between the old and the new threshold changes."
    ),
    "error_thresholds": RuleText(
        "Pixel thresholds", _thresholds, "Other thresholds weigh near misses differently."
    ),
    "normalized_thresholds": RuleText(
        "Normalised thresholds", _thresholds,
        "Frames whose error lies exactly between two spellings of a threshold change.",
    ),
    "success": RuleText("Success score", _REDUCTION, "A curve's mean and its area weigh its two ends differently."),
    "precision": RuleText(
        "Precision score", _REDUCTION, "One threshold of the curve and the area under it are different numbers."
    ),
    "precision_at": RuleText("Precision is read at", lambda v: f"{v:g} px", "The curve rises with the threshold."),
    "normalized_precision": RuleText(
        "Normalised precision score", _REDUCTION,
        "The curve at 0.20 and its mean from 0 to 0.5 are different numbers; the mean is usually the lower one.",
    ),
    "normalized_precision_at": RuleText(
        "Normalised precision is read at", lambda v: f"{v:g}", "The curve rises with the threshold."
    ),
    "drop_zero_curves": RuleText(
        "Sequences with a zero curve", _switch("dropped", "kept"),
        "A sequence that a tracker loses from the start on counts 0 where it is kept and nothing where it is dropped.",
    ),
    "min_sequences": RuleText(
        "Fewest sequences of an attribute", str, "An attribute with fewer is not scored."
    ),
}  # fmt: skip


def protocol_card(protocol: Protocol) -> list[tuple[str, str, str, str]]:
    """Every rule of a protocol as (field, label, value in words, why it matters)."""
    texts = ((rule, RULE_TEXTS[rule]) for rule in RULES)
    return [(rule, text.label, text.value(getattr(protocol, rule)), text.why) for rule, text in texts]
