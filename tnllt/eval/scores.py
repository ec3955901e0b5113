"""`Scores`: curves of every tracker on every sequence, and their reductions on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.eval import longterm
from tnllt.eval.frame_errors import FrameErrors
from tnllt.eval.metrics import Metric, get_metric, get_metrics
from tnllt.eval.protocol import Protocol
from tnllt.eval.tracker_curves import Note, TrackerCurves
from tnllt.sequence import Flags

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """What `evaluate` gives. K trackers, S sequences; every reduction is computed when asked for.

    Attributes:
        protocol: the rules.
        trackers: names (K).
        sequences: names (S).
        lengths: (S,) frames per sequence.
        attributes: {attribute: (S,) bool}, in the benchmark's order; empty where none are known.
        tracker_curves: one per tracker.
        references: the ceiling (ground truth as result) and the floor (the first box forever).
        dataset: the benchmark's name.
        rounding: "nearest" or "trunc" where boxes were rounded to integers first, else "none".
    """

    protocol: Protocol
    trackers: tuple[str, ...]
    sequences: tuple[str, ...]
    lengths: NDArray[np.int64]
    attributes: Mapping[str, Flags]
    tracker_curves: tuple[TrackerCurves, ...] = field(repr=False)
    references: tuple[TrackerCurves, ...] = field(default=(), repr=False)
    dataset: str = ""
    rounding: str = "none"
    _frames: Callable[[str], Mapping[str, FrameErrors]] | None = field(default=None, repr=False)

    # Arrays -----------------------------------------------------------------------------------------------------

    def curve(self, name: str) -> Array:
        """Curves (K, S, N) of "success", "precision" or "normalized_precision"; NaN where missing or refused."""
        return np.stack([row.curves[name] for row in self.tracker_curves])

    @property
    def success(self) -> Array:
        return self.curve("success")

    @property
    def precision(self) -> Array:
        return self.curve("precision")

    @property
    def normalized_precision(self) -> Array:
        return self.curve("normalized_precision")

    @property
    def missing(self) -> Flags:
        """(K, S) True where a tracker has no result."""
        return np.stack([row.missing for row in self.tracker_curves])

    @cached_property
    def refused(self) -> Flags:
        """(S,) True where the protocol's toolkit refuses some tracker's sequence: it leaves every tracker's mean."""
        return np.asarray(np.any([row.refused for row in self.tracker_curves], axis=0))

    @property
    def notes(self) -> list[Note]:
        """Everything that an output must say: missing, refused, cut and padded results."""
        return [note for row in self.tracker_curves for note in row.notes]

    @property
    def has_longterm(self) -> bool:
        return any(row.longterm is not None for row in self.tracker_curves)

    def frames(self, sequence: str) -> Mapping[str, FrameErrors]:
        """{tracker: errors of every frame, arrays (1, T)} on one sequence. Raises DataError for saved scores."""
        if self._frames is None:
            raise DataError("these scores were read from a file; per-frame values need the result files")
        return self._frames(sequence)

    # Reductions -------------------------------------------------------------------------------------------------

    def metrics(self, names: str | Iterable[str] = "all") -> list[Metric]:
        return get_metrics(names, self.has_longterm)

    def kept(self, curve: str = "success", members: Flags | None = None) -> Flags:
        """(K, S) sequences that enter each tracker's mean of a curve, among `members` (S,)."""
        return np.stack([self._kept(row, curve, members) for row in self.tracker_curves])

    def _there(self, row: TrackerCurves, members: Flags | None) -> Flags:
        """(S,) sequences that a row can be scored on, among `members`."""
        there = ~row.missing & ~row.refused & ~self.refused
        return there if members is None else there & members

    def _kept(self, row: TrackerCurves, curve: str, members: Flags | None) -> Flags:
        keep = self._there(row, members)
        if self.protocol.drop_zero_curves:
            # The comparison is false for NaN, which only refused and missing sequences have.
            keep &= row.curves[curve].sum(-1) > np.finfo(np.float64).eps
        return keep

    def mean_curve(self, name: str, members: Flags | None = None) -> Array:
        """(K, N) mean curve over the kept sequences; zeros where all were dropped, NaN where none can be scored."""
        return np.stack([self._mean(row, name, members) for row in self.tracker_curves])

    def _mean(self, row: TrackerCurves, name: str, members: Flags | None) -> Array:
        if not self._there(row, members).any():
            return np.full(row.curves[name].shape[1], np.nan)
        return _mean(row.curves[name][self._kept(row, name, members)])

    def score(self, metric: str | Metric = "success", members: Flags | None = None) -> Array:
        """(K,) scores of one metric over all sequences, or over `members` (S,) bool."""
        chosen = get_metric(metric)
        return np.array([self._score(row, chosen, members) for row in self.tracker_curves])

    def _score(self, row: TrackerCurves, metric: Metric, members: Flags | None) -> float:
        if metric.source == "curve":
            return float(metric.reduce(self._mean(row, metric.array, members), self.protocol))
        there = self._there(row, members)
        if metric.source == "value" and there.any():
            return float(_mean(row.values[metric.array][self._kept(row, "success", members)][:, None])[0])
        # Neither long-term measures nor pooled ones know dropped sequences: their papers average over all of them.
        return _special(row, metric, np.flatnonzero(there)) if there.any() else np.nan

    def per_sequence(self, metric: str | Metric = "success") -> Array:
        """(K, S) scores of single sequences; NaN where missing or refused."""
        chosen = get_metric(metric)
        if chosen.source == "curve":
            return chosen.reduce(self.curve(chosen.array), self.protocol)
        if chosen.source == "value":
            return np.stack([row.values[chosen.array] for row in self.tracker_curves])
        return np.array(
            [
                [np.nan if row.missing[s] or row.refused[s] else _special(row, chosen, np.array([s]))
                 for s in range(len(self.sequences))]
                for row in self.tracker_curves
            ]
        )  # fmt: skip

    def attribute_members(self) -> dict[str, Flags]:
        """{attribute: (S,) bool} of the attributes with enough sequences to be scored."""
        return {
            name: flags
            for name, flags in self.attributes.items()
            if np.count_nonzero(flags) >= self.protocol.min_sequences
        }

    def per_attribute(self, metric: str | Metric = "success") -> dict[str, Array]:
        """{attribute: (K,)}; attributes with too few sequences are left out (see `skipped_attributes`)."""
        return {name: self.score(metric, flags) for name, flags in self.attribute_members().items()}

    @property
    def skipped_attributes(self) -> list[str]:
        return [name for name in self.attributes if name not in self.attribute_members()]

    def ranking(self, metric: str | Metric = "success") -> list[int]:
        """Indices of the trackers, best first; equal scores by name, n/a last."""
        scores = self.score(metric)
        return sorted(
            range(len(self.trackers)),
            key=lambda k: (np.isnan(scores[k]), -scores[k] if not np.isnan(scores[k]) else 0.0, self.trackers[k]),
        )

    def reference(self, metric: str | Metric = "success", members: Flags | None = None) -> dict[str, float]:
        """{"ceiling": ..., "floor": ...}: ground truth as result, and the first box forever, by the same rule."""
        chosen = get_metric(metric)
        if chosen.name in ("lt_f", "lt_precision", "lt_recall", "tpr", "tnr", "maxgm"):
            return {row.tracker: np.nan for row in self.references}
        return {row.tracker: self._score(row, chosen, members) for row in self.references}

    def reference_curve(self, name: str, members: Flags | None = None) -> dict[str, Array]:
        return {row.tracker: self._mean(row, name, members) for row in self.references}

    def empty(self, metric: str | Metric = "success", members: Flags | None = None) -> list[str]:
        """Trackers whose every sequence is dropped from the mean, so that their score is 0 by rule."""
        curve = get_metric(metric).array if get_metric(metric).source == "curve" else "success"
        return [
            row.tracker
            for row in self.tracker_curves
            if self._there(row, members).any() and not self._kept(row, curve, members).any()
        ]

    def select(self, trackers: Seq[str] | None = None, sequences: Seq[str] | None = None) -> Scores:
        """The scores of some trackers and sequences, in the order given."""
        order = [self.trackers.index(t) for t in (trackers if trackers is not None else self.trackers)]
        index = np.array(
            [self.sequences.index(s) for s in (sequences if sequences is not None else self.sequences)], int
        )
        names = tuple(self.sequences[i] for i in index)
        return Scores(
            self.protocol,
            tuple(self.trackers[k] for k in order),
            names,
            self.lengths[index],
            {name: flags[index] for name, flags in self.attributes.items()},
            tuple(self.tracker_curves[k].take(index, names) for k in order),
            tuple(row.take(index, names) for row in self.references),
            self.dataset,
            self.rounding,
            self._frames,
        )

    # Outputs ----------------------------------------------------------------------------------------------------

    def to_frame(self, metrics: str | Iterable[str] = "all", by: str = "overall") -> pd.DataFrame:
        """A pandas table: one row per tracker (best first); `by="attribute"` or "sequence" adds that to the index."""
        from tnllt.eval.tables import to_frame

        return to_frame(self, metrics, by)

    def table(
        self, metrics: str | Iterable[str] = "all", fmt: str = "text", by: str = "overall",
        intervals: bool | None = None,
    ) -> str:  # fmt: skip
        """The score table as text, markdown, latex, csv or json, with its footnotes; see `tnllt.eval.tables.render`."""
        from tnllt.eval.tables import render

        return render(self, metrics, fmt, by, intervals)

    def save(self, folder: str | Path, metrics: str | Iterable[str] = "all") -> list[Path]:
        """Writes scores.json, curves.npz and CSV tables; returns what was written."""
        from tnllt.eval.export import save

        return save(self, Path(folder), metrics)

    def plot(self, folder: str | Path, metrics: str | Iterable[str] = "all", attributes: bool = False, **how: Any
             ) -> list[Path]:  # fmt: skip
        """Draws the curves (and with `attributes` one figure per attribute and a radar); returns what was written."""
        from tnllt.eval.figures import plot

        return plot(self, Path(folder), metrics, attributes, **how)


def _mean(values: Array) -> Array:
    """Mean over the first axis, zeros if it is empty. Sorted first: the order of sequences moves no last bit."""
    if not len(values):
        return np.zeros(values.shape[1:])
    return np.asarray(np.sort(values, axis=0).mean(0))


def _special(row: TrackerCurves, metric: Metric, index: NDArray[np.int64]) -> float:
    if metric.source == "longterm":
        if row.longterm is None:
            return np.nan
        best = longterm.best_f(row.longterm[index])
        return best[("lt_f", "lt_precision", "lt_recall").index(metric.array)]
    if metric.array in ("tpr", "tnr", "maxgm"):
        if "oxuva" not in row.values:
            return np.nan
        rates = longterm.rates(row.values["oxuva"][index].sum(0))
        return rates[("tpr", "tnr", "maxgm").index(metric.array)]
    sums = np.sort(row.values["got10k"][index], axis=0).sum(0)
    position = ("got10k_ao", "got10k_sr50", "got10k_sr75").index(metric.array)
    return float(sums[position] / sums[3]) if sums[3] else np.nan
