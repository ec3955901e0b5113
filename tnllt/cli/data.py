"""`tnllt-data`: check, describe, make, prepare and convert datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tnllt.cli.common import LazyGroup, run_command, version_option
from tnllt.config import Locations

if TYPE_CHECKING:
    from tnllt.datasets import Dataset

#: Subcommand -> (where it is, what it does); a module is imported when its subcommand is called.
_SUBCOMMANDS = {
    "check": ("tnllt.cli.data_check:check", "Find what is wrong with a dataset, before a tracker does."),
    "info": ("tnllt.cli.data_info:info", "A dataset's card: counts, lengths, attributes, a contact sheet."),
    "synth": ("tnllt.cli.data_synth:synth", "Make synthetic sequences to order, in TNLLT's layout."),
    "prepare": ("tnllt.cli.data_prepare:prepare", "Join, verify and unpack a download."),
    "convert": ("tnllt.cli.data_convert:convert", "Write a dataset in TNLLT's layout, or PNG as JPEG."),
}


@click.group(cls=LazyGroup, subcommands=_SUBCOMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cli() -> None:
    """Read, check, make and prepare tracking datasets.

    A dataset is a benchmark's name with --root (tnllt, tnl2k, lasot, lasot_ext, otb99_lang, otb100, uav123, nfs,
    trackingnet, got10k, mgit), any folder of sequences, or a TOML file that describes one.
    """


target_argument = click.argument("place", metavar="[ROOT]", required=False, type=click.Path(path_type=Path))


sequences_option = click.option(
    "--sequences", "-s", multiple=True, help="Only these names or globs, or a file of names; may be repeated."
)
split_option = click.option(
    "--split", default="all", show_default=True, help="test, train, ...; all: every annotated sequence."
)
workers_option = click.option("--workers", "-w", type=click.IntRange(1), help="Threads.  [default: one per processor]")


def target(where: Locations, place: Path | None) -> tuple[str | Path, Path | None, Path | None]:
    """What ROOT and the location options mean together: dataset, root and annos of `open_dataset`.

    With --dataset, ROOT is that benchmark's root; alone, its layout is detected.
    """
    if place is None:
        return where.dataset, where.root, where.annos
    source = click.get_current_context().get_parameter_source("dataset")
    if source is ParameterSource.COMMANDLINE:
        return where.dataset, place, where.annos
    return place, None, where.annos


def open_target(
    where: Locations, place: Path | None, split: str, sequences: tuple[str, ...], attributes: str | None = None
) -> Dataset:
    """The dataset that ROOT, the location options, --split, --sequences and --attributes name together."""
    from tnllt.datasets import open_dataset

    name, root, annos = target(where, place)
    chosen = None if split == "all" else split
    return open_dataset(name, root, annos, split=chosen, names=sequences or None, attributes=attributes)


def main() -> None:
    run_command(cli, "tnllt-data")


if __name__ == "__main__":
    main()
