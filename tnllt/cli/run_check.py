"""`tnllt-run check TRACKER`: five synthetic sequences, and in words what the tracker gets wrong."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.errors import EXIT_GATE, EXIT_OK
from tnllt.text import printable


@click.command(short_help="Try a tracker on five synthetic sequences.")
@click.argument("name", metavar="TRACKER")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the tracker.")
@click.option("--start-timeout", default=300.0, show_default=True, help="Seconds to load and to start.")
@click.option("--frame-timeout", default=60.0, show_default=True, help="Seconds for one frame.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the five sequences here, to look at them.")
def check(name: str, settings: tuple[str, ...], start_timeout: float, frame_timeout: float, keep: Path | None) -> int:
    """Track five synthetic sequences with TRACKER and say what it gets wrong.

    An absent target, a tiny box, a box at the border, a start from text alone, and a single frame. Exit code 1 where
    something is wrong; remarks alone leave it 0.
    """
    from tnllt.tracking.check import check_tracker, write_sequences
    from tnllt.tracking.options import parse_settings
    from tnllt.tracking.registry import find_tracker

    spec = find_tracker(name, parse_settings(settings))
    if keep is not None:
        write_sequences(keep)
    findings = check_tracker(spec, frame_timeout, start_timeout)
    for finding in findings:
        verdict = "WRONG" if finding.wrong else "remark" if finding.remarks else "good"
        click.echo(f"{finding.name:20}{verdict}")
        for line in (*finding.wrong, *finding.remarks, *finding.good):
            click.echo(printable(f"    {line}"))
    wrong = sum(bool(finding.wrong) for finding in findings)
    click.echo(
        f"\n{spec.name}: something wrong in {wrong} of {len(findings)} sequences"
        if wrong
        else f"\n{spec.name}: nothing wrong"
    )
    return EXIT_GATE if wrong else EXIT_OK
