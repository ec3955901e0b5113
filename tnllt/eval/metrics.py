"""The one registry of metrics: name, label, meaning, order and format, for tables, plots, help and docs alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import UsageError, did_you_mean
from tnllt.eval.protocol import Protocol

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """One number per tracker, over a set of sequences.

    Attributes:
        name: what `--metric` takes and what `scores.json` calls it.
        label: full name with its point of reading, for figures and reports.
        short: heading of a table's column.
        description: one sentence with the formula and its source.
        source: "curve" (reduced from the mean of per-sequence curves), "value" (mean of per-sequence values),
            "pooled" (from sums over frames) or "longterm" (from mean long-term precision and recall).
        array: the curve or value that it is made from.
        at: the overlap threshold at which a success curve is read, or None.
        axis: x-axis of its curve's figure, empty where it has none.
        digits: decimals in tables.
    """

    name: str
    label: str
    short: str
    description: str
    source: Literal["curve", "value", "pooled", "longterm"]
    array: str
    at: float | None = None
    axis: str = ""
    digits: int = 3
    higher_is_better: bool = True

    @property
    def has_curve(self) -> bool:
        """Whether the metric is the headline of a curve, and so has a figure."""
        return self.source == "curve" and self.at is None

    @property
    def option(self) -> str:
        """The name as `--metric` spells it."""
        return self.name.replace("_", "-")

    def format(self, value: float) -> str:
        """The value as tables print it; n/a for NaN."""
        return "n/a" if np.isnan(value) else f"{value:.{self.digits}f}"

    def reduce(self, curve: Array, protocol: Protocol) -> Array:
        """Score (...) of a curve (..., N) of this metric under a protocol."""
        thresholds = protocol.thresholds(self.array)
        if self.at is not None:
            return curve[..., _nearest(thresholds, self.at)]
        how = getattr(protocol, self.array)
        if how == "mean":
            return np.asarray(curve.mean(-1))
        if how == "area":
            return np.asarray(np.trapezoid(curve, thresholds / thresholds[-1], axis=-1))
        return curve[..., _nearest(thresholds, getattr(protocol, f"{self.array}_at"))]


def _nearest(thresholds: Array, value: float) -> int:
    return int(np.argmin(np.abs(thresholds - value)))


_ALL = (
    Metric(
        "success", "Success (area under curve)", "AUC",
        "Mean over overlap thresholds 0, 0.05 .. 1 of the fraction of frames whose overlap passes (Wu et al., OTB, "
        "2013).",
        "curve", "success", axis="Overlap threshold",
    ),
    Metric(
        "precision", "Precision (20 px)", "P",
        "Fraction of frames whose centre error is at most 20 pixels (Wu et al., OTB, 2013).",
        "curve", "precision", axis="Location error threshold (pixels)",
    ),
    Metric(
        "normalized_precision", "Normalised precision (0.2)", "P_Norm",
        "Fraction of frames whose centre error, in sizes of the ground truth, is at most 0.2 (Müller et al., "
        "TrackingNet, 2018).",
        "curve", "normalized_precision", axis="Normalised location error threshold",
    ),
    Metric("op50", "Overlap precision at 0.5", "OP50", "Fraction of frames whose overlap passes 0.5.",
           "curve", "success", at=0.5),
    Metric("op75", "Overlap precision at 0.75", "OP75", "Fraction of frames whose overlap passes 0.75.",
           "curve", "success", at=0.75),
    Metric("average_overlap", "Average overlap", "AO",
           "Mean overlap of the frames that the protocol counts; a frame without a valid box counts 0.",
           "value", "average_overlap"),
    Metric("got10k_ao", "GOT-10k AO", "AO*",
           "Mean overlap of the frames after the first with the target in view, over all sequences together (Huang et "
           "al., GOT-10k, 2019); as the authors' toolkit computes it, the same under every protocol.",
           "pooled", "got10k_ao"),
    Metric("got10k_sr50", "GOT-10k SR 0.5", "SR50*", "Fraction of the same frames with overlap above 0.5.",
           "pooled", "got10k_sr50"),
    Metric("got10k_sr75", "GOT-10k SR 0.75", "SR75*", "Fraction of the same frames with overlap above 0.75.",
           "pooled", "got10k_sr75"),
    Metric("lt_f", "Long-term F", "F",
           "Largest F = 2 Pr Re / (Pr + Re) over confidence thresholds, of mean long-term precision and recall "
           "(Lukežič et al., VOT-LT, 2018).",
           "longterm", "lt_f"),
    Metric("lt_precision", "Long-term precision", "Pr",
           "Overlap per reported frame at the threshold of the best F; an absent frame counts 0.",
           "longterm", "lt_precision"),
    Metric("lt_recall", "Long-term recall", "Re",
           "Overlap of reported frames per frame with the target in view, at the threshold of the best F.",
           "longterm", "lt_recall"),
    Metric("tpr", "True positive rate", "TPR",
           "Fraction of present frames reported with overlap of at least 0.5 (Valmadre et al., OxUvA, 2018).",
           "pooled", "tpr"),
    Metric("tnr", "True negative rate", "TNR",
           "Fraction of absent frames reported as absent (Valmadre et al., OxUvA, 2018).",
           "pooled", "tnr"),
    Metric("maxgm", "MaxGM", "MaxGM",
           "Largest geometric mean sqrt((1-p) TPR ((1-p) TNR + p)) over p in [0, 1] (Valmadre et al., OxUvA, 2018).",
           "pooled", "maxgm"),
)  # fmt: skip
#: Every metric by name, in the order in which they are listed everywhere.
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
#: The three with a curve.
CURVE_METRICS: tuple[Metric, ...] = tuple(m for m in _ALL if m.has_curve)
#: Those that need a tracker's confidence or its word on absence.
LONGTERM_METRICS: tuple[str, ...] = ("lt_f", "lt_precision", "lt_recall", "tpr", "tnr", "maxgm")
_GOT10K = ("got10k_ao", "got10k_sr50", "got10k_sr75")
#: What "all" stands for, before the long-term measures.
STANDARD_METRICS: tuple[str, ...] = tuple(n for n in METRICS if n not in LONGTERM_METRICS and n not in _GOT10K)


def get_metrics(names: str | Iterable[str], longterm: bool = False) -> list[Metric]:
    """Metrics by name, comma-separated or in a list, in the registry's order; "all" with the long-term ones if there.

    A heading of a table's column (AUC, P, NP) will do for a name.

    Raises:
        UsageError: no metric has that name.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    wanted: set[str] = set()
    for name in (g.strip().lower().replace("-", "_") for g in given):
        if name == "all":
            wanted.update(STANDARD_METRICS + (LONGTERM_METRICS if longterm else ()))
        else:
            wanted.add(get_metric(name).name)
    return [metric for name, metric in METRICS.items() if name in wanted]


def get_metric(name: str | Metric) -> Metric:
    """The metric of that name or column heading. Raises UsageError where there is none."""
    if isinstance(name, Metric):
        return name
    plain = name.strip().lower().replace("-", "_")
    known = METRICS | {metric.short.lower(): metric for metric in _ALL}
    if plain not in known:
        options = [metric.option for metric in _ALL]
        hint = did_you_mean(name, options, f"known: {', '.join(options)}, all")
        raise UsageError(f"no metric {name!r}; {hint}")
    return known[plain]
