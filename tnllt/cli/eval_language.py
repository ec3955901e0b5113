"""`tnllt-eval language`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tnllt.cli.common import output_folder, scoring_options
from tnllt.cli.dataclass_options import PATH
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.compare import Comparison
from tnllt.eval.language import RULE, Audit, audit, refuse_other_differences, save_figure
from tnllt.eval.metrics import get_metrics
from tnllt.eval.score_table import aligned, name_cell
from tnllt.eval.selection import select
from tnllt.files import to_json
from tnllt.text import latex, markdown, printable


@click.command()
@scoring_options
@click.option("--metric", "-m", default="success", metavar="NAME", show_default=True)
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name for each tracker.")
@click.option("--out", "-o", type=PATH, help="Folder for the figure and the tables.")
@click.option("--format", "format_", type=click.Choice(["text", "markdown", "latex", "json"]), default="text")
def language(config: ScoreConfig, metric: str, top: int, out: Path | None, format_: str) -> None:
    """Does each tracker read its text? From runs of `tnllt-run NAME --text own,none,shuffled,...`.

    For each tracker: the score with its own text, paired differences to every other text, a verdict in words, the
    attributes and sequences where the text matters most. Runs that differ in anything but the text are refused.
    """
    chosen = get_metrics(metric)
    if len(chosen) != 1:
        raise UsageError("language takes one --metric")
    folder = output_folder(out) if out is not None else None
    selection = select(config)
    refuse_other_differences(selection.files)
    scores = selection.score()
    audits = audit(scores, chosen[0], top)
    title = f"{chosen[0].label}, protocol {scores.protocol.name}, {scores.dataset or 'dataset'}"
    writers = {"text": _text, "markdown": _markdown, "latex": _latex, "json": _json}
    if folder is not None:
        written = save_figure(audits, folder, chosen[0])
        for ending, form in (("txt", "text"), ("md", "markdown"), ("tex", "latex"), ("json", "json")):
            path = folder / f"language_{chosen[0].name}.{ending}"
            path.write_text(writers[form](audits, title) + "\n", encoding="utf-8")
            written.append(path)
        click.echo(f"{len(written)} files in {printable(str(folder))}", err=True)
    click.echo(writers[format_](audits, title))


def _rows(audits: list[Audit], most: int = 40) -> list[list[str]]:
    """The table: a row per tracker, a column per text."""
    texts = list(dict.fromkeys(c.b for a in audits for c in a.comparisons))
    rows = [["tracker", "sequences", "own text", *(f"own - {name_cell(text, most)}" for text in texts), "verdict"]]
    for a in audits:
        against = {c.b: c for c in a.comparisons}
        cells = [_difference(against[text]) if text in against else "" for text in texts]
        rows.append([name_cell(a.tracker, most), str(a.sequences), f"{a.own:.4f}", *cells, a.words])
    return rows


def _difference(c: Comparison) -> str:
    bounds = "" if math.isnan(c.low) else f" ({c.low:+.3f}, {c.high:+.3f})"
    return f"{c.difference:+.4f}{bounds}{'*' if c.significant else ''}"


def _text(audits: list[Audit], title: str) -> str:
    rows = _rows(audits)
    lines = [title, "", *aligned(rows, left=(0, len(rows[0]) - 1)), "", f"* p < 0.05. {RULE}"]
    for a in audits:
        lines += ["", f"{name_cell(a.tracker, 60)}: {a.words}"]
        if len(a.prompts) > 1:
            low, high = min(a.prompts.values()), max(a.prompts.values())
            lines.append(f"  {len(a.prompts)} prompts from files score {low:.4f} to {high:.4f}")
        marked = [c for c in a.attributes if c.significant]
        lines += [f"  {c.members}: own - {c.b} {_difference(c)}, {c.sequences} sequences" for c in marked]
        if a.most:
            lines.append("  where its text matters most, score with its own text and without:")
            lines += aligned([[name_cell(s, 40), f"{x:.3f}", f"{y:.3f}"] for s, x, y in a.most], indent="    ")
    return "\n".join(lines)


def _markdown(audits: list[Audit], title: str) -> str:
    rows = ["| " + " | ".join(map(markdown, row)) + " |" for row in _rows(audits)]
    rows.insert(1, "|" + " --- |" * len(_rows(audits)[0]))
    return "\n".join([*rows, "", markdown(f"{title}. * p < 0.05. {RULE}")])


def _latex(audits: list[Audit], title: str) -> str:
    head, *rows = [" & ".join(map(latex, row)) + r" \\" for row in _rows(audits)]
    columns = "l" + "c" * (len(_rows(audits)[0]) - 2) + "l"
    parts = [f"% {title}. * p < 0.05", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows]
    return "\n".join([*parts, r"\bottomrule", r"\end{tabular}"])


def _json(audits: list[Audit], title: str) -> str:
    table: dict[str, Any] = {"schema": "tnllt.language/1", "title": title, "rule": RULE}
    return to_json({**table, "trackers": [{**asdict(a), "words": a.words} for a in audits]}, indent=2)
