"""The report page and the figures: time and size, against the same curves as a page of plotly's.

    python benchmarks/reporting.py

21 trackers on 50 sequences, as `benchmarks/scoring.py` makes them; scores are there before the clock starts. Plotly's
page has the three sets of curves and one box plot of the sequences' scores, its script embedded, so that it needs no
network either: less than the report shows, which adds tables, attributes, sequences and overlaps over time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import Table, present, race, ratio, version
from scoring import make

from tnllt.config import ScoreConfig
from tnllt.eval.figures import plot
from tnllt.eval.metrics import CURVE_METRICS
from tnllt.eval.report import report_details, write_report
from tnllt.eval.scores import Scores
from tnllt.eval.selection import select
from tnllt.eval.style import FORMATS
from tnllt.processes import processors

CURVE_NAMES = tuple(metric.name for metric in CURVE_METRICS)


def plotly_page(scores: Scores, path: Path) -> None:
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=2, subplot_titles=[*CURVE_NAMES, "success per sequence"])
    for place, name in enumerate(CURVE_NAMES):
        x, curves = np.asarray(scores.protocol.thresholds(name)), scores.mean_curve(name)
        for tracker, y in zip(scores.trackers, curves, strict=True):
            line = {"x": x, "y": y, "name": tracker, "mode": "lines"}
            figure.add_trace(line | {"type": "scatter"}, place // 2 + 1, place % 2 + 1)
    for tracker, values in zip(scores.trackers, scores.per_sequence("success"), strict=True):
        figure.add_trace({"type": "box", "y": values, "name": tracker}, 2, 2)
    figure.write_html(path, include_plotlyjs=True)


def plain_figures(scores: Scores, folder: Path) -> list[Path]:
    """The same curves as matplotlib's manual has them: a constrained layout, each figure drawn after the other."""
    from matplotlib.figure import Figure

    written = []
    folder.mkdir()
    for metric in CURVE_METRICS:
        x = metric.thresholds(scores.protocol)
        for name, members in {"all": None, **scores.attribute_members()}.items():
            figure = Figure(figsize=(8.6, 4.8), layout="constrained")
            axes = figure.subplots()
            for k in scores.ranking(metric, members):
                axes.plot(x, scores.mean_curve(metric, members)[k], label=scores.trackers[k])
            axes.legend(loc="upper left", bbox_to_anchor=(1.03, 1.0))
            for ending in FORMATS:
                written.append(folder / f"{metric.name}_{name}.{ending}")
                figure.savefig(written[-1], bbox_inches="tight", dpi=150)
    return written


def section(quick: bool = False) -> Table:
    trackers, sequences = (3, 4) if quick else (21, 50)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, trackers, sequences)
        selection = select(ScoreConfig("tnllt", annos=folder / "annos", results=folder / "results", cache=False))
        details = report_details(selection)
        scores = selection.score(details)
        works: dict[str, tuple[Callable[[], object], Path]] = {
            "tnllt, report.html": (lambda: write_report(scores, folder, details), folder / "report.html"),
            "tnllt, report.html, results read again for it": (
                lambda: write_report(scores, folder, selection),
                folder / "report.html",
            ),
        }
        found, why = present("plotly")
        if found:
            page = folder / "plotly.html"
            works[f"{version('plotly')}, curves and boxes"] = (lambda: plotly_page(scores, page), page)
        spent = race({label: work for label, (work, _) in works.items()}, 1 if quick else 2)
        table = Table(
            "Report and figures",
            f"{trackers} trackers on {sequences} sequences, scores at hand, results seen while they were scored; "
            f"{processors()} processors. Time by the clock, best of rounds that alternate; x: how many times our time "
            "the other takes.",
            ["what", "s", "MB", "x"],
        )
        ours = spent["tnllt, report.html"].clock
        for label, (_, path) in works.items():
            size = f"{path.stat().st_size / 1e6:.1f}"
            table.rows.append([label, f"{spent[label].clock:.1f}", size, ratio(spent[label].clock, ours)])
        drawn: dict[str, list[Path]] = {}

        def draw() -> None:
            drawn["tnllt"] = plot(scores, folder / "plots", "all", attributes=True, workers=processors())

        def draw_plainly() -> None:
            drawn["plain"] = plain_figures(scores, folder / "plain")

        spent = race({"tnllt": draw, "plain": draw_plainly}, 1)
        for name, what in (("tnllt", "tnllt"), ("plain", "matplotlib, constrained layout, without radars")):
            files = [p for p in drawn[name] if p.suffix != ".csv"]
            size = f"{sum(p.stat().st_size for p in files) / 1e6:.1f}"
            formats = " and ".join(name.upper() for name in FORMATS)
            label = f"{what}: {len(files)} files of curves overall and by attribute, {formats}"
            table.rows.append([label, f"{spent[name].clock:.1f}", size, ratio(spent[name].clock, spent["tnllt"].clock)])
    table.note = why
    return table


if __name__ == "__main__":
    print(section().markdown())
