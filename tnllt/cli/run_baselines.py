"""`tnllt-run list --baselines`, and `tnllt-run doctor`: what a baseline still lacks here, before anything runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tnllt.cli.common import prints_findings
from tnllt.errors import UsageError
from tnllt.findings import Findings

if TYPE_CHECKING:
    from tnllt.tracking.baselines.record import BaselineRecord


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
@click.argument("baseline", required=False)
@click.option("--baseline", "file", type=click.Path(path_type=Path), help="A baseline's TOML file of your own.")
@click.option("--repo", type=click.Path(path_type=Path), help="A clone in the shape of pytracking or OSTrack.")
@click.option("--tracker", help="With --repo: the tracker's name there.")
@click.option("--yaml", help="With --repo: the configuration's name there.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="As for running: repo, python, weights, ..."
)
@click.option("--device", default=None, help="cuda, cuda:N or cpu.")
@click.option("--start", is_flag=True, help="Also start it: import upstream's code and load the weights.")
@prints_findings("tnllt.tracking.baselines.doctor:CHECKER")
def doctor(
    baseline: str | None,
    file: Path | None,
    repo: Path | None,
    tracker: str | None,
    yaml: str | None,
    settings: tuple[str, ...],
    device: str | None,
    start: bool,
) -> Findings:
    """Look at a baseline's clone, interpreter and weights; name what is missing and the command that brings it.

    Upstream's weights are pickles: loading them can run code, so give only files that you trust. Exit code 1 where
    something is missing.
    """
    from tnllt.tracking.baselines.bridge import tracker_class
    from tnllt.tracking.baselines.doctor import CHECKER, examine
    from tnllt.tracking.options import check_options, parse_settings

    record = _record(baseline, file, repo, tracker, yaml)
    given = {**parse_settings(settings), **({"device": device} if device else {})}
    options = check_options(tracker_class(record), given) if record.tracker is not None else {}
    findings = examine(record, **options)
    if start and not findings.count("error"):
        tracker_class(record)(**options).close()
        begun = CHECKER.finding("start", "upstream's code imports and the weights load")
        findings = replace(findings, found=[*findings.found, begun])
    return findings


def _record(
    name: str | None, file: Path | None, repo: Path | None, tracker: str | None, yaml: str | None
) -> BaselineRecord:
    from tnllt.tracking.baselines import from_repository, get_baseline

    if [name, file, repo].count(None) != 2:
        raise UsageError("give one baseline: a name (tnllt-run list --baselines), --baseline FILE.toml, or --repo DIR")
    if repo is None:
        if tracker or yaml:
            raise UsageError("--tracker and --yaml go with --repo DIR")
        return get_baseline(str(file or name))
    if not tracker or not yaml:
        raise UsageError("--repo DIR goes with --tracker NAME and --yaml NAME")
    return from_repository(repo, tracker, yaml)
