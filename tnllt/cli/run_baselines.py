"""`tnllt-run list --baselines`, and `tnllt-run doctor`: what a baseline still lacks here, before anything runs."""

from __future__ import annotations

from dataclasses import replace

import click

from tnllt.cli.common import prints_findings
from tnllt.findings import Findings


def list_baselines() -> None:
    """Prints the packaged records as a table."""
    from tnllt.tracking.baselines import records
    from tnllt.tracking.baselines.bridge import modes_text

    rows = [("NAME", "TITLE", "MODES", "LICENCE", "REPOSITORY")]
    for record in records():
        where = record.repository.removeprefix("https://github.com/") + (
            "" if record.tracker else " (result files only)"
        )
        rows.append((record.name, record.title, modes_text(record), record.licence, where))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo("\nWhat one lacks here: tnllt-run doctor NAME --set repo=DIR --set python=FILE --set weights=FILE")


@click.command()
@click.argument("baseline")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for running: repo, python, weights, ..."
)
@click.option("--device", default=None, help="cuda, cuda:N or cpu.")
@click.option("--start", is_flag=True, help="Also start it: import upstream's code and load the weights.")
@prints_findings("tnllt.tracking.baselines.doctor:CHECKER")
def doctor(
    baseline: str,
    settings: tuple[str, ...],
    device: str | None,
    start: bool,
) -> Findings:
    """Look at the clone, interpreter and weights of BASELINE, a name or a TOML file of your own.

    What is missing is named with the command that brings it. Upstream's weights are pickles: loading them can run code,
    so give only files that you trust. Exit code 1 where something is missing.
    """
    from tnllt.tracking.baselines import get_baseline, tracker_class
    from tnllt.tracking.baselines.doctor import CHECKER, examine
    from tnllt.tracking.options import check_options, parse_settings

    record = get_baseline(baseline)
    given = {**parse_settings(settings), **({"device": device} if device else {})}
    options = check_options(tracker_class(record), given) if record.tracker is not None else {}
    findings = examine(record, **options)
    if start and not findings.count("error"):
        tracker_class(record)(**options).close()
        begun = CHECKER.finding("start", "upstream's code imports and the weights load")
        findings = replace(findings, found=[*findings.found, begun])
    return findings
