"""`tnllt-eval report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from tnllt.cli.common import output_folder, scoring_options, style_option
from tnllt.cli.dataclass_options import PATH
from tnllt.config import ScoreConfig
from tnllt.eval.metrics import get_metrics
from tnllt.eval.report import check_size, report_content, write_report
from tnllt.eval.selection import select
from tnllt.eval.style import load_style
from tnllt.text import printable


@click.command()
@scoring_options
@click.option("--out", "-o", type=PATH, required=True, help="Folder to leave report.html in.")
@click.option("--title", default="", help="Heading of the report.")
@click.option(
    "--max-size", type=click.FloatRange(min=0.5), metavar="MB",
    help="Largest size; overlaps over time lose detail until the report fits.  [default: 8, more where the scores need "
    "it]",
)  # fmt: skip
@style_option
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(config: ScoreConfig, out: Path, title: str, max_size: float | None, style: Path | None, show: bool) -> None:
    """One self-contained HTML file: leaderboard, curves, attributes, sequences, overlap over time, findings.

    It needs no network, works on a phone and by keyboard, and holds the document of scores.json. Images of the hardest
    sequences appear where the dataset has its frames (--root).
    """
    folder = output_folder(out)
    selection = select(config)
    most = None if max_size is None else int(max_size * 1e6)
    check_size(len(selection.files), [s.name for s in selection.sequences], len(get_metrics("all")), most)
    scores = selection.score()
    path = write_report(
        scores, folder, report_content(selection, title, load_style(style, config.config)), max_bytes=most
    )
    click.echo(f"{printable(str(path))} ({path.stat().st_size / 1e6:.1f} MB)")
    if show:
        webbrowser.open(path.resolve().as_uri())
