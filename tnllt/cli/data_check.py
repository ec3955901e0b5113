"""`tnllt-data check`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from tnllt.cli.common import location_options
from tnllt.cli.data import target, target_argument
from tnllt.cli.progress import Progress
from tnllt.config import Locations
from tnllt.errors import EXIT_GATE, UsageError
from tnllt.text import printable


@click.command()
@target_argument
@location_options
@click.option("--decode", is_flag=True, help="Decode every image: finds broken and truncated files, other sizes.")
@click.option("--sequences", multiple=True, help="Only these names or globs, or a file of names; may be repeated.")
@click.option("--workers", type=click.IntRange(1), help="Decoding threads.  [default: one per processor]")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write the report to a file.")
@click.option("--verbose", "-v", is_flag=True, help="Name every finding, not the first five of a kind.")
@click.option("--strict", is_flag=True, help="Warnings, too, make the exit code 1.")
def check(
    place: Path | None,
    where: Locations,
    decode: bool,
    sequences: tuple[str, ...],
    workers: int | None,
    form: str,
    output: Path | None,
    verbose: bool,
    strict: bool,
) -> int:
    """Find what is wrong with a dataset, before a tracker does.

    ROOT is a folder whose layout is found by looking, or the root of the benchmark that --dataset names; without it
    the dataset is the one that --dataset, --root and --annos (or the environment, or tnllt.toml) give.

    Compares frames, boxes and flags; looks at boxes, sentences, split lists, names and copies; tells the sense of the
    flags by boxes of zero area. Exit code 1 where an error is found.
    """
    from tnllt.datasets.check import Severity, check_dataset
    from tnllt.datasets.check.text import format_report

    name, folder, annos = target(where, place)
    report = check_dataset(
        name,
        folder,
        annos,
        names=sequences or None,
        decode=decode,
        workers=workers,
        progress=Progress("decoding", "images") if decode else None,
    )
    if form == "json":
        text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
    else:
        text = printable(format_report(report, verbose=verbose))
    if output is None:
        click.echo(text)
    else:
        try:
            output.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{output}: cannot be written ({error.strerror})") from error
    failed = report.count(Severity.ERROR) or (strict and report.count(Severity.WARNING))
    return EXIT_GATE if failed else 0
