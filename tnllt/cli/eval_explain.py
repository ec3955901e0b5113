"""`tnllt-eval explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tnllt.cli.loading import Options, load, open_sequences, scoring_options
from tnllt.errors import UsageError
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.eval.explain import Explanation
    from tnllt.eval.folder_gap import FolderGap
    from tnllt.eval.reported import Match, ReportedScore


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@scoring_options
@click.option("--metric", "-m", default="success,precision,normalized-precision", metavar="NAMES", show_default=True)
@click.option("--reported", metavar="SCORE", help="A score that someone reports: find which protocol gives it.")
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name per rule.")
@click.option("--all-rules", is_flag=True, help="Show rules that move nothing, too.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Format of the output.")
def explain(
    options: Options, a: str | None, b: str | None, metric: str, reported: str | None, top: int, all_rules: bool,
    format_: str,
) -> None:  # fmt: skip
    """Why two numbers differ: take the gap between protocols A and B apart, rule by rule.

    \b
    tnllt-eval explain lasot stark --trackers ATOM      the gap between two protocols
    tnllt-eval explain results_a results_b              the gap between two result folders
    tnllt-eval explain --reported 0.559                  the protocol that gives a reported score

    The rules in which A and B differ are changed one at a time, in their fixed order, and what each change adds is
    printed; the parts sum to the gap. `alone` is what a rule adds as the only change of A, `last` what it adds as the
    last one before B: where they differ from what it adds in its place, the order matters.
    """
    if reported is None and (a is None or b is None):
        raise UsageError("explain needs two protocols or result folders, or --reported SCORE (see --help)")
    if a is not None and b is None:
        raise UsageError(f"explain {a}: compared with what? Give a second protocol or folder")
    if a is not None and b is not None:
        if Path(a).exists() and Path(b).exists():
            _folders(options, Path(a), Path(b), metric, top, format_)
        else:
            _protocols(options, a, b, metric, top, all_rules, format_)
    if reported is not None:
        _reported(options, reported, format_)


def _protocols(options: Options, a: str, b: str, metric: str, top: int, all_rules: bool, format_: str) -> None:
    from tnllt.cli.eval_explain_text import explanation_json, explanation_text
    from tnllt.eval.explain import explain as take_apart
    from tnllt.eval.metrics import get_metrics
    from tnllt.eval.protocols import get_protocol

    chosen = get_metrics(metric)
    first, second = get_protocol(a), get_protocol(b)
    loaded = load(options)
    found: Explanation = take_apart(
        loaded.sequences, _read(loaded.results()), first, second, metrics=chosen,
        allow_missing=options.allow_missing, allow_short=options.allow_short,
    )  # fmt: skip
    if format_ == "json":
        click.echo(json.dumps(explanation_json(found, (a, b)), indent=1, allow_nan=False))
    else:
        click.echo(explanation_text(found, (a, b), top, all_rules), nl=False)


def _folders(options: Options, a: Path, b: Path, metric: str, top: int, format_: str) -> None:
    from tnllt.cli.eval_explain_text import folder_json, folder_text
    from tnllt.cli.loading import choose_trackers
    from tnllt.eval.folder_gap import folder_gap
    from tnllt.eval.metrics import get_metrics
    from tnllt.results.layouts import find_results
    from tnllt.results.reading import Results

    chosen = get_metrics(metric)
    sequences = open_sequences(options)
    names = [s.name for s in sequences]
    one, two = find_results(a, names).trackers, find_results(b, names).trackers
    if len(one) == len(two) == 1:
        pairs = [(next(iter(one)), next(iter(two)))]
    else:
        shared = [t for t in one if t in two]
        if not shared:
            raise UsageError(f"no tracker is in both: {a} has {', '.join(one)}; {b} has {', '.join(two)}")
        pairs = [(t, t) for t in choose_trackers(options.trackers, shared)]
    gaps: list[tuple[str, FolderGap]] = []
    for left, right in pairs:
        gap = folder_gap(
            sequences, Results(one[left]), Results(two[right]), options.protocol, metrics=chosen,
            allow_missing=options.allow_missing, allow_short=options.allow_short,
        )  # fmt: skip
        gaps.append((left if left == right else f"{left} / {right}", gap))
    if format_ == "json":
        click.echo(json.dumps([folder_json(name, gap) for name, gap in gaps], indent=1, allow_nan=False))
    else:
        click.echo("\n".join(folder_text(name, gap, (str(a), str(b)), top) for name, gap in gaps), nl=False)


def _reported(options: Options, text: str, format_: str) -> None:
    from tnllt.cli.eval_explain_text import reported_json, reported_text
    from tnllt.eval.reported import find_reported, parse_reported

    reported: ReportedScore = parse_reported(text)
    loaded = load(options)
    matches: list[Match] = find_reported(
        loaded.sequences, _read(loaded.results()), reported, allow_missing=options.allow_missing,
        allow_short=options.allow_short,
    )  # fmt: skip
    if format_ == "json":
        click.echo(json.dumps(reported_json(reported, matches), indent=1, allow_nan=False))
    else:
        click.echo(printable(reported_text(reported, matches)), nl=False)


def _read(results: Any) -> dict[str, dict[str, Any]]:
    """Every result, read at once: many files are parsed together."""
    from tnllt.results.reading import read_many

    found = {}
    for tracker, lazy in results.items():
        files = list(lazy.files.values())
        found[tracker] = dict(zip((f.sequence for f in files), read_many(files), strict=True))
    return found
