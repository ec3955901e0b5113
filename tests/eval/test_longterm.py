"""Long-term measures against values worked out by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnllt.eval import evaluate
from tnllt.eval.evaluate import score_trackers
from tnllt.eval.explain import Rescorer
from tnllt.eval.longterm import ReportedFrames, best_f, confidence_thresholds, precision_recall, rates
from tnllt.eval.protocols import TNLLT
from tnllt.eval.selection import evaluate_files
from tnllt.files import float_array, to_json
from tnllt.results.layouts import find_results
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Sequence, Trajectory

BOX = [10.0, 10, 10, 10]


def scene():
    """Four frames, the target gone in the third. The tracker is right twice, sure once, and fooled once."""
    sequence = Sequence("a", Annotation(np.array([BOX] * 4), np.array([True, True, False, True])))
    boxes = np.array([BOX, BOX, BOX, [100.0, 100, 10, 10]])
    return sequence, boxes


def test_f_by_hand():
    sequence, boxes = scene()
    made = Trajectory(boxes, np.array([1.0, 0.8, 0.5, 0.3]))
    scores = evaluate([sequence], {"t": {"a": made}})
    # At 0.8: two reported, overlaps 1 and 1, three present: Pr 1, Re 2/3. At 0.5 Pr falls to 2/3, Re stays.
    assert scores.score("lt_precision")[0] == 1.0
    assert scores.score("lt_recall")[0] == pytest.approx(2 / 3)
    assert scores.score("lt_f")[0] == pytest.approx(0.8)


def test_oxuva_by_hand():
    sequence, boxes = scene()
    made = Trajectory(boxes, None, np.array([False, False, True, False]))
    scores = evaluate([sequence], {"t": {"a": made}})
    assert scores.score("tpr")[0] == pytest.approx(2 / 3) and scores.score("tnr")[0] == 1.0
    assert scores.score("maxgm")[0] == pytest.approx(np.sqrt(2 / 3))


def test_nothing_to_measure_is_not_zero():
    sequence, boxes = scene()
    everywhere = Sequence("a", Annotation(sequence.groundtruth, np.ones(4, bool)))
    made = Trajectory(boxes, np.ones(4))
    scores = evaluate([everywhere], {"t": {"a": made}})
    assert np.isnan(scores.score("tnr")[0]) and np.isnan(scores.score("maxgm")[0]) and scores.score("tpr")[0] == 0.75
    assert "n/a" in scores.table("tnr")
    boxless = sequence.groundtruth * [[1], [1], [1], [0]]  # in view, but without a box: neither present nor absent
    scores = evaluate([Sequence("a", Annotation(boxless, np.ones(4, bool)))], {"t": {"a": made}})
    assert np.isnan(scores.score("tnr")[0]) and scores.score("tpr")[0] == 1
    plain = evaluate([everywhere], {"t": {"a": boxes}})
    assert np.isnan(plain.score("lt_f")[0])
    assert [m.name for m in plain.metrics()][-1] == "average_overlap"
    assert [m.name for m in scores.metrics()][-1] == "maxgm"


def test_a_tracker_that_always_calls_absence_has_no_f():
    sequence, boxes = scene()
    scores = evaluate([sequence], {"t": {"a": Trajectory(boxes, None, np.ones(4, bool))}})
    assert np.isnan(scores.score("lt_f")[0])
    assert scores.score("tpr")[0] == 0 and scores.score("tnr")[0] == 1 and scores.score("maxgm")[0] == 0


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_maxgm_is_the_maximum_over_p(tpr, tnr):
    p = np.linspace(0, 1, 2001)
    grid = np.sqrt((1 - p) * tpr * ((1 - p) * tnr + p)).max()
    found = rates(np.array([tpr * 1e6, 1e6, tnr * 1e6, 1e6]))[2]
    assert found == pytest.approx(grid, abs=1e-5) and found >= grid - 1e-12


def test_thresholds_are_shared_and_bounded():
    rng = np.random.default_rng(0)
    many = confidence_thresholds([rng.random(5000), np.array([np.nan, 2.0])])
    assert len(many) == 100 and many[-1] == 2.0 and (np.diff(many) >= 0).all()
    assert confidence_thresholds([np.full(3, np.nan)]).size == 0
    frames = ReportedFrames(np.array([1.0, 0.5]), np.ones(2, bool), np.zeros(2, bool), np.array([0.2, np.nan]))
    curves = precision_recall(frames, np.array([0.1, 0.3]))
    np.testing.assert_array_equal(curves, [[1.0, np.nan], [0.5, 0.0]])
    assert np.isnan(best_f(np.empty((3, 0)))).all() and best_f(np.empty((3, 0))).shape == (3, 3)


def test_equal_confidences_are_summed_in_the_order_of_frames():
    """Sums of floats depend on their order: scores must not change with the sorting that a processor is good at."""
    rng = np.random.default_rng(0)
    for levels in (3, 50, 10**9):
        confidence, overlap = rng.integers(levels, size=2000) / levels, rng.random(2000)
        frames = ReportedFrames(overlap, np.ones(2000, bool), np.zeros(2000, bool), confidence)
        thresholds = confidence_thresholds([confidence])
        sums = np.cumsum(overlap[np.argsort(-confidence, kind="stable")])
        expected = sums[[np.count_nonzero(confidence >= t) - 1 for t in thresholds]]
        np.testing.assert_array_equal(precision_recall(frames, thresholds)[1], expected / 2000)


def test_infinite_confidence_is_confidence():
    """An infinity is surer, or less sure, than every number; it survives JSON, and is not a reported absence."""
    sequence, boxes = scene()
    confidence = np.array([np.inf, 0.8, -np.inf, 0.3])
    stored = float_array(json.loads(to_json(confidence)))
    np.testing.assert_array_equal(stored, confidence)
    found = [
        evaluate([sequence], {"t": {"a": Trajectory(boxes, values)}})
        for values in (confidence, stored, [9, 0.8, -9, 0.3])
    ]
    for name in ("lt_f", "lt_precision", "lt_recall", "tpr", "tnr"):
        assert len({float(scores.score(name)[0]) for scores in found}) == 1, name
    assert found[0].score("lt_f")[0] == pytest.approx(0.8) and found[0].score("tnr")[0] == 0


def test_stored_infinities_score_alike(tmp_path):
    """What is measured in memory is measured again from the files of the run."""
    sequence, boxes = scene()
    made = Trajectory(boxes, np.array([np.inf, 0.8, -np.inf, np.nan]), None, np.full(4, 0.01), {"frames": 4})
    store = ResultStore(tmp_path)
    store.write("t", "a", made)
    found = find_results(tmp_path, ["a"]).trackers
    read = evaluate_files([sequence], found, "tnllt")
    memory = evaluate([sequence], {"t": {"a": made}})
    for metric in memory.metrics():
        np.testing.assert_array_equal(read.score(metric), memory.score(metric), metric.name)
    assert memory.score("lt_f")[0] > 0


@pytest.mark.parametrize(("rounding", "apply"), [("none", np.asarray), ("nearest", np.round), ("trunc", np.trunc)])
def test_rounding_scores_boxes_as_if_they_had_been_saved_so(rounding, apply):
    sequence, boxes = scene()
    confidence = np.array([1, 0.8, 0.9, 0.3])
    given = {"t": {"a": Trajectory(boxes + 0.6, confidence)}}
    saved = evaluate([sequence], {"t": {"a": Trajectory(apply(boxes + 0.6), confidence)}})
    for scores in (evaluate([sequence], given, rounding=rounding), Rescorer([sequence], given).scores(TNLLT, rounding)):
        for metric in saved.metrics():
            np.testing.assert_array_equal(scores.score(metric), saved.score(metric), metric.name)
        assert "lt_f" in {metric.name for metric in scores.metrics()}
    seen = []  # lint looks at boxes as they are, so it is told no overlap of others
    score_trackers([sequence], given, TNLLT, rounding=rounding, watch=lambda *about: seen.append(set(about[2])))
    assert seen == [{"t"} if rounding == "none" else set()]
