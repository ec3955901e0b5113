"""The critical-difference diagram (Demsar 2006): mean ranks on a line, bars join trackers that do not differ."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tnllt.eval.drawing import paper_style
from tnllt.eval.metrics import Metric
from tnllt.eval.score_table import name_cell
from tnllt.eval.statistics import CriticalDifference
from tnllt.eval.style import Style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_diagram(
    found: CriticalDifference, trackers: Seq[str], folder: Path, metric: Metric, style: Style | None = None
) -> list[Path]:
    """Draws `critical_difference_<metric>` with the style's names, font and formats; returns the paths."""
    style = style or Style()
    paths = [folder / f"critical_difference_{metric.name}.{ending}" for ending in style.formats]
    with paper_style(style):
        figure = draw(found, [style.label(tracker) for tracker in trackers])
        for path in paths:
            figure.savefig(path, bbox_inches="tight")
    return paths


def draw(found: CriticalDifference, trackers: Seq[str]) -> Figure:
    """The diagram as a matplotlib figure, 6 inches wide."""
    from matplotlib.figure import Figure

    order = np.argsort(found.mean_ranks, kind="stable")
    count = len(order)
    half = (count + 1) // 2
    cliques = found.cliques()
    bars = 0.32 * len(cliques) + 0.35
    height = 1.0 + bars + 0.42 * half
    figure = Figure(figsize=(6, 0.55 * height + 0.3))
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set_axis_off()
    axes.set_ylim(height, 0)
    axes.set_xlim(1 - 0.55 * (count - 1), count + 0.55 * (count - 1))
    line = 0.85
    axes.plot([1, count], [line, line], color="black", lw=1.2)
    for rank in range(1, count + 1):
        axes.plot([rank, rank], [line - 0.1, line], color="black", lw=1)
        axes.text(rank, line - 0.18, str(rank), ha="center", va="bottom")
    axes.plot([1, 1 + found.critical_difference], [0.22, 0.22], color="black", lw=1.6)
    axes.text(1 + found.critical_difference + 0.03 * count, 0.22, f"CD = {found.critical_difference:.2f}", va="center")
    for number, clique in enumerate(cliques):
        ranks = found.mean_ranks[list(clique)]
        level = line + 0.3 + 0.32 * number
        axes.plot(
            [ranks.min() - 0.03, ranks.max() + 0.03], [level, level], color="#0072b2", lw=4, solid_capstyle="round"
        )
    for place, tracker in enumerate(order):
        rank, left = found.mean_ranks[tracker], place < half
        level = line + bars + 0.42 * (place if left else count - 1 - place)
        edge = 1 - 0.06 * (count - 1) if left else count + 0.06 * (count - 1)
        axes.plot([rank, rank, edge], [line, level, level], color="#444444", lw=0.8)
        name = name_cell(trackers[tracker], 32)
        text = f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}"
        axes.text(edge + (-0.02 if left else 0.02) * count, level, text, ha="right" if left else "left", va="center")
    return figure
