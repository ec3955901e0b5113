"""`tnllt-eval score-file`."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.eval_options import format_option
from tnllt.errors import DataError, UsageError
from tnllt.eval.evaluate import evaluate
from tnllt.files import read_bytes
from tnllt.numbers import parse_table
from tnllt.results.reading import read_boxes
from tnllt.sequence import Annotation, Sequence


@click.command("score-file")
@click.argument("groundtruth", metavar="GT", type=click.Path(path_type=Path))
@click.argument("result", metavar="RESULT", type=click.Path(path_type=Path))
@click.option("--absent", type=click.Path(path_type=Path), help="Flags of GT, one per frame.")
@click.option("--present-value", type=click.IntRange(0, 1), help="The flag for `in view`: TNLLT 1, LaSOT 0.")
@click.option("--protocol", "-p", default="tnllt", show_default=True, help="Scoring rule; see `protocols`.")
@click.option("--metric", "-m", default="all", show_default=True, help="Metrics, as in tnllt-eval.")
@format_option("text", "markdown", "latex", "csv", "json")
@click.option("--allow-short", is_flag=True, help="Pad a short result with its last box, and say so.")
def score_file(
    groundtruth: Path, result: Path, absent: Path | None, present_value: int | None, protocol: str, metric: str,
    format_: str, allow_short: bool,
) -> None:  # fmt: skip
    """Score one result file against one ground-truth file: rows x,y,w,h, in any delimiter.

    Without --absent every frame counts as in view.
    """
    truth = read_boxes(groundtruth)
    present = None
    if absent is not None:
        if present_value is None:
            raise UsageError("--absent needs --present-value: 1 where the file says 1 = in view, 0 where 1 = absent")
        flags = parse_table(read_bytes(absent), None, absent).ravel()
        if len(flags) != len(truth):
            raise DataError(f"{len(flags)} flags for the {len(truth)} rows of {groundtruth}", absent)
        present = flags == present_value
    sequence = Sequence(groundtruth.stem, Annotation(truth, present))
    scores = evaluate([sequence], {result.stem: {sequence.name: read_boxes(result)}}, protocol, allow_short=allow_short)
    click.echo(scores.table(metric, format_), nl=format_ == "json")
