"""`tnllt-data info`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from tnllt.cli.common import location_options
from tnllt.cli.data import open_target, sequences_option, split_option, target_argument
from tnllt.config import Locations
from tnllt.text import printable


@click.command()
@target_argument
@location_options
@split_option
@sequences_option
@click.option("--attributes", help="Only sequences with all of these attributes: OV,FOC.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Write a contact sheet (PNG): boxes and descriptions.")
@click.option("--gallery", type=click.Path(path_type=Path), help="Write an attribute gallery (PNG).")
@click.option("--most", type=click.IntRange(1), default=24, show_default=True, help="Sequences on the contact sheet.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def info(
    place: Path | None,
    where: Locations,
    split: str,
    sequences: tuple[str, ...],
    attributes: str | None,
    sheet: Path | None,
    gallery: Path | None,
    most: int,
    form: str,
) -> None:
    """A dataset's card: counts, lengths, resolutions, fraction of absent frames, attributes, a contact sheet.

    ROOT is a folder whose layout is detected, or the root of the benchmark that --dataset names.
    """
    from tnllt.datasets.card import format_card, make_card
    from tnllt.datasets.contact_sheet import attribute_gallery, check_image_path, contact_sheet

    for path in filter(None, (sheet, gallery)):
        check_image_path(path)
    dataset = open_target(where, place, split, sequences, attributes)
    card = make_card(dataset)
    click.echo(json.dumps(asdict(card), indent=2) if form == "json" else printable(format_card(card)))
    if sheet is not None:
        count = contact_sheet(dataset, sheet, most=most)
        click.echo(f"{sheet}: {count} sequences", err=True)
    if gallery is not None:
        shown = attribute_gallery(dataset, gallery)
        click.echo(f"{gallery}: {' '.join(shown)}", err=True)
