"""The official toolkit's numbers, bit for bit, and those of other toolkits' own code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.eval.eval_trees import SMALL, small_results, small_sequences, toolkit_sequence
from tnllt.eval import PROTOCOLS, evaluate
from tnllt.eval.metrics import CURVE_METRICS
from tnllt.eval.protocols import STARK, resolve_protocol
from tnllt.eval.selection import evaluate_files, score
from tnllt.results.layouts import find_results

OTHERS = ("pytracking", "pytracking-lasot", "stark", "stark-lasot", "pysot-toolkit", "pysot", "got10k", "lorat")
CURVE_NAMES = tuple(metric.name for metric in CURVE_METRICS)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    return dict(np.load(SMALL / "expected.npz"))


@pytest.mark.parametrize("name", ["tnllt", "lasot", "tnl2k"])
def test_official_curves_are_equal_bit_for_bit(expected, name):
    trackers = expected["trackers"].tolist()
    scores = evaluate(small_sequences(), small_results(trackers), name)
    assert list(scores.sequences) == expected["sequences"].tolist()
    for curve in CURVE_NAMES:
        assert np.array_equal(scores.curve(curve), expected[curve]), curve


def test_result_files_give_the_same_bits(expected):
    found = find_results(SMALL / "tracking_results", expected["sequences"].tolist())
    files = {t: found.trackers[t] for t in expected["trackers"].tolist()}
    scores = evaluate_files(small_sequences(), files, "tnllt")
    for curve in CURVE_NAMES:
        assert np.array_equal(scores.curve(curve), expected[curve]), curve


@pytest.mark.parametrize("name", OTHERS)
def test_other_toolkits_curves(expected, name):
    other = np.load(SMALL / "other_protocols.npz")
    trackers = expected["trackers"].tolist()
    results = small_results(trackers)
    sequences = small_sequences()
    lengths = {s.name: len(s) for s in sequences}
    # The other toolkits were given results cut to the ground truth.
    cut = {t: {n: boxes[: lengths[n]] for n, boxes in own.items()} for t, own in results.items()}
    scores = evaluate(sequences, cut, name)
    for curve in CURVE_NAMES:
        reference = other[f"{name}/{curve}"]
        known = ~np.isnan(reference)
        assert known.any()
        np.testing.assert_allclose(scores.curve(curve)[known], reference[known], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["pytracking", "stark-lasot"])
def test_refused_sequences_are_nan_and_named_and_leave_every_mean(expected, name):
    other = np.load(SMALL / "other_protocols.npz")
    results = small_results(["drift", "jitter"])
    scores = evaluate(small_sequences(), results, name)
    refused = scores.sequences.index("chameleon-3")
    assert np.isnan(scores.curve("success")[:, refused]).all() and np.isnan(other[f"{name}/success"][:2, refused]).all()
    assert scores.refused.nonzero()[0].tolist() == [refused]
    rest = np.delete(scores.curve("success"), refused, axis=1)
    np.testing.assert_allclose(scores.score(), rest.mean((1, 2)), atol=1e-12)
    assert "chameleon-3" in scores.table() and "NaN in the annotation (row 6)" in scores.table()


def test_one_trackers_refusal_leaves_the_mean_of_all():
    results = small_results(["drift"])
    broken = {n: boxes.copy() for n, boxes in results["drift"].items()}
    broken["hat-1"][9, 2] = -1
    alone = evaluate(small_sequences(), results, "pytracking")
    both = evaluate(small_sequences(), {**results, "broken": broken}, "pytracking")
    assert [s for s, r in zip(both.sequences, both.refused, strict=True) if r] == ["chameleon-3", "hat-1"]
    assert not np.isnan(both.curve("success")[0]).any(1)[list(both.sequences).index("hat-1")]
    np.testing.assert_allclose(both.score()[0], alone.curve("success")[0][~both.refused].mean(), atol=1e-12)
    assert both.score()[0] == both.score()[1] and "hat-1" in both.table()


def test_where_everything_is_refused_the_score_is_not_a_number():
    scores = evaluate(small_sequences(), small_results(["quirky"]), "pytracking")
    assert scores.refused.all() and np.isnan(scores.score()[0]) and "n/a" in scores.table()


@pytest.mark.slow
def test_real_trackers_on_lasot(shared: Path):
    folder = shared / "data" / "lasot"
    names = (folder / "testing_set.txt").read_text().split()
    sequences = [toolkit_sequence(folder / "annos", name, 0, "lasot") for name in names]
    files = find_results(folder / "results", names).trackers
    scores = evaluate_files(sequences, files, "lasot")
    reference = json.loads((folder / "expected_scores.json").read_text())
    assert len(sequences) == 280 and set(scores.trackers) == set(reference)
    keys = {"success": "success_auc", "precision": "precision_20px", "normalized_precision": "normalized_precision_0.2"}
    for metric, key in keys.items():
        np.testing.assert_allclose(
            scores.score(metric), [reference[t][key] for t in scores.trackers], rtol=0, atol=1e-12
        )
    by_attribute = scores.per_attribute("success")
    assert len(by_attribute) == 14
    for name, values in by_attribute.items():
        expected = [reference[t]["per_attribute_success_auc"][name] for t in scores.trackers]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    assert round(scores.reference()["ceiling"], 4) == 0.9274
    atom = list(scores.trackers).index("ATOM")
    matlab = evaluate_files(sequences, files, "tnllt-matlab")
    assert round(scores.score()[atom], 7) == 0.5143375 and round(matlab.score()[atom], 7) == 0.5143395


def test_every_named_protocol_is_there_and_explained():
    named = (
        "tnllt tnllt-matlab pytracking pytracking-lasot pytracking-uav stark stark-lasot stark-uav pysot-toolkit pysot "
    )
    assert set((named + "got10k lorat trackingnet strict").split()) == set(PROTOCOLS)
    assert all(p.summary.endswith(".") for p in PROTOCOLS.values())
    digests = [p.digest() for p in PROTOCOLS.values()]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(
    ("name", "dataset", "resolved"),
    [
        ("ostrack", "lasot", "stark-lasot"), ("stark", "lasot", "stark-lasot"), ("dutrack", "tnl2k", "stark"),
        ("stark", "uav123", "stark-uav"), ("pytracking", "lasot", "pytracking-lasot"),
        ("pytracking", "otb100", "pytracking"), ("pytracking", "uav123", "pytracking-uav"),
        ("stark-lasot", "tnl2k", "stark-lasot"), ("lasot", "lasot", "tnllt"), (STARK, "lasot", "stark"),
    ],
)  # fmt: skip
def test_a_toolkits_name_means_its_rule_for_the_dataset(name, dataset, resolved):
    assert resolve_protocol(name, dataset).name == resolved


def test_ostrack_on_lasot_gives_the_number_of_ostracks_code(shared: Path):
    folder = shared / "data" / "lasot"
    scores = score("lasot", annos=folder / "annos", results=folder / "results", trackers="DiMP50", protocol="ostrack")
    assert scores.protocol.name == "stark-lasot"
    assert round(float(scores.score("normalized_precision")[0]), 3) == 0.652
    assert "protocol stark-lasot" in scores.table("normalized_precision")
