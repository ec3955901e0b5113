"""Figures for a two-column paper, in the look of the official toolkits: ranked legends `[0.573] name`.

Each figure is first made as plain data, a `Sheet`, and then drawn, by several processes where there are many. A CSV
beside it has what it shows.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.errors import DataError
from tnllt.eval.drawing import Panel, Sheet, add_curves, paper_style, save
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.style import Style
from tnllt.eval.tables import footnotes, plural
from tnllt.processes import map_in_processes
from tnllt.sequence import Flags
from tnllt.text import csv_cell, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tnllt.eval.scores import Scores

Array = NDArray[np.float64]
#: A process of its own is worth its start for so many figures.
_WORTH_A_PROCESS = 8


def plot(
    scores: Scores,
    folder: Path,
    metrics: str | Iterable[str] = "all",
    attributes: bool = False,
    style: Style | None = None,
    workers: int = 1,
) -> list[Path]:
    """Draws every chosen metric that has a curve; returns the paths written.

    * `<metric>.*`: overall; `curves.*`: every curve side by side;
    * with `attributes`: `<metric>_<attribute>.*` and `<metric>_radar.*`.

    Args:
        style: sizes, names, colours and formats; None: `Style()`.
        workers: processes that draw. More than one needs a main module that can be imported.

    Raises:
        DataError: the folder cannot be written.
        UsageError: the style's font is not installed, or its height too small for the legend.
    """
    style = style or Style()
    chosen = [m for m in scores.metrics(metrics) if m.has_curve] or list(CURVE_METRICS[:1])
    with paper_style(style):  # refuses an unknown font before anything is written
        pass
    written: list[Path] = []
    sheets: list[Sheet] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for sheet, rows in _sheets(scores, folder, chosen, attributes, style):
            sheets.append(sheet)
            written.append(_write_csv(sheet.stem.with_name(sheet.stem.name + ".csv"), rows))
        for paths in map_in_processes(save, sheets, max(1, min(workers, len(sheets) // _WORTH_A_PROCESS))):
            written += paths
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror})", folder) from error
    return written


def _sheets(
    scores: Scores, folder: Path, chosen: list[Metric], attributes: bool, style: Style
) -> Iterator[tuple[Sheet, Iterable[list[Any]]]]:
    """Every figure with the rows of its CSV."""
    facts = partial(_facts, scores)
    everything = [metric for metric in scores.metrics() if metric.has_curve]
    for stem, metrics in [*((m.name, [m]) for m in chosen), ("curves", everything)]:
        panels = tuple(curve_panel(scores, metric, style) for metric in metrics)
        yield Sheet(folder / stem, panels, facts(), style), _curve_rows(scores, metrics)
    members = scores.attribute_members() if attributes else {}
    for metric in chosen:
        for name, flags in members.items():
            title = ATTRIBUTE_TITLES.get(name, name)
            panel = curve_panel(scores, metric, style, flags, f"{title[:1].upper()}{title[1:]} ({int(flags.sum())})")
            stem = f"{metric.name}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}"
            yield Sheet(folder / stem, (panel,), facts(flags), style), _curve_rows(scores, [metric], flags)
        if len(members) > 2:
            values = np.array(list(scores.per_attribute(metric).values()))
            rows = [[scores.trackers[k], *values[:, k].tolist()] for k in scores.ranking(metric)]
            sheet = Sheet(folder / f"{metric.name}_radar", (_radar_panel(scores, metric, style),), facts(), style)
            yield sheet, [["tracker", *members], *rows]


def curve_panel(
    scores: Scores, metric: Metric, style: Style, members: Flags | None = None, attribute: str = ""
) -> Panel:
    """One metric's mean curves over all sequences, or over `members` (S,)."""
    assert metric.figure is not None
    thresholds = tuple(metric.thresholds(scores.protocol).tolist())
    title = _title(style.title, metric.figure.title, scores.title, attribute)
    curves = scores.mean_curve(metric, members)
    return _panel(scores, metric, style, members, (title, metric.figure.x, metric.figure.y), thresholds, curves)


def _radar_panel(scores: Scores, metric: Metric, style: Style) -> Panel:
    by = {name: row for name, row in scores.per_attribute(metric).items() if not np.isnan(row).all()}
    names = tuple(f"{one_line(n)}\n{np.nanmax(row):.2f}/{np.nanmin(row):.2f}" for n, row in by.items())
    template = "{metric} by attribute on {benchmark} – best/worst" if style.title else ""
    title = _title(template, metric.label, scores.title, "")
    return _panel(scores, metric, style, None, (title, "", ""), names, np.array(list(by.values())).T)


def _panel(
    scores: Scores, metric: Metric, style: Style, members: Flags | None, texts: tuple[str, str, str],
    at: tuple[float, ...] | tuple[str, ...], values: Array,
) -> Panel:  # fmt: skip
    score = scores.score(metric, members)
    ranks = {scores.trackers[k]: rank for rank, k in enumerate(scores.ranking(metric, members))}
    places = {name: k for k, name in enumerate(scores.trackers)}
    listed = style.ordered(ranks)
    looks = style.looks(listed, scores.peers)
    labels = [looks[name].label for name in listed]
    if style.legend == "score":
        labels = [f"[{score[places[name]]:.3f}] {label}" for name, label in zip(listed, labels, strict=True)]
    return Panel(
        *texts, at, values[[places[name] for name in listed]], tuple(ranks[name] for name in listed),
        tuple(labels) if style.legend != "none" else (), tuple(looks[name] for name in listed),
    )  # fmt: skip


def _title(template: str, metric: str, benchmark: str, attribute: str) -> str:
    texts = {"{metric}": metric, "{benchmark}": benchmark, "{attribute}": one_line(attribute)}
    return re.sub(r"\{\w+\}", lambda m: texts.get(m[0], m[0]), template).strip(" –-")


def _facts(scores: Scores, members: Flags | None = None) -> tuple[str, ...]:
    """Protocol, ceiling and floor, and the footnotes where results are incomplete."""
    bounds = scores.reference("success", members)
    count = len(scores.sequences) if members is None else int(members.sum())
    text = f"protocol {scores.protocol.name}, {plural(count, 'sequence')}"
    if bounds:
        text += f"; success of the ground-truth reference {bounds['ceiling']:.3f}, "
        text += f"of the static-box reference {bounds['floor']:.3f}"
    incomplete = {"missing", "refused", "short"} & {note.kind for note in scores.notes}
    return text, *map(one_line, footnotes(scores) if incomplete else ())


def _curve_rows(scores: Scores, metrics: list[Metric], members: Flags | None = None) -> Iterator[list[Any]]:
    yield ["metric", "threshold", *scores.trackers, *(own.tracker for own in scores.references)]
    for metric in metrics:
        curves = [*scores.mean_curve(metric, members), *scores.reference_curve(metric, members).values()]
        for i, threshold in enumerate(metric.thresholds(scores.protocol)):
            yield [metric.name, float(threshold), *(float(curve[i]) for curve in curves)]


def _write_csv(path: Path, rows: Iterable[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(
            [csv_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows
        )
    return path


def draw_curves(
    axes: Axes, scores: Scores, metric: Metric, members: Flags | None = None, style: Style | None = None
) -> None:
    """One metric's mean curves on axes of one's own, best tracker first in the legend."""
    style = style or Style()
    panel = curve_panel(scores, metric, style, members)
    add_curves(axes, panel, style)
    axes.set_title(panel.title)
    if panel.labels:
        axes.legend(axes.lines[: len(panel.labels)], panel.labels)
