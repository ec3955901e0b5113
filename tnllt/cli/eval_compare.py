"""`tnllt-eval compare`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tnllt.cli.eval_options import format_option, output_folder, scoring_options, shortened
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.files import to_json
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.eval.compare import Comparison
    from tnllt.eval.metrics import Metric
    from tnllt.eval.scores import Scores


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@scoring_options
@click.option("--metric", "-m", default="success", metavar="NAME", show_default=True)
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name on either side.")
@click.option("--runs", is_flag=True, help="Mean and deviation over runs of one tracker (NAME_000, NAME_001, ...).")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Folder for the critical-difference diagram.")
@format_option("text", "json")
def compare(
    config: ScoreConfig, a: str | None, b: str | None, metric: str, top: int, runs: bool, out: Path | None, format_: str
) -> None:
    """Is a difference significant? Trackers A and B on the same sequences; without them, every pair.

    \b
    tnllt-eval compare DiMP50 ATOM          the difference, its interval, a permutation test, wins per attribute
    tnllt-eval compare --out DIR            every pair with Holm's correction, ranks, critical-difference diagram
    tnllt-eval compare --runs               runs of one tracker: mean and deviation

    A and B may be names of several runs: then every sequence counts with its mean over the runs.
    """
    from tnllt.eval.metrics import get_metrics
    from tnllt.eval.selection import select

    chosen = get_metrics(metric)
    if len(chosen) != 1:
        raise UsageError("compare takes one --metric")
    if (a is None) != (b is None):
        raise UsageError(f"compare {a}: with what? Give a second tracker")
    folder = output_folder(out) if out is not None else None
    scores = select(config).score()
    if runs:
        text, table = _runs(scores, chosen[0])
    elif a is not None and b is not None:
        text, table = _two(scores, a, b, chosen[0], top)
    else:
        text, table = _all(scores, chosen[0], folder)
    click.echo(to_json(table) if format_ == "json" else text)


def _two(scores: Scores, a: str, b: str, metric: Metric, top: int) -> tuple[str, Any]:
    from tnllt.eval.compare import compare as paired
    from tnllt.eval.compare import gaps

    rows = paired(scores, a, b, metric)
    whole, attributes = rows[0], rows[1:]
    lines = [
        f"{printable(a)} - {printable(b)}: {metric.label}, "
        f"protocol {scores.protocol.name}, {whole.sequences} sequences",
        "",
        f"  {printable(a)} {whole.score_a:.4f}, {printable(b)} {whole.score_b:.4f}",
        f"  difference       {whole.difference:+.4f}   95 % interval {_interval(whole)}",
        f"  permutation test p = {_p(whole.p_value)}   {_verdict(whole)}",
        f"  sequences        {whole.wins} won, {whole.losses} lost, {whole.ties} tied",
    ]
    if attributes:
        width = max(9, *(len(shortened(c.members)) for c in attributes))
        heads = f"{'sequences':>11}{'difference':>12}   {'95 % interval':20}{'p (Holm)':>10}{'won':>6}{'lost':>6}"
        lines += ["", f"  {'attribute':{width}}{heads}"]
        lines += [
            f"  {printable(shortened(c.members)):{width}}{c.sequences:>11}{c.difference:>+12.4f}   {_interval(c):20}"
            f"{_p(c.adjusted):>10}{c.wins:>6}{c.losses:>6}{'  *' if c.significant else ''}"
            for c in attributes
        ]
        lines.append("  * significant at 5 % after Holm's correction over the attributes")
    ordered = gaps(scores, a, b, metric)
    if top and ordered:
        lines += ["", *_lists(ordered, printable(a), printable(b), top)]
    return "\n".join(lines), {
        "schema": "tnllt.compare/1", "metric": metric.name, "comparisons": [vars(c) for c in rows],
        "sequences": [{"sequence": s, "a": x, "b": y} for s, x, y in ordered],
    }  # fmt: skip


def _lists(ordered: list[tuple[str, float, float]], a: str, b: str, top: int) -> list[str]:
    ahead = [row for row in ordered if row[1] > row[2]][:top]
    behind = [row for row in reversed(ordered) if row[1] < row[2]][:top]
    lines = []
    for name, rows in ((a, ahead), (b, behind)):
        if rows:
            lines.append(f"  {name} leads most on")
            lines += [f"    {printable(shortened(s)):40}{x:8.3f} against {y:.3f}   {x - y:+.3f}" for s, x, y in rows]
    return lines


def _all(scores: Scores, metric: Metric, out: Path | None) -> tuple[str, Any]:
    from tnllt.eval.compare import compare_all, ranks
    from tnllt.eval.intervals import score_intervals

    if len(scores.trackers) < 2:
        raise UsageError("there is one tracker only: nothing to compare it with")
    pairs = compare_all(scores, metric)
    stability, interval = ranks(scores, metric), score_intervals(scores, metric)
    width = max(7, *(len(shortened(t)) for t in scores.trackers))
    lines = [f"{metric.label}, protocol {scores.protocol.name}, {len(scores.sequences)} sequences", ""]
    lines.append(
        f"  {'tracker':{width}}{'score':>9}   {'95 % interval':18}{'rank':>5}  {'95 % of ranks':15}{'first':>6}"
    )
    for k in scores.ranking(metric):
        span = f"{stability.low[k]:.0f} to {stability.high[k]:.0f}"
        lines.append(
            f"  {printable(shortened(scores.trackers[k])):{width}}{interval.estimate[k]:>9.4f}   "
            f"{f'{interval.low[k]:.4f} to {interval.high[k]:.4f}':18}{stability.rank[k]:>5.0f}  {span:15}"
            f"{stability.first[k]:>6.0%}"
        )
    lines += [
        "",
        f"  {'pair':{2 * width + 3}}{'difference':>12}   {'95 % interval':20}{'p (Holm)':>10}{'won':>6}{'lost':>6}",
    ]
    for c in pairs:
        pair = f"{printable(shortened(c.a))} - {printable(shortened(c.b))}"
        lines.append(
            f"  {pair:{2 * width + 3}}{c.difference:>+12.4f}   {_interval(c):20}"
            f"{_p(c.adjusted):>10}{c.wins:>6}{c.losses:>6}{'  *' if c.significant else ''}"
        )
    lines.append(f"  * significant at 5 % after Holm's correction over {len(pairs)} pairs")
    table: dict[str, Any] = {
        "schema": "tnllt.compare/1", "metric": metric.name, "comparisons": [vars(c) for c in pairs],
        "ranks": {t: {"rank": stability.rank[k], "low": stability.low[k], "high": stability.high[k],
                      "first": stability.first[k]} for k, t in enumerate(scores.trackers)},
    }  # fmt: skip
    if len(scores.trackers) > 2:
        from tnllt.eval.compare import diagram

        found = diagram(scores, metric)
        lines += ["", f"  Friedman's test over {found.sequences} sequences: p = {_p(found.p_value)}; "
                  f"mean ranks closer than {found.critical_difference:.3f} do not differ (Nemenyi, 5 %)"]  # fmt: skip
        table["critical_difference"] = {**vars(found), "cliques": found.cliques()}
        if out is not None:
            from tnllt.eval.cd_figure import save_diagram

            written = save_diagram(found, scores.trackers, out, metric)
            click.echo(f"{len(written)} files in {printable(str(out))}", err=True)
    return "\n".join(lines), table


def _runs(scores: Scores, metric: Metric) -> tuple[str, Any]:
    from tnllt.eval.intervals import runs

    found = runs(scores, metric)
    if not found:
        raise UsageError("no tracker has several runs here: they are called NAME_000, NAME_001, ... or NAME_run1, ...")
    width = max(7, *(len(shortened(r.name)) for r in found))
    lines = [f"{metric.label}, protocol {scores.protocol.name}", ""]
    lines.append(f"  {'tracker':{width}}{'runs':>6}{'mean':>9}{'deviation':>11}{'lowest':>9}{'highest':>9}")
    lines += [
        f"  {printable(shortened(r.name)):{width}}{len(r.members):>6}"
        f"{r.mean:>9.4f}{r.deviation:>11.4f}{r.low:>9.4f}{r.high:>9.4f}"
        for r in found
    ]
    names = [{**vars(r), "members": [scores.trackers[i] for i in r.members]} for r in found]
    return "\n".join(lines), {"schema": "tnllt.runs/1", "metric": metric.name, "runs": names}


def _interval(c: Comparison) -> str:
    return "n/a" if math.isnan(c.low) else f"{c.low:+.4f} to {c.high:+.4f}"


def _p(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.1e}" if value < 0.001 else f"{value:.3f}"


def _verdict(c: Comparison) -> str:
    if math.isnan(c.p_value):
        return ""
    return "the difference is significant at 5 %" if c.significant else "no evidence of a difference at 5 %"
