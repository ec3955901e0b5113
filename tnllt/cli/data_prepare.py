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
@click.option("--overwrite", is_flag=True, help="Replace files that differ from the archives'.")
def prepare(downloads: Path, root: Path | None, overwrite: bool) -> None:
    """Join, verify and unpack a download into ROOT (DOWNLOADS/TNLLT where none is given).

    DOWNLOADS holds TNLLT_part_* (with TNLLT.tar.gz.md5, if you have it), annos.zip, tracking_results.zip, or any tar
    or zip file of sequences. The parts are read as one; no joined copy is written. Interrupted, run it again.

    An archive is refused, before anything of it is written, if a member would land outside the folder, is a link, or
    if it holds more than any release does.
    """
    from tnllt.datasets.archives import prepare as run

    target = root or downloads / "TNLLT"
    result = run(downloads, target, overwrite=overwrite, report=lambda label: Progress(label, "B"))
    for name, count in result.archives.items():
        sum_ = f", md5 {result.md5[name]} is right" if name in result.md5 else ""
        click.echo(printable(f"{name}: {count:,} files written{sum_}; all read back"))
    if not result.archives:
        click.echo("Nothing to do: everything is in place.")
    click.echo(f"tnllt-data check {shlex.quote(str(target))} --dataset tnllt")
    if (target / "tracking_results").is_dir():
        where = f"--root {shlex.quote(str(target))} --results {shlex.quote(str(target / 'tracking_results'))}"
        click.echo(f"tnllt-eval {where} --trackers all")
