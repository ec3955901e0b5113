"""How trackers and figures look, in one record: display names, colours, dashes, order, size, font, title, legend.

A tracker's colour and dash follow from its name's place among all trackers of the results, sorted by name, so that they
are the same in every curve, report, viewer and video whatever the scores are. A style file overrides them::

    [style]
    size = "column"                # or "page", or [width, height] in inches
    font = "serif"
    font_size = 8
    order = ["Ours", "DiMP50"]     # of legends and tables; these take the first colours, too

    [style.trackers.DiMP50]
    name = "DiMP-50"
    colour = "#d55e00"
    dash = "dashed"
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tnllt.config import config_file
from tnllt.errors import DataError, UsageError
from tnllt.files import read_toml, user_path
from tnllt.records import from_table
from tnllt.text import one_line

#: Pairs of these differ by at least 25 in CIELAB for normal, protan, deutan and tritan vision (Machado et al. 2009).
COLOURS = ("#0072b2", "#d55e00", "#244a00", "#8414f0", "#df87ae", "#86ba62", "#713051")
#: Lengths of strokes and gaps in widths of the line; the first trackers get solid lines.
DASHES: tuple[tuple[float, ...], ...] = (
    (), (4.5, 1.5), (1.2, 1.2), (7, 1.5, 1.2, 1.5), (2.5, 1.2), (7, 1.2, 1.2, 1.2, 1.2, 1.2), (10, 3), (3, 3),
)  # fmt: skip
_NAMED_DASHES = dict(zip(("solid", "dashed", "dotted", "dashdot"), DASHES[:4], strict=True))
#: Widths in inches that fit into a column and a page of both CVPR's and IEEE's two-column layouts.
WIDTHS = {"column": 3.25, "page": 6.875}
#: PDF for papers, PNG for looking; SVG, which costs as much again as a PNG, is made where it is asked for.
FORMATS: tuple[Literal["png", "svg", "pdf"], ...] = ("png", "pdf")


@dataclass(frozen=True)
class DrawnStyle:
    """How one tracker is drawn.

    Attributes:
        label: its display name.
        colour, bright: "#rrggbb" on white and on dark ground.
        dash: lengths of strokes and gaps in widths of the line; empty: solid.
    """

    label: str
    colour: str
    bright: str
    dash: tuple[float, ...]


@dataclass(frozen=True)
class TrackerStyle:
    """What a style file says about one tracker; what is None follows from its name.

    Attributes:
        name: display name.
        colour: "#rrggbb".
        dash: solid, dashed, dotted, dashdot, or lengths of strokes and gaps in widths of the line.
    """

    name: str | None = None
    colour: str | None = None
    dash: Literal["solid", "dashed", "dotted", "dashdot"] | tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.colour is not None and not re.fullmatch(r"#[0-9a-fA-F]{6}", self.colour):
            raise ValueError(f"colour {self.colour!r} must be #rrggbb, as #d55e00")
        if isinstance(self.dash, tuple) and (len(self.dash) % 2 or not all(0 < n <= 100 for n in self.dash)):
            raise ValueError("dash must be pairs of lengths, each above 0 and at most 100")


@dataclass(frozen=True)
class Style:
    """How figures, tables and pages look.

    Attributes:
        size: of a figure of one metric: "column" (3.25 in wide), "page" (6.875 in), or width and height in inches.
        font: family, as matplotlib knows it: "serif", "sans-serif", "Times New Roman"; "": matplotlib's own.
        font_size: points.
        title: with {metric}, {benchmark}, {attribute}; "": none.
        legend: "score" (`[0.573] name`), "name" or "none".
        footer: whether protocol, references and footnotes stand below each figure. They are in the file's metadata in
            any case. None: in PNG and SVG, not in PDF.
        order: trackers in the order of legends and tables; the others follow by score.
        formats: of the figures' files: png, svg, pdf.
        trackers: {tracker: its own style}.
    """

    size: Literal["column", "page"] | tuple[float, float] = "column"
    font: str = ""
    font_size: float = 8.0
    title: str = "{metric} plots of OPE on {benchmark} – {attribute}"
    legend: Literal["score", "name", "none"] = "score"
    footer: bool | None = None
    order: tuple[str, ...] = ()
    formats: tuple[Literal["png", "svg", "pdf"], ...] = FORMATS
    trackers: Mapping[str, TrackerStyle] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.size, str) and not all(1 <= side <= 40 for side in self.size):
            raise ValueError("size must be column, page, or [width, height] from 1 to 40 inches")
        if not 3 <= self.font_size <= 40:
            raise ValueError("font_size must be from 3 to 40 points")

    def label(self, tracker: str) -> str:
        """The display name, on one line."""
        own = self.trackers.get(tracker)
        return one_line(own.name if own is not None and own.name is not None else tracker)

    def looks(self, trackers: Iterable[str], among: Iterable[str] = ()) -> dict[str, DrawnStyle]:
        """{tracker: its look}.

        Args:
            trackers: those that are drawn.
            among: every tracker of the results, drawn or not: colours are given in the order of these names.
        """
        drawn = list(trackers)
        rest = sorted({*drawn, *among} - set(self.order), key=lambda name: (name.casefold(), name))
        places = {name: place for place, name in enumerate([*self.order, *rest])}
        return {name: self._look(name, places[name]) for name in drawn}

    def _look(self, tracker: str, place: int) -> DrawnStyle:
        own = self.trackers.get(tracker, TrackerStyle())
        colour = own.colour or COLOURS[place % len(COLOURS)]
        dash = DASHES[place // len(COLOURS) % len(DASHES)] if own.dash is None else own.dash
        lengths = _NAMED_DASHES[dash] if isinstance(dash, str) else dash
        lighter = "#" + "".join(f"{round(c + (255 - c) * 0.4):02x}" for c in rgb(colour))
        return DrawnStyle(self.label(tracker), colour, own.colour or lighter, lengths)

    def ordered(self, trackers: Iterable[str]) -> list[str]:
        """Trackers in the order of the style; those that it does not name follow as they come."""
        there = list(trackers)
        return [name for name in self.order if name in there] + [name for name in there if name not in self.order]


def rgb(colour: str) -> tuple[int, int, int]:
    """The channels of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def load_style(path: Path | None = None, config: str | Path | None = None) -> Style:
    """The `[style]` of a file; without one, that of the configuration file in force; else the default.

    Raises:
        UsageError: the file does not exist.
        DataError: it is not TOML, has no `[style]`, or a field that is unknown or of another type.
    """
    file = user_path(path) if path is not None else config_file(Path(config) if config else None)
    if file is None:
        return Style()
    if not file.is_file():
        raise UsageError(f"--style {file}: no such file")
    table = read_toml(file)
    if "style" not in table and path is not None:
        raise DataError("has no table [style]; add one", file)
    return from_table(table.get("style", {}), Style, file)
