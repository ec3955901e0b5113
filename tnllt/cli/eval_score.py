"""What `tnllt-eval` without a subcommand does: score, print, save, draw, gate."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.loading import Options, load, output_folder
from tnllt.errors import UsageError
from tnllt.eval import gates
from tnllt.eval.metrics import get_metrics
from tnllt.eval.scores import Scores
from tnllt.eval.tables import render
from tnllt.text import printable


def score(
    options: Options,
    metric: str,
    attributes: bool,
    format_: str,
    by: str,
    intervals: bool | None,
    out: Path | None,
    no_plots: bool,
    quiet: bool,
    save_baseline: Path | None,
    baseline: Path | None,
    max_drop: float | None,
    fail_under: tuple[str, ...],
) -> None:
    """See `tnllt-eval --help`. Raises GateError where a gate fails, after everything is printed and saved."""
    get_metrics(metric)
    floors = gates.parse_floors(fail_under)
    if max_drop is not None and baseline is None:
        raise UsageError("--max-drop needs --baseline FILE")
    before = gates.read_baseline(baseline) if baseline is not None else None
    folder = output_folder(out)
    scores = load(options).score()
    # Files first: a reader of our output that goes away (`| head`) must not cost them.
    if folder is not None:
        written = scores.save(folder, metric)
        if not no_plots:
            written += scores.plot(folder, metric, attributes=attributes)
        if not quiet:
            click.echo(f"{len(written)} files in {printable(str(folder))}", err=True)
    if save_baseline is not None:
        gates.write_baseline(scores, save_baseline)
    if not quiet:
        _print(scores, metric, format_, by, attributes, intervals)
    gates.check(scores, floors, before, max_drop or 0.0)


def _print(scores: Scores, metric: str, format_: str, by: str, attributes: bool, intervals: bool | None) -> None:
    click.echo(render(scores, metric, format_, by, intervals), nl=False)
    if format_ == "json":
        click.echo()
    elif attributes and by == "overall" and scores.attribute_members():
        for chosen in scores.metrics(metric):
            if chosen.has_curve:
                click.echo()
                click.echo(render(scores, chosen.name, format_, "attribute", intervals), nl=False)
