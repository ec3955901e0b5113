"""Parts of figures whose places are known beforehand: matplotlib measures every text of its own ticks and legends."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import NullLocator
from matplotlib.transforms import Affine2D, Transform

#: Half the height of digits and capitals, in heights of the font.
MIDDLE = 0.36


class Label(Text):
    """A line of text that is placed by the left end of its baseline."""

    def draw(self, renderer: RendererBase, *_: Any, **__: Any) -> None:
        if not self.get_visible():
            return
        x, y = self.get_transform().transform(self.get_position())
        if renderer.flipy():
            y = renderer.get_canvas_width_height()[1] - y
        graphics = renderer.new_gc()
        graphics.set_foreground(self.get_color())
        renderer.draw_text(graphics, x, y, self.get_text(), self.get_fontproperties(), 0.0, mtext=self)
        graphics.restore()


def text_width(text: str, points: float) -> float:
    """Inches that a line takes in the font in force."""
    family = tuple(rcParams["font.family"])
    words = text.split(" ")
    return points / 72 * (sum(_width(word, family) for word in words) + (len(words) - 1) * _width(" ", family))


@lru_cache(4096)
def _width(word: str, family: tuple[str, ...]) -> float:
    """Of a word, in heights of the font."""
    return (
        float(text_to_path.get_text_width_height_descent(word, FontProperties(family=list(family), size=100), False)[0])
        / 100
    )


def inches(figure: Figure) -> Transform:
    """From inches of the figure; moves with a file's cut edges."""
    width, height = figure.get_size_inches()
    return Affine2D().scale(1 / width, 1 / height) + figure.transFigure


def add_ticks(axes: Axes, box: tuple[float, float, float, float], points: float) -> None:
    """Ticks, their labels and a grid where matplotlib would put them, and the places of the axes' own labels.

    Args:
        box: left, bottom, width and height of the axes in inches.
    """
    left, bottom, width, height = box
    assert isinstance(axes.figure, Figure)
    mark = float(rcParams["xtick.major.size"]) / 72
    gap, em, own = mark + float(rcParams["xtick.major.pad"]) / 72, points / 72, inches(axes.figure)
    strokes: list[list[tuple[float, float]]] = []
    widest = 0.0
    for axis, start, length in ((axes.xaxis, left, width), (axes.yaxis, bottom, height)):
        low, high = axis.get_view_interval()
        at = [t for t in axis.get_majorticklocs().tolist() if -1e-9 <= (t - low) / (high - low) <= 1 + 1e-9]
        for place, text in zip(at, axis.get_major_formatter().format_ticks(at), strict=True):
            along, wide = start + (place - low) / (high - low) * length, text_width(text, points)
            if axis is axes.xaxis:
                strokes += [[(along, bottom), (along, bottom + height)], [(along, bottom), (along, bottom - mark)]]
                corner = along - wide / 2, bottom - gap - 0.76 * em
            else:
                strokes += [[(left, along), (left + width, along)], [(left, along), (left - mark, along)]]
                corner = left - gap - wide, along - MIDDLE * em
                widest = max(widest, wide)
            axes.figure.add_artist(Label(*corner, text, size=points, transform=own))
        axis.set_major_locator(NullLocator())
    pad = gap + float(rcParams["axes.labelpad"]) / 72
    axes.xaxis.set_label_coords(0.5, -(pad + em) / height)
    axes.yaxis.set_label_coords(-(pad + widest) / width, 0.5)
    grid: Any = {"color": rcParams["grid.color"], "linestyle": rcParams["grid.linestyle"],
                 "linewidth": rcParams["grid.linewidth"], "alpha": rcParams["grid.alpha"]}  # fmt: skip
    plain: Any = {"color": "black", "linewidth": rcParams["xtick.major.width"]}
    for chosen, how in ((strokes[::2], grid), (strokes[1::2], plain)):
        axes.add_collection(LineCollection(chosen, transform=own, clip_on=False, zorder=0.5, **how), autolim=False)
