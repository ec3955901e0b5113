"""Figures in the look of the official toolkits: ranked legends `[0.573] name`, colours and line styles without end.

Each figure is written as PNG, SVG and PDF, with a CSV of what it shows beside it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tnllt.errors import DataError
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.tables import footnotes, plural
from tnllt.sequence import Flags
from tnllt.text import csv_cell, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tnllt.eval.scores import Scores

FORMATS = ("png", "svg", "pdf")
#: Distinct at a glance and for colour-blind readers as far as so many can be; then line styles take over.
COLORS = (
    "#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#17a2b8", "#c8a200", "#f032e6", "#808000", "#9a6324",
    "#000075", "#469990", "#800000", "#7f7f7f",
)  # fmt: skip
LINES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))
#: A legend longer than this goes beside the curves, in columns.
_LEGEND_INSIDE = 12
_STYLE: dict[Any, Any] = {
    "axes.grid": True, "grid.alpha": 0.35, "grid.linestyle": ":", "axes.axisbelow": True,
    "legend.framealpha": 0.85, "legend.fontsize": 9, "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path",
    "svg.hashsalt": "tnllt", "text.parse_math": False, "axes.unicode_minus": False, "savefig.dpi": 150,
}  # fmt: skip


def line_style(rank: int) -> dict[str, Any]:
    """Colour and line style of the tracker at a rank: colours cycle first, then styles, without end."""
    style = LINES[(rank // len(COLORS)) % len(LINES)]
    width = 2.2 - 0.6 * ((rank // (len(COLORS) * len(LINES))) % 3)
    return {"color": COLORS[rank % len(COLORS)], "linestyle": style, "linewidth": width}


def plot(
    scores: Scores,
    folder: Path,
    metrics: str | Iterable[str] = "all",
    attributes: bool = False,
    formats: Iterable[str] = FORMATS,
) -> list[Path]:
    """Draws every chosen metric that has a curve; returns the paths written.

    * `<metric>.*`: overall; `curves.*`: every curve side by side;
    * with `attributes`: `<metric>_<attribute>.*` and `<metric>_radar.*`.

    Raises:
        DataError: the folder cannot be written.
    """
    chosen = [m for m in scores.metrics(metrics) if m.has_curve] or list(CURVE_METRICS[:1])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with paper_style():
            return list(_draw(scores, folder, chosen, attributes, tuple(formats)))
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror})", folder) from error


def _draw(
    scores: Scores, folder: Path, chosen: list[Metric], attributes: bool, formats: tuple[str, ...]
) -> Iterator[Path]:
    for metric in chosen:
        yield from _curve_figure(scores, folder / metric.name, [metric], None, "", formats)
    everything = [metric for metric in scores.metrics() if metric.has_curve]
    yield from _curve_figure(scores, folder / "curves", everything, None, "", formats)
    if not attributes:
        return
    members = scores.attribute_members()
    for metric in chosen:
        for name, flags in members.items():
            title = f"{name} ({int(flags.sum())})"
            stem = folder / f"{metric.name}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}"
            yield from _curve_figure(scores, stem, [metric], flags, title, formats)
        if len(members) > 2:
            yield from _radar_figure(scores, folder / f"{metric.name}_radar", metric, formats)


def _curve_figure(
    scores: Scores, stem: Path, metrics: list[Metric], members: Flags | None, title: str, formats: tuple[str, ...]
) -> Iterator[Path]:
    from matplotlib.figure import Figure

    outside = len(scores.trackers) > _LEGEND_INSIDE
    columns = -(-len(scores.trackers) // 26)
    width = 6.0 + (2.6 * columns if outside else 0)
    figure = Figure(figsize=(width * len(metrics), 4.8), layout="constrained")
    for axes, metric in zip(np.atleast_1d(figure.subplots(1, len(metrics))), metrics, strict=True):
        draw_curves(axes, scores, metric, members, title, columns if outside else 0)
    _footnote(figure, scores, members)
    yield from _save(figure, stem, formats)
    yield _write_csv(stem.with_name(stem.name + ".csv"), _curve_rows(scores, metrics, members))


def draw_curves(
    axes: Axes, scores: Scores, metric: Metric, members: Flags | None = None, title: str = "", outside: int = 0
) -> None:
    """One metric's mean curves on an axes, best tracker first in the legend (`outside`: in so many columns beside)."""
    assert metric.figure is not None
    thresholds = metric.thresholds(scores.protocol)
    curves, values = scores.mean_curve(metric, members), scores.score(metric, members)
    order = scores.ranking(metric, members)
    for rank, k in reversed(list(enumerate(order))):  # the best is drawn last, on top
        label = f"[{values[k]:.3f}] {one_line(scores.trackers[k])}"
        axes.plot(thresholds, curves[k], label=label, zorder=3 + 1 / (1 + rank), **line_style(rank))
    name = f"{metric.figure.title} plots of OPE"
    axes.set_title(f"{name} – {one_line(title)}" if title else f"{name} on {_benchmark(scores.dataset)}")
    axes.set_xlabel(metric.figure.x)
    axes.set_ylabel(metric.figure.y)
    axes.set_xlim(float(thresholds[0]), float(thresholds[-1]))
    axes.set_ylim(0, 1)
    handles, labels = axes.get_legend_handles_labels()
    falls = np.nansum(curves[:, 0]) >= np.nansum(curves[:, -1])
    where: dict[str, Any] = {"loc": "lower left" if falls else "lower right"}
    if outside:
        where = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.0), "ncols": outside, "borderaxespad": 0.0}
    axes.legend(handles[::-1], labels[::-1], **where)


def _benchmark(name: str) -> str:
    from tnllt.datasets import BENCHMARKS

    return (BENCHMARKS[name].title if name in BENCHMARKS else one_line(name)) or "the dataset"


def _radar_figure(scores: Scores, stem: Path, metric: Metric, formats: tuple[str, ...]) -> Iterator[Path]:
    from matplotlib.figure import Figure

    by_attribute = scores.per_attribute(metric)
    names, values = list(by_attribute), np.array(list(by_attribute.values()))
    angles = np.linspace(0, 2 * np.pi, len(names), endpoint=False)
    overall = scores.score(metric)
    order = scores.ranking(metric)
    columns = -(-len(order) // 26)
    figure = Figure(figsize=(6.2 + 2.6 * columns, 6.0), layout="constrained")
    axes = figure.add_subplot(projection="polar")
    axes.set_theta_zero_location("N")  # type: ignore[attr-defined]
    axes.set_theta_direction(-1)  # type: ignore[attr-defined]
    for rank, k in reversed(list(enumerate(order))):
        closed = np.append(values[:, k], values[0, k])
        label = f"[{overall[k]:.3f}] {one_line(scores.trackers[k])}"
        axes.plot(np.append(angles, angles[0]), closed, label=label, **line_style(rank))
    best, worst = values.max(1), values.min(1)
    ticks = [f"{one_line(n)}\n({b:.3f}, {w:.3f})" for n, b, w in zip(names, best, worst, strict=True)]
    axes.set_xticks(angles, ticks, fontsize=9)
    axes.tick_params(axis="x", pad=8)
    for tick, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side = np.sin(angle)
        tick.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
    axes.tick_params(axis="y", labelsize=8, labelcolor="#777777")
    axes.set_rlabel_position(180 / len(names))  # type: ignore[attr-defined]
    axes.set_ylim(0, max(0.05, float(np.ceil(values.max() * 10) / 10)))
    axes.set_title(f"{metric.label} by attribute (best, worst)", pad=30)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.25, 1.05), ncols=columns)
    _footnote(figure, scores)
    yield from _save(figure, stem, formats)
    rows = [[scores.trackers[k], *values[:, k].tolist()] for k in order]
    yield _write_csv(stem.with_name(stem.name + ".csv"), [["tracker", *names], *rows])


def _footnote(figure: Figure, scores: Scores, members: Flags | None = None) -> None:
    """Protocol, ceiling and floor, and the footnotes where results are incomplete."""
    bounds = scores.reference("success", members)
    count = len(scores.sequences) if members is None else int(members.sum())
    text = f"protocol {scores.protocol.name}, {plural(count, 'sequence')}"
    if bounds:
        text += f"; success of the ground-truth reference {bounds['ceiling']:.3f}, "
        text += f"of the static-box reference {bounds['floor']:.3f}"
    incomplete = {"missing", "refused", "short"} & {note.kind for note in scores.notes}
    lines = [text, *(footnotes(scores) if incomplete else [])]
    kept = [one_line(line) if len(line) < 140 else one_line(line[:137]) + "..." for line in lines[:5]]
    figure.supxlabel("\n".join(kept), fontsize=7, color="#555555")


def _curve_rows(scores: Scores, metrics: list[Metric], members: Flags | None) -> Iterator[list[Any]]:
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


def _save(figure: Figure, stem: Path, formats: tuple[str, ...]) -> Iterator[Path]:
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.execute(figure)
    figure.set_layout_engine("none")  # laid out and measured once, not again for every format
    extent = figure.get_tightbbox().padded(0.08)
    for ending in formats:
        path = stem.with_name(f"{stem.name}.{ending}")
        # Without dates and versions, equal scores give equal files.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(ending, {"Software": None})
        figure.savefig(path, metadata=metadata, bbox_inches=extent)
        yield path


@contextmanager
def paper_style(font_size: int = 11) -> Iterator[None]:
    """Our style in place of the user's own, without warnings about letters that the font lacks."""
    import warnings

    import matplotlib

    with matplotlib.rc_context({**_STYLE, "font.size": font_size}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
