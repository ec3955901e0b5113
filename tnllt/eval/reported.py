"""Someone reports a score: which protocol, metric and rounding of the boxes gives that number?"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from tnllt.errors import UsageError
from tnllt.eval.evaluate import ROUNDINGS
from tnllt.eval.explain import Rescorer
from tnllt.eval.protocols import PROTOCOLS, TNLLT

#: Metrics that papers print in tables.
REPORTED_METRICS = ("success", "precision", "normalized_precision", "op50", "op75", "average_overlap")


@dataclass(frozen=True)
class ReportedScore:
    """A reported score in [0, 1], and the size of its last digit."""

    text: str
    value: float
    unit: float

    def fit(self, score: float) -> str:
        """ "rounded" or "cut" where the score would be printed as the reported; "" where it would not."""
        if abs(score - self.value) <= self.unit / 2 + 1e-12:
            return "rounded"
        return "cut" if self.value <= score < self.value + self.unit else ""


@dataclass(frozen=True)
class Match:
    """One way of scoring, and how near the reported it comes.

    Attributes:
        fit: "rounded", "cut" (digits cut off instead of rounded) or "" (another number).
    """

    tracker: str
    protocol: str
    metric: str
    round: str
    score: float
    fit: str
    distance: float


def parse_reported(text: str) -> ReportedScore:
    """A score as people print it: 0.559, .559, 55.9 or 55.9%. Raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d*)(?:\.(\d+))?\s*(%?)\s*", text)
    if match is None or not (match[1] or match[2]):
        raise UsageError(f"--reported {text!r}: expected a score such as 0.559 or 55.9")
    value = float(f"{match[1] or '0'}.{match[2] or '0'}")
    percent = bool(match[3]) or value > 1
    if value > (100 if percent else 1):
        raise UsageError(f"--reported {text!r}: scores lie between 0 and 1, or 0 and 100 per cent")
    scale = 100.0 if percent else 1.0
    return ReportedScore(text.strip(), value / scale, 10.0 ** -len(match[2] or "") / scale)


def find_reported(rescorer: Rescorer, reported: ReportedScore) -> list[Match]:
    """Every way of scoring these results, best fit first.

    Boxes as they are come first; only where no protocol gives the number are they tried rounded and truncated to
    integers, as some toolkits save them.

    Raises:
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    rescorer.scores(TNLLT, strict=True)
    found: list[Match] = []
    for rounding in ROUNDINGS:
        if any(m.fit for m in found):
            break
        for protocol in PROTOCOLS.values():
            scores = rescorer.scores(protocol, rounding)
            for metric in REPORTED_METRICS:
                for tracker, value in zip(scores.trackers, scores.score(metric).tolist(), strict=True):
                    if np.isfinite(value):
                        fit, distance = reported.fit(value), abs(value - reported.value)
                        found.append(Match(tracker, protocol.name, metric, rounding, value, fit, distance))
    # The metric that people mean when they say "the score" comes first among equals.
    place = {name: i for i, name in enumerate(REPORTED_METRICS)}
    return sorted(
        found,
        key=lambda m: (not m.fit, m.fit != "rounded", *((0,) if m.fit else (m.distance,)), place.get(m.metric, 9)),
    )
