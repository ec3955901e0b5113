"""What `tnllt-eval` without a subcommand does: score, save, draw, print, gate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from tnllt.cli.common import output_folder, terminal_width
from tnllt.config import ScoreConfig, listed_names
from tnllt.eval.gates import Gates, write_baseline
from tnllt.eval.metrics import get_metrics
from tnllt.eval.scores import Scores
from tnllt.eval.selection import select
from tnllt.eval.style import Style, load_style
from tnllt.eval.tables import render
from tnllt.processes import processors
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.cli.eval import ScoreOutput


def score(config: ScoreConfig, output: ScoreOutput) -> None:
    """See `tnllt-eval --help`. Raises GateError where a gate fails, after everything is printed and saved."""
    get_metrics(output.metric)
    gates = Gates.of(output.fail_under, output.baseline, output.max_drop)
    folder = output_folder(output.out) if output.out is not None else None
    style = load_style(output.style, config.config)
    scores = select(config).score(workers=processors())
    # Files first: a reader of our output that goes away (`| head`) must not cost them.
    if folder is not None:
        written = scores.save(folder, output.metric)
        if not output.no_plots:
            written += scores.plot(
                folder, output.metric, attributes=output.attributes, style=style, workers=processors()
            )
        if not output.quiet:
            click.echo(f"{len(written)} files in {printable(str(folder))}", err=True)
    if output.save_baseline is not None:
        write_baseline(scores, output.save_baseline)
    if not output.quiet:
        _print(scores, output, style)
    gates.check(scores)


def _print(scores: Scores, output: ScoreOutput, style: Style) -> None:
    form, output = output.format_, replace(output, width=terminal_width())
    keys = listed_names(output.group_by, "--group-by") if output.group_by else ()
    beside = output.attributes and output.by == "overall" and form != "json"
    curves = [m.name for m in scores.metrics(output.metric) if m.has_curve and beside and scores.attribute_members()]
    skipped = True if beside and not curves else None  # else the last table says it, once
    click.echo(render(scores, output.metric, form, output.by, output, style, keys, skipped), nl=form == "json")
    for name in curves:
        click.echo()
        click.echo(render(scores, name, form, "attribute", output, style, skipped=name == curves[-1]), nl=False)
