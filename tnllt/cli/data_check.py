"""`tnllt-data check`."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.common import location_options, prints_findings
from tnllt.cli.data import sequences_option, target, target_argument, workers_option
from tnllt.cli.progress import Progress
from tnllt.config import Locations
from tnllt.findings import Findings


@click.command()
@target_argument
@location_options
@click.option("--decode", is_flag=True, help="Decode every image: finds broken and truncated files, other sizes.")
@sequences_option
@workers_option
@prints_findings("tnllt.datasets.check:CHECKER")
def check(
    place: Path | None, where: Locations, decode: bool, sequences: tuple[str, ...], workers: int | None
) -> Findings:
    """Find what is wrong with a dataset, before a tracker does.

    ROOT is a folder whose layout is detected, or the root of the benchmark that --dataset names; without it the
    dataset is the one that --dataset, --root and --annos (or the environment, or tnllt.toml) give.

    Compares frames, boxes and flags; examines boxes, language descriptions, split lists, names and copies; infers the
    sense of the flags from boxes of zero area. Exit code 1 where an error is found.
    """
    from tnllt.datasets.check import check_dataset

    progress = Progress("decoding", "images") if decode else None
    name, folder, annos = target(where, place)
    return check_dataset(
        name, folder, annos, names=sequences or None, decode=decode, workers=workers, progress=progress
    )
