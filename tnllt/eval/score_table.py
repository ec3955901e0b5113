"""A table of scores before it is written, and its writers: text, Markdown, LaTeX, HTML and CSV, all with footnotes."""

from __future__ import annotations

import csv
import io
import textwrap
import unicodedata
from collections.abc import Collection
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from html import escape

import numpy as np
from numpy.typing import NDArray

from tnllt.config import TableConfig
from tnllt.eval.style import Style
from tnllt.sequence import Flags
from tnllt.text import csv_cell, latex, markdown, one_line

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """A table before it is written in some format: R rows (trackers, best first, then references), C columns.

    Attributes:
        names: (R) first column.
        references: how many of the rows are references.
        headings, digits: (C) heading and decimals of each column of numbers.
        values: (R, C).
        bounds: (R, C, 2) interval of each score, NaN where there is none; None where intervals are not shown.
        footnotes: sentences below the table.
        corner: heading of the first column.
        groups: headings over so many columns each; none: no such row.
        marked: (R, C) numbers with a mark, and mark: what it means, in a word and in a sentence; None: none.
        ranked: whether the best and the second best are shown.
        missing: what stands where there is no number.
        method: how the intervals are computed.
        width: columns of the terminal that text must fit; None: as wide as it is.
    """

    title: str
    names: list[str]
    references: int
    headings: list[str]
    digits: list[int]
    values: Array
    bounds: Array | None
    footnotes: list[str]
    corner: str = "Tracker"
    groups: tuple[tuple[str, int], ...] = ()
    marked: Flags | None = None
    mark: tuple[str, str] = ("Reported", "as reported, not computed")
    ranked: bool = True
    missing: str = "n/a"
    method: str = ""
    width: int | None = None

    @property
    def trackers(self) -> int:
        return len(self.names) - self.references

    def cells(self, mark: str = "†") -> list[list[str]]:
        """(R, C) values as text, marked ones with a mark behind."""
        marked = np.zeros(self.values.shape, bool) if self.marked is None else self.marked
        return [
            [
                self.missing if np.isnan(v) else f"{v:.{d}f}{mark if r else ''}"
                for v, r, d in zip(row, own, self.digits, strict=True)
            ]
            for row, own in zip(self.values, marked, strict=True)
        ]

    def places(self) -> list[list[int]]:
        """(R, C) 1 for the best of a column's trackers as printed, 2 for the second, else 0.

        Where rows are sequences, the best of each row.
        """
        found = np.zeros(self.values.shape, int)
        rounded = np.array(
            [[float(f"{v:.{d}f}") for v, d in zip(row, self.digits, strict=True)] for row in self.values]
        )
        lines = zip(rounded, found, strict=True) if self.corner != "Tracker" else (
            zip(rounded[: self.trackers].T, found[: self.trackers].T, strict=True)
        )  # fmt: skip
        for values, own in lines if self.ranked else ():
            for place, value in enumerate(sorted({v for v in values if not np.isnan(v)}, reverse=True)[:2], 1):
                own[values == value] = place
        return found.tolist()  # type: ignore[no-any-return]

    def intervals(self, dash: str = "-") -> list[list[str]]:
        """(R, C) intervals as text, empty where there is none; no rows where they are not shown."""
        if self.bounds is None:
            return []
        form = f"{{:.{{d}}f}}{dash}{{:.{{d}}f}}" if self.ranked else "{:+.{d}f} to {:+.{d}f}"  # of differences
        return [
            [
                "" if np.isnan(low) else form.format(low, high, d=d)
                for (low, high), d in zip(row, self.digits, strict=True)
            ]
            for row in self.bounds
        ]

    def notes(self, below: bool = False) -> list[str]:
        """The footnotes, with what marks and intervals mean where there are any."""
        notes = list(self.footnotes)
        if self.marked is not None and self.marked.any():
            notes.append(f"† {self.mark[1]}.")
        if below and any(any(row) for row in self.intervals()):
            notes.append(f"Below each score: 95 % interval over sequences ({self.method}).")
        return notes

    def transposed(self) -> ScoreTable:
        """Columns as rows: few trackers on many sequences fit a screen then."""
        bounds, digits = None if self.bounds is None else self.bounds.swapaxes(0, 1), self.digits[:1] * len(self.names)
        return replace(
            self, names=self.headings, references=0, headings=self.names, digits=digits, values=self.values.T,
            bounds=bounds, corner="Sequence",
        )  # fmt: skip


def styled(table: ScoreTable, style: Style) -> ScoreTable:
    """The table with the style's order and display names."""
    trackers = table.names[: table.trackers]
    order = [trackers.index(name) for name in style.ordered(trackers)] + list(range(table.trackers, len(table.names)))
    names = [style.label(table.names[k]) if k < table.trackers else table.names[k] for k in order]
    bounds = None if table.bounds is None else table.bounds[order]
    marked = None if table.marked is None else table.marked[order]
    return replace(table, names=names, values=table.values[order], bounds=bounds, marked=marked)


def scaled(table: ScoreTable, config: TableConfig) -> ScoreTable:
    """The table with percentages, decimals and width as configured; whole numbers stay as they are."""
    fewer = 2 if config.percent else 0
    digits = [d and (max(0, d - fewer) if config.decimals is None else config.decimals) for d in table.digits]
    scale = np.array([100.0 if config.percent and d else 1.0 for d in table.digits])
    bounds = None if table.bounds is None else table.bounds * scale[:, None]
    return replace(table, values=table.values * scale, bounds=bounds, digits=digits, width=config.width)


# Writers --------------------------------------------------------------------------------------------------------


def name_cell(text: str, most: int = 60) -> str:
    """A name on one line, cut in its middle where it would push every other column off the screen."""
    text, half = one_line(text), most // 2 - 1
    return text if len(text) <= most else f"{text[: half - 1]}...{text[-half:]}"


def aligned(
    rows: Seq[Seq[str] | None], left: Collection[int] = (0,), indent: str = "  ", width: int | None = None
) -> list[str]:
    """The lines of a table whose columns are as wide as their widest cell, flush right but for those in `left`.

    A row that is None is a rule. Where the lines would be wider than `width`, columns stand in blocks below each other,
    each with the first column again, and with the heading that began above an earlier one.
    """
    widths = [max(map(_width, column)) for column in zip(*filter(None, rows), strict=True)]
    blocks = [[0]]
    for i in range(1, len(widths)):
        if width and len(blocks[-1]) > 1 and len(indent) + sum(widths[k] + 2 for k in blocks[-1]) + widths[i] > width:
            blocks.append([0])
        blocks[-1].append(i)
    lines = []
    for number, block in enumerate(blocks):
        lines += [""] if number else []
        for row in rows:
            cells = {k: "-" * widths[k] if row is None else row[k] for k in block}
            if number and row is rows[0] and row is not None:
                cells[block[1]] = next(filter(None, row[block[1] :: -1]), "")
            spaces = {k: " " * (widths[k] - _width(cell)) for k, cell in cells.items()}
            padded = [cells[k] + spaces[k] if k in left else spaces[k] + cells[k] for k in block]
            lines.append((indent + "  ".join(padded)).rstrip())
    return lines


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _text(table: ScoreTable) -> str:
    rows: list[list[str] | None] = [[table.corner, *map(name_cell, table.headings)], None]
    if table.groups:
        rows.insert(0, ["", *(name if i == 0 else "" for name, span in table.groups for i in range(span))])
    below = table.intervals()[: table.trackers]
    for place, (name, cells) in enumerate(zip(table.names, table.cells(), strict=True)):
        if place == table.trackers:
            rows.append(None)
        rows += [[name_cell(name), *cells], *(["", *bounds] for bounds in below[place : place + 1] if any(bounds))]
    notes = [f"* {one_line(note)}" for note in table.footnotes] + table.notes(bool(below))[len(table.footnotes) :]
    title, wide = one_line(table.title), table.width
    if wide:
        title = textwrap.fill(title, wide, break_on_hyphens=False)
        notes = [textwrap.fill(n, wide, subsequent_indent="  ", break_on_hyphens=False) for n in notes]
    return "\n".join([title, "", *aligned(rows, (0,), "", wide), *([""] if notes else []), *notes]) + "\n"


def _markdown(table: ScoreTable) -> str:
    """Best in bold, second underlined; intervals in parentheses."""
    headings = [f"{group} {heading}" for group, heading in zip(_spread(table), table.headings, strict=True)]
    rows = []
    bounds = table.intervals() or [[""] * len(table.digits)] * len(table.names)
    for name, cells, places, own in zip(table.names, table.cells(), table.places(), bounds, strict=True):
        marked = _marked(cells, places, "**{}**", "<u>{}</u>")
        rows.append([markdown(name), *(f"{c} ({b})" if b else c for c, b in zip(marked, own, strict=True))])
    lines = ["| " + " | ".join(row) + " |" for row in [[table.corner, *(markdown(h.strip()) for h in headings)], *rows]]
    lines.insert(1, "| --- |" + " ---: |" * len(table.digits))
    notes = [f"- {markdown(note)}" for note in table.notes()]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _marked(cells: list[str], places: list[int], best: str, second: str) -> list[str]:
    """Cells of a row in the templates of a column's best and second."""
    return [("{}", best, second)[place].format(cell) for cell, place in zip(cells, places, strict=True)]


def _spread(table: ScoreTable) -> list[str]:
    """(C) the group of each column, or ""."""
    return [name for name, span in table.groups for _ in range(span)] or [""] * len(table.headings)


def _latex(table: ScoreTable) -> str:
    """A booktabs table, best in bold and second underlined."""
    lines = [f"% {one_line(table.title)}", rf"\begin{{tabular}}{{l{'c' * len(table.digits)}}}", r"\toprule"]
    if table.groups:
        heads = [rf"\multicolumn{{{span}}}{{c}}{{{latex(name)}}}" for name, span in table.groups]
        ends = np.cumsum([span for _, span in table.groups]) + 1
        rules = [rf"\cmidrule(lr){{{end - span + 1}-{end}}}" for end, (_, span) in zip(ends, table.groups, strict=True)]
        lines += [" & ".join(["", *heads]) + r" \\", " ".join(rules)]
    lines += [" & ".join([table.corner, *map(_latex_heading, table.headings)]) + r" \\", r"\midrule"]
    bounds = table.intervals("--") or [[""] * len(table.digits)] * len(table.names)
    for index, (cells, places) in enumerate(zip(table.cells(r"$^\dagger$"), table.places(), strict=True)):
        if index == table.trackers:
            lines.append(r"\midrule")
        marked = [
            cell.replace("–", "--") + (rf" {{\scriptsize[{bound}]}}" if bound else "")
            for cell, bound in zip(
                _marked(cells, places, r"\textbf{{{}}}", r"\underline{{{}}}"), bounds[index], strict=True
            )
        ]
        lines.append(" & ".join([latex(table.names[index]), *marked]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines + [f"% {one_line(note)}" for note in table.notes()]) + "\n"


def _latex_heading(text: str) -> str:
    """A column's heading; P_Norm has a subscript."""
    base, _, below = text.partition("_")
    return rf"{base}$_\mathrm{{{below}}}$" if base.isalpha() and below.isalpha() else latex(text)


def _html(table: ScoreTable) -> str:
    """A table element, best in `strong`, second in `u`."""
    rows = []
    if table.groups:
        heads = "".join(f'<th colspan="{span}">{escape(one_line(name))}</th>' for name, span in table.groups)
        rows.append(f"<tr><th></th>{heads}</tr>")
    rows.append("<tr>" + "".join(f"<th>{escape(one_line(h))}</th>" for h in [table.corner, *table.headings]) + "</tr>")
    for name, cells, places in zip(table.names, table.cells(), table.places(), strict=True):
        marked = _marked(cells, places, "<strong>{}</strong>", "<u>{}</u>")
        rows.append(f"<tr><th>{escape(one_line(name))}</th>" + "".join(f"<td>{cell}</td>" for cell in marked) + "</tr>")
    notes = "".join(f"<p>{escape(one_line(note))}</p>\n" for note in table.notes())
    return "<table>\n" + "\n".join(rows) + "\n</table>\n" + notes


def _csv(table: ScoreTable) -> str:
    """Full precision, so that nothing is lost; each row ends with the footnotes that are about it, if there are any."""
    headings = [f"{group} {h}".strip() for group, h in zip(_spread(table), table.headings, strict=True)]
    ends = [f"{h} {end}" for h in headings for end in ("low", "high")] if table.bounds is not None else []
    numbers = (
        table.values if table.bounds is None else np.hstack([table.values, table.bounds.reshape(len(table.names), -1)])
    )
    rows = [["" if np.isnan(v) else repr(v) for v in row] for row in numbers.tolist()]
    if table.marked is not None:
        ends += [table.mark[0]]
        rows = [
            [*row, "; ".join(h for h, r in zip(headings, own, strict=True) if r)]
            for row, own in zip(rows, table.marked, strict=True)
        ]
    if table.footnotes:
        ends += ["Footnotes"]
        about = {n: next((t for t in table.names if n.startswith(f"{t}: ")), None) for n in table.footnotes}
        rows = [
            [*row, csv_cell(" ".join(n for n in table.footnotes if about[n] in (None, name)))]
            for name, row in zip(table.names, rows, strict=True)
        ]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(csv_cell, [table.corner, *headings, *ends]))
    writer.writerows([csv_cell(name), *row] for name, row in zip(table.names, rows, strict=True))
    return stream.getvalue()


#: What writes a `ScoreTable` in each format.
WRITERS = {"text": _text, "markdown": _markdown, "latex": _latex, "html": _html, "csv": _csv}
