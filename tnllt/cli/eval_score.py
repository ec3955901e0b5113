"""What `tnllt-eval` without a subcommand does: score, save, draw, print, gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tnllt.cli.common import output_folder
from tnllt.config import ScoreConfig
from tnllt.eval.gates import Gates, write_baseline
from tnllt.eval.metrics import get_metrics
from tnllt.eval.scores import Scores
from tnllt.eval.selection import select
from tnllt.eval.tables import render
from tnllt.text import printable


def score(
    config: ScoreConfig,
    metric: str,
    attributes: bool,
    out: Path | None,
    no_plots: bool,
    quiet: bool,
    save_baseline: Path | None,
    baseline: Path | None,
    max_drop: float | None,
    fail_under: tuple[str, ...],
    **table: Any,
) -> None:
    """See `tnllt-eval --help`. Raises GateError where a gate fails, after everything is printed and saved."""
    get_metrics(metric)
    gates = Gates.of(fail_under, baseline, max_drop)
    folder = output_folder(out) if out is not None else None
    scores = select(config).score()
    # Files first: a reader of our output that goes away (`| head`) must not cost them.
    if folder is not None:
        written = scores.save(folder, metric)
        if not no_plots:
            written += scores.plot(folder, metric, attributes=attributes)
        if not quiet:
            click.echo(f"{len(written)} files in {printable(str(folder))}", err=True)
    if save_baseline is not None:
        write_baseline(scores, save_baseline)
    if not quiet:
        _print(scores, metric, attributes, **table)
    gates.check(scores)


def _print(scores: Scores, metric: str, attributes: bool, format_: str, by: str, intervals: bool | None) -> None:
    click.echo(render(scores, metric, format_, by, intervals), nl=False)
    if format_ == "json":
        click.echo()
    elif attributes and by == "overall" and scores.attribute_members():
        for chosen in scores.metrics(metric):
            if chosen.has_curve:
                click.echo()
                click.echo(render(scores, chosen.name, format_, "attribute", intervals), nl=False)
