"""`tnllt-eval report` and `tnllt-eval table`: a page about one benchmark or several, and one table over several."""

from __future__ import annotations

import webbrowser
from dataclasses import replace
from pathlib import Path

import click

from tnllt.cli.common import format_option, output_folder, scoring_options, style_option, terminal_width
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import ScoreConfig, TableConfig
from tnllt.errors import UsageError
from tnllt.eval.metrics import get_metrics
from tnllt.eval.paper import load_paper, paper_table
from tnllt.eval.report import check_size, report_details, write_report, write_tabs
from tnllt.eval.score_table import WRITERS, scaled
from tnllt.eval.selection import select
from tnllt.eval.style import load_style
from tnllt.files import write_atomic
from tnllt.processes import processors
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
    check_size(len(selection.files), len(selection.sequences), len(get_metrics("all")), most)
    details = report_details(selection, most)
    scores = selection.score(details, processors())
    look = load_style(style, config.config)
    path = write_report(scores, folder, details, title=title, style=look, max_bytes=most)
    _show(path, show)


def _tabs(file: Path, folder: Path, style: Path | None, most: int | None) -> Path:
    paper = load_paper(file)
    look = paper.style if style is None else load_style(style)
    chosen = [(b.title, found) for b in paper.benchmark if (found := b.select(file.parent)) is not None]
    if not chosen:
        raise UsageError(f"--benchmarks {file}: no benchmark has a dataset; reported numbers alone make no report")
    each = None if most is None else most // len(chosen)
    details = {title or found.benchmark: report_details(found, each) for title, found in chosen}
    reports = {title: (seen.selection.score(seen, processors()), seen) for title, seen in details.items()}
    return write_tabs(reports, folder, style=look, max_bytes=most)


def _show(path: Path, show: bool) -> None:
    click.echo(f"{printable(str(path))} ({path.stat().st_size / 1e6:.1f} MB)")
    if show:
        webbrowser.open(path.resolve().as_uri())


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
        percent, width = config.percent or paper.percent, None if out is not None else terminal_width()
        made = scaled(made, replace(config, percent=percent, decimals=decimals, width=width))
    text = WRITERS[format_](made)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_atomic(out, text)
        click.echo(printable(str(out)))
