"""`tnllt-eval lint`, `score-file` and `protocols`: result files looked at, one by one, and the rules."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.common import format_option, prints_findings, reading_options, wrapped
from tnllt.cli.dataclass_options import PATH
from tnllt.config import ScoreConfig
from tnllt.errors import DataError, UsageError
from tnllt.eval.evaluate import evaluate
from tnllt.eval.protocols import FAMILIES, PROTOCOLS, TNLLT, get_protocol
from tnllt.eval.selection import select
from tnllt.files import read_bytes, to_json
from tnllt.findings import Findings
from tnllt.numbers import parse_table
from tnllt.results.reading import read_boxes
from tnllt.sequence import Annotation, Sequence


@click.command()
@reading_options
@prints_findings("tnllt.results.lint:CHECKER")
def lint(config: ScoreConfig) -> Findings:
    """Find what is wrong with result files: missing or short ones, broken rows, wrong formats, copies.

    Exit code 1 where an error is found (with --strict: a warning), else 0. --format github prints annotations that
    GitHub shows beside the files.
    """
    return select(config).lint()


@click.command("score-file")
@click.argument("groundtruth", metavar="GT", type=PATH)
@click.argument("result", metavar="RESULT", type=PATH)
@click.option("--absent", type=PATH, help="Flags of GT, one per frame.")
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
        present = (flags != 0) == bool(present_value)
    sequence = Sequence(groundtruth.stem, Annotation(truth, present))
    scores = evaluate([sequence], {result.stem: {sequence.name: read_boxes(result)}}, protocol, allow_short=allow_short)
    click.echo(scores.table(metric, format_), nl=format_ == "json")


@click.command()
@click.argument("name", required=False)
@format_option("text", "json")
def protocols(name: str | None, format_: str) -> None:
    """Describe every scoring rule in one sentence; with NAME, all its rules beside the official ones."""
    if format_ == "json":
        chosen = [get_protocol(name)] if name else list(PROTOCOLS.values())
        click.echo(to_json([protocol.to_table() for protocol in chosen]))
    elif name:
        protocol = get_protocol(name)
        click.echo(wrapped(f"{protocol.name}: {protocol.summary}"))
        for dataset, other in FAMILIES.get(protocol.name, {}).items():
            click.echo(f"On {dataset}, --protocol {name} is {other}.")
        click.echo()
        official = {rule: value for rule, _, value, _ in TNLLT.card()}
        for rule, label, value, why in protocol.card():
            note = "" if value == official[rule] else f" (official: {official[rule]})"
            click.echo(wrapped(f"{label}: {value}{note}", "  ", "      "))
            click.echo(wrapped(why, "      "))
    else:
        for protocol in PROTOCOLS.values():
            names = ", ".join((protocol.name, *protocol.aliases))
            click.echo(names)
            click.echo(wrapped(protocol.summary, "    "))
