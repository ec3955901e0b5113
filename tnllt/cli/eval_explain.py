"""`tnllt-eval explain`."""

from __future__ import annotations

import os
from typing import Any

import click

from tnllt.cli.common import format_option, scoring_options
from tnllt.cli.eval_explain_text import (
    explanation_json,
    explanation_text,
    reported_json,
    reported_text,
)
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.explain import Rescorer
from tnllt.eval.explain import explain as explain_rules
from tnllt.eval.folder_gap import folder_gaps
from tnllt.eval.metrics import get_metrics
from tnllt.eval.protocols import get_protocol
from tnllt.eval.reported import find_reported, parse_reported
from tnllt.eval.selection import select
from tnllt.files import to_json
from tnllt.text import printable


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@scoring_options
@click.option("--metric", "-m", default="success,precision,normalized-precision", metavar="NAMES", show_default=True)
@click.option("--reported", metavar="SCORE", help="A score that someone reports: find which protocol gives it.")
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name per rule.")
@click.option("--all-rules", is_flag=True, help="Show rules that change no score, too.")
@format_option("text", "json")
def explain(
    config: ScoreConfig, a: str | None, b: str | None, metric: str, reported: str | None, top: int, all_rules: bool,
    format_: str,
) -> None:  # fmt: skip
    """Explain the difference between protocols A and B rule by rule, or find the protocol of a reported score.

    \b
    tnllt-eval explain lasot stark --trackers ATOM      the difference between two protocols
    tnllt-eval explain results_a results_b              the difference between two result folders
    tnllt-eval explain --reported 0.559                 the protocol that gives a reported score

    The rules in which A and B differ are changed one at a time, in their fixed order, and what each change adds is
    printed; the parts sum to the difference. `alone` is what a rule adds as the only change of A, `last` what it adds
    as the last one before B: where they differ from what it adds in its place, the order matters.
    """
    if reported is None and (a is None or b is None):
        raise UsageError("explain needs two protocols or result folders, or --reported SCORE (see --help)")
    if a is not None and b is None:
        raise UsageError(f"explain {a}: compared with what? Give a second protocol or folder")
    if a is not None and b is not None:
        if os.path.exists(a) and os.path.exists(b):  # noqa: PTH110  # no name raises here
            gaps = folder_gaps(config, a, b, get_metrics(metric))
            text = "\n".join(explanation_text(gap, (a, b), top, all_rules) for gap in gaps)
            _show(text, [explanation_json(gap, (a, b)) for gap in gaps], format_)
        else:
            chosen, first, second = get_metrics(metric), get_protocol(a), get_protocol(b)
            found = explain_rules(_rescorer(config), first, second, chosen)
            _show(explanation_text(found, (a, b), top, all_rules), explanation_json(found, (a, b)), format_)
    if reported is not None:
        wanted = parse_reported(reported)
        matches = find_reported(_rescorer(config), wanted)
        _show(reported_text(wanted, matches), reported_json(wanted, matches), format_)


def _rescorer(config: ScoreConfig) -> Rescorer:
    selection = select(config)
    return Rescorer(selection.sequences, selection.read(), **selection.allowed)


def _show(text: str, table: Any, format_: str) -> None:
    click.echo(to_json(table) if format_ == "json" else printable(text))
