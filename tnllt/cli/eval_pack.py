"""`tnllt-eval pack` and `tnllt-eval unpack`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tnllt.cli.common import location_options
from tnllt.cli.eval_options import scoring_options
from tnllt.config import Locations, ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.intervals import group_runs
from tnllt.eval.packing import pack_scored, verify_pack
from tnllt.eval.selection import select
from tnllt.results import pack as packing
from tnllt.text import printable


@click.command()
@click.argument("tracker", required=False)
@scoring_options
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Archive to write.  [default: TRACKER.zip]")
@click.option(
    "--format", "format_", type=click.Choice(["tnllt", "got10k", "trackingnet"]), default="tnllt", show_default=True,
    help="With a manifest, or as a test server expects it.",
)  # fmt: skip
def pack(tracker: str | None, config: ScoreConfig, out: Path | None, format_: str) -> None:
    """Put TRACKER's results into an archive with a manifest: versions, protocol, dataset, SHA-256 of every file.

    Incomplete results are refused (exit code 3), and each missing sequence is named. For GOT-10k's server, several runs
    (NAME, NAME#2, NAME#3 or NAME_000, NAME_001, ...) go into one archive under their common name.
    """
    selection = select(replace(config, trackers="all"))
    groups = group_runs(list(selection.files)) if format_ == "got10k" else {}
    name = tracker or (next(iter(selection.files)) if len(selection.files) == 1 else "")
    if name not in selection.files and name not in groups:
        there = ", ".join([*selection.files, *(g for g in groups if g not in selection.files)])
        what = f"no tracker {name!r} among the results" if name else "several trackers are here; name one"
        raise UsageError(f"{what}; there are: {there}")
    path = out or Path(f"{name}.zip")
    if format_ == "got10k":
        every = list(selection.files.values())
        runs = [every[i] for i in groups[name]] if name in groups else [selection.files[name]]
        count = packing.pack_got10k(path, selection.sequences, runs)
    elif format_ == "trackingnet":
        count = packing.pack_trackingnet(path, selection.sequences, selection.files[name])
    else:
        manifest = pack_scored(path, selection.only(name))
        count = len(manifest.files)
        _describe(manifest)
    click.echo(f"{printable(str(path))}: {count} files, {path.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@location_options
@click.option("--verify", is_flag=True, help="Check against the annotations, too, and score again.")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder of results to unpack into.")
def unpack(archive: Path, where: Locations, verify: bool, out: Path | None) -> None:
    """Check ARCHIVE, made by `pack`, and unpack it into a folder of results (--out).

    Every file is checked against the manifest before anything is written. With --verify and annotations (--annos,
    --root), the dataset's hash is checked too and the scores are computed again.
    """
    if not verify and out is None:
        raise UsageError("unpack needs --out DIR, or --verify to check only")
    manifest, members = packing.open_pack(archive)
    _describe(manifest)
    click.echo(f"{len(members)} files, every one as it was packed")
    if verify and where.root is None and where.annos is None:
        click.echo("annotations not checked: give --annos or --root")
    elif verify:
        verify_pack(archive, manifest, members, where)
        click.echo("annotations: the same")
        if manifest.scores:
            click.echo("scores: the same")
    if out is not None:
        written = packing.unpack(members, out)
        click.echo(f"{len(written)} files in {printable(str(out))}")


def _describe(manifest: packing.Manifest) -> None:
    scores = "  ".join(f"{name} {value:.4f}" for name, value in manifest.scores.items() if value is not None)
    dataset = manifest.dataset
    click.echo(
        printable(
            f"{manifest.tracker} on {dataset.get('name') or 'a dataset'}: {dataset.get('sequences')} sequences, "
            f"{dataset.get('frames')} frames; {manifest.protocol.get('name', 'no protocol')}: {scores or 'no scores'}"
        )
    )
