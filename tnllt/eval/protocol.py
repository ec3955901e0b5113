"""A scoring protocol: every rule by which toolkits differ, as data.

No code branches on a protocol's name. `tnllt.eval.protocols` holds the named instances.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tnllt import records
from tnllt.errors import DataError, UsageError

#: Which ground-truth boxes can be scored. "positive_center" looks at the centre that the error is measured from.
Validity = Literal["positive_box", "positive_size", "positive_center", "not_nan", "every_frame"]
#: What happens to a frame whose target is out of view: taken out of the curve's count but not of its denominator;
#: treated like a frame without a valid box; scored as if it were present; taken out of both.
AbsentRule = Literal["removed", "invalid", "ignored", "excluded"]
FirstFrame = Literal["groundtruth", "as_is", "excluded"]
#: A result box with NaN or without a size: the box before it, if the frame is annotated; the box before it for a zero
#: size, while NaN and negative sizes are refused; taken as it is; a miss.
InvalidResult = Literal["previous", "zero_to_previous", "as_is", "miss"]
ShortResult = Literal["refused", "zeros", "cut"]
#: A curve's headline number: its mean, its area by the trapezoid rule over thresholds scaled to [0, 1], or its value at
#: one threshold.
Reduction = Literal["mean", "area", "value"]


def _range(first: int, last: int, scale: float = 1.0, divide: bool = False) -> tuple[float, ...]:
    return tuple(k / scale if divide else k * scale for k in range(first, last + 1))


#: 0:0.05:1 as GNU Octave, NumPy and PyTorch build it.
OVERLAP_THRESHOLDS = _range(0, 20, 0.05)
#: 0:0.05:1 as MATLAB builds it, from both ends: thresholds 12, 13, 14, 17 and 19 (from 0) are one unit lower.
MATLAB_OVERLAP_THRESHOLDS = tuple(
    float(np.nextafter(t, 0)) if k in (12, 13, 14, 17, 19) else t for k, t in enumerate(OVERLAP_THRESHOLDS)
)
PIXEL_THRESHOLDS = _range(0, 50)
NORMALIZED_THRESHOLDS = _range(0, 50, 100.0, divide=True)
#: linspace(0, 0.5, 51): three values differ from k/100 in the last place.
LINSPACE_NORMALIZED_THRESHOLDS = tuple(float(t) for t in np.linspace(0, 0.5, 51))

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


def rule(default: Any, label: str, values: Words, why: str) -> Any:
    """A field of `Protocol`, with its words."""
    return field(default=default, metadata={"text": RuleText(label, values, why)})


@dataclass(frozen=True)
class Protocol:
    """Rules of one toolkit. Defaults are the official rule of TNLLT.

    Every field is followed by its name and values in words and by why it matters; `card` gives these as text.

    Attributes:
        name: what `--protocol` takes.
        summary: the rule in one sentence.
        aliases: other names of the same rule.
    """

    name: str
    summary: str = ""
    aliases: tuple[str, ...] = ()
    # fmt: off
    overlap_valid: Validity = rule("positive_box", "Ground truth valid, for overlap", _VALID,
        "A target cut by the left or top image border has x or y of 0 or less; where that makes the box invalid, the "
        "frame counts as a miss whatever the tracker did.")
    error_valid: Validity = rule("positive_box", "Ground truth valid, for centre errors", _VALID,
        "Frames with an invalid box get a fixed error instead of a measured one.")
    invalid_error: float | None = rule(-1.0, "Centre error of an invalid frame", _ERROR,
        "An error of -1 is below every threshold, so that frames without a usable box count as hits.")
    invalid_normalized_error: float | None = rule(-1.0, "Normalised error of an invalid frame", _ERROR,
        "An error of -1 is below every threshold, so that frames without a usable box count as hits.")
    absent: AbsentRule = rule("removed", "Frames without the target",
        {
            "removed": "never hits, but in the denominator",
            "invalid": "treated as frames with an invalid box",
            "ignored": "flags ignored: scored as if the target were there",
            "excluded": "out of the count altogether",
        },
        "No tracker can overlap a target that is not there; what such frames count for changes every score by up to "
        "their fraction of the video.")
    absent_error: float | None = rule(None, "Errors of an absent frame",
        {None: "like any invalid frame", float("inf"): "infinite: a miss", -1.0: "a hit"},
        "Where absent frames get an error of -1, a frame without the target counts as located; infinite makes it a "
        "miss.")
    count_invalid: bool = rule(True, "Invalid frames in the denominator", _switch("yes", "no"),
        "Frames that cannot be hits lower every score as long as they stay in the denominator.")
    first_frame: FirstFrame = rule("groundtruth", "First frame",
        {"groundtruth": "replaced by the initial box", "as_is": "as the tracker wrote it", "excluded": "not scored"},
        "The tracker starts from the initial box; scoring it adds one certain hit per sequence.")
    invalid_result: InvalidResult = rule("previous", "Result box with NaN or without a size",
        {
            "previous": "the box before it",
            "zero_to_previous": "zero size: the box before it; NaN or negative: refused",
            "as_is": "taken as it is",
            "miss": "a miss",
        },
        "Repeating the box before a broken one can turn misses into hits.")
    short_result: ShortResult = rule("refused", "Result with too few rows",
        {"refused": "refused", "zeros": "padded with zeros", "cut": "result and ground truth cut to the shorter"},
        "Padding counts the missing frames as misses, cutting leaves them out of the count.")
    refuse_nan_annotation: bool = rule(False, "Sequence with NaN in its annotation", _switch("refused", "accepted"),
        "A refused sequence leaves the mean of every tracker.")
    refuse_nan_overlap: bool = rule(False, "Sequence with an overlap that is not a number",
        _switch("refused", "accepted"),
        "A refused sequence leaves the mean of every tracker.")
    overlap_strict: bool = rule(True, "An overlap passes",
        _switch("when it is above the threshold", "when it reaches the threshold"),
        "It matters at threshold 1 (only >= lets a perfect box pass), at 0 (>= passes everything) and where boxes are "
        "integers.")
    zero_overlap_misses: bool = rule(False, "An overlap of exactly 0",
        _switch("passes no threshold", "is compared like any other"),
        "With >=, frames without any overlap pass threshold 0 unless they are handled separately.")
    stores_corners: bool = rule(False, "Boxes are kept as",
        _switch("corners: right = x + w is formed first", "corner and size"),
        "The two agree in exact arithmetic; they differ in the last bits.")
    inclusive_corners: bool = rule(True, "Corners", _switch("right = x + w - 1, widths plus 1", "right = x + w"),
        "The two agree in exact arithmetic; they differ in the last bits; overlaps at a threshold can change.")
    ignore_nan_corner: bool = rule(True, "A NaN corner",
        _switch("loses every comparison, as in MATLAB", "makes the overlap NaN"),
        "It decides whether a box with NaN can still overlap.")
    overlap_epsilon: float = rule(0.0, "Added to the union", lambda v: f"{v:g}",
        "It keeps the quotient defined; it changes the last bits of overlaps.")
    clip_overlap: bool = rule(False, "Overlap clipped to [0, 1]", _switch("yes", "no"),
        "Boxes of negative size give overlaps outside [0, 1].")
    round_boxes: bool = rule(False, "Boxes rounded to integers", _switch("yes", "no"),
        "Rounding changes the overlap of small targets most.")
    divide_centers: bool = rule(True, "Normalised error",
        _switch("each centre divided by the size, then subtracted", "the difference divided by the size"),
        "The two agree in exact arithmetic; they differ in the last bits.")
    size_epsilon: float = rule(0.0, "Added to the size that errors are divided by", lambda v: f"{v:g}",
        "It keeps the quotient defined.")
    size_floor: float = rule(0.0, "Smallest size that errors are divided by", lambda v: f"{v:g} px" if v else "none",
        "A floor keeps the error of targets below a pixel, and of frames without a box, from growing without bound.")
    count_epsilon: float = rule(2.0**-52, "Added to the number of frames", lambda v: f"{v:.3g}",
        "It changes the last bits only.")
    overlap_thresholds: tuple[float, ...] = rule(OVERLAP_THRESHOLDS, "Overlap thresholds", _thresholds,
        "A frame whose overlap lies between the old and the new threshold changes.")
    error_thresholds: tuple[float, ...] = rule(PIXEL_THRESHOLDS, "Pixel thresholds", _thresholds,
        "Other thresholds weigh near misses differently.")
    normalized_thresholds: tuple[float, ...] = rule(NORMALIZED_THRESHOLDS, "Normalised thresholds", _thresholds,
        "Frames whose error lies exactly between two spellings of a threshold change.")
    success: Reduction = rule("mean", "Success score", _REDUCTION,
        "A curve's mean and its area weigh its two ends differently.")
    precision: Reduction = rule("value", "Precision score", _REDUCTION,
        "One threshold of the curve and the area under it are different numbers.")
    precision_at: float = rule(20.0, "Precision is read at", lambda v: f"{v:g} px",
        "The curve rises with the threshold.")
    normalized_precision: Reduction = rule("value", "Normalised precision score", _REDUCTION,
        "The curve at 0.20 and its mean from 0 to 0.5 are different numbers; the mean is usually the lower one.")
    normalized_precision_at: float = rule(0.2, "Normalised precision is read at", lambda v: f"{v:g}",
        "The curve rises with the threshold.")
    drop_zero_curves: bool = rule(True, "Sequences with a zero curve", _switch("dropped", "kept"),
        "A sequence that a tracker loses from the start on counts 0 where it is kept and nothing where it is dropped.")
    min_sequences: int = rule(2, "Fewest sequences of an attribute", str, "An attribute with fewer is not scored.")
    # fmt: on

    def __post_init__(self) -> None:
        for rule in ("overlap_thresholds", "error_thresholds", "normalized_thresholds"):
            values = np.array(getattr(self, rule), dtype=np.float64)
            if not (len(values) and np.isfinite(values).all() and (np.diff(values) > 0).all()):
                raise ValueError(f"{rule} must be ascending numbers, at least one")

    def thresholds(self, curve: str) -> NDArray[np.float64]:
        """Thresholds (N,) of "success", "precision" or "normalized_precision"."""
        values = {
            "success": self.overlap_thresholds,
            "precision": self.error_thresholds,
            "normalized_precision": self.normalized_thresholds,
        }[curve]
        return np.array(values, dtype=np.float64)

    @property
    def needs_presence(self) -> bool:
        """Whether a score depends on the frames in which the target is out of view."""
        return self.absent != "ignored"

    def card(self) -> list[tuple[str, str, str, str]]:
        """Every rule as (field, label, value in words, why it matters)."""
        return [(name, text.label, text.value(getattr(self, name)), text.why) for name, text in RULE_TEXTS.items()]

    def rules(self) -> dict[str, Any]:
        """Every rule by name, without the protocol's own name, summary and aliases."""
        return {rule: getattr(self, rule) for rule in RULES}

    def differences(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """{rule: (mine, the other's)} of the rules in which two protocols differ, in the order of the fields."""
        return {f: (getattr(self, f), getattr(other, f)) for f in RULES if getattr(self, f) != getattr(other, f)}

    def with_rules(self, **rules: Any) -> Protocol:
        """The protocol with some rules changed, under a name that lists them.

        Raises UsageError where a rule, or its value, is not known.
        """
        rules = {rule: v.tolist() if hasattr(v, "tolist") else v for rule, v in rules.items()}  # NumPy's made plain
        table = {**self.rules(), **rules, "name": f"{self.name}+{'+'.join(rules)}"}
        try:
            return records.from_table(table, type(self))
        except DataError as error:
            raise UsageError(f"with_rules: {error}") from error

    def to_table(self) -> dict[str, Any]:
        """What a file keeps of a protocol; `from_table` gives the equal protocol again."""
        return {"name": self.name, "summary": self.summary, "aliases": self.aliases, "rules": self.rules()}

    @classmethod
    def from_table(cls, table: Mapping[str, Any], path: str | Path | None = None) -> Protocol:
        """The protocol of a file. Raises DataError where a rule is unknown or has another type."""
        rules = table.get("rules")
        if not isinstance(rules, Mapping):
            raise DataError("holds no rules of a protocol", path)
        # JSON has no infinity: it stands there as text.
        numbers = {r: float(v) for r, v in rules.items() if v in ("inf", "-inf", "Infinity", "-Infinity")}
        labels = {name: table[name] for name in _LABELS if name in table}
        return records.from_table({**rules, **numbers, **labels}, cls, path)

    def digest(self) -> str:
        """A hexadecimal digest of the rules; equal for protocols that score alike by construction."""
        text = json.dumps(self.rules(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


_LABELS = ("name", "summary", "aliases")
#: The words of every rule, in order.
RULE_TEXTS: Mapping[str, RuleText] = {f.name: f.metadata["text"] for f in fields(Protocol) if f.name not in _LABELS}
#: Names of the rules, in order.
RULES = tuple(RULE_TEXTS)
