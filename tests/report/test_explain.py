"""The gap between two protocols, taken apart exactly; reported scores and folders traced back."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tnllt.cli.eval import cli
from tnllt.cli.eval_explain import explanation_json, explanation_text, reported_text
from tnllt.errors import UsageError
from tnllt.eval import evaluate, tracker_curves
from tnllt.eval.explain import Rescorer, explain, find_reported, parse_reported
from tnllt.eval.folder_gap import folder_gap, related
from tnllt.eval.metrics import CURVE_METRICS
from tnllt.eval.protocol import RULE_TEXTS, RULES
from tnllt.eval.protocols import PROTOCOLS
from tnllt.files import to_json
from tnllt.sequence import Annotation, Sequence, Trajectory


def world(seed: int = 0, count: int = 8) -> tuple[list[Sequence], dict[str, dict[str, Trajectory]]]:
    """Sequences with everything that rules act on: absences, boxes over the border, NaN, broken results."""
    rng = np.random.default_rng(seed)
    sequences, results = [], {"good": {}, "bad": {}}
    for s in range(count):
        length = 40 + s
        truth = np.c_[rng.uniform(-5, 80, (length, 2)), rng.uniform(10, 40, (length, 2))].round(s % 3)
        present = rng.random(length) > (0.2 if s % 2 else 0.0)
        if s == 6:
            present[0] = False
        if s == 3:
            truth[7:9, 2:] = 0
        if s == 5:
            truth[4] = np.nan
        sequences.append(Sequence(f"s{s}", Annotation(truth, present), dataset="toy"))
        for name, noise in (("good", 3.0), ("bad", 15.0)):
            boxes = np.nan_to_num(truth, nan=20.0) + rng.normal(0, noise, truth.shape)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
            if name == "bad":
                boxes[11, 2] = 0
                if s == 6:
                    boxes[1:] += 500  # lost from the start
            results[name][f"s{s}"] = Trajectory(boxes)
    return sequences, results


PAIRS = [("tnllt", name) for name in PROTOCOLS if name != "tnllt"]
PAIRS += [("stark", "lorat"), ("pysot", "got10k"), ("trackingnet", "strict"), ("pytracking-uav", "tnllt")]


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_the_parts_sum_to_the_gap(a: str, b: str) -> None:
    sequences, results = world()
    found = explain(Rescorer(sequences, results), a, b)
    left, right = (evaluate(sequences, results, p) for p in (a, b))
    for m, metric in enumerate(CURVE_METRICS):
        assert np.array_equal(found.score_a[:, m], left.score(metric))
        assert np.array_equal(found.score_b[:, m], right.score(metric))
    total = np.sum([step.contribution for step in found.steps], axis=0)
    assert np.abs(total - found.gap).max() < 1e-12
    assert found.residual < 1e-12
    assert [s.rule for s in found.steps] == list(PROTOCOLS[a].differences(PROTOCOLS[b]))
    for step in found.steps:
        for k, tracker in enumerate(found.trackers):
            if step.rule in ("drop_zero_curves", "refuse_nan_annotation", "refuse_nan_overlap"):
                continue  # these move the number of sequences, and with it the share of every one
            parts = sum((t.contribution for t in step.changed[tracker]), start=np.zeros(3))
            if all((t.kept[0] == t.kept[1]).all() for t in step.changed[tracker]):
                assert np.abs(parts - step.contribution[k]).max() < 1e-12, step.rule


def test_alone_and_last_are_what_they_say() -> None:
    from dataclasses import replace

    sequences, results = world()
    found = explain(Rescorer(sequences, results), "tnllt", "lorat")
    a, b = PROTOCOLS["tnllt"], PROTOCOLS["lorat"]
    for step in found.steps:
        alone = evaluate(sequences, results, replace(a, **{step.rule: getattr(b, step.rule)}), allow_short=True)
        without = evaluate(sequences, results, replace(b, **{step.rule: getattr(a, step.rule)}), allow_short=True)
        for m, metric in enumerate(CURVE_METRICS):
            assert step.alone[:, m] == pytest.approx(alone.score(metric) - found.score_a[:, m], abs=1e-14)
            assert step.last[:, m] == pytest.approx(found.score_b[:, m] - without.score(metric), abs=1e-14)
    assert any(step.order_matters for step in found.steps)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_rescoring_measures_again_wherever_a_rule_can_act(name: str) -> None:
    """Any one rule of any protocol put into the official one: the shortcut gives what scoring gives."""
    sequences, results = world(seed=3)
    rescorer = Rescorer(sequences, results, allow_short=True)
    for rule in PROTOCOLS["tnllt"].differences(PROTOCOLS[name]):
        mixed = replace(PROTOCOLS["tnllt"], **{rule: getattr(PROTOCOLS[name], rule)})
        plain = evaluate(sequences, results, mixed, allow_short=True)
        for metric in CURVE_METRICS:
            assert np.array_equal(rescorer.scores(mixed).score(metric), plain.score(metric)), rule


def test_a_sequence_is_measured_again_only_where_a_changed_rule_can_act(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []

    def score_sequence(*args: Any) -> None:
        looked_at.append(args[2].name)
        tracker_curves.score_sequence(*args)

    monkeypatch.setattr("tnllt.eval.explain.score_sequence", score_sequence)
    sequences, results = world()
    rescorer = Rescorer(sequences, {"good": results["good"]})
    for rules in (
        {},
        {"success": "area"},
        {"invalid_result": "miss"},
        {"absent": "excluded"},
        {"overlap_strict": False},
    ):
        looked_at.clear()
        rescorer.scores(replace(PROTOCOLS["tnllt"], **rules))
        absent = [s.name for s in sequences if s.present is not None and not s.present.all()]
        wanted = {"success": [], "invalid_result": [], "absent": absent}.get(next(iter(rules), ""))
        assert looked_at == ([s.name for s in sequences] if wanted is None else wanted)


def test_frames_and_sequences_are_named() -> None:
    sequences, results = world()
    found = explain(Rescorer(sequences, results), "tnllt", "stark")
    absent = next(s for s in found.steps if s.rule == "absent")
    away = {s.name: int((~s.present).sum()) for s in sequences if s.present is not None and not s.present.all()}
    for tracker in found.trackers:
        assert {t.sequence for t in absent.changed[tracker]} <= set(away)
        assert all(0 < t.frames <= away[t.sequence] for t in absent.changed[tracker])
    dropped = next(s for s in found.steps if s.rule == "drop_zero_curves")
    assert [t.sequence for t in dropped.changed["bad"] if t.kept[:, 0].tolist() == [False, True]] == ["s6"]


def test_every_rule_has_words() -> None:
    assert set(RULE_TEXTS) == set(RULES)
    for rule, text in RULE_TEXTS.items():
        assert text.why and text.label != rule, rule
    for protocol in PROTOCOLS.values():
        for rule, _, value, _ in protocol.card():
            assert value and value not in ("True", "False"), rule


def test_a_reported_score_is_found() -> None:
    sequences, results = world()
    wanted = float(evaluate(sequences, results, "got10k").score("normalized_precision")[0])
    matches = find_reported(Rescorer(sequences, results), parse_reported(f"{wanted:.4f}"))
    fits = [(m.tracker, m.protocol, m.metric, m.round) for m in matches if m.fit]
    assert fits == [("good", "got10k", "normalized_precision", "none")]
    saved = float(evaluate(sequences, results, "tnllt", rounding="trunc").score("success")[0])
    matches = find_reported(Rescorer(sequences, results), parse_reported(f"{100 * saved:.3f}"))
    assert ("good", "tnllt", "success", "trunc") in [
        (m.tracker, m.protocol, m.metric, m.round) for m in matches if m.fit
    ]
    nothing = find_reported(Rescorer(sequences, results), parse_reported("0.99999"))
    assert not any(m.fit for m in nothing)
    assert nothing[0].distance == min(m.distance for m in nothing)
    shown = reported_text(parse_reported("0.99999"), nothing).splitlines()[3:]
    scores = [re.search(r"\d\.\d{5}", line)[0] for line in shown]  # type: ignore[index]
    assert len(scores) == len(set(scores)) == 5, "five different scores"
    assert f"(and {sum(f'{m.score:.5f}' == scores[0] for m in nothing) - 1} more with this score)" in shown[0]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("0.559", 0.559, 0.001), (".56", 0.56, 0.01), ("55.9", 0.559, 0.001), ("55.9%", 0.559, 0.001), ("56", 0.56, 0.01)],
)
def test_reported_scores_as_people_write_them(text: str, value: float, unit: float) -> None:
    reported = parse_reported(text)
    assert reported.value == value and reported.unit == pytest.approx(unit)


@pytest.mark.parametrize("text", ["", "high", "-0.5", "155", "0.5.5", "nan", "100.1%"])
def test_texts_that_are_not_scores(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reported(text)


def test_nothing_added_is_a_number_in_a_sentence() -> None:
    sequences, results = world()
    text = explanation_text(explain(Rescorer(sequences, results), "tnllt", "stark"), ("tnllt", "stark"), 5, False)
    assert re.search(r"Order matters: .* 0\s+(alone|last)", text) and not re.search(r"(, |P|AUC|Norm) \. ", text)


def test_two_folders() -> None:
    sequences, results = world()
    first = results["good"]
    second = {n: Trajectory(np.rint(t.boxes)) for n, t in first.items()}
    second["s2"] = Trajectory(first["s2"].boxes)
    found = folder_gap(Rescorer(sequences, {"first": first, "second": second}), "tnllt", "good")
    assert {s.label: len(s.changed["good"]) for s in found.steps} == {"Rounded to integers": 7, "Identical": 1}
    assert found.residual < 1e-12 and found.gap[0].any() and not found.steps[1].acts()


def test_relations_of_files() -> None:
    boxes = np.random.default_rng(0).uniform(1, 90, (30, 4))
    assert related(boxes, boxes) == ("identical", 0)
    assert related(boxes, np.trunc(boxes))[0] == "truncated to integers"
    assert related(np.rint(boxes), boxes)[0] == "the first rounded to integers"
    assert related(boxes, boxes + np.array([1, 1, 0, 0]))[0] == "x and y one pixel higher"
    assert related(boxes, np.concatenate([boxes[:1], boxes[:-1]]))[0] == "one frame later"
    assert related(boxes, boxes[:-3]) == ("-3 rows", 3)
    assert related(boxes, boxes.round(2))[0].startswith("equal to within")
    assert related(boxes, boxes[::-1])[0] == "other boxes"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_on_a_release(release: Path) -> None:
    from tests.report.conftest import arguments

    text = run("explain", "lasot", "stark", *arguments(release), "--trackers", "SiamFC")
    assert "SiamFC" in text and "Frames without the target" in text and "gap" in text
    table = json.loads(run("explain", "tnllt", "lorat", *arguments(release), "--format", "json"))
    for own in table["trackers"].values():
        for metric, gap in own["gap"].items():
            assert sum(rule["contribution"][metric] for rule in own["rules"]) == pytest.approx(gap, abs=1e-12)
    assert "is what these give" in run("explain", "--reported", "0.746", *arguments(release))
    folders = str(release / "results")
    assert "Identical" in run("explain", folders, folders, *arguments(release), "--trackers", "SiamFC")


@pytest.mark.parametrize("arguments", [["explain"], ["explain", "lasot"], ["explain", "lasot", "nonsense"]])
def test_commands_that_cannot_be_meant(arguments: list[str]) -> None:
    with pytest.raises(UsageError):
        CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize("other", ["stark", "pytracking"])
def test_real_trackers_on_lasot(shared: Path, other: str) -> None:
    lasot = shared / "data" / "lasot"
    text = run(
        "explain", "lasot", other, "--dataset", "lasot", "--annos", str(lasot / "annos"), "--results",
        str(lasot / "results"), "--format", "json",
    )  # fmt: skip
    table = json.loads(text)
    assert set(table["trackers"]) == {"ATOM", "DiMP50", "SiamFC"}
    assert table["residual"] < 1e-12
    for own in table["trackers"].values():
        for metric, gap in own["gap"].items():
            assert abs(sum(rule["contribution"][metric] for rule in own["rules"]) - gap) < 1e-12
        absent = next(rule for rule in own["rules"] if rule["rule"] == "absent")
        assert len(absent["sequences"]) == 164 and absent["frames"] == 18_346
        assert absent["contribution"]["normalized_precision"] == pytest.approx(0.0262103, abs=1e-6)


def test_a_score_that_ceases_to_be_one_is_said(tmp_path: Path) -> None:
    """pytracking refuses NaN in results: with one tracker's NaN everywhere, no tracker has a score left."""
    sequences, results = world()
    broken = {
        n: Trajectory(np.where(np.arange(len(t))[:, None] == 9, np.nan, t.boxes)) for n, t in results["bad"].items()
    }
    found = explain(Rescorer(sequences, {"good": results["good"], "broken": broken}), "tnllt", "pytracking")
    step = next(s for s in found.steps if s.rule == "invalid_result")
    assert np.isnan(found.gap).all() and step.acts() and len(step.changed["good"]) == 8
    assert found.residual < 1e-12

    text = explanation_text(found, ("tnllt", "pytracking"), 5, False)
    assert "n/a" in text and "no longer counted" in text and "nan" not in text
    table = json.loads(to_json(explanation_json(found, ("tnllt", "pytracking"))), parse_constant=pytest.fail)
    assert table["trackers"]["good"]["gap"]["success"] is None
