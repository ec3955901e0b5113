"""`tnllt-data prepare`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from tnllt.cli.progress import Progress
from tnllt.text import printable


@click.command()
@click.argument("downloads", type=click.Path(path_type=Path))
@click.argument("root", required=False, type=click.Path(path_type=Path))
@click.option("--delete", is_flag=True, help="Delete the archives, once every file has been read back.")
@click.option("--overwrite", is_flag=True, help="Replace files that differ from the archives'.")
def prepare(downloads: Path, root: Path | None, delete: bool, overwrite: bool) -> None:
    """Join, verify and unpack a download into ROOT (DOWNLOADS/TNLLT where none is given).

    DOWNLOADS holds TNLLT_part_* (with TNLLT.tar.gz.md5, if you have it), annos.zip, tracking_results.zip, or any tar
    or zip file of sequences. The parts are read as one; no joined copy is written. Interrupted, run it again.

    An archive is refused, before anything of it is written, if a member would land outside the folder, is a link, or
    if it holds more than any release does.
    """
    from tnllt.datasets.archives import prepare as run

    target = root or downloads / "TNLLT"
    result = run(downloads, target, delete=delete, overwrite=overwrite, report=lambda label: Progress(label, "B"))
    for name, count in result.archives.items():
        sum_ = f", md5 {result.md5[name]} is right" if name in result.md5 else ""
        click.echo(printable(f"{name}: {count:,} files written{sum_}; all read back"))
    for folder in result.removed:
        click.echo(f"{folder}: moved one level up")
    for name in result.deleted:
        click.echo(printable(f"{name}: deleted"))
    if result.left:
        left = ", ".join(result.left)
        click.echo(
            printable(f"left of an interrupted deletion: {left}; everything in them is in place, --delete removes them")
        )
    if not (result.archives or result.removed or result.deleted):
        click.echo("Nothing to do: everything is in place.")
    click.echo(f"tnllt-data check {shlex.quote(str(target))} --dataset tnllt")
    if (target / "tracking_results").is_dir():
        where = f"--root {shlex.quote(str(target))} --results {shlex.quote(str(target / 'tracking_results'))}"
        click.echo(f"tnllt-eval {where} --trackers all")
