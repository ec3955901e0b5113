"""Figures as data, and how they are drawn: sizes follow from the font's, so that nothing is laid out twice."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import UsageError
from tnllt.eval.fonts import small_copy
from tnllt.eval.style import WIDTHS, DrawnStyle, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_STYLE: dict[Any, Any] = {
    "axes.grid": True, "grid.alpha": 0.35, "grid.linestyle": ":", "grid.linewidth": 0.5, "axes.axisbelow": True,
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "xtick.major.size": 2.5,
    "ytick.major.size": 2.5, "axes.titlesize": "medium", "pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "path",
    "svg.hashsalt": "tnllt", "text.parse_math": False, "axes.unicode_minus": False, "savefig.dpi": 200,
}  # fmt: skip
# Sizes in heights of the font: legend and footer are set smaller; margins of axes hold ticks and labels.
_SMALL, _FOOT = 0.875, 0.75
_LEFT, _RIGHT, _BOTTOM, _LINE = 3.9, 1.1, 3.2, 1.3
#: Inches of the axes, where the style does not fix the height.
_HIGHEST = 3.0


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes: K curves over N thresholds, or K trackers' values at N attributes round a circle.

    Attributes:
        at: (N,) thresholds, or names of attributes.
        values: (K, N), in the order of the legend.
        ranks: (K) from 0: the best is drawn on top.
        labels: (K) texts of the legend; none: no legend.
    """

    title: str
    x: str
    y: str
    at: tuple[float, ...] | tuple[str, ...]
    values: Array
    ranks: tuple[int, ...]
    labels: tuple[str, ...]
    looks: tuple[DrawnStyle, ...]

    @property
    def is_radar(self) -> bool:
        return isinstance(self.at[0], str)


@dataclass(frozen=True, eq=False)
class Sheet:
    """A figure as data: its panels side by side, and the facts that its footer and its files' metadata state."""

    stem: Path
    panels: tuple[Panel, ...]
    facts: tuple[str, ...]
    style: Style


def save(sheet: Sheet) -> list[Path]:
    """Draws the figure and writes it in every format of its style; returns the paths."""
    from matplotlib.transforms import Bbox

    with paper_style(sheet.style, "".join(_texts(sheet))):
        figure, foot = draw(sheet)
        whole = Bbox.from_extents(0, 0, *figure.get_size_inches())
        title = " ".join(sheet.panels[0].title.split())
        written = []
        for ending in sheet.style.formats:
            path = sheet.stem.with_name(f"{sheet.stem.name}.{ending}")
            shown = ending != "pdf" if sheet.style.footer is None else sheet.style.footer
            for text in figure.texts:
                text.set_visible(shown)
            extent = whole if shown else Bbox.from_extents(0, foot, whole.x1, whole.y1)
            # Without dates and versions, equal scores give equal files.
            own = {"svg": {"Date": None, "Description": " ".join(sheet.facts)},
                   "pdf": {"CreationDate": None, "Subject": " ".join(sheet.facts)}}  # fmt: skip
            metadata = {"Title": title, **own.get(ending, {"Software": None, "Description": " ".join(sheet.facts)})}
            quick: Any = {"pil_kwargs": {"compress_level": 3}} if ending == "png" else {}
            figure.savefig(path, metadata=metadata, bbox_inches=extent, **quick)
            written.append(path)
    return written


def _texts(sheet: Sheet) -> Iterator[str]:
    yield from sheet.facts
    for panel in sheet.panels:
        yield from (panel.title, panel.x, panel.y, *map(str, panel.at), *panel.labels)


def draw(sheet: Sheet) -> tuple[Figure, float]:
    """The figure, and the height in inches of its footer, which is at the bottom."""
    from matplotlib.figure import Figure

    from tnllt.eval.artists import Label, add_ticks, inches, text_width

    style, em = sheet.style, sheet.style.font_size / 72
    size = WIDTHS["page" if len(sheet.panels) > 1 else style.size] if isinstance(style.size, str) else style.size
    width, height = size if isinstance(size, tuple) else (size, None)
    each = width / len(sheet.panels)
    legends = [_Legend(panel.labels, each - em, style.font_size * _SMALL) for panel in sheet.panels]
    facts = [line for fact in sheet.facts[:5] for line in textwrap.wrap(fact, int(width / em / _FOOT * 1.9))][:8]
    foot = (0.5 + len(facts) * _LINE * _FOOT) * em if style.footer is not False else 0.0
    left, right, bottom, above = _LEFT * em, _RIGHT * em, _BOTTOM * em, 0.0
    if sheet.panels[0].is_radar:
        names = max(
            text_width(n, style.font_size * _SMALL) for p in sheet.panels for k in p.at for n in str(k).split("\n")
        )
        left = right = names + 2.2 * em
        bottom = above = 3.6 * em
    axes_width = each - left - right
    # Titles are centred above the axes, not above the panel.
    titles = [
        _wrapped(panel.title, axes_width + 2 * min(left, right) - 0.5 * em, style.font_size) for panel in sheet.panels
    ]
    top = (0.5 + max(title.count("\n") + 1 for title in titles) * _LINE) * em if any(titles) else 0.8 * em
    rest = None if height is None else height - foot - top - above - bottom
    shape = 1.0 if sheet.panels[0].is_radar else 0.75
    axes_height = rest if rest is not None else min(shape * axes_width, _HIGHEST)
    corners = [_free_corner(panel, legend.width / axes_width, legend.height / axes_height)
               for panel, legend in zip(sheet.panels, legends, strict=True)]  # fmt: skip
    below = 0.0 if all(corners) else max(legend.height_below for legend in legends)
    if rest is not None and (axes_height := rest - below) < 6 * em:
        needed = height - axes_height + 8 * em if height else 0.0
        raise UsageError(f"[style] size: titles and legend need a height of at least {needed:.1f} inches")
    total = foot + below + bottom + axes_height + above + top
    figure = Figure(figsize=(width, total))
    for place, (panel, title, legend) in enumerate(zip(sheet.panels, titles, legends, strict=True)):
        x, y = place * each + left, foot + below + bottom
        box = (x / width, y / total, axes_width / width, axes_height / total)
        axes = figure.add_axes(box, projection="polar" if panel.is_radar else None)
        if panel.is_radar:
            _draw_radar(axes, panel, style)
        else:
            add_curves(axes, panel, style)
            add_ticks(axes, (x, y, axes_width, axes_height), style.font_size)
        axes.set_title(title, y=1 + above / axes_height, pad=0.5 * style.font_size)
        if panel.labels and below:
            # A name that is longer than the panel is wide begins inside it.
            x = max((place + 0.5) * each - legend.width_below / 2, place * each - 0.5 * legend.em)
            legend.draw(axes, panel, style, x, foot + below, legend.columns)
        elif panel.labels:
            corner, pad = str(corners[place]), 0.5 * _SMALL * em
            x += pad if "left" in corner else axes_width - legend.width - pad
            legend.draw(axes, panel, style, x, y + (legend.height + pad if "lower" in corner else axes_height - pad))
    points = style.font_size * _FOOT
    looks: dict[str, Any] = {"size": points, "color": "#555555", "transform": inches(figure), "figure": figure}
    for line, fact in enumerate(facts if foot else []):
        base = foot - ((0.3 + line) * _LINE + 0.76) * _FOOT * em
        figure.texts.append(Label((width - text_width(fact, points)) / 2, base, fact, **looks))
    return figure, foot


def add_curves(axes: Axes, panel: Panel, style: Style) -> None:
    lines = zip(panel.values, panel.ranks, panel.looks, strict=True)
    for values, rank, look in lines:
        axes.plot(panel.at, values, zorder=3 + 1 / (1 + rank), **_line(look, panel, style))
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    axes.set_xlim(float(panel.at[0]), float(panel.at[-1]))
    axes.set_ylim(0, 1)


def _draw_radar(axes: Any, panel: Panel, style: Style) -> None:
    angles = np.linspace(0, 2 * np.pi, len(panel.at), endpoint=False)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    for values, rank, look in zip(panel.values, panel.ranks, panel.looks, strict=True):
        closed = np.append(values, values[0])
        axes.plot(np.append(angles, angles[0]), closed, zorder=3 + 1 / (1 + rank), **_line(look, panel, style))
    axes.set_xticks(angles, [str(name) for name in panel.at], fontsize=style.font_size * _SMALL)
    axes.tick_params(axis="x", pad=style.font_size * 0.1)
    for tick, angle in zip(axes.get_xticklabels(), angles, strict=True):
        side, up = np.sin(angle), np.cos(angle)
        tick.set_horizontalalignment("center" if abs(side) < 0.1 else "left" if side > 0 else "right")
        tick.set_verticalalignment("center" if abs(up) < 0.9 else "bottom" if up > 0 else "top")
    axes.tick_params(axis="y", labelsize=style.font_size * _FOOT, labelcolor="#777777")
    axes.set_rlabel_position(180 / len(panel.at))
    axes.set_ylim(0, max(0.05, float(np.ceil(np.nanmax(panel.values) * 10) / 10)))


def _line(look: DrawnStyle, panel: Panel, style: Style) -> dict[str, Any]:
    width = style.font_size / (6 if len(panel.looks) <= 8 else 8)
    return {"color": look.colour, "linestyle": (0, look.dash) if look.dash else "-", "linewidth": width}


class _Legend:
    """A legend by the widths of its texts, in inches: in one column, and below the axes in several.

    It is drawn as lines and texts, for matplotlib's own legend lays each text out five times.
    """

    def __init__(self, labels: tuple[str, ...], room: float, points: float) -> None:
        from tnllt.eval.artists import text_width

        self.em = em = points / 72
        self.entry = max((text_width(label, points) for label in labels), default=0.0) + 4.2 * em
        self.width, self.height = (self.entry + 0.6 * em, (len(labels) * 1.45 + 1.2) * em) if labels else (0.0, 0.0)
        self.columns = max(1, min(len(labels), int((room + 1.2 * em) / self.entry)))
        rows = -(-len(labels) // self.columns)
        self.width_below, self.height_below = self.columns * self.entry, (rows * 1.45 + 1.2) * em if labels else 0.0

    def draw(self, axes: Axes, panel: Panel, style: Style, left: float, top: float, columns: int = 0) -> None:
        """Draws it from its upper left corner in inches of the figure: in a frame, or in `columns` without one."""
        from matplotlib.collections import LineCollection
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        from tnllt.eval.artists import MIDDLE, Label, inches

        assert isinstance(axes.figure, Figure)
        rows, em, own = -(-len(panel.labels) // max(1, columns)), self.em, inches(axes.figure)
        if not columns:
            frame: Any = {"facecolor": "white", "edgecolor": "#cccccc", "linewidth": 0.8, "alpha": 0.85, "zorder": 5}
            axes.add_patch(Rectangle((left, top - self.height), self.width, self.height, transform=own, **frame))
        places = [(left + (0.6 + k // rows * self.entry / em) * em, top - (1.325 + k % rows * 1.45) * em)
                  for k in range(len(panel.labels))]  # fmt: skip
        lines = [_line(look, panel, style) for look in panel.looks]
        looks: Any = {name + "s": [line[name] for line in lines] for name in ("color", "linestyle", "linewidth")}
        strokes = [[(x, y), (x + 2.4 * em, y)] for x, y in places]
        axes.add_collection(LineCollection(strokes, transform=own, clip_on=False, zorder=6, **looks), autolim=False)
        for (x, y), label in zip(places, panel.labels, strict=True):
            axes.add_artist(Label(x + 3 * em, y - MIDDLE * em, label, size=em * 72, transform=own, zorder=6))


def _free_corner(panel: Panel, width: float, height: float) -> str | None:
    """The corner of the axes in which a box (fractions of the axes) covers no curve; None where there is none."""
    if panel.is_radar or width > 0.7 or height > 0.7:
        return None if panel.labels else "upper left"
    pad = 0.03
    at = (np.array(panel.at, float) - panel.at[0]) / (panel.at[-1] - panel.at[0])  # type: ignore[operator]
    for name in ("lower left", "lower right", "upper right", "upper left"):
        left, low = (0.0 if "left" in name else 1 - width), (0.0 if "lower" in name else 1 - height)
        xs = np.linspace(max(0, left - pad), min(1, left + width + pad), 60)
        ys = np.array([np.interp(xs, at, np.nan_to_num(curve)) for curve in panel.values])
        if (((ys > low + height + pad).all(1)) | ((ys < low - pad).all(1))).all():
            return name
    return None


def _wrapped(title: str, room: float, points: float) -> str:
    """The title in lines that fit into so many inches, broken before its last part where that is enough."""
    from tnllt.eval.artists import text_width

    lines = [title]
    if title and text_width(title, points) > room:
        lines = title.split(" – ")
    return "\n".join(
        part
        for line in lines
        for part in textwrap.wrap(line, max(8, int(len(line) * room / max(room, text_width(line, points)))))
    )


@contextmanager
def paper_style(style: Style, texts: str = "") -> Iterator[None]:
    """Our look in place of the user's own settings, without warnings about letters that the font lacks.

    Args:
        texts: what will be written, so that a small copy of the font will do; "": the whole font is used.

    Raises:
        UsageError: the style's font is not installed.
    """
    import warnings

    import matplotlib
    from matplotlib.font_manager import FontProperties, findfont

    own: dict[Any, Any] = {"font.size": style.font_size}
    if style.font:
        own["font.family"] = style.font
        try:
            findfont(FontProperties(family=style.font), fallback_to_default=False)
        except ValueError:
            raise UsageError(f"[style] font: no font {style.font!r} is installed; try serif or sans-serif") from None
    with matplotlib.rc_context({**_STYLE, **own}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if texts and (copy := small_copy(findfont(FontProperties()), texts.replace("\n", ""))):
            family, whole = copy
            matplotlib.rcParams["font.family"] = [family, *([] if whole else matplotlib.rcParams["font.family"])]
        yield
