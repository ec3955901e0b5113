"""`tnllt-eval pack` and `tnllt-eval unpack`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tnllt.cli.common import location_options
from tnllt.cli.loading import Loaded, Options, load, scoring_options
from tnllt.config import Locations
from tnllt.errors import DataError, UsageError
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.results.pack import Manifest

#: Scores that a manifest carries, so that a reader sees at once what was packed.
_METRICS = ("success", "precision", "normalized_precision")


@click.command()
@click.argument("tracker", required=False)
@scoring_options
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Archive to write.  [default: TRACKER.zip]")
@click.option(
    "--format", "format_", type=click.Choice(["tnllt", "got10k", "trackingnet"]), default="tnllt", show_default=True,
    help="With a manifest, or as a test server wants it.",
)  # fmt: skip
def pack(tracker: str | None, options: Options, out: Path | None, format_: str) -> None:
    """Put TRACKER's results into an archive with a manifest: versions, protocol, dataset, SHA-256 of every file.

    Incomplete results are refused (exit code 3), and each missing sequence is named. For GOT-10k's server, several runs
    (NAME, NAME#2, NAME#3 or NAME_000, NAME_001, ...) go into one archive under their common name.
    """
    from tnllt.eval.intervals import group_runs
    from tnllt.results import pack as packing

    loaded = load(replace(options, trackers="all"))
    groups = group_runs(list(loaded.files)) if format_ == "got10k" else {}
    name = tracker or (next(iter(loaded.files)) if len(loaded.files) == 1 else "")
    if name not in loaded.files and name not in groups:
        there = ", ".join([*loaded.files, *(g for g in groups if g not in loaded.files)])
        raise UsageError(f"no tracker {name!r} among the results; there are: {there}" if name else f"which? {there}")
    path = out or Path(f"{name}.zip")
    if format_ == "got10k":
        every = list(loaded.files.values())
        runs = [every[i] for i in groups[name]] if name in groups else [loaded.files[name]]
        count = packing.pack_got10k(path, loaded.sequences, runs)
    elif format_ == "trackingnet":
        count = packing.pack_trackingnet(path, loaded.sequences, loaded.files[name])
    else:
        manifest = _with_manifest(path, name, loaded)
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
    from tnllt.results.pack import open_pack
    from tnllt.results.pack import unpack as write

    if not verify and out is None:
        raise UsageError("unpack needs --out DIR, or --verify to check only")
    manifest, members = open_pack(archive)
    _describe(manifest)
    click.echo(f"{len(members)} files, every one as it was packed")
    if verify:
        _verify(manifest, members, where, archive)
    if out is not None:
        written = write(members, out)
        click.echo(f"{len(written)} files in {printable(str(out))}")


def _with_manifest(path: Path, name: str, loaded: Loaded) -> Manifest:
    from tnllt.eval.protocols import get_protocol
    from tnllt.results.pack import check_complete
    from tnllt.results.pack import pack as write
    from tnllt.results.reading import read_many

    files = loaded.files[name]
    there = list(files.values())
    check_complete(loaded.sequences, files, dict(zip((f.sequence for f in there), read_many(there), strict=True)))
    only = replace(loaded, files={name: files})
    protocol = get_protocol(loaded.options.protocol)
    scores = only.score()
    table = {m: float(scores.score(m)[0]) for m in _METRICS}
    return write(
        path, name, loaded.sequences, files, protocol={"name": protocol.name, "digest": protocol.digest()}, scores=table
    )


def _describe(manifest: Manifest) -> None:
    scores = "  ".join(f"{name} {value:.4f}" for name, value in manifest.scores.items() if value is not None)
    dataset = manifest.dataset
    click.echo(
        printable(
            f"{manifest.tracker} on {dataset.get('name') or 'a dataset'}: {dataset.get('sequences')} sequences, "
            f"{dataset.get('frames')} frames; {manifest.protocol.get('name', 'no protocol')}: {scores or 'no scores'}"
        )
    )


def _verify(manifest: Manifest, members: dict[str, bytes], where: Locations, archive: Path) -> None:
    """Raises DataError where the annotations differ, or the scores do."""
    from tnllt.datasets import open_dataset
    from tnllt.eval.evaluate import evaluate
    from tnllt.eval.protocols import get_protocol
    from tnllt.numbers import parse_tables
    from tnllt.results.pack import dataset_digest
    from tnllt.sequence import Trajectory

    if where.root is None and where.annos is None:
        click.echo("annotations not checked: give --annos or --root")
        return
    texts = {Path(n).name.removesuffix(".txt"): (n, d) for n, d in members.items() if n.endswith(".txt")}
    sequences = list(open_dataset(where.dataset, where.root, where.annos, split=None, names=list(texts)))
    if dataset_digest(sequences) != manifest.dataset.get("sha256"):
        raise DataError("was packed with other annotations than these (their hash differs)", archive)
    click.echo("annotations: the same")
    if not manifest.scores:
        return
    protocol = get_protocol(str(manifest.protocol.get("name")))
    if protocol.digest() != manifest.protocol.get("digest"):
        raise DataError(f"was scored by other rules than this version's {protocol.name!r}", archive)
    tables = parse_tables([d for _, d in texts.values()], 4, [n for n, _ in texts.values()])
    results = dict(zip(texts, (Trajectory(t) for t in tables), strict=True))
    scores = evaluate(sequences, {manifest.tracker: results}, protocol)
    for name, value in manifest.scores.items():
        again = float(scores.score(name)[0])
        if value is None or abs(again - value) > 1e-12:
            raise DataError(f"says {name} {value}, but its files score {again:.6f}", archive)
    click.echo("scores: the same")
