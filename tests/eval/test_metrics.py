"""A metric is one record: a new one of any kind is found everywhere without another edit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.report.conftest import held
from tnllt.eval import METRICS, Metric, Scores, evaluate
from tnllt.eval.cache import ScoreCache, can_cache
from tnllt.eval.frame_errors import count_within
from tnllt.eval.intervals import all_intervals
from tnllt.eval.longterm import ReportedFrames
from tnllt.eval.metrics import ConfidenceMeasure, CurveFigure, FrameMeasure, SequenceResults, get_metric, sum_over
from tnllt.eval.report import write_report
from tnllt.eval.style import Style
from tnllt.sequence import Annotation, Sequence, Trajectory

AREAS = np.linspace(0, 3, 7)


def area_ratios(results: SequenceResults) -> np.ndarray:
    with np.errstate(all="ignore"):
        ratio = results.boxes[..., 2:].prod(-1) / results.sequence.groundtruth[..., 2:].prod(-1)
    return np.nan_to_num(ratio, nan=9.0, posinf=9.0)


def area_curve(results: SequenceResults) -> np.ndarray:
    return count_within(area_ratios(results), AREAS) / len(results.sequence)


def wide_frames(results: SequenceResults) -> np.ndarray:
    wide = results.boxes[..., 2] > results.boxes[..., 3]
    return np.stack([wide.sum(1), np.full(len(wide), wide.shape[1])], axis=1).astype(float)


def sure_frames(sequences: list[ReportedFrames | None]) -> np.ndarray:
    rows = [[np.nan] * 2 if f is None else [(f.confidence > 0.5).sum(), len(f.confidence)] for f in sequences]
    return np.array(rows, float)


NEW = (
    Metric(
        "area_curve", "Area ratio within 1.5", "AR", "Fraction of frames whose area ratio is at most 1.5.",
        FrameMeasure("areas", area_curve, thresholds=lambda protocol: AREAS), lambda curve, _: curve[..., 3],
        mark=lambda protocol: 1.5, figure=CurveFigure("Area", "Area ratio", "Fraction of frames"),
    ),
    Metric(
        "mean_area", "Mean area ratio", "MA", "Mean area ratio.",
        FrameMeasure("mean_area", lambda r: area_ratios(r).mean(1)[:, None] / 9), lambda values, _: values[..., 0],
    ),
    Metric(
        "wide", "Wide boxes", "Wide", "Fraction of all frames with a box wider than it is high.",
        FrameMeasure("wide", wide_frames, width=2), lambda sums, _: sums[..., 0] / sums[..., 1], sum_over,
    ),
    Metric(
        "sure", "Sure frames", "Sure", "Fraction of frames with a confidence above 0.5.",
        ConfidenceMeasure("sure", sure_frames), lambda sums, _: sums[..., 0] / sums[..., 1], sum_over,
    ),
)  # fmt: skip


def made() -> tuple[list[Sequence], dict[str, dict[str, Trajectory]]]:
    rng = np.random.default_rng(3)
    sequences: list[Sequence] = []
    results: dict[str, dict[str, Trajectory]] = {name: {} for name in ("one", "two", "three", "runs_001", "runs_002")}
    for i in range(8):
        truth = np.c_[rng.uniform(20, 90, (30, 2)), rng.uniform(20, 40, (30, 2))]
        flags = {"A": i % 2 == 0, "B": i > 2, "C": i < 6}
        sequences.append(Sequence(f"s{i}", Annotation(truth, rng.random(30) > 0.2, None, flags)))
        for k, (name, own) in enumerate(results.items()):
            boxes = np.abs(truth + rng.normal(0, 2 + 2 * k, truth.shape)) + 1
            confidence = None if name.startswith("runs") else rng.random(30)
            own[f"s{i}"] = Trajectory(boxes, confidence)
    return sequences, results


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    for metric in NEW:
        monkeypatch.setitem(METRICS, metric.name, metric)
    return evaluate(*made())


@pytest.mark.parametrize("metric", NEW, ids=lambda m: m.name)
def test_a_new_metric_is_everywhere(scores: Scores, metric: Metric, tmp_path: Path) -> None:
    assert metric in scores.metrics("all") and get_metric(metric.short) is metric
    values = scores.score(metric.name)
    assert (values[:3] >= 0).all() and (values[:3] <= 1).all()
    if metric.is_mean:
        np.testing.assert_allclose(values, scores.per_sequence(metric).mean(1))
    for fmt in ("text", "markdown", "latex", "csv"):
        assert metric.short in scores.table("all", fmt) and f"{values[0]:.3f}" in scores.table(metric.name, "text")
    assert f"{scores.per_attribute(metric)['A'][0]:.3f}" in scores.table(metric.name, by="attribute")
    bounds = all_intervals(scores, [metric])[metric.name]
    assert (bounds.low[:3] <= values[:3]).all() and (values[:3] <= bounds.high[:3]).all()
    assert scores.to_frame(metric.name).loc["one", metric.name] == values[0]
    saved = json.loads(scores.table("all", "json"))
    assert saved["scores"]["one"][metric.name] == values[0] and saved["intervals"]["trackers"]["one"][metric.name]
    assert set(saved["per_attribute"]["one"][metric.name]) == {"A", "B", "C"}
    drawn = {path.name for path in scores.plot(tmp_path, metric.name, attributes=True, style=Style(formats=("svg",)))}
    assert {f"{metric.name}.svg", f"{metric.name}_A.svg"} <= drawn or not metric.has_curve
    assert (
        "Area ratio" in (tmp_path / "curves.svg").read_text() or "area_curve" in (tmp_path / "curves.csv").read_text()
    )


def test_the_report_gets_new_metrics(scores: Scores, tmp_path: Path) -> None:
    sequences, results = made()
    page = write_report(scores, tmp_path, held(sequences, results)).read_text("utf-8")
    embedded = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', page, flags=re.S)
    parts = {key: json.loads(text) for key, text in embedded}
    data, numbers = parts["data"], parts["scores"]
    for metric in NEW:
        assert metric.name in {m["key"] for m in data["metrics"]} and metric.name in data["table"]
        assert metric.name in numbers["per_sequence"]["one"] and numbers["scores"]["one"][metric.name] >= 0
    assert data["curves"]["areas"]["mark"] == 1.5 and data["curves"]["areas"]["label"] == "Area"
    assert data["runs"]["lt_f"] == [] and data["runs"]["success"][0]["name"] == "runs"


def test_runs_without_a_score_are_left_out(scores: Scores) -> None:
    """Runs without confidence beside a tracker with it: their long-term scores are n/a, and so has no mean."""
    from tnllt.eval.intervals import runs

    assert [r.name for r in runs(scores, "success")] == ["runs"]
    assert runs(scores, "lt_f") == [] and not np.isnan(scores.score("lt_f")[:3]).any()


def test_metrics_of_others_are_not_cached(scores: Scores, tmp_path: Path) -> None:
    assert not can_cache()
    own = scores.tracker_curves[0]
    for name in ("areas", "wide", "mean_area", "sure"):
        del own.arrays[name]
    cache = ScoreCache(tmp_path)
    cache.put("abc", own)
    assert cache.get("abc", "one", 8, scores.protocol) is None  # it lacks what the registered metrics need
