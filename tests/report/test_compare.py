"""Comparisons: the numbers printed are the scores' differences; hostile names do no harm in any table."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.report.conftest import arguments
from tnllt.cli.eval import cli
from tnllt.errors import UsageError
from tnllt.eval import evaluate
from tnllt.eval.cd_figure import save_diagram
from tnllt.eval.compare import compare, compare_all, diagram, gaps, groups, ranks
from tnllt.eval.intervals import all_intervals, group_runs, runs, score_intervals
from tnllt.eval.metrics import METRICS
from tnllt.eval.scores import Scores
from tnllt.eval.statistics import bootstrap_counts
from tnllt.sequence import Annotation, Sequence, Trajectory


@pytest.fixture(scope="module")
def scores() -> Scores:
    rng = np.random.default_rng(0)
    sequences, results = [], {name: {} for name in ("good", "fair", "poor", "fair_000", "fair_001")}
    for s in range(24):
        truth = np.c_[rng.uniform(20, 90, (50, 2)), rng.uniform(20, 40, (50, 2))]
        present = rng.random(50) > 0.1
        attributes = {"A": s % 2 == 0, "B": s % 3 == 0, "C": s == 5}
        sequences.append(Sequence(f"s{s}", Annotation(truth, present, None, attributes)))
        hard = rng.uniform(0.5, 2.5)
        for own, noise in zip(results.values(), (2.0, 3.0, 8.0, 3.0, 3.1), strict=True):
            boxes = truth + rng.normal(0, noise * hard, truth.shape)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 2)
            confidence, absent = rng.random(50), rng.random(50) < 0.1
            own[f"s{s}"] = Trajectory(boxes, confidence, absent)
    return evaluate(sequences, results)


def test_the_difference_is_the_difference_of_the_scores(scores: Scores) -> None:
    rows = compare(scores, "good", "poor")
    values = dict(zip(scores.trackers, scores.score("success"), strict=True))
    assert rows[0].difference == pytest.approx(values["good"] - values["poor"], abs=1e-15)
    assert rows[0].low < rows[0].difference < rows[0].high and rows[0].significant
    assert (rows[0].wins, rows[0].losses, rows[0].ties) == (24, 0, 0)
    assert [r.members for r in rows[1:]] == ["A", "B"]
    for row, members in zip(rows[1:], scores.attribute_members().values(), strict=True):
        own = scores.score("success", members)
        assert row.difference == pytest.approx(own[0] - own[2], abs=1e-15)
        assert row.adjusted >= row.p_value


def test_the_order_of_the_two_turns_the_sign(scores: Scores) -> None:
    one, two = compare(scores, "good", "fair")[0], compare(scores, "fair", "good")[0]
    assert one.difference == -two.difference and one.p_value == two.p_value
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low), abs=1e-12)


def test_every_pair(scores: Scores) -> None:
    pairs = compare_all(scores)
    assert len(pairs) == 10
    for pair in pairs:
        alone = compare(scores, pair.a, pair.b)[0]
        assert (pair.low, pair.p_value) == pytest.approx((alone.low, alone.p_value), abs=1e-12)
        assert pair.difference >= 0


def test_runs_are_an_axis(scores: Scores) -> None:
    found = runs(scores)
    values = scores.score("success")
    assert [r.name for r in found] == ["fair"] and found[0].members == (3, 4)
    assert found[0].mean == pytest.approx(values[3:].mean())
    assert found[0].deviation == pytest.approx(values[3:].std(ddof=1))
    alone = scores.select(trackers=["good", "fair_000", "fair_001"])
    row = compare(alone, "good", "fair")[0]
    assert row.score_b == pytest.approx(values[3:].mean(), abs=1e-12)
    with pytest.raises(UsageError, match="in common"):
        compare(alone, "fair", "fair_000")


def test_names_of_runs() -> None:
    names = ["a_000", "a_001", "b_run1", "b_run2", "c", "c#2", "lone_003", "v2_2024", "d-run-1", "d-run-2"]
    assert group_runs(names) == {"a": (0, 1), "b": (2, 3), "c": (4, 5), "d": (8, 9)}
    assert not group_runs(["OSTrack_256", "OSTrack_384", "OSTrack-256", "OSTrack-384", "UNINEXT-050", "UNINEXT-101"])


def test_sequences_without_both_results_are_not_compared() -> None:
    """A missing result is no loss; a zero curve, which the protocol drops, is one."""
    truth = np.tile([50.0, 50, 20, 20], (20, 1))
    sequences = [Sequence(f"s{j}", Annotation(truth)) for j in range(6)]
    good = {s.name: truth + np.array([2 + 0.1 * j, 0, 0, 0]) for j, s in enumerate(sequences)}
    poor = {s.name: truth + np.array([5 + 0.1 * j, 0, 0, 0]) for j, s in enumerate(sequences[:5])}
    lost = good | {"s5": truth + 500}
    same = {name: good[name] for name in poor}
    found = evaluate(sequences, {"good": good, "poor": poor, "same": same, "lost": lost}, allow_missing=True)
    row = compare(found, "good", "poor")[0]
    assert (row.sequences, row.wins, row.losses, row.p_value) == (5, 5, 0, 2 / 32)
    row = compare(found, "good", "same")[0]
    assert (row.sequences, row.ties, row.difference, row.p_value) == (5, 5, 0, 1)
    assert [c.sequences for c in compare_all(found) if "same" in (c.a, c.b)] == [5, 5, 5]
    assert (row := compare(found, "good", "lost")[0]).sequences == 6 and row.wins == 1
    # Of the five, no test can tell good from poor: p cannot fall below 2/32.
    assert groups(found)[found.trackers.index("good")] == groups(found)[found.trackers.index("poor")]


def test_intervals_hold_every_metric(scores: Scores) -> None:
    for metric in scores.metrics("all"):
        found = score_intervals(scores, metric)
        assert np.array_equal(found.estimate, scores.score(metric), equal_nan=True)
        assert (found.low <= found.estimate).all() and (found.estimate <= found.high).all(), metric.name
        assert (found.low >= 0).all() and (found.high <= 1).all()
        assert (found.high - found.low < 0.5).all()


def test_sums_are_resampled_as_sequences_are_scored(scores: Scores) -> None:
    """The vectorised resampling against scoring each resample by the library's own reduction."""
    counts = bootstrap_counts(24, 20, 5)
    for metric in [m for m in METRICS.values() if not m.is_mean]:
        array = scores.tracker_curves[1].arrays[metric.measure.name]
        drawn = [np.repeat(np.arange(24), row.astype(int)) for row in counts]
        expected = [float(metric.read(metric.combine(array[index]), scores.protocol)) for index in drawn]
        assert metric.read(counts @ array, scores.protocol) == pytest.approx(expected, abs=1e-12)


def test_all_at_once_is_one_by_one(scores: Scores) -> None:
    metrics = scores.metrics("all")
    together = all_intervals(scores, metrics)
    for metric in metrics:
        alone = score_intervals(scores, metric)
        assert together[metric.name].low == pytest.approx(alone.low, abs=1e-12)


def test_ranks_gaps_and_diagram(scores: Scores, tmp_path: Path) -> None:
    assert ranks(scores).rank[2] == 5
    ordered = gaps(scores, "good", "poor")
    assert len(ordered) == 24 and [x - y for _, x, y in ordered] == sorted((x - y for _, x, y in ordered), reverse=True)
    found = diagram(scores)
    paths = save_diagram(found, [f"$x_{{{t}}}$ <&" for t in scores.trackers], tmp_path, METRICS["success"])
    assert [p.suffix for p in paths] == [".png", ".pdf"]
    assert b"/Type3" not in paths[1].read_bytes() and b"FontFile2" in paths[1].read_bytes()
    with pytest.raises(UsageError, match="not a mean"):
        compare(scores, "good", "poor", "lt_f")


def run(*given: str) -> str:
    result = CliRunner().invoke(cli, list(given), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands(release: Path, tmp_path: Path) -> None:
    text = run("compare", "ReasoningTrack", "SiamFC", *arguments(release))
    assert "4 won, 0 lost, 0 tied" in text
    table = json.loads(run("compare", *arguments(release), "--format", "json", "--out", str(tmp_path)))
    assert len(table["comparisons"]) == 6
    assert (tmp_path / "critical_difference_success.pdf").is_file()
    assert "OSTrack" in run("compare", "--runs", *arguments(release))


def test_real_trackers(shared: Path) -> None:
    lasot = shared / "data" / "lasot"
    places = ["--dataset", "lasot", "--annos", str(lasot / "annos"), "--results", str(lasot / "results")]
    row = json.loads(run("compare", "DiMP50", "ATOM", *places, "--format", "json"))["comparisons"][0]
    assert row["difference"] == pytest.approx(0.5708179074767621 - 0.5143375382647348, abs=1e-12)
    assert 0.03 < row["low"] < row["difference"] < row["high"] < 0.08 and row["p_value"] < 0.001
    assert (row["wins"], row["losses"]) == (164, 116)


@pytest.mark.parametrize("format_", ["text", "markdown", "latex", "csv"])
@pytest.mark.parametrize("by", ["overall", "attribute"])
def test_hostile_names_in_tables(hostile: Path, format_: str, by: str) -> None:
    text = run(*arguments(hostile), "--format", format_, "--by", by, "--intervals")
    if format_ != "csv":  # where names are data, and stay as they are
        assert not [c for c in text if not c.isprintable() and c != "\n"], "control or direction marks"
    if format_ == "text":
        assert max(map(len, text.split("\n"))) < 400
    if format_ == "markdown":
        assert "<img" not in text and "|" in text
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in text.split("\n") if line.startswith("|")}
        assert len(cells) == 1, "a name broke the table"
    if format_ == "latex":
        body = re.sub(r"(?m)^%.*$", "", text).replace(r"P$_\mathrm{Norm}$", "P")  # our own heading
        assert not re.search(r"(?<!\\)[$#_^~%]", body) and r"\input" not in body
        assert len({len(re.findall(r"(?<!\\)&", line)) for line in body.split("\n") if line.endswith(r"\\")}) == 1
    if format_ == "csv":
        cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
        assert not [c for c in cells if re.match(r"[=@\t\r]|[+-](?![\d.])", c)]


@pytest.mark.parametrize(
    "command", [["compare"], ["explain", "tnllt", "got10k"], ["explain", "--reported", "0.5"], ["lint"]]
)
def test_hostile_names_on_the_terminal(hostile: Path, command: list[str]) -> None:
    result = CliRunner().invoke(cli, [*command, *arguments(hostile)], catch_exceptions=False)
    assert not [c for c in result.output if not c.isprintable() and c != "\n"], "control or direction marks"
