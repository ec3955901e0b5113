"""Score tables: what a paper, a spreadsheet and a narrow screen need of them."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.eval.eval_trees import save, write_tree
from tnllt.cli.eval import cli
from tnllt.errors import MissingExtraError, UsageError
from tnllt.eval import Scores, evaluate
from tnllt.eval.score_table import ScoreTable, name_cell
from tnllt.eval.tables import render
from tnllt.sequence import Annotation, Sequence


def scores(sequences: int = 5, missing: bool = False, attributes: bool = False) -> Scores:
    rng = np.random.default_rng(0)
    truth = np.abs(np.cumsum(rng.normal(0, 3, (40, 4)), axis=0)) + 50
    flags = [{"A": i < 20, "B": i < 5} if attributes else None for i in range(sequences)]
    listed = [Sequence(f"s{i}", Annotation(truth, None, None, own)) for i, own in enumerate(flags)]
    results = {n: {s.name: truth + rng.normal(0, e, truth.shape) for s in listed} for n, e in (("good", 1), ("bad", 9))}
    if missing:
        del results["bad"]["s1"]
    return evaluate(listed, results, allow_missing=True)


def test_latex_has_percentages_decimals_subscripts_and_references_on_demand():
    made = scores()
    text = made.table("success,normalized_precision", "latex", percent=True, decimals=2)
    values = [100 * float(made.score(m)[0]) for m in ("success", "normalized_precision")]
    assert rf"good & \textbf{{{values[0]:.2f}}} & \textbf{{{values[1]:.2f}}} \\" in text
    assert r"AUC & P$_\mathrm{Norm}$" in text and r"\underline" in text and "ceiling" not in text
    assert "ceiling" in made.table("success", "latex", references=True)
    assert "ceiling" not in made.table("success", references=False)


def test_an_interval_is_called_what_it_is():
    assert "interval over sequences (Student's t)" in scores(5).table("success")
    assert "interval over sequences (studentised bootstrap)" in scores(20).table("success")
    assert "interval" not in scores(1).table("success")  # a single sequence has none
    # An attribute of few sequences has an interval of its own kind.
    table = scores(25, attributes=True).table("success", by="attribute", intervals=True)
    assert "interval over sequences (studentised bootstrap, Student's t)" in table


def test_without_attributes_there_is_no_table_by_attribute():
    for form in ("text", "csv", "latex"):
        with pytest.raises(UsageError, match="have no attributes"):
            scores().table("success", form, by="attribute")
    with pytest.raises(UsageError, match="no attribute has 2 sequences, as protocol tnllt wants"):
        scores(1, attributes=True).to_frame(by="attribute")


def test_the_best_is_the_best_as_printed():
    table = ScoreTable("", ["a", "b", "c"], 0, ["x"], [3], np.array([[0.0125], [0.013], [0.0115]]), None, [])
    assert table.cells() == [["0.013"], ["0.013"], ["0.011"]]  # np.round makes it .012, .013, .012
    assert table.places() == [[1], [1], [2]]


def test_score_file_shows_no_interval(tmp_path):
    write_tree(tmp_path)
    save(tmp_path / "r.txt", np.loadtxt(tmp_path / "annos" / "s0.txt", delimiter=","))
    done = CliRunner().invoke(cli, ["score-file", str(tmp_path / "annos" / "s0.txt"), str(tmp_path / "r.txt")])
    assert done.exit_code == 0 and "interval" not in done.stdout


def test_a_csv_is_read_by_pandas_without_rows_that_are_no_trackers():
    table = pd.read_csv(io.StringIO(scores(missing=True).table("success", "csv")))
    assert table["Tracker"].tolist() == ["good", "bad", "ceiling", "floor"]
    assert "no result for s1" in table["Footnotes"][1] and "no result" not in str(table["Footnotes"][0])


def test_by_sequence_each_sequence_is_a_row():
    made = scores(12)
    lines = made.table("success", by="sequence").splitlines()
    assert max(map(len, lines)) < 100 and lines[2].split() == ["Sequence", "good", "bad"]
    assert lines[4].split() == ["s0", *(f"{v:.3f}" for v in made.per_sequence("success")[:, 0])]
    assert pd.read_csv(io.StringIO(made.table("success", "csv", by="sequence"))).shape == (2, 13)


def test_install_hints_name_what_can_be_installed():
    with pytest.raises(MissingExtraError, match=r'source: pip install "\.\[vlm\]"$'):
        raise MissingExtraError("this", "vlm")


def test_long_names_of_variants_stay_apart():
    names = [f"Tracker@reasoner=openai-http-localhost-8000-v1-8290a9,refresh_interval={n},text=own" for n in (1, 2)]
    cut = [name_cell(name) for name in names]
    assert cut[0] == "Tracker@reasoner=openai-http...9,refresh_interval=1,text=own" and len(set(cut)) == 2
    assert len(name_cell("x" * 100)) == 60 and name_cell("x" * 60) == "x" * 60 and len(name_cell("x" * 100, 40)) == 40


@pytest.mark.parametrize(("seeds", "head"), [((1,), "Tracker AUC P"), ((1, 2), "Tracker runs AUC AUC dev. P P dev.")])
def test_runs_and_deviations_are_shown_where_there_are_several(seeds, head):
    truth = np.arange(160.0).reshape(40, 4) + 50
    names = [f"T@seed={seed},text={text}" for seed in seeds for text in ("own", "none")]
    made = evaluate([Sequence("s", Annotation(truth))], {name: {"s": truth} for name in names})
    lines = render(made, "success,precision", group_by=["text"]).splitlines()
    title = "one row per variant" if len(seeds) == 1 else "mean and deviation over seed"
    assert lines[0].endswith(f": {title}") and lines[2].split() == head.split() and len(lines) == 6
    assert "AUC dev." in render(made, "success", "csv", group_by=["text"])  # a program finds what it always finds


@pytest.mark.parametrize(
    ("options", "times"),
    [("", 0), ("--metric success", 0), ("--by sequence", 0), ("--by attribute", 1), ("--attributes", 1)],
)
def test_skipped_attributes_are_named_once_and_only_beside_attributes(tmp_path, options, times):
    write_tree(tmp_path)
    places = ["--annos", str(tmp_path / "annos"), "--results", str(tmp_path / "results")]
    shown = CliRunner().invoke(cli, [*places, *options.split()]).stdout
    assert shown.count("Attributes with fewer than 2 sequences are skipped: DEF") == times


def test_where_no_attribute_is_left_the_table_says_why(tmp_path):
    write_tree(tmp_path, count=1)
    places = ["--annos", str(tmp_path / "annos"), "--results", str(tmp_path / "results")]
    shown = CliRunner().invoke(cli, [*places, "--attributes"]).stdout
    assert shown.count("Attributes with fewer than 2 sequences are skipped: CM, ROT") == 1
    assert "\n\n\n" not in shown and "\n\nt1" not in shown  # no line for intervals that there are not
