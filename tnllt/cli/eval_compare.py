"""`tnllt-eval compare`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tnllt.cli.common import format_option, output_folder, scoring_options, style_option, terminal_width, wrapped
from tnllt.cli.dataclass_options import PATH
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.cd_figure import save_diagram
from tnllt.eval.compare import Comparison, compare_all, diagram, gaps, members_of, ranks
from tnllt.eval.compare import compare as paired
from tnllt.eval.intervals import runs as score_runs
from tnllt.eval.intervals import score_intervals
from tnllt.eval.metrics import Metric, get_metrics
from tnllt.eval.score_table import aligned, name_cell
from tnllt.eval.scores import Scores
from tnllt.eval.selection import Selection, select
from tnllt.eval.style import Style, load_style
from tnllt.eval.view.pictures import check_sheet_path, failure_sheet
from tnllt.eval.view.scene import Scene
from tnllt.files import to_json
from tnllt.text import printable


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@scoring_options
@click.option("--metric", "-m", default="success", metavar="NAME", show_default=True)
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name on either side.")
@click.option("--runs", is_flag=True, help="Mean and deviation over runs of one tracker (NAME_000, NAME_001, ...).")
@click.option("--out", "-o", type=PATH, help="Folder for the critical-difference diagram.")
@click.option("--failures", type=PATH, help="Image (PNG) of the frames in which the trackers lose the target.")
@style_option
@format_option("text", "json")
def compare(
    config: ScoreConfig, a: str | None, b: str | None, metric: str, top: int, runs: bool, out: Path | None,
    failures: Path | None, style: Path | None, format_: str,
) -> None:  # fmt: skip
    """Is a difference significant? Trackers A and B on the same sequences; without them, every pair.

    \b
    tnllt-eval compare DiMP50 ATOM          the difference, its interval, a permutation test, wins per attribute
    tnllt-eval compare --out DIR            every pair with Holm's correction, ranks, critical-difference diagram
    tnllt-eval compare --runs               runs of one tracker: mean and deviation

    A and B may be names of several runs: then every sequence counts with its mean over the runs. A failure is ten
    frames or more, in a row among those with the target in view, with an overlap below 0.1; the 24 longest are shown.
    """
    chosen = get_metrics(metric)
    if len(chosen) != 1:
        raise UsageError("compare takes one --metric")
    if (a is None) != (b is None):
        raise UsageError(f"compare {a}: with what? Give a second tracker")
    folder = output_folder(out) if out is not None else None
    if failures is not None:
        check_sheet_path(failures)
    selection = select(config)
    scores = selection.score()
    if runs:
        text, table = _runs(scores, chosen[0])
    elif a is not None and b is not None:
        text, table = _two(scores, a, b, chosen[0], top)
    else:
        text, table = _all(scores, chosen[0], folder, load_style(style, config.config))
    click.echo(to_json(table) if format_ == "json" else text)
    if failures is not None:
        named = [k for name in (a, b) if name is not None for k in members_of(scores, name)]
        looked = {scores.trackers[k] for k in named} or set(scores.trackers)
        count = failure_sheet(_scenes(selection, looked, load_style(style, config.config)), failures)
        click.echo(f"{printable(str(failures))}: the longest of {count:,} failures", err=True)


def _scenes(selection: Selection, trackers: set[str], style: Style) -> Iterator[Scene]:
    for sequence in selection.sequences:
        own = {t: found for t, found in selection.read_sequence(sequence.name).items() if t in trackers}
        yield Scene(sequence, own, peers=selection.peers, style=style)


def _two(scores: Scores, a: str, b: str, metric: Metric, top: int) -> tuple[str, Any]:
    rows = paired(scores, a, b, metric)
    whole, attributes = rows[0], rows[1:]
    one, two = printable(a), printable(b)
    verdict = "the difference is significant at 5 %" if whole.significant else "no evidence of a difference at 5 %"
    lines = [
        f"{one} - {two}: {metric.label}, protocol {scores.protocol.name}, {whole.sequences} sequences",
        "",
        f"  {one} {whole.score_a:.4f}, {two} {whole.score_b:.4f}",
        f"  difference       {whole.difference:+.4f}   95 % interval {_interval(whole)}",
        f"  permutation test p = {_p(whole.p_value)}   {'' if math.isnan(whole.p_value) else verdict}",
        f"  sequences        {whole.wins} won, {whole.losses} lost, {whole.ties} tied",
    ]
    if attributes:
        lines += _comparisons("attribute", [(c.members, c) for c in attributes], "the attributes")
    ordered = gaps(scores, a, b, metric)
    ahead = [row for row in ordered if row[1] > row[2]][:top]
    behind = [row for row in reversed(ordered) if row[1] < row[2]][:top]
    for name, leads in ((one, ahead), (two, behind)):
        if leads:
            lines += ["", f"  {name} leads most on"]
            cells = [[name_cell(s, 40), f"{x:.3f}", f"against {y:.3f}", f"{x - y:+.3f}"] for s, x, y in leads]
            lines += aligned(cells, indent="    ")
    return "\n".join(lines), {
        "schema": "tnllt.compare/1", "metric": metric.name, "comparisons": [vars(c) for c in rows],
        "sequences": [{"sequence": s, "a": x, "b": y} for s, x, y in ordered],
    }  # fmt: skip


def _all(scores: Scores, metric: Metric, out: Path | None, style: Style) -> tuple[str, Any]:
    if len(scores.trackers) < 2:
        raise UsageError("there is one tracker only: nothing to compare it with")
    pairs = compare_all(scores, metric)
    stability, interval = ranks(scores, metric), score_intervals(scores, metric)
    rows = [["tracker", "score", "95 % interval", "rank", "95 % of ranks", "first"]]
    rows += [
        [
            name_cell(scores.trackers[k], 40), f"{interval.estimate[k]:.4f}",
            f"{interval.low[k]:.4f} to {interval.high[k]:.4f}", f"{stability.rank[k]:.0f}",
            f"{stability.low[k]:.0f} to {stability.high[k]:.0f}", f"{stability.first[k]:.0%}",
        ]
        for k in scores.ranking(metric)
    ]  # fmt: skip
    lines = [f"{metric.label}, protocol {scores.protocol.name}, {len(scores.sequences)} sequences", ""]
    lines += aligned(rows, left=(0, 2, 4), width=terminal_width())
    named = [(f"{name_cell(c.a, 40)} - {name_cell(c.b, 40)}", c) for c in pairs]
    lines += _comparisons("pair", named, f"{len(pairs)} pairs")
    table: dict[str, Any] = {
        "schema": "tnllt.compare/1", "metric": metric.name, "comparisons": [vars(c) for c in pairs],
        "ranks": {t: {"rank": stability.rank[k], "low": stability.low[k], "high": stability.high[k],
                      "first": stability.first[k]} for k, t in enumerate(scores.trackers)},
    }  # fmt: skip
    if len(scores.trackers) > 2:
        found = diagram(scores, metric)
        friedman = f"Friedman's test over {found.sequences} sequences: p = {_p(found.p_value)}; mean ranks closer than "
        lines += ["", wrapped(f"{friedman}{found.critical_difference:.3f} do not differ (Nemenyi, 5 %)", "  ")]
        table["critical_difference"] = {**vars(found), "cliques": found.cliques()}
        if out is not None:
            written = save_diagram(found, scores.trackers, out, metric, style)
            click.echo(f"{len(written)} files in {printable(str(out))}", err=True)
    return "\n".join(lines), table


def _runs(scores: Scores, metric: Metric) -> tuple[str, Any]:
    found = score_runs(scores, metric)
    if not found:
        raise UsageError("no tracker has several runs here: they are called NAME_000, NAME_001, ... or NAME_run1, ...")
    rows = [["tracker", "runs", "mean", "deviation", "lowest", "highest"]]
    for r in found:
        numbers = [f"{value:.4f}" for value in (r.mean, r.deviation, r.low, r.high)]
        rows.append([name_cell(r.name, 40), str(len(r.members)), *numbers])
    lines = [f"{metric.label}, protocol {scores.protocol.name}", "", *aligned(rows, width=terminal_width())]
    names = [{**vars(r), "members": [scores.trackers[i] for i in r.members]} for r in found]
    return "\n".join(lines), {"schema": "tnllt.runs/1", "metric": metric.name, "runs": names}


def _comparisons(kind: str, named: list[tuple[str, Comparison]], over: str) -> list[str]:
    """Lines of a table of comparisons, and what Holm's correction was over."""
    rows = [[kind, "sequences", "difference", "95 % interval", "p (Holm)", "won", "lost", ""]]
    rows += [
        [
            name_cell(name, 90), str(c.sequences), f"{c.difference:+.4f}", _interval(c), _p(c.adjusted), str(c.wins),
            str(c.losses), "*" if c.significant else "",
        ]
        for name, c in named
    ]  # fmt: skip
    lines = aligned(rows, left=(0, 3, 7), width=terminal_width())
    return ["", *lines, f"  * significant at 5 % after Holm's correction over {over}"]


def _interval(c: Comparison) -> str:
    return "n/a" if math.isnan(c.low) else f"{c.low:+.4f} to {c.high:+.4f}"


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"
