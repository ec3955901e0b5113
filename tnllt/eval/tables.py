"""Score tables: text, Markdown, LaTeX, CSV, JSON and pandas, all from the metric registry, all with their footnotes."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tnllt._version import __version__
from tnllt.errors import UsageError
from tnllt.eval.intervals import all_intervals
from tnllt.eval.metrics import Metric
from tnllt.eval.statistics import CONFIDENCE, RESAMPLES, SEED
from tnllt.eval.tracker_curves import Note
from tnllt.files import plain, to_json
from tnllt.text import csv_cell, latex, markdown, one_line

if TYPE_CHECKING:
    import pandas as pd

    from tnllt.eval.scores import Scores

SCORES = "tnllt.scores/1"
FORMATS = ("text", "markdown", "latex", "csv", "json")
BY = ("overall", "attribute", "sequence")


@dataclass(frozen=True)
class ScoreTable:
    """A table before it is written in some format: headings, rows of text and numbers, and what must be said below."""

    title: str
    headings: list[str]
    rows: list[list[str | float]]
    digits: list[int]
    footnotes: list[str]
    references: list[list[str | float]]
    intervals: list[list[tuple[float, float]]] = field(default_factory=list)
    """Per row and column of numbers, the bounds of the score; empty where none are shown."""


def render(
    scores: Scores, metrics: str | Iterable[str] = "all", fmt: str = "text", by: str = "overall",
    intervals: bool | None = None,
) -> str:  # fmt: skip
    """The table in one of `FORMATS`, `by` one of `BY`. Raises UsageError for another format.

    Args:
        intervals: show 95 % bootstrap intervals over sequences. None: yes in overall tables, but not in LaTeX's, which
            papers have little room for. JSON always has them.
    """
    chosen = scores.metrics(metrics)
    if fmt == "json":
        return to_json(summary(scores, chosen), indent=2)
    writers = {"text": _text, "markdown": _markdown, "latex": _latex, "csv": _csv}
    if fmt not in writers:
        raise UsageError(f"no table format {fmt!r}; known: {', '.join(FORMATS)}")
    shown_intervals = by == "overall" and fmt != "latex" if intervals is None else intervals
    return writers[fmt](make_table(scores, chosen, by, shown_intervals))


def make_table(scores: Scores, metrics: list[Metric], by: str = "overall", intervals: bool = False) -> ScoreTable:
    """The table of trackers (rows, best first) against metrics, attributes or sequences (columns).

    Single sequences have no interval over sequences: there `intervals` changes nothing.
    """
    order = scores.ranking(metrics[0])
    notes = footnotes(scores)
    if by == "overall":
        columns = {m.short: scores.score(m) for m in metrics}
        bounds = {m.short: scores.reference(m) for m in metrics}
        count = plural(len(scores.sequences), "sequence")
        title = f"{scores.dataset or 'dataset'}, {count}, protocol {scores.protocol.name}"
        digits = [m.digits for m in metrics]
    else:
        metric = metrics[0]
        if by == "attribute":
            columns, members = scores.per_attribute(metric), scores.attribute_members()
            bounds = {name: scores.reference(metric, flags) for name, flags in members.items()}
        elif by == "sequence":
            values = scores.per_sequence(metric)
            columns, bounds = {name: values[:, s] for s, name in enumerate(scores.sequences)}, {}
        else:
            raise UsageError(f"no table by {by!r}; known: {', '.join(BY)}")
        title = f"{metric.label} by {by}, protocol {scores.protocol.name}"
        digits = [metric.digits] * len(columns)
    rows: list[list[str | float]] = [
        [scores.trackers[k], *(float(column[k]) for column in columns.values())] for k in order
    ]
    names = [row.tracker for row in scores.references] if bounds else []
    references: list[list[str | float]] = [[name, *(bounds[c][name] for c in columns)] for name in names]
    shown_intervals = _intervals(scores, metrics, by, order) if intervals else []
    return ScoreTable(title, ["Tracker", *columns], rows, digits, notes, references, shown_intervals)


def _intervals(scores: Scores, metrics: list[Metric], by: str, order: list[int]) -> list[list[tuple[float, float]]]:
    if by == "overall":
        every = all_intervals(scores, metrics)
        found = [every[m.name] for m in metrics]
    elif by == "attribute":
        members = scores.attribute_members().values()
        found = [all_intervals(scores, metrics[:1], flags)[metrics[0].name] for flags in members]
    else:
        return []
    return [[(float(one.low[k]), float(one.high[k])) for one in found] for k in order]


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def footnotes(scores: Scores) -> list[str]:
    """What every output must say of these scores, in sentences."""
    found = []
    groups: dict[tuple[str, str], list[Note]] = {}
    for note in scores.notes:
        key = (note.kind, note.tracker if note.kind != "refused" else "")
        groups.setdefault(key, []).append(note)
    for (kind, tracker), notes in groups.items():
        names = list(dict.fromkeys(n.sequence for n in notes))
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        if kind == "missing":
            count = len(scores.sequences)
            found.append(f"{tracker}: scored on {count - len(names)} of {count} sequences; no result for {some}.")
        elif kind == "refused":
            why = "; ".join(dict.fromkeys(n.text for n in notes[:2]))
            found.append(
                f"Refused by {scores.protocol.name}'s own toolkit and left out of every tracker's mean: {some} ({why})."
            )
        else:
            found.append(f"{tracker}: {notes[0].text} ({plural(len(names), 'sequence')}: {some}).")
    empty = scores.empty("success")
    if empty:
        found.append(
            f"No sequence with a success curve above zero is left for {', '.join(empty)}: the score is 0 by rule."
        )
    if scores.protocol.drop_zero_curves:
        for name, dropped in zip(scores.trackers, (scores.scored() & ~scores.kept()).sum(1), strict=True):
            if dropped and name not in empty:
                some = plural(dropped, "sequence")
                found.append(f"{name}: {some} without any success left out of the mean, by rule.")
    if scores.rounding != "none":
        found.append(f"Boxes were rounded to integers before scoring (--round {scores.rounding}).")
    if scores.skipped_attributes:
        skipped = ", ".join(scores.skipped_attributes)
        found.append(f"Attributes with fewer than {scores.protocol.min_sequences} sequences are skipped: {skipped}.")
    return found


def summary(scores: Scores, metrics: list[Metric]) -> dict[str, Any]:
    """Schema `tnllt.scores/1`: what `scores.json` and `--format json` hold, as plain values."""
    trackers = list(enumerate(scores.trackers))
    overall = {m.name: scores.score(m) for m in metrics}
    per_attribute = {m.name: scores.per_attribute(m) for m in metrics}
    per_sequence = {m.name: scores.per_sequence(m) for m in metrics}
    intervals = all_intervals(scores, metrics)
    table: dict[str, Any] = {
        "schema": SCORES,
        "tnllt": __version__,
        "dataset": scores.dataset,
        "protocol": scores.protocol.to_table(),
        "rounding": scores.rounding,
        "metrics": {m.name: {"label": m.label, "description": m.description} for m in metrics},
        "trackers": scores.trackers,
        "sequences": scores.sequences,
        "frames": scores.lengths,
        "attributes": {name: np.flatnonzero(flags) for name, flags in scores.attributes.items()},
        "ranking": {m.name: [scores.trackers[k] for k in scores.ranking(m)] for m in metrics},
        "scores": {t: {n: v[k] for n, v in overall.items()} for k, t in trackers},
        "intervals": {
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
            "trackers": {t: {n: [v.low[k], v.high[k]] for n, v in intervals.items()} for k, t in trackers},
        },
        "references": {
            own.tracker: {m.name: scores.reference(m)[own.tracker] for m in metrics} for own in scores.references
        },
        "per_attribute": {
            t: {n: {a: v[k] for a, v in by.items()} for n, by in per_attribute.items()} for k, t in trackers
        },
        "per_sequence": {
            t: {n: dict(zip(scores.sequences, v[k], strict=True)) for n, v in per_sequence.items()} for k, t in trackers
        },
        "notes": [vars(note) for note in scores.notes],
        "footnotes": footnotes(scores),
    }
    return plain(table)  # type: ignore[no-any-return]


def to_frame(scores: Scores, metrics: str | Iterable[str] = "all", by: str = "overall") -> pd.DataFrame:
    """A pandas table: index tracker (and attribute or sequence), one column per metric, best tracker first."""
    import pandas as pd

    chosen = scores.metrics(metrics)
    order = scores.ranking(chosen[0])
    trackers = [scores.trackers[k] for k in order]
    if by == "overall":
        return pd.DataFrame({m.name: scores.score(m)[order] for m in chosen}, index=pd.Index(trackers, name="tracker"))
    if by == "attribute":
        names = list(scores.attribute_members())
        columns = {m.name: [scores.per_attribute(m)[a][k] for k in order for a in names] for m in chosen}
    elif by == "sequence":
        names = list(scores.sequences)
        columns = {m.name: scores.per_sequence(m)[order].ravel().tolist() for m in chosen}
    else:
        raise UsageError(f"no table by {by!r}; known: {', '.join(BY)}")
    return pd.DataFrame(columns, index=pd.MultiIndex.from_product([trackers, names], names=["tracker", by]))


# Writers --------------------------------------------------------------------------------------------------------


def _cell(value: str | float, digits: int) -> str:
    if isinstance(value, str):
        return value
    return "n/a" if np.isnan(value) else f"{value:.{digits}f}"


def _grid(table: ScoreTable) -> list[list[str]]:
    return [
        [str(row[0]), *(_cell(v, d) for v, d in zip(row[1:], table.digits, strict=True))]
        for row in table.rows + table.references
    ]


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _bounds(bounds: tuple[float, float], digits: int) -> str:
    """The interval of a cell; empty where there is none."""
    return "" if np.isnan(bounds[0]) else f"{bounds[0]:.{digits}f}-{bounds[1]:.{digits}f}"


def _text(table: ScoreTable) -> str:
    grid = [[_cut(one_line(cell)) for cell in row] for row in [table.headings, *_grid(table)]]
    below = [["", *(_bounds(b, d) for b, d in zip(row, table.digits, strict=True))] for row in table.intervals]
    widths = [max(_width(row[i]) for row in grid + below) for i in range(len(table.headings))]
    lines = ["  ".join(_pad(c, widths[i], i > 0) for i, c in enumerate(row)).rstrip() for row in grid]
    for index, row in reversed(list(enumerate(below))):
        lines.insert(index + 2, "  ".join(_pad(c, widths[i], i > 0) for i, c in enumerate(row)).rstrip())
    rule = "  ".join("-" * w for w in widths)
    lines.insert(1, rule)
    if table.references:
        lines.insert(len(lines) - len(table.references), rule)
    notes = [f"* {one_line(note)}" for note in table.footnotes]
    if below:
        notes.append("Below each score: 95 % bootstrap interval over sequences.")
    return "\n".join([one_line(table.title), "", *lines, *([""] if notes else []), *notes]) + "\n"


def _cut(text: str, most: int = 60) -> str:
    """A name that would push every other column off the screen, cut."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _markdown(table: ScoreTable) -> str:
    rows = [[markdown(c) for c in row] for row in [table.headings, *_grid(table)]]
    for row, bounds in zip(rows[1:], table.intervals, strict=False):
        for i, (one, digits) in enumerate(zip(bounds, table.digits, strict=True), 1):
            row[i] += f" ({text})" if (text := _bounds(one, digits)) else ""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * len(table.digits))
    notes = [f"- {markdown(note)}" for note in table.footnotes]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _latex(table: ScoreTable) -> str:
    """A booktabs table, best in bold and second underlined."""
    marks = [_best_two([float(row[i + 1]) for row in table.rows]) for i in range(len(table.digits))]
    lines = [f"% {one_line(table.title)}", rf"\begin{{tabular}}{{l{'c' * len(table.digits)}}}", r"\toprule"]
    lines += [" & ".join(latex(h) for h in table.headings) + r" \\", r"\midrule"]
    for index, row in enumerate(_grid(table)):
        if index == len(table.rows):
            lines.append(r"\midrule")
        cells = [latex(c) for c in row]
        for i, (best, second) in enumerate(marks if index < len(table.rows) else []):
            value = float(table.rows[index][i + 1])
            if value == best:
                cells[i + 1] = rf"\textbf{{{cells[i + 1]}}}"
            elif value == second:
                cells[i + 1] = rf"\underline{{{cells[i + 1]}}}"
        if index < len(table.intervals):
            for i, (bounds, digits) in enumerate(zip(table.intervals[index], table.digits, strict=True), 1):
                if text := _bounds(bounds, digits):
                    cells[i] += r" {\scriptsize[" + text.replace("-", "--") + "]}"
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines + [f"% {one_line(note)}" for note in table.footnotes]) + "\n"


def _best_two(values: list[float]) -> tuple[float, float]:
    distinct = sorted({v for v in values if not np.isnan(v)}, reverse=True)
    best, second, *_ = [*distinct, np.nan, np.nan]
    return best, second


def _csv(table: ScoreTable) -> str:
    """Full precision, so that nothing is lost; footnotes as comment lines."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    ends = [f"{h} {end}" for h in table.headings[1:] for end in ("low", "high")] if table.intervals else []
    writer.writerow([csv_cell(h) for h in table.headings + ends])
    for index, row in enumerate(table.rows + table.references):
        bounds = [v for pair in table.intervals[index] for v in pair] if index < len(table.intervals) else []
        numbers = [*map(float, row[1:]), *bounds]
        cells = ["" if np.isnan(v) else repr(v) for v in numbers]
        writer.writerow([csv_cell(str(row[0])), *cells, *[""] * (len(ends) - len(bounds))])
    for note in table.footnotes:
        writer.writerow([csv_cell(f"# {note}")])
    return stream.getvalue()
