"""Metrics as data: a record holds what a metric means, which numbers per sequence it needs and how they make a score.

A metric has a *measure*, which gives an array (sequence, M) per tracker, a rule that combines the array over sequences
(a mean or a sum), and a function that reads the score off the combined array. Scores, scores per attribute and
sequence, bootstrap intervals, tables, figures, reports, `--metric` and the generated pages follow from that; no code
branches on a metric's name. `METRICS[metric.name] = metric` adds a metric.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from threading import local
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import UsageError, did_you_mean
from tnllt.eval.frame_errors import (
    FrameErrors,
    average_overlap,
    normalized_precision_curve,
    precision_curve,
    success_curve,
)
from tnllt.eval.got10k import frame_sums
from tnllt.eval.longterm import ReportedFrames, best_f, longterm_sums, oxuva_sums, rates
from tnllt.eval.protocol import Protocol
from tnllt.eval.statistics import RESAMPLES, WIDE_RESAMPLES
from tnllt.sequence import Boxes, Sequence

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SequenceResults:
    """What K trackers answered on one sequence: boxes (K, T', 4) cut or padded by the protocol, and their errors."""

    sequence: Sequence
    boxes: Boxes
    errors: FrameErrors
    protocol: Protocol


@dataclass(frozen=True)
class FrameMeasure:
    """M numbers per result, made from its boxes: a curve, a mean over frames, or sums over frames.

    Attributes:
        name: what the array is called in files; metrics may share a measure.
        compute: (K, M) of K results on one sequence.
        width: M, where the measure is not a curve.
        thresholds: (M,) thresholds of a curve under a protocol.
    """

    name: str
    compute: Callable[[SequenceResults], Array]
    width: int = 1
    thresholds: Callable[[Protocol], Array] | None = None

    def size(self, protocol: Protocol) -> int:
        """M under a protocol."""
        return self.width if self.thresholds is None else len(self.thresholds(protocol))


@dataclass(frozen=True)
class ConfidenceMeasure:
    """M numbers per sequence, made from a tracker's confidence and reported absence on all sequences.

    Only trackers that report either have the array, and M may depend on the tracker.

    Attributes:
        name: as in `FrameMeasure`.
        compute: (S, M) of one tracker; NaN for a sequence without a result (None).
    """

    name: str
    compute: Callable[[Seq[ReportedFrames | None]], Array]


Measure = FrameMeasure | ConfidenceMeasure
M = TypeVar("M", FrameMeasure, ConfidenceMeasure)


def mean_over(array: Array) -> Array:
    """(S, M) -> (M,) mean; zeros without a sequence. Sorted first: the order of sequences moves no last bit."""
    return np.asarray(np.sort(array, axis=0).mean(0)) if len(array) else np.zeros(array.shape[1:])


def sum_over(array: Array) -> Array:
    """(S, M) -> (M,) sum; sorted first, as in `mean_over`."""
    return np.asarray(np.sort(array, axis=0).sum(0))


def sum_in_order(array: Array) -> Array:
    """(S, M) -> (M,) sum in the order of the sequences."""
    return np.asarray(array.sum(0))


@dataclass(frozen=True)
class CurveFigure:
    """How a metric's curve is drawn: its name and its axes."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Metric:
    """One number per tracker, over a set of sequences.

    Attributes:
        name: what `--metric` takes and what `scores.json` calls it.
        label: full name with its point of reading, for figures and reports.
        short: heading of a table's column.
        description: one sentence with the formula and its source.
        measure: the array (S, M) that it needs.
        read: the score (...) of a combined array (..., M) under a protocol. Of a mean it must be linear, so that the
            score is the mean of the sequences' own scores.
        combine: `mean_over` or a sum. A mean leaves out the sequences that the protocol drops, and its intervals are
            studentised. A sum takes every sequence, and its intervals are percentiles of read sums.
        mark: the threshold at which `read` reads a curve, or None.
        figure: how its curve is drawn; None where the metric is not the headline of a curve.
        in_all: whether "all" includes it.
        resamples: most resamples of its intervals.
        digits: decimals in tables.
    """

    name: str
    label: str
    short: str
    description: str
    measure: Measure
    read: Callable[[Array, Protocol], Array]
    combine: Callable[[Array], Array] = mean_over
    mark: Callable[[Protocol], float | None] = lambda protocol: None
    figure: CurveFigure | None = None
    in_all: bool = True
    resamples: int = RESAMPLES
    digits: int = 3
    higher_is_better: bool = True

    @property
    def is_mean(self) -> bool:
        """Whether the score is the mean of per-sequence scores."""
        return self.combine is mean_over

    @property
    def has_curve(self) -> bool:
        """Whether the metric is the headline of a curve, and so has a figure."""
        return self.figure is not None

    @property
    def curve(self) -> str | None:
        """The name of the curve that the metric is read off; None where its measure is not a curve."""
        return self.measure.name if getattr(self.measure, "thresholds", None) is not None else None

    @property
    def option(self) -> str:
        """The name as `--metric` spells it."""
        return self.name.replace("_", "-")

    def thresholds(self, protocol: Protocol) -> Array:
        """(M,) thresholds of its curve. Raises UsageError where its measure is not a curve."""
        if not isinstance(self.measure, FrameMeasure) or self.measure.thresholds is None:
            raise UsageError(f"{self.option} is not read off a curve")
        return self.measure.thresholds(protocol)


def _curve(name: str, compute: Callable[[FrameErrors, Protocol], Array]) -> FrameMeasure:
    return FrameMeasure(
        name, lambda r: compute(r.errors, r.protocol), thresholds=lambda protocol: protocol.thresholds(name)
    )


_SUCCESS = _curve("success", success_curve)
_PRECISION = _curve("precision", precision_curve)
_NORMALIZED_PRECISION = _curve("normalized_precision", normalized_precision_curve)
_AVERAGE_OVERLAP = FrameMeasure("average_overlap", lambda r: average_overlap(r.errors))
_GOT10K = FrameMeasure("got10k", lambda r: frame_sums(r.sequence, r.boxes), width=4)
_LONGTERM = ConfidenceMeasure("longterm", longterm_sums)
_OXUVA = ConfidenceMeasure("oxuva", oxuva_sums)


def _mark(curve: str) -> Callable[[Protocol], float | None]:
    """Where a protocol reads its headline off a curve; None where it takes the curve's mean or area."""
    return lambda protocol: getattr(protocol, f"{curve}_at") if getattr(protocol, curve) == "value" else None


def _headline(curve: str) -> Callable[[Array, Protocol], Array]:
    """What a protocol makes of a curve: its mean, its area, or its value at one threshold."""

    def read(values: Array, protocol: Protocol) -> Array:
        thresholds, rule = protocol.thresholds(curve), getattr(protocol, curve)
        if rule == "mean":
            return np.asarray(values.mean(-1))
        if rule == "area":
            return np.asarray(np.trapezoid(values, thresholds / thresholds[-1], axis=-1))
        return values[..., _nearest(thresholds, getattr(protocol, f"{curve}_at"))]

    return read


def _success_at(threshold: float) -> Callable[[Array, Protocol], Array]:
    return lambda values, protocol: values[..., _nearest(protocol.thresholds("success"), threshold)]


def _nearest(thresholds: Array, value: float) -> int:
    return int(np.argmin(np.abs(thresholds - value)))


def _ratio(position: int) -> Callable[[Array, Protocol], Array]:
    """One of GOT-10k's sums per frame counted."""

    def read(sums: Array, _: Protocol) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(sums[..., position] / sums[..., 3])

    return read


#: What each function last gave, and of what array: metrics that share it are read off an array one after another.
_last = local()


def _one_of(function: Callable[[Array], Array], position: int) -> Callable[[Array, Protocol], Array]:
    def read(sums: Array, _: Protocol) -> Array:
        last = vars(_last).get(function.__name__)
        if last is None or last[0] is not sums:
            last = sums, function(sums)
            setattr(_last, function.__name__, last)
        return np.asarray(last[1][..., position])

    return read


_ALL = (
    Metric(
        "success", "Success (area under curve)", "AUC",
        "Mean over overlap thresholds 0, 0.05 .. 1 of the fraction of frames whose overlap passes (Wu et al., OTB, "
        "2013).",
        _SUCCESS, _headline("success"), mark=_mark("success"),
        figure=CurveFigure("Success", "Overlap threshold", "Success rate"),
    ),
    Metric(
        "precision", "Precision (20 px)", "P",
        "Fraction of frames whose centre error is at most 20 pixels (Wu et al., OTB, 2013).",
        _PRECISION, _headline("precision"), mark=_mark("precision"),
        figure=CurveFigure("Precision", "Location error threshold (pixels)", "Precision"),
    ),
    Metric(
        "normalized_precision", "Normalised precision (0.2)", "P_Norm",
        "Fraction of frames whose centre error, in sizes of the ground truth, is at most 0.2 (Müller et al., "
        "TrackingNet, 2018).",
        _NORMALIZED_PRECISION, _headline("normalized_precision"), mark=_mark("normalized_precision"),
        figure=CurveFigure("Normalised precision", "Normalised location error threshold", "Precision"),
    ),
    Metric("op50", "Overlap precision at 0.5", "OP50", "Fraction of frames whose overlap passes 0.5.",
           _SUCCESS, _success_at(0.5)),
    Metric("op75", "Overlap precision at 0.75", "OP75", "Fraction of frames whose overlap passes 0.75.",
           _SUCCESS, _success_at(0.75)),
    Metric("average_overlap", "Average overlap", "AO",
           "Mean overlap of the frames that the protocol counts; a frame without a valid box counts 0.",
           _AVERAGE_OVERLAP, lambda values, _: values[..., 0]),
    Metric("got10k_ao", "GOT-10k AO", "AO*",
           "Mean overlap of the frames after the first with the target in view, over all sequences together (Huang et "
           "al., GOT-10k, 2019); as the authors' toolkit computes it, the same under every protocol.",
           _GOT10K, _ratio(0), sum_over, in_all=False),
    Metric("got10k_sr50", "GOT-10k SR 0.5", "SR50*", "Fraction of the same frames with overlap above 0.5.",
           _GOT10K, _ratio(1), sum_over, in_all=False),
    Metric("got10k_sr75", "GOT-10k SR 0.75", "SR75*", "Fraction of the same frames with overlap above 0.75.",
           _GOT10K, _ratio(2), sum_over, in_all=False),
    Metric("lt_f", "Long-term F", "F",
           "Largest F = 2 Pr Re / (Pr + Re) over confidence thresholds, of mean long-term precision and recall "
           "(Lukežič et al., VOT-LT, 2018).",
           _LONGTERM, _one_of(best_f, 0), sum_in_order, resamples=WIDE_RESAMPLES),
    Metric("lt_precision", "Long-term precision", "Pr",
           "Overlap per reported frame at the threshold of the best F; an absent frame counts 0.",
           _LONGTERM, _one_of(best_f, 1), sum_in_order, resamples=WIDE_RESAMPLES),
    Metric("lt_recall", "Long-term recall", "Re",
           "Overlap of reported frames per frame with the target in view, at the threshold of the best F.",
           _LONGTERM, _one_of(best_f, 2), sum_in_order, resamples=WIDE_RESAMPLES),
    Metric("tpr", "True positive rate", "TPR",
           "Fraction of present frames reported with overlap of at least 0.5 (Valmadre et al., OxUvA, 2018).",
           _OXUVA, _one_of(rates, 0), sum_over),
    Metric("tnr", "True negative rate", "TNR",
           "Fraction of absent frames reported as absent (Valmadre et al., OxUvA, 2018).",
           _OXUVA, _one_of(rates, 1), sum_over),
    Metric("maxgm", "MaxGM", "MaxGM",
           "Largest geometric mean sqrt((1-p) TPR ((1-p) TNR + p)) over p in [0, 1] (Valmadre et al., OxUvA, 2018).",
           _OXUVA, _one_of(rates, 2), sum_over),
)  # fmt: skip
#: Every metric by name, in the order in which they are listed everywhere.
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
#: The three of the official toolkit.
CURVE_METRICS: tuple[Metric, ...] = tuple(m for m in _ALL if m.has_curve)


def measures(kind: type[M]) -> list[M]:
    """The measures of all metrics, each once: those of every result, or those that need confidence."""
    return list({m.measure.name: m.measure for m in METRICS.values() if isinstance(m.measure, kind)}.values())


def get_metrics(names: str | Iterable[str], measured: Collection[str] | None = None) -> list[Metric]:
    """Metrics by name, comma-separated or in a list, in the registry's order.

    A heading of a table's column (AUC, P, P_Norm) will do for a name. "all" leaves out GOT-10k's.

    Args:
        measured: names of the measures that "all" is limited to; None: those that need no confidence.

    Raises:
        UsageError: no metric has that name.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    known = [m.name for m in measures(FrameMeasure)] if measured is None else measured
    wanted: set[str] = set()
    for name in given:
        if name.strip().lower() == "all":
            wanted |= {m.name for m in METRICS.values() if m.in_all and m.measure.name in known}
        else:
            wanted.add(get_metric(name).name)
    return [metric for name, metric in METRICS.items() if name in wanted]


def get_metric(name: str | Metric) -> Metric:
    """The metric of that name or column heading. Raises UsageError where there is none."""
    if isinstance(name, Metric):
        return name
    plain = name.strip().lower().replace("-", "_")
    known = METRICS | {metric.short.lower(): metric for metric in METRICS.values()}
    if plain not in known:
        options = [metric.option for metric in METRICS.values()]
        hint = did_you_mean(name, options, f"known: {', '.join(options)}, all")
        raise UsageError(f"no metric {name!r}; {hint}")
    return known[plain]
