"""What a site is made of: its configuration, the entries that passed, their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.board.entries import BoardEntry
from tnllt.board.examine import Examiner
from tnllt.config import BoardConfig
from tnllt.datasets.benchmarks import LAYOUTS
from tnllt.eval.compare import groups
from tnllt.eval.intervals import all_intervals, weighted_scores
from tnllt.eval.scores import Scores
from tnllt.eval.statistics import Intervals
from tnllt.eval.style import Style


@dataclass
class Site:
    """What the pages show: entries that passed, and the scores of the newest of each tracker.

    Attributes:
        entries: of every tracker the newest, in the order of their names.
        history: {tracker: all its entries, the newest first}.
        scores: {protocol: scores of the entries that have boxes}; empty where none has.
        intervals: {protocol: {metric: intervals}}.
        kept: {protocol: {metric: (tracker,) sequences that the interval is over}}.
        groups, ranks: {protocol: {tracker: its group, and its rank by success}}.
        best: {protocol: {metric: the two best scores}}.
        attributes: {attribute: success per tracker} by the board's protocol.
    """

    out: Path
    examiner: Examiner
    config: BoardConfig
    style: Style
    history: dict[str, list[BoardEntry]]
    scores: dict[str, Scores] = field(default_factory=dict)
    intervals: dict[str, dict[str, Intervals]] = field(default_factory=dict)
    kept: dict[str, dict[str, NDArray[np.float64]]] = field(default_factory=dict)
    groups: dict[str, Mapping[str, int]] = field(default_factory=dict)
    ranks: dict[str, Mapping[str, int]] = field(default_factory=dict)
    best: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    attributes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, protocol: str, scores: Scores) -> None:
        """Keeps the scores by a protocol, and what every page needs of them."""
        self.scores[protocol] = scores
        self.intervals[protocol] = all_intervals(scores, scores.metrics("all"))
        self.kept[protocol] = {m.name: weighted_scores(scores, m).weights.sum(axis=1) for m in scores.metrics("all")}
        self.groups[protocol] = dict(zip(scores.trackers, groups(scores).tolist(), strict=True))
        self.ranks[protocol] = {scores.trackers[k]: place for place, k in enumerate(scores.ranking("success"), 1)}
        # Claims are no competitors: the best and the second best are those that were scored here.
        estimates = {name: own.estimate[~np.isnan(own.estimate)] for name, own in self.intervals[protocol].items()}
        self.best[protocol] = {name: np.unique(values)[::-1][:2].tolist() for name, values in estimates.items()}
        if protocol == self.config.protocol:
            self.attributes = scores.per_attribute("success")

    @property
    def entries(self) -> list[BoardEntry]:
        return [entries[0] for entries in self.history.values()]

    @property
    def scored(self) -> list[BoardEntry]:
        return [entry for entry in self.entries if entry.own is not None]

    @property
    def title(self) -> str:
        name = next((s.dataset for s in self.examiner.sequences if s.dataset), "a benchmark")
        return self.config.title or f"Leaderboard of {LAYOUTS[name].title if name in LAYOUTS else name}"


def page_link(site: Site, protocol: str) -> str:
    """A protocol's page, from the site's root."""
    return "index.html" if protocol == site.config.protocol else f"protocols/{protocol}.html"


def label(site: Site, entry: BoardEntry) -> str:
    """The style's name of a tracker, else the entry's."""
    own = site.style.trackers.get(entry.entry.tracker)
    return own.name if own is not None and own.name else entry.entry.label
