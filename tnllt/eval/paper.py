"""One table over several benchmarks, each scored by its own protocol, with reported numbers beside computed ones.

A TOML file states what the table holds; relative paths are relative to it::

    percent = true

    [[benchmark]]
    dataset = "lasot"
    annos = "LaSOT/annos"
    results = "LaSOT/results"
    protocol = "ostrack"
    metrics = ["AUC", "P_Norm", "P"]
    names = { dimp_dimp50 = "DiMP50" }              # {tracker among the results: its row}
    reported = { OSTrack = { AUC = 69.1, P = 75.2 } }
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tnllt.config import ScoreConfig
from tnllt.errors import DataError
from tnllt.eval.explain import parse_reported
from tnllt.eval.metrics import Metric, get_metric
from tnllt.eval.protocols import ALIASES, PROTOCOLS
from tnllt.eval.score_table import ScoreTable, styled
from tnllt.eval.scores import Scores
from tnllt.eval.selection import Selection, select
from tnllt.eval.style import Style
from tnllt.eval.tables import footnotes, plural
from tnllt.files import read_toml, user_path
from tnllt.records import from_table

_REPORTED = " (reported)"


@dataclass(frozen=True)
class Benchmark:
    """One group of columns.

    Attributes:
        title: heading; "": the benchmark's own.
        dataset, root, annos, results, trackers, split, sequences, allow_missing, allow_short: as for scoring. Without
            a dataset the group has reported numbers alone.
        protocol: "": the benchmark's own.
        metrics: names or headings of columns, in their order.
        names: {tracker among the results: name of its row}.
        reported: {row: {metric: number}}, fractions or percentages.
    """

    title: str = ""
    dataset: str = ""
    root: Path | None = None
    annos: Path | None = None
    results: Path | None = None
    protocol: str = ""
    metrics: tuple[str, ...] = ("success", "normalized_precision", "precision")
    trackers: str | tuple[str, ...] = "all"
    split: str = "test"
    sequences: tuple[str, ...] = ()
    allow_missing: bool = False
    allow_short: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    reported: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.metrics:
            raise ValueError("metrics must name at least one metric")
        if not (self.title or self.dataset):
            raise ValueError("a benchmark needs a dataset, or a title where all its numbers are reported")

    def select(self, folder: Path) -> Selection | None:
        """Its results, with paths relative to a folder; None without a dataset. Raises as `select` does."""
        if not self.dataset:
            return None
        root, annos, results = (v and folder / user_path(v) for v in (self.root, self.annos, self.results))
        known = self.dataset if self.dataset in (*PROTOCOLS, *ALIASES) else "tnllt"
        config = ScoreConfig(
            self.dataset, root=root, annos=annos, results=results, protocol=self.protocol or known,
            trackers=self.trackers, split=self.split, sequences=self.sequences or None,
            allow_missing=self.allow_missing, allow_short=self.allow_short,
        )  # fmt: skip
        return select(config)


@dataclass(frozen=True)
class Paper:
    """What a file states: the benchmarks, and how numbers are written."""

    benchmark: tuple[Benchmark, ...]
    percent: bool = False
    decimals: int | None = None
    style: Style = field(default_factory=Style)

    def __post_init__(self) -> None:
        if not self.benchmark:
            raise ValueError("no [[benchmark]]; add one")


def load_paper(path: Path) -> Paper:
    """Reads the file. Raises DataError that names the field at fault."""
    return from_table(read_toml(user_path(path)), Paper, path)


def paper_table(paper: Paper, folder: Path, style: Style | None = None) -> ScoreTable:
    """The table: rows in the style's order, else by the first column; NaN where nothing is known.

    Args:
        folder: what the file's relative paths are relative to.

    Raises:
        UsageError, DataError, IncompleteError: as scoring does; a reported metric without a column.
    """
    groups, columns, notes, digits, headings = [], [], [], [], []
    for benchmark in paper.benchmark:
        selection, metrics = benchmark.select(folder), [get_metric(name) for name in benchmark.metrics]
        scores = None if selection is None else selection.score()
        title = benchmark.title or (scores.title if scores is not None else "")
        if scores is not None:
            about = f"{title}: protocol {scores.protocol.name}, {plural(len(scores.sequences), 'sequence')}."
            notes += [about, *(f"{title}: {note}" for note in footnotes(scores))]
        groups.append((title, len(metrics)))
        headings += [metric.short.rstrip("*") for metric in metrics]
        digits += [metric.digits for metric in metrics]
        columns += _columns(benchmark, scores, metrics, title)
    rows = list(dict.fromkeys(row for column in columns for row in column))
    cells = [[column.get(row, (np.nan, False)) for column in columns] for row in rows]
    values = np.array([[value for value, _ in row] for row in cells]).reshape(len(rows), len(columns))
    first = dict(zip(rows, np.nan_to_num(values[:, 0], nan=-np.inf).tolist(), strict=True))

    def place(k: int) -> tuple[float, str, str]:
        """By the first column; a reported number's own row follows the computed one."""
        name = rows[k].removesuffix(_REPORTED)
        return -first.get(name, -np.inf), name, rows[k]

    order = sorted(range(len(rows)), key=place)
    reported = np.array([[published for _, published in row] for row in cells]).reshape(values.shape)
    table = ScoreTable(
        "Scores by benchmark", [rows[k] for k in order], 0, headings, digits, values[order], None, notes,
        groups=tuple(groups), marked=reported[order], missing="–",
    )  # fmt: skip
    return styled(table, style or paper.style)


def _columns(
    benchmark: Benchmark, scores: Scores | None, metrics: list[Metric], title: str
) -> list[dict[str, tuple[float, bool]]]:
    """Per metric {row: (score, whether it is reported)}; a reported number beside a computed one has its own row."""
    columns: list[dict[str, tuple[float, bool]]] = [{} for _ in metrics]
    own: set[str] = set()
    if scores is not None:
        names = [benchmark.names.get(tracker, tracker) for tracker in scores.trackers]
        if len(own := set(names)) != len(names):
            raise DataError(f"{title}: names gives two trackers one row; give each its own")
        for column, metric in zip(columns, metrics, strict=True):
            values = scores.score(metric).tolist()
            column |= {name: (value, False) for name, value in zip(names, values, strict=True)}
    for name, numbers in benchmark.reported.items():
        row = name + _REPORTED if name in own else name
        for key, number in numbers.items():
            metric = get_metric(key)
            if metric not in metrics:
                raise DataError(f"{title}: {name} reports {key}, which is not among its metrics; add it there")
            columns[metrics.index(metric)][row] = (parse_reported(f"{number:.10g}").value, True)
    return columns
