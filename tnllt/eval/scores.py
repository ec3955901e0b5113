"""`Scores`: the numbers of every tracker on every sequence, and their reductions on demand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tnllt.config import TableConfig
from tnllt.datasets.benchmarks import LAYOUTS
from tnllt.errors import DataError
from tnllt.eval import export, tables
from tnllt.eval.frame_errors import FrameErrors
from tnllt.eval.metrics import Metric, get_metric, get_metrics
from tnllt.eval.protocol import Protocol
from tnllt.eval.tracker_curves import Note, TrackerCurves
from tnllt.sequence import Flags
from tnllt.text import one_line

if TYPE_CHECKING:
    import pandas as pd

    from tnllt.eval.style import Style

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
        references: the ceiling (ground-truth reference: the annotation as result) and the floor (static-box reference:
            the initial box, never moved).
        dataset: the benchmark's name.
        benchmark: its title, where it is not the one that the name stands for.
        peers: every tracker among the results, also those not chosen: colours are given among them.
        rounding: "nearest" or "trunc" where boxes were rounded to integers first, else "none".
        realtime: frames a second of the stream that did not wait, or None.
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
    realtime: float | None = None
    benchmark: str = ""
    peers: tuple[str, ...] = ()
    _frames: Callable[[str], Mapping[str, FrameErrors]] | None = field(default=None, repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> Scores:
        """The scores that `save` left in a folder, equal in every number; only `frames` needs the result files.

        Raises:
            DataError: the folder does not hold saved scores, or holds damaged ones.
        """
        return cls(**export.load(Path(folder)))

    @property
    def title(self) -> str:
        """The benchmark's title, for headings."""
        known = LAYOUTS[self.dataset].title if self.dataset in LAYOUTS else self.dataset
        return one_line(self.benchmark or known) or "the dataset"

    # Arrays -----------------------------------------------------------------------------------------------------

    def curve(self, metric: str | Metric) -> Array:
        """Curves (K, S, N) that a metric is read off ("success", ...); NaN where missing or refused."""
        name = get_metric(metric).measure.name
        return np.stack([own.arrays[name] for own in self.tracker_curves])

    @property
    def missing(self) -> Flags:
        """(K, S) True where a tracker has no result."""
        return np.stack([own.missing for own in self.tracker_curves])

    @cached_property
    def refused(self) -> Flags:
        """(S,) True where the protocol's toolkit refuses some tracker's sequence: it leaves every tracker's mean."""
        return np.asarray(np.any([own.refused for own in self.tracker_curves], axis=0))

    @cached_property
    def _memo(self) -> dict[Hashable, NDArray[Any]]:
        """What was computed already: tables, intervals and pages ask for the same again and again."""
        return {}

    @property
    def notes(self) -> list[Note]:
        """What every output must state: missing, refused, cut and padded results."""
        return [note for own in self.tracker_curves for note in own.notes]

    def frames(self, sequence: str) -> Mapping[str, FrameErrors]:
        """{tracker: errors of every frame, arrays (1, T)} on one sequence. Raises DataError for loaded scores."""
        if self._frames is None:
            raise DataError("these scores were loaded from a folder; per-frame values need the result files")
        return self._frames(sequence)

    # Reductions -------------------------------------------------------------------------------------------------

    def metrics(self, names: str | Iterable[str] = "all") -> list[Metric]:
        """Metrics by name; "all" includes those that need confidence where some tracker has it."""
        return get_metrics(names, {name for own in self.tracker_curves for name in own.arrays})

    def scored(self, members: Flags | None = None) -> Flags:
        """(K, S) sequences that each tracker can be scored on, among `members` (S,)."""
        return np.stack([self._scored(own, members) for own in self.tracker_curves])

    def kept(self, metric: str | Metric = "success", members: Flags | None = None) -> Flags:
        """(K, S) sequences that enter each tracker's score, among `members` (S,): those scored and not dropped."""
        chosen = get_metric(metric)
        return np.stack([self._kept(own, chosen, members) for own in self.tracker_curves])

    def _scored(self, own: TrackerCurves, members: Flags | None) -> Flags:
        scored = ~own.missing & ~own.refused & ~self.refused
        return scored if members is None else scored & members

    def _kept(self, own: TrackerCurves, metric: Metric, members: Flags | None) -> Flags:
        # Papers define sums over all sequences: only means leave out the sequences that the protocol drops.
        keep = self._scored(own, members)
        if metric.is_mean and self.protocol.drop_zero_curves:
            key = ("kept", id(own), curve := metric.curve or "success")
            if key not in self._memo:
                # Its own curve, or that of success, is empty. False for NaN: refused and missing sequences.
                self._memo[key] = own.arrays[curve].sum(-1) > np.finfo(np.float64).eps
            keep &= self._memo[key]
        return keep

    def _combined(self, own: TrackerCurves, metric: Metric, members: Flags | None) -> Array:
        """(M,) the metric's array over the kept sequences; NaN where no sequence can be scored."""
        chosen = None if members is None else members.tobytes()
        key = ("combined", id(own), metric.measure.name, metric.curve, metric.combine, chosen)
        if key not in self._memo:
            array = own.arrays[metric.measure.name]
            some = self._scored(own, members).any()
            kept = self._kept(own, metric, members)
            self._memo[key] = metric.combine(array[kept]) if some else np.full(array.shape[1], np.nan)
        return self._memo[key]

    def mean_curve(self, metric: str | Metric, members: Flags | None = None) -> Array:
        """(K, N) mean curve over the kept sequences; zeros where all were dropped, NaN where none can be scored."""
        chosen = get_metric(metric)
        return np.stack([self._combined(own, chosen, members) for own in self.tracker_curves])

    def score(self, metric: str | Metric = "success", members: Flags | None = None) -> Array:
        """(K,) scores of one metric over all sequences, or over `members` (S,) bool."""
        chosen = get_metric(metric)
        found = np.full(len(self.trackers), np.nan)
        alike: dict[int, dict[int, Array]] = {}  # how many confidence thresholds there are depends on the tracker
        for k, own in enumerate(self.tracker_curves):
            if own.array(chosen.measure) is not None:
                combined = self._combined(own, chosen, members)
                alike.setdefault(len(combined), {})[k] = combined
        for rows in alike.values():
            found[list(rows)] = chosen.read(np.stack(list(rows.values())), self.protocol)
        return found

    def _score(self, own: TrackerCurves, metric: Metric, members: Flags | None) -> float:
        if own.array(metric.measure) is None:
            return np.nan
        return float(metric.read(self._combined(own, metric, members), self.protocol))

    def per_sequence(self, metric: str | Metric = "success") -> Array:
        """(K, S) scores of single sequences; NaN where missing or refused."""
        chosen = get_metric(metric)
        if ("sequences", chosen) in self._memo:
            return self._memo["sequences", chosen].copy()
        found = np.full((len(self.trackers), len(self.sequences)), np.nan)
        for row, own in zip(found, self.tracker_curves, strict=True):
            if (array := own.array(chosen.measure)) is not None:
                row[:] = np.where(own.missing | own.refused, np.nan, chosen.read(array, self.protocol))
        self._memo["sequences", chosen] = found
        return found.copy()

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

    def ranking(self, metric: str | Metric = "success", members: Flags | None = None) -> list[int]:
        """Indices of the trackers, best first; equal scores by name, n/a last."""
        chosen = get_metric(metric)
        scores = self.score(chosen, members)
        sign = -1.0 if chosen.higher_is_better else 1.0
        return sorted(
            range(len(self.trackers)),
            key=lambda k: (np.isnan(scores[k]), sign * np.nan_to_num(scores[k]), self.trackers[k]),
        )

    def reference(self, metric: str | Metric = "success", members: Flags | None = None) -> dict[str, float]:
        """{"ceiling": ..., "floor": ...} by the same rule; NaN for metrics that need confidence."""
        chosen = get_metric(metric)
        return {own.tracker: self._score(own, chosen, members) for own in self.references}

    def reference_curve(self, metric: str | Metric, members: Flags | None = None) -> dict[str, Array]:
        chosen = get_metric(metric)
        return {own.tracker: self._combined(own, chosen, members) for own in self.references}

    def empty(self, metric: str | Metric = "success", members: Flags | None = None) -> list[str]:
        """Trackers whose every sequence is dropped from the mean, so that their score is 0 by rule."""
        dropped = self.scored(members).any(1) & ~self.kept(metric, members).any(1)
        return [self.trackers[k] for k in np.flatnonzero(dropped)]

    def select(self, trackers: Seq[str] | None = None, sequences: Seq[str] | None = None) -> Scores:
        """The scores of some trackers and sequences, in the order given."""
        order = [self.trackers.index(t) for t in (trackers if trackers is not None else self.trackers)]
        names = tuple(sequences if sequences is not None else self.sequences)
        index = np.array([self.sequences.index(s) for s in names], int)
        return replace(
            self,
            trackers=tuple(self.trackers[k] for k in order),
            sequences=names,
            lengths=self.lengths[index],
            attributes={name: flags[index] for name, flags in self.attributes.items()},
            tracker_curves=tuple(self.tracker_curves[k].take(index, names) for k in order),
            references=tuple(own.take(index, names) for own in self.references),
        )

    # Outputs ----------------------------------------------------------------------------------------------------

    def to_frame(self, metrics: str | Iterable[str] = "all", by: str = "overall") -> pd.DataFrame:
        """A pandas table: one row per tracker (best first); `by="attribute"` or "sequence" adds that to the index."""
        return tables.to_frame(self, metrics, by)

    def table(
        self, metrics: str | Iterable[str] = "all", fmt: str = "text", by: str = "overall",
        style: Style | None = None, **how: Any,
    ) -> str:  # fmt: skip
        """The score table as text, markdown, latex, html, csv or json, with its footnotes.

        `how` are the fields of `tnllt.config.TableConfig`: intervals, percent, decimals, references, width.
        """
        return tables.render(self, metrics, fmt, by, TableConfig(**how), style)

    def save(self, folder: str | Path, metrics: str | Iterable[str] = "all") -> list[Path]:
        """Writes scores.json, curves.npz and CSV tables; returns what was written."""
        return export.save(self, Path(folder), metrics)

    def plot(
        self, folder: str | Path, metrics: str | Iterable[str] = "all", attributes: bool = False,
        style: Style | None = None, workers: int = 1,
    ) -> list[Path]:  # fmt: skip
        """Draws the curves (and with `attributes` one figure per attribute and a radar); returns what was written.

        Style and workers are explained at `tnllt.eval.figures.plot`; `tnllt.eval.style.load_style` reads a file.
        """
        from tnllt.eval import figures

        return figures.plot(self, Path(folder), metrics, attributes, style, workers)
