"""`tnllt-data convert`."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.common import location_options
from tnllt.cli.data import open_target, sequences_option, workers_option
from tnllt.cli.progress import Progress
from tnllt.config import Locations
from tnllt.text import printable


@click.command()
@click.argument("place", metavar="ROOT", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@location_options
@click.option("--split", default="test", show_default=True, help="test, train, ...; all: every annotated sequence.")
@sequences_option
@click.option(
    "--images",
    type=click.Choice(["keep", "jpeg", "png"]),
    default="keep",
    show_default=True,
    help="keep: copy the files (a video becomes JPEG); jpeg, png: encode every frame.",
)
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG.")
@workers_option
def convert(
    place: Path,
    out: Path,
    where: Locations,
    split: str,
    sequences: tuple[str, ...],
    images: str,
    quality: int,
    workers: int | None,
) -> None:
    """Write a dataset in TNLLT's layout, or its PNG frames as JPEG.

    ROOT is a folder or a video whose layout is detected, or the root of the benchmark that --dataset names.
    OUT gets a folder per sequence, annos/ and splits/. What the dataset does not have is not written. With
    `--images jpeg` the saving in bytes and the loss (PSNR of every frame) are stated. Interrupted, run it again.
    """
    from tnllt.datasets.convert import convert as run
    from tnllt.datasets.convert import format_conversion

    dataset = open_target(where, place, split, sequences)
    progress = Progress("converting", "frames")
    result = run(dataset, out, split=split, images=images, quality=quality, workers=workers, progress=progress)
    click.echo(printable(format_conversion(result)))
