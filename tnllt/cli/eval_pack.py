"""`tnllt-eval pack` and `tnllt-eval unpack`."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import click

from tnllt.cli.common import location_options, scoring_options
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import LocationConfig, ScoreConfig
from tnllt.errors import TnlltError, UsageError
from tnllt.eval.intervals import group_runs
from tnllt.eval.packing import pack_scored, verify_pack, write_entries
from tnllt.eval.selection import Selection, choose_trackers, select
from tnllt.options import flag_of
from tnllt.records import from_table
from tnllt.results import pack as packing
from tnllt.results.entry import IDENTIFYING, Entry, weights_digest
from tnllt.text import printable


@click.command()
@click.argument("names", nargs=-1, metavar="[TRACKERS]...")
@scoring_options
@click.option(
    "--out",
    "-o",
    type=PATH,
    help="Archive to write; of several trackers, a folder.  [default: TRACKER.zip]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["tnllt", "got10k", "trackingnet"]),
    default="tnllt",
    show_default=True,
    help="With a manifest, or as a test server expects it.",
)
@click.option("--blind", is_flag=True, help="Leave out host, user, absolute paths, contact, repository and paper.")
@click.option(
    "--entry",
    "entry_folder",
    type=PATH,
    metavar="DIR",
    help="Write entries of a leaderboard: DIR/TRACKER with the archive and entry.toml.",
)
@click.option("--ask", is_flag=True, help="With --entry: ask for what the options below do not state.")
@config_options(Entry, "entry")
def pack(
    names: tuple[str, ...], config: ScoreConfig, entry: Entry, out: Path | None, format_: str, blind: bool,
    entry_folder: Path | None, ask: bool,
) -> None:  # fmt: skip
    """Put results of TRACKERS into archives with a manifest: versions, protocol, dataset, SHA-256 of every file.

    TRACKERS are names and globs, variants (T@text=none) included, or `all`. Incomplete results are refused (exit code
    3), and each missing sequence is named. For GOT-10k's server, several runs (NAME, NAME#2, NAME#3 or NAME_000,
    NAME_001, ...) go into one archive under their common name.
    """
    if entry_folder is not None and (out or format_ != "tnllt"):
        raise UsageError("--entry names its files itself and has one format; leave out --out and --format")
    stated = [f.name for f in fields(entry) if f.name not in ("mode", "schema") and getattr(entry, f.name)]
    if entry_folder is None and (ask or stated):
        raise UsageError(f"--{'ask' if ask else stated[0]} describes an entry; add --entry DIR")
    if blind and (named := [name for name in IDENTIFYING if getattr(entry, name)]):
        raise UsageError(f"--blind leaves out --{named[0].replace('_', '-')}; give one of the two")
    selection = select(replace(config, trackers="all"))
    if format_ != "tnllt":
        _pack_for_server(selection, names, out, format_)
        return
    if not names and config.trackers == "all" and len(selection.files) > 1:
        raise UsageError(f"several trackers are here; name some, or all; there are: {', '.join(selection.files)}")
    chosen = choose_trackers(names or config.trackers, list(selection.files))
    selection = replace(selection, files={name: selection.files[name] for name in chosen})
    if entry_folder is not None:
        written = write_entries(entry_folder, selection, _asked(entry, blind) if ask else entry, blind)
        for path in (path for paths in written.values() for path in paths):
            click.echo(printable(str(path)))
        return
    for name in chosen:
        path = (out / f"{name}.zip") if out and len(chosen) > 1 else out or Path(f"{name}.zip")
        manifest = pack_scored(path, selection.only(name), blind)
        _describe(manifest)
        _say_written(path, len(manifest.files))


def _pack_for_server(selection: Selection, trackers: tuple[str, ...], out: Path | None, format_: str) -> None:
    groups = group_runs(list(selection.files)) if format_ == "got10k" else {}
    name = ",".join(trackers) or (next(iter(selection.files)) if len(selection.files) == 1 else "")
    if name not in selection.files and name not in groups:
        there = ", ".join([*selection.files, *(g for g in groups if g not in selection.files)])
        what = f"no tracker {name!r} among the results" if name else "several trackers are here; name one"
        raise UsageError(f"{what}; there are: {there}")
    path = out or Path(f"{name}.zip")
    if format_ == "got10k":
        every = list(selection.files.values())
        runs = [every[i] for i in groups[name]] if name in groups else [selection.files[name]]
        count = packing.pack_got10k(path, selection.sequences, runs)
    else:
        count = packing.pack_trackingnet(path, selection.sequences, selection.files[name])
    _say_written(path, count)


def _say_written(path: Path, count: int) -> None:
    click.echo(f"{printable(str(path))}: {count} files, {path.stat().st_size / 1e6:.1f} MB")


def _asked(entry: Entry, blind: bool) -> Entry:
    """The entry with the answers to a question for each field that it does not state."""
    for f in fields(entry):
        flag = flag_of(f.metadata)
        if flag is not None and getattr(entry, f.name) == f.default and not (blind and f.name in IDENTIFYING):
            shown = f" ({', '.join(flag.choices)})" if flag.choices else ""
            accept = partial(_answered, entry, f.name)
            entry = click.prompt(flag.help.partition(".")[0] + shown, f.default, value_proc=accept, show_default=False)
    return entry


def _answered(entry: Entry, name: str, answer: str) -> Entry:
    try:
        answer = weights_digest(answer) if name == "weights" else answer
        return from_table({**vars(entry), name: answer.strip()}, Entry)
    except TnlltError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("archive", type=PATH)
@location_options
@click.option("--verify", is_flag=True, help="Check against the annotations, too, and score again.")
@click.option("--out", "-o", type=PATH, help="Folder of results to unpack into.")
def unpack(archive: Path, place: LocationConfig, verify: bool, out: Path | None) -> None:
    """Check ARCHIVE, made by `pack`, and unpack it into a folder of results (--out).

    Every file is checked against the manifest before anything is written. With --verify and annotations (--annos,
    --root, --dataset), their hash is checked too and the scores are computed again.
    """
    if not verify and out is None:
        raise UsageError("unpack needs --out DIR, or --verify to check only")
    manifest, members = packing.open_pack(archive)
    where = place.locate()
    _describe(manifest)
    click.echo(f"{len(members)} files, every one as it was packed")
    if verify and where.root is None and where.annos is None and place.dataset is None:
        click.echo("annotations not checked: give --annos, --root or --dataset")
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
