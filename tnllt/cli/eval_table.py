"""`tnllt-eval table`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from tnllt.cli.common import format_option
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import TableConfig
from tnllt.eval.paper import load_paper, paper_table
from tnllt.eval.score_table import WRITERS, scaled
from tnllt.eval.style import load_style
from tnllt.files import write_atomic
from tnllt.text import printable


@click.command()
@click.argument("file", type=PATH)
@format_option("text", "latex", "markdown", "html", "csv")
@config_options(TableConfig, without=("intervals", "references"))
@click.option("--style", type=PATH, help="TOML file with a [style].  [default: that of FILE]")
@click.option("--out", "-o", type=PATH, help="Write the table to a file.")
def table(file: Path, format_: str, config: TableConfig, style: Path | None, out: Path | None) -> None:
    """One table over several benchmarks: rows are trackers, columns the metrics of each benchmark by its own protocol.

    FILE is TOML with a [[benchmark]] for each (dataset, annos, results, protocol, metrics); `reported` numbers stand
    beside computed ones and are marked. See docs/scoring.md.
    """
    paper = load_paper(file)
    made = paper_table(paper, file.parent, load_style(style) if style is not None else None)
    decimals = paper.decimals if config.decimals is None else config.decimals
    if format_ != "csv":
        made = scaled(made, replace(config, percent=config.percent or paper.percent, decimals=decimals))
    text = WRITERS[format_](made)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomic(out, text)
        click.echo(printable(str(out)))
