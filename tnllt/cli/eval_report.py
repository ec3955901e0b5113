"""`tnllt-eval report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tnllt.cli.loading import Loaded, Options, load, output_folder, scoring_options
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.eval.scores import Scores
    from tnllt.results.layouts import ResultFile


@click.command()
@scoring_options
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder to leave report.html in.")
@click.option("--title", default="", help="Heading of the report.")
@click.option(
    "--max-size", type=click.FloatRange(min=0.5), default=8.0, show_default=True,
    help="Largest size in MB; overlaps over time lose detail until the report fits.",
)  # fmt: skip
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
def report(options: Options, out: Path, title: str, max_size: float, show: bool) -> None:
    """One self-contained HTML file: leaderboard, curves, attributes, sequences, overlap over time, findings.

    It needs no network, works on a phone and by keyboard, and holds the document of scores.json. Pictures of the
    hardest sequences appear where the dataset has its frames (--root).
    """
    from tnllt.eval.report import write_report

    folder = output_folder(out)
    assert folder is not None
    loaded = load(options)
    scores = loaded.score()
    path = write_report(scores, folder, material(loaded, scores, title), max_bytes=int(max_size * 1e6))
    click.echo(f"{printable(str(path))} ({path.stat().st_size / 1e6:.1f} MB)")
    if show:
        import webbrowser

        webbrowser.open(path.resolve().as_uri())


def material(loaded: Loaded, scores: Scores, title: str = "") -> Any:
    """What the report shows besides the scores."""
    from tnllt.eval.report.build import ReportContent
    from tnllt.eval.tables import footnotes
    from tnllt.results.reading import read_many

    results = {}
    for tracker, files in loaded.files.items():
        listed = list(files.values())
        results[tracker] = dict(zip((f.sequence for f in listed), read_many(listed), strict=True))
    traces = {t: {n: read_trace(f) for n, f in files.items()} for t, files in loaded.files.items()}
    return ReportContent(loaded.sequences, results, traces, _findings(loaded), footnotes(scores), title)


def read_trace(file: ResultFile) -> list[dict[str, Any]]:
    """Events that a run left beside a result, `<sequence>.trace.jsonl`; none for results in a zip file.

    Lines that are no JSON objects are passed over: a broken trace never stops a report.
    """
    from tnllt.errors import DataError
    from tnllt.files import parse_json, read_bytes

    path = Path(file.place)
    path = path.with_name(path.name.removesuffix(path.suffix) + ".trace.jsonl")
    if not path.is_file():
        return []
    found = []
    for line in read_bytes(path).splitlines():
        try:
            event = parse_json(line.decode("utf-8", errors="replace"))
        except DataError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def _findings(loaded: Loaded) -> list[dict[str, Any]]:
    from tnllt.results.lint import lint

    found = lint(loaded.sequences, loaded.files, loaded.unknown)
    return [{**finding.as_dict(), "message": finding.text} for finding in found]
