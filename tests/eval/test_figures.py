"""Figures: ranked legends, styles without end, a CSV beside each that says the same."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from matplotlib.figure import Figure

from tnllt.eval import evaluate
from tnllt.eval.figures import COLORS, LINES, draw_curves, line_style
from tnllt.eval.metrics import CURVE_METRICS
from tnllt.sequence import Annotation, Sequence


def many(trackers: int):
    rng = np.random.default_rng(5)
    truth = np.abs(np.cumsum(rng.normal(0, 3, (50, 4)), axis=0) + np.array([100, 80, 50, 40])) + 1
    flags = {"A": True, "B": True, "C": True, "D": False}
    sequences = [Sequence(name, Annotation(truth, None, None, flags), dataset="tnllt") for name in ("s0", "s1")]
    results = {f"t{k:03d}": {s.name: truth + rng.normal(0, 1 + k, (50, 4)) for s in sequences} for k in range(trackers)}
    return evaluate(sequences, results)


@pytest.mark.parametrize("trackers", [3, 40])
def test_legends_are_ranked_and_carry_scores(trackers):
    scores = many(trackers)
    for metric in CURVE_METRICS:
        axes = Figure().subplots()
        draw_curves(axes, scores, metric)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        values = scores.score(metric)
        assert labels == [f"[{values[k]:.3f}] {scores.trackers[k]}" for k in scores.ranking(metric)]
        assert len(axes.lines) == trackers and axes.get_xlabel() == metric.figure.x


def test_styles_go_on_without_end_and_do_not_repeat_early():
    count = len(COLORS) * len(LINES)
    assert len({str(line_style(k)) for k in range(3 * count)}) == 3 * count
    assert line_style(10_000)["color"] in COLORS


def test_files_and_their_csv(tmp_path):
    scores = many(3)
    written = scores.plot(tmp_path, "success", attributes=True, formats=("svg",))
    names = {path.name for path in written}
    stems = {"success", "curves", "success_A", "success_B", "success_C", "success_radar"}
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("svg", "csv")}
    rows = list(csv.DictReader((tmp_path / "success.csv").open()))
    assert [float(r["threshold"]) for r in rows] == scores.protocol.thresholds("success").tolist()
    assert [float(r["t001"]) for r in rows] == scores.mean_curve("success")[1].tolist()
    assert [float(r["ceiling"]) for r in rows] == scores.reference_curve("success")["ceiling"].tolist()
    radar = list(csv.reader((tmp_path / "success_radar.csv").open()))
    assert radar[0] == ["tracker", "A", "B", "C"] and float(radar[1][1]) == scores.per_attribute()["A"][0]


def test_frames_of_tables_agree_with_scores():
    scores = many(4)
    overall, by = scores.to_frame(), scores.to_frame("success", by="attribute")
    assert overall.index.tolist() == [scores.trackers[k] for k in scores.ranking()]
    assert overall.loc["t002", "op50"] == scores.score("op50")[2]
    assert by.loc[("t003", "B"), "success"] == scores.per_attribute()["B"][3]
    assert (
        scores.to_frame("precision", by="sequence").loc[("t001", "s1"), "precision"]
        == scores.per_sequence("precision")[1, 1]
    )
    assert "D" in scores.skipped_attributes
