"""A scoring protocol: every rule by which toolkits differ, as data.

No code branches on a protocol's name. `tnllt.eval.protocols` holds the named instances.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tnllt import records
from tnllt.errors import DataError

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


@dataclass(frozen=True)
class Protocol:
    """Rules of one toolkit. Defaults are the official rule of TNLLT.

    Attributes:
        name: what `--protocol` takes.
        summary: the rule in one sentence.
        aliases: other names of the same rule.
        overlap_valid: ground-truth boxes whose overlap is measured; elsewhere it is -1, which passes no threshold.
        error_valid: ground-truth boxes whose centre errors are measured.
        invalid_error: centre error of an invalid frame: -1 (a hit), inf (a miss), None (as computed).
        invalid_normalized_error: the same for the normalised error.
        absent: what becomes of frames whose target is out of view.
        absent_error: both errors of an absent frame, where it is not what an invalid frame gets.
        count_invalid: whether invalid frames stay in the denominator.
        first_frame: whether the first row is replaced by the initial box, left as it is, or not scored.
        invalid_result: what becomes of a result box with NaN or without a size.
        short_result: what becomes of a result with fewer rows than the ground truth.
        refuse_nan_annotation: whether a sequence with NaN in its annotation is refused.
        refuse_nan_overlap: whether a sequence with an overlap that is not a number is refused.
        overlap_strict: overlap > threshold, else overlap >= threshold.
        zero_overlap_misses: an overlap of exactly 0 passes no threshold, not even 0.
        stores_corners: boxes are kept as corners: right = x + w is formed first, the centre is (x + right) / 2 and the
            width right - x, each rounded on its own.
        inclusive_corners: right = x + w - 1 and a width of right - left + 1, else right = x + w.
        ignore_nan_corner: a NaN corner loses every comparison (MATLAB's min and max), else it spreads.
        overlap_epsilon: added to the union.
        clip_overlap: overlaps are clipped to [0, 1].
        round_boxes: boxes are rounded to integers first.
        divide_centers: each centre is divided by the size before they are subtracted, else their difference is.
        size_epsilon: added to the size that the normalised error is divided by.
        size_floor: smallest size that the normalised error is divided by.
        count_epsilon: added to the number of frames that counts are divided by.
        overlap_thresholds: thresholds of the success curve.
        error_thresholds: thresholds of the precision curve, in pixels.
        normalized_thresholds: thresholds of the normalised precision curve.
        success: how the success curve becomes a score; likewise `precision`, `normalized_precision`.
        precision_at: the pixel threshold of a "value" reduction; likewise `normalized_precision_at`.
        drop_zero_curves: whether a sequence whose curve is all zero is left out of the mean.
        min_sequences: an attribute with fewer sequences is skipped.
    """

    name: str
    summary: str = ""
    aliases: tuple[str, ...] = ()
    overlap_valid: Validity = "positive_box"
    error_valid: Validity = "positive_box"
    invalid_error: float | None = -1.0
    invalid_normalized_error: float | None = -1.0
    absent: AbsentRule = "removed"
    absent_error: float | None = None
    count_invalid: bool = True
    first_frame: FirstFrame = "groundtruth"
    invalid_result: InvalidResult = "previous"
    short_result: ShortResult = "refused"
    refuse_nan_annotation: bool = False
    refuse_nan_overlap: bool = False
    overlap_strict: bool = True
    zero_overlap_misses: bool = False
    stores_corners: bool = False
    inclusive_corners: bool = True
    ignore_nan_corner: bool = True
    overlap_epsilon: float = 0.0
    clip_overlap: bool = False
    round_boxes: bool = False
    divide_centers: bool = True
    size_epsilon: float = 0.0
    size_floor: float = 0.0
    count_epsilon: float = 2.0**-52
    overlap_thresholds: tuple[float, ...] = OVERLAP_THRESHOLDS
    error_thresholds: tuple[float, ...] = PIXEL_THRESHOLDS
    normalized_thresholds: tuple[float, ...] = NORMALIZED_THRESHOLDS
    success: Reduction = "mean"
    precision: Reduction = "value"
    precision_at: float = 20.0
    normalized_precision: Reduction = "value"
    normalized_precision_at: float = 0.2
    drop_zero_curves: bool = True
    min_sequences: int = 2

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

    def rules(self) -> dict[str, Any]:
        """Every rule by name, without the protocol's own name, summary and aliases."""
        return {rule: getattr(self, rule) for rule in RULES}

    def differences(self, other: Protocol) -> dict[str, tuple[Any, Any]]:
        """{rule: (mine, the other's)} of the rules in which two protocols differ, in the order of the fields."""
        return {f: (getattr(self, f), getattr(other, f)) for f in RULES if getattr(self, f) != getattr(other, f)}

    def with_rules(self, **rules: Any) -> Protocol:
        """The protocol with some rules changed, under a name that lists them."""
        return replace(self, name=f"{self.name}+{'+'.join(rules)}", summary="", aliases=(), **rules)

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
#: Names of the rules, in order.
RULES = tuple(f.name for f in fields(Protocol) if f.name not in _LABELS)
