"""`tnllt-eval language`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from tnllt.cli.common import format_option, output_folder, scoring_options, terminal_width
from tnllt.cli.dataclass_options import PATH
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.language import RULE, Audit, audit, audit_table, refuse_other_differences, save_figure
from tnllt.eval.metrics import get_metrics
from tnllt.eval.score_table import WRITERS, aligned, name_cell
from tnllt.eval.selection import select
from tnllt.files import to_json, write_atomic
from tnllt.text import printable


@click.command()
@scoring_options
@click.option("--metric", "-m", default="success", metavar="NAME", show_default=True)
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name for each tracker.")
@click.option("--out", "-o", type=PATH, help="Folder for the figure and the tables.")
@format_option("text", "markdown", "latex", "html", "csv", "json")
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
    table = audit_table(audits, title)
    about: dict[str, Any] = {"schema": "tnllt.language/1", "title": title, "rule": RULE}
    about["trackers"] = [{**asdict(a), "words": a.words} for a in audits]
    texts = {form: write(table) for form, write in WRITERS.items()}
    texts |= {"text": texts["text"] + _details(audits), "json": to_json(about, indent=2) + "\n"}
    if folder is not None:
        written = save_figure(audits, folder, chosen[0])
        for ending, form in (("txt", "text"), ("md", "markdown"), ("tex", "latex"), ("json", "json")):
            written.append(folder / f"language_{chosen[0].name}.{ending}")
            write_atomic(written[-1], texts[form])
        click.echo(f"{len(written)} files in {printable(str(folder))}", err=True)
    if format_ == "text":
        texts["text"] = WRITERS["text"](replace(table, width=terminal_width())) + _details(audits)
    click.echo(texts[format_], nl=False)


def _details(audits: list[Audit]) -> str:
    """What the table has no room for: prompts, attributes and sequences."""
    lines = []
    for a in audits:
        lines += ["", name_cell(a.tracker, 60)]
        if len(a.prompts) > 1:
            low, high = min(a.prompts.values()), max(a.prompts.values())
            lines.append(f"  {len(a.prompts)} prompts from files score {low:.4f} to {high:.4f}")
        marked = [c for c in a.attributes if c.significant]
        lines += [f"  {c.members}: own - {c.b} {c.difference:+.4f}, {c.sequences} sequences" for c in marked]
        if a.most:
            lines.append("  where its text matters most, score with its own text and without:")
            lines += aligned([[name_cell(s, 40), f"{x:.3f}", f"{y:.3f}"] for s, x, y in a.most], indent="    ")
    return "\n".join(lines) + "\n"
