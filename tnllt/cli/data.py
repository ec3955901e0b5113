"""`tnllt-data`: check, describe, make, prepare and convert datasets."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tnllt.cli.common import LazyGroup, format_option, prints_findings, run_command, version_option
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.cli.progress import Progress
from tnllt.config import DatasetConfig, LocationConfig
from tnllt.errors import UsageError
from tnllt.files import is_url, to_json, user_path, write_atomic
from tnllt.options import option
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.datasets import Dataset
    from tnllt.datasets.publish import About
    from tnllt.findings import Findings

#: The subcommand that is slow to import, and what it does.
_SUBCOMMANDS = {
    "synth": ("tnllt.cli.data_synth:synth", "Make synthetic sequences to order, in TNLLT's layout."),
}


@click.group(cls=LazyGroup, subcommands=_SUBCOMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cli() -> None:
    """Read, check, make and prepare tracking datasets.

    A dataset is a benchmark's name with --root (tnllt, tnl2k, lasot, lasot_ext, otb99_lang, otb100, uav123, nfs,
    trackingnet, got10k, mgit), any folder of sequences, or a TOML file that describes one.
    """


@dataclass(frozen=True, kw_only=True)
class _Data(DatasetConfig):
    split: str | None = option("all", "test, train, ...; all: every annotated sequence.", kind=str)


def _path_or_url(value: str) -> str | Path:
    return value if is_url(value) else user_path(value)


_root = click.argument("place", metavar="[ROOT]", required=False, type=_path_or_url)
_about = click.option("--about", type=PATH, metavar="TOML", help="What its authors state: license, citation, [rai] ...")
_workers = click.option("--workers", "-w", type=click.IntRange(1), help="Threads.  [default: one per processor]")


def _target(config: LocationConfig, place: str | Path | None) -> tuple[str | Path, str | Path | None, Path | None]:
    """What ROOT and the location options mean together: dataset, root and annos of `open_dataset`.

    With --dataset, ROOT is that benchmark's root; alone, its layout is detected.
    """
    source = click.get_current_context().get_parameter_source("dataset")
    alone = place is not None and source is not ParameterSource.COMMANDLINE
    where = (replace(config, dataset=place) if alone else config).locate()
    if place is None:
        return where.dataset, where.root, where.annos
    return (place, None, where.annos) if alone else (where.dataset, place, where.annos)


def _open(config: DatasetConfig, place: str | Path | None, attributes: str | None = None) -> Dataset:
    from tnllt.datasets import open_dataset

    split = None if config.split == "all" else config.split
    return open_dataset(*_target(config, place), split, config.names(), attributes)


@cli.command()
@_root
@click.option("--decode", is_flag=True, help="Decode every image: finds broken and truncated files, other sizes.")
@config_options(DatasetConfig, without=["split"])
@_workers
@prints_findings("tnllt.datasets.check:CHECKER")
def check(place: str | Path | None, config: DatasetConfig, decode: bool, workers: int | None) -> Findings:
    """Find what is wrong with a dataset, before a tracker does.

    ROOT is a folder whose layout is detected, or the root of the benchmark that --dataset names; without it the
    dataset is the one that --dataset, --root and --annos (or the environment, or tnllt.toml) give.

    Compares frames, boxes and flags; examines boxes, language descriptions, split lists, names and copies; infers the
    sense of the flags from boxes of zero area. Exit code 1 where an error is found.
    """
    from tnllt.datasets.check import check_dataset

    progress = Progress("decoding", "images") if decode else None
    name, folder, annos = _target(config, place)
    names = config.names()
    return check_dataset(name, folder, annos, names=names, decode=decode, workers=workers, progress=progress)


@cli.command()
@_root
@config_options(_Data)
@click.option("--attributes", help="Only sequences with all of these attributes: OV,FOC.")
@click.option("--sheet", type=PATH, help="Write a contact sheet (PNG): boxes and descriptions.")
@click.option("--most", type=click.IntRange(1), default=24, show_default=True, help="Sequences on the contact sheet.")
@click.option("--croissant", "croissant_file", type=PATH, help="Write the dataset's description as Croissant (JSON).")
@_about
@format_option("text", "json")
def info(
    place: str | Path | None, config: DatasetConfig, attributes: str | None, sheet: Path | None, most: int,
    croissant_file: Path | None, about: Path | None, format_: str,
) -> None:  # fmt: skip
    """A dataset's card: counts, lengths, resolutions, fraction of absent frames, attributes, a contact sheet.

    ROOT is a folder whose layout is detected, or the root of the benchmark that --dataset names.
    """
    from tnllt.datasets.card import check_image_path, contact_sheet, format_card, make_card

    if sheet is not None:
        check_image_path(sheet)
    dataset = _open(config, place, attributes)
    card = make_card(dataset)
    click.echo(json.dumps(asdict(card), indent=2) if format_ == "json" else printable(format_card(card)))
    if sheet is not None:
        count = contact_sheet(dataset, sheet, most=most)
        click.echo(f"{sheet}: {count} sequences", err=True)
    if croissant_file is not None:
        from tnllt.datasets.publish import croissant, read_about

        stated = read_about(about)
        write_atomic(croissant_file, to_json(croissant(dataset, stated), 2) + "\n")
        _say_missing(croissant_file, stated)


@cli.command()
@click.argument("place", metavar="ROOT", type=_path_or_url)
@click.argument("out", type=PATH)
@config_options(DatasetConfig)
@_about
def publish(place: str | Path, out: Path, config: DatasetConfig, about: Path | None) -> None:
    """Lay a dataset out for a hub in the new folder OUT.

    It gets annotations.parquet (boxes, presence, descriptions, attributes), a tar file of frames per sequence, a card,
    Croissant, and SHA256SUMS. Every command reads that folder, and its URL, as a dataset: `--dataset OUT`.
    """
    from tnllt.datasets.publish import publish as run
    from tnllt.datasets.publish import read_about

    stated = read_about(about)
    files = run(_open(config, place), out, stated, config.split or "all", Progress("publishing", "frames"))
    size = sum((out / path).stat().st_size for path in files)
    click.echo(printable(f"{out}: {len(files)} files, {size / 1e6:,.1f} MB"))
    _say_missing(out / "croissant.json", stated)


def _say_missing(path: Path, about: About) -> None:
    if about.missing:
        click.echo(printable(f"{path}: not stated (--about FILE.toml): {', '.join(about.missing)}"), err=True)


@cli.command()
@click.argument("name")
@click.argument("root", metavar="DIR", type=PATH)
@click.option("--only", multiple=True, metavar="GLOB", help="Only files of these names: 'airplane*'; may be repeated.")
@prints_findings("tnllt.datasets.check:CHECKER")
def get(name: str, root: Path, only: tuple[str, ...]) -> Findings:
    """Download the dataset NAME into DIR/downloads, unpack it into DIR, and check it.

    Sizes and SHA-256 are compared where they are published. Interrupted, run it again: it goes on where it was. What no
    program can fetch (Baidu pan, forms) prints the steps.
    """
    from tnllt.datasets.archives import prepare as run
    from tnllt.datasets.check import check_dataset
    from tnllt.download import fetch, find_offer

    offer = find_offer("datasets", name)
    click.echo(printable(f"{name}: from {offer.page} ({offer.licence})"), err=True)
    downloads = root / "downloads"
    for note in fetch(offer, downloads, only, report=lambda label: Progress(label, "B")):
        click.echo(printable(note), err=True)
    run(downloads, root, report=lambda label: Progress(label, "B"))
    click.echo(printable(f"{root} is whole; {downloads} may be deleted."), err=True)
    return check_dataset(name, root)


@cli.command()
@click.argument("downloads", type=PATH)
@click.argument("root", required=False, type=PATH)
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


@cli.command()
@click.argument("place", metavar="ROOT", type=_path_or_url)
@click.argument("out", type=PATH)
@config_options(DatasetConfig)
@click.option(
    "--images", type=click.Choice(["keep", "jpeg", "png"]), default="keep", show_default=True,
    help="keep: copy the files (a video becomes JPEG); jpeg, png: encode those of another format.",
)  # fmt: skip
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEG.")
@_workers
def convert(
    place: str | Path, out: Path, config: DatasetConfig, images: str, quality: int, workers: int | None
) -> None:
    """Write a dataset in TNLLT's layout, or its PNG frames as JPEG.

    ROOT is a folder or a video whose layout is detected, or the root of the benchmark that --dataset names.
    OUT gets a folder per sequence, annos/ and splits/. What the dataset does not have is not written. With
    `--images jpeg` the saving in bytes and the loss (PSNR of every frame) are stated. Interrupted, run it again.
    """
    from tnllt.datasets.convert import convert as run
    from tnllt.datasets.convert import format_conversion

    dataset = _open(config, place)
    progress = Progress("converting", "frames")
    result = run(
        dataset, out, split=config.split or "all", images=images, quality=quality, workers=workers, progress=progress
    )
    click.echo(printable(format_conversion(result)))


@cli.command()
@config_options(DatasetConfig)
@click.option("--url", required=True, help="OpenAI-compatible server, such as http://localhost:8000/v1.")
@click.option("--model", help="Its name there.  [default: the first that the server lists]")
@click.option("--count", default=3, type=click.IntRange(1, 50), show_default=True, help="Prompts for each sequence.")
@click.option("--out", "-o", type=PATH, required=True, help="TOML file to write.")
def paraphrase(config: DatasetConfig, url: str, model: str | None, count: int, out: Path) -> None:
    """Have a language model write other prompts for each sequence's target, for `tnllt-run --text FILE`.

    Answers are cached. The key is read from OPENAI_API_KEY. The file names the model, and is refused by --text until
    somebody has read it and set `reviewed` to true in it.
    """
    from tnllt.datasets.dataset import open_configured
    from tnllt.reasoningtrack.paraphrase import paraphrases, prompt_file
    from tnllt.reasoningtrack.reasoners.server import ServerReasoner

    if out.exists():
        raise UsageError(f"{out} is there already, and may be reviewed; move it away or give another --out")
    texts = {s.name: s.language for s in open_configured(config) if s.language}
    if not texts:
        raise UsageError("no sequence of the dataset has a language description")
    server = ServerReasoner(url, model=model, max_tokens=100 * count)
    prompts = paraphrases(texts, server, count)
    write_atomic(out, prompt_file(prompts, str(server.info()["model"] or "not named by the server"), count))
    click.echo(printable(f"{count} prompts for each of {len(prompts)} sequences in {out}; read them before use"))


def main() -> None:
    run_command(cli, "tnllt-data")


if __name__ == "__main__":
    main()
