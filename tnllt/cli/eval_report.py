"""`tnllt-eval report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from tnllt.cli.common import output_folder, scoring_options, style_option
from tnllt.cli.dataclass_options import PATH
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.metrics import get_metrics
from tnllt.eval.paper import load_paper
from tnllt.eval.report import check_size, write_report, write_tabs
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
@click.option("--benchmarks", type=PATH, metavar="FILE", help="Several benchmarks, a tab each; FILE as for `table`.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(
    config: ScoreConfig, out: Path, title: str, max_size: float | None, style: Path | None, benchmarks: Path | None,
    show: bool,
) -> None:  # fmt: skip
    """One self-contained HTML file: leaderboard, curves, attributes, sequences, overlap over time, findings.

    It needs no network, works on a phone and by keyboard, and holds the document of scores.json. Images of the hardest
    sequences appear where the dataset has its frames (--root).
    """
    folder = output_folder(out)
    if benchmarks is not None:
        _show(_tabs(benchmarks, folder, style, None if max_size is None else int(max_size * 1e6)), show)
        return
    selection = select(config)
    most = None if max_size is None else int(max_size * 1e6)
    check_size(len(selection.files), [s.name for s in selection.sequences], len(get_metrics("all")), most)
    scores = selection.score()
    look = load_style(style, config.config)
    path = write_report(scores, folder, selection, title=title, style=look, max_bytes=most)
    _show(path, show)


def _tabs(file: Path, folder: Path, style: Path | None, most: int | None) -> Path:
    paper = load_paper(file)
    look = paper.style if style is None else load_style(style)
    chosen = [(b.title, found) for b in paper.benchmark if (found := b.select(file.parent)) is not None]
    reports = {title or found.benchmark: (found.score(), found) for title, found in chosen}
    if not reports:
        raise UsageError(f"--benchmarks {file}: no benchmark has a dataset; reported numbers alone make no report")
    return write_tabs(reports, folder, style=look, max_bytes=most)


def _show(path: Path, show: bool) -> None:
    click.echo(f"{printable(str(path))} ({path.stat().st_size / 1e6:.1f} MB)")
    if show:
        webbrowser.open(path.resolve().as_uri())
