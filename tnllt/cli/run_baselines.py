"""`tnllt-run list --baselines`, and `tnllt-run doctor`: what a baseline still lacks here, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tnllt.errors import EXIT_USAGE, UsageError

if TYPE_CHECKING:
    from tnllt.tracking.baselines.record import BaselineRecord

_MARKS = {"ok": "ok     ", "missing": "MISSING", "note": "note   "}


def list_baselines() -> None:
    """Prints the packaged records as a table."""
    from tnllt.tracking.baselines.table import listing

    click.echo(listing())
    click.echo("\nWhat one lacks here: tnllt-run doctor NAME --set repo=DIR --set python=FILE --set weights=FILE")


@click.command(short_help="What a baseline lacks here.", context_settings={"help_option_names": ["--help", "-h"]})
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
@click.pass_context
def doctor(
    ctx: click.Context,
    baseline: str | None,
    file: Path | None,
    repo: Path | None,
    tracker: str | None,
    yaml: str | None,
    settings: tuple[str, ...],
    device: str | None,
    start: bool,
) -> None:
    """Looks at a baseline's clone, interpreter and weights, and says what is missing and what brings it.

    Upstream's weights are pickles: loading them can run code, so give only files that you trust.
    """
    from tnllt.tracking.baselines.bridge import tracker_class
    from tnllt.tracking.baselines.doctor import examine
    from tnllt.tracking.options import check_options, parse_settings

    record = _record(baseline, file, repo, tracker, yaml)
    given = {**parse_settings(settings), **({"device": device} if device else {})}
    options = check_options(tracker_class(record), given) if record.tracker is not None else {}
    looked_at = ("repo", "python", "weights", "save_dir", "yaml", "cfg", "device")
    missing = 0
    for finding in examine(record, **{k: v for k, v in options.items() if k in looked_at}):
        missing += finding.state == "missing"
        click.echo(f"{_MARKS[finding.state]} {finding.what:<12} {finding.text}")
        if finding.remedy and finding.state != "ok":
            click.echo(f"{'':21}-> {finding.remedy}")
    if start and not missing:
        tracker_class(record)(**options).close()
        click.echo("ok      start        upstream's code imports and the weights load")
    click.echo(f"{record.name}: " + (f"{missing} missing" if missing else "ready"))
    if missing:
        ctx.exit(EXIT_USAGE)


def _record(
    name: str | None, file: Path | None, repo: Path | None, tracker: str | None, yaml: str | None
) -> BaselineRecord:
    from tnllt.tracking.baselines import from_repository, get_baseline

    if [name, file, repo].count(None) != 2:
        raise UsageError("give one baseline: a name (tnllt-run list --baselines), --baseline FILE.toml, or --repo DIR")
    if repo is None and (tracker or yaml):
        raise UsageError("--tracker and --yaml go with --repo DIR")
    if repo is not None:
        if not tracker or not yaml:
            raise UsageError("--repo DIR goes with --tracker NAME and --yaml NAME")
        return from_repository(repo, tracker, yaml)
    return get_baseline(str(file) if file is not None else str(name))
