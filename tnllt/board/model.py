"""What a site is made of: its configuration, the entries that passed, their scores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tnllt.board.entries import BoardEntry
from tnllt.board.examine import Examiner
from tnllt.config import BoardConfig
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
        groups: {protocol: group per tracker}.
    """

    out: Path
    examiner: Examiner
    config: BoardConfig
    style: Style
    history: dict[str, list[BoardEntry]]
    scores: dict[str, Scores] = field(default_factory=dict)
    intervals: dict[str, dict[str, Intervals]] = field(default_factory=dict)
    groups: dict[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def entries(self) -> list[BoardEntry]:
        return [entries[0] for entries in self.history.values()]

    @property
    def scored(self) -> list[BoardEntry]:
        return [entry for entry in self.entries if entry.own is not None]

    @property
    def title(self) -> str:
        name = next((s.dataset for s in self.examiner.sequences if s.dataset), "a benchmark")
        return self.config.title or f"Leaderboard of {name}"


def slug(name: str) -> str:
    """A file name that every server and browser takes; names that differ stay different."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"


def page_link(site: Site, protocol: str) -> str:
    """A protocol's page, from the site's root."""
    return "index.html" if protocol == site.config.protocol else f"protocols/{protocol}.html"


def label(site: Site, entry: BoardEntry) -> str:
    """The style's name of a tracker, else the entry's."""
    own = site.style.trackers.get(entry.entry.tracker)
    return own.name if own is not None and own.name else entry.entry.label
