"""`tnllt-run check TRACKER`: five synthetic sequences, and what the tracker gets wrong on them."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.common import prints_findings
from tnllt.findings import Findings


@click.command()
@click.argument("name", metavar="TRACKER")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the tracker.")
@click.option("--start-timeout", default=300.0, show_default=True, help="Seconds to load and to start.")
@click.option("--frame-timeout", default=60.0, show_default=True, help="Seconds for one frame.")
@click.option("--keep", type=click.Path(path_type=Path), help="Write the five sequences here, to look at them.")
@prints_findings("tnllt.tracking.check:CHECKER")
def check(
    name: str, settings: tuple[str, ...], start_timeout: float, frame_timeout: float, keep: Path | None
) -> Findings:
    """Track five synthetic sequences with TRACKER and report what it gets wrong.

    An absent target, a tiny box, a box at the border, a start from text alone, and a single frame. Exit code 1 where
    an error is found; warnings alone leave it 0.
    """
    from tnllt.tracking.check import check_tracker, write_sequences
    from tnllt.tracking.config import Limits
    from tnllt.tracking.options import parse_settings
    from tnllt.tracking.registry import find_tracker

    spec = find_tracker(name, parse_settings(settings))
    if keep is not None:
        write_sequences(keep)
    return check_tracker(spec, Limits(start_timeout=start_timeout, frame_timeout=frame_timeout))
