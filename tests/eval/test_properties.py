"""What holds for any boxes, under every protocol."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tnllt.errors import IncompleteError
from tnllt.eval import METRICS, PROTOCOLS, evaluate
from tnllt.eval.frame_errors import count_above, count_within
from tnllt.eval.metrics import CURVE_METRICS
from tnllt.sequence import Annotation, Sequence, Trajectory

CURVE_NAMES = tuple(metric.name for metric in CURVE_METRICS)
NUMBERS = st.one_of(
    st.integers(-50, 300).map(float),
    st.floats(-100, 1000),
    st.sampled_from([0.0, -0.0, 1.0, np.nan, np.inf, -np.inf, 1e300, -1e300, 5e-324]),
)
MANY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def boxes(rows: int) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float64, (rows, 4), elements=NUMBERS)


@st.composite
def sequence_and_results(draw, trackers: int = 2):
    rows = draw(st.integers(1, 12))
    truth = draw(hnp.arrays(np.float64, (rows, 4), elements=st.one_of(st.integers(0, 90).map(float), st.just(np.nan))))
    present = draw(st.one_of(st.none(), hnp.arrays(np.bool_, rows)))
    sequence = Sequence(f"s{rows}", Annotation(truth, present))
    results = []
    for _ in range(trackers):
        confidence = draw(st.one_of(st.none(), hnp.arrays(np.float64, rows, elements=NUMBERS)))
        absent = draw(st.one_of(st.none(), hnp.arrays(np.bool_, rows)))
        results.append(Trajectory(draw(boxes(rows)), confidence, absent))
    return sequence, results


@MANY
@given(sequence_and_results(), st.sampled_from(sorted(PROTOCOLS)))
def test_every_score_is_a_fraction_for_any_boxes(made, name):
    sequence, results = made
    scores = evaluate([sequence], {str(i): {sequence.name: r} for i, r in enumerate(results)}, name)
    for metric in METRICS:
        values = np.append(scores.score(metric), scores.per_sequence(metric))
        known = values[~np.isnan(values)]
        assert ((known >= 0) & (known <= 1)).all(), metric
    for curve in CURVE_NAMES:
        values = scores.curve(curve)[~np.isnan(scores.curve(curve))]
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_ground_truth_as_result_gives_the_ceiling_and_first_box_the_floor(name):
    rng = np.random.default_rng(3)
    truth = np.abs(np.cumsum(rng.normal(0, 3, (60, 4)), axis=0) + np.array([100, 80, 50, 40])) + 1
    present = rng.random(60) > 0.2
    present[0] = True
    sequence = Sequence("a", Annotation(truth, present))
    scores = evaluate([sequence], {"perfect": {"a": truth}, "still": {"a": np.repeat(truth[:1], 60, axis=0)}}, name)
    for metric in ("success", "precision", "normalized_precision", "average_overlap", "op50", "op75"):
        assert scores.score(metric).tolist() == list(scores.reference(metric).values()), metric
    assert scores.score()[0] >= scores.score()[1]
    if name == "strict":
        assert scores.reference()["ceiling"] == 1.0


def made_set(seed: int, count: int = 6, trackers: int = 3):
    rng = np.random.default_rng(seed)
    sequences, results = [], {f"t{k}": {} for k in range(trackers)}
    for i in range(count):
        rows = int(rng.integers(5, 40))
        truth = np.abs(np.cumsum(rng.normal(0, 3, (rows, 4)), axis=0) + np.array([100, 80, 50, 40])) + 1
        flags = {"A": bool(i % 2), "B": i < 3}
        sequences.append(Sequence(f"s{i}", Annotation(truth, rng.random(rows) > 0.1, None, flags)))
        for k in range(trackers):
            results[f"t{k}"][f"s{i}"] = truth + rng.normal(0, 3 + 4 * k, (rows, 4))
    return sequences, results


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(6)), st.permutations(range(3)), st.sampled_from(sorted(PROTOCOLS)))
def test_order_of_sequences_and_trackers_changes_nothing(order, trackers, name):
    sequences, results = made_set(1)
    one = evaluate(sequences, results, name)
    other = evaluate([sequences[i] for i in order], {f"t{k}": results[f"t{k}"] for k in trackers}, name)
    for metric in ("success", "precision", "normalized_precision", "op50", "average_overlap", "got10k_ao"):
        expected = dict(zip(one.trackers, one.score(metric).tolist(), strict=True))
        assert dict(zip(other.trackers, other.score(metric).tolist(), strict=True)) == expected
        by, by_other = one.per_attribute(metric), other.per_attribute(metric)
        for a in by:
            assert sorted(by[a].tolist()) == sorted(by_other[a].tolist())
    assert [one.trackers[k] for k in one.ranking()] == [other.trackers[k] for k in other.ranking()]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_frame_appended_changes_only_its_own_sequence(name):
    sequences, results = made_set(2)
    before = evaluate(sequences, results, name)
    old = sequences[2]
    longer = Annotation(
        np.vstack([old.groundtruth, [[5, 5, 9, 9]]]), np.append(old.present, True), None, old.attributes
    )
    changed = [*sequences[:2], Sequence(old.name, longer), *sequences[3:]]
    own = {t: {**r, old.name: np.vstack([r[old.name], [[900, 900, 9, 9]]])} for t, r in results.items()}
    after = evaluate(changed, own, name)
    rest = np.arange(6) != 2
    for curve in CURVE_NAMES:
        assert np.array_equal(before.curve(curve)[:, rest], after.curve(curve)[:, rest])
    one, two = before.curve("success")[:, 2], after.curve("success")[:, 2]
    assert (two <= one).all() and (two != one).any()


@MANY
@given(
    hnp.arrays(np.float64, (2, 30), elements=st.one_of(NUMBERS, st.integers(-3, 60).map(lambda k: k * 0.05))),
    st.sampled_from(sorted(PROTOCOLS)),
    st.sampled_from(CURVE_NAMES),
)
def test_histograms_count_as_comparisons_do(values, name, curve):
    thresholds = PROTOCOLS[name].thresholds(curve)
    near = np.concatenate([thresholds, np.nextafter(thresholds, 9), np.nextafter(thresholds, -9)])
    values = np.concatenate([values, np.resize(near, (2, len(near)))], axis=1)
    with np.errstate(invalid="ignore"):
        above = (values[..., None] > thresholds).sum(1)
        reached = (values[..., None] >= thresholds).sum(1)
        within = (values[..., None] <= thresholds).sum(1)
    assert np.array_equal(count_above(values, thresholds), above)
    assert np.array_equal(count_above(values, thresholds, strict=False), reached)
    assert np.array_equal(count_within(values, thresholds), within)


def test_uneven_thresholds_are_counted_too():
    values = np.array([[0.05, 0.1, 0.7, np.nan, 3.0]])
    thresholds = np.array([0.0, 0.1, 0.6, 2.0])
    assert count_above(values, thresholds).tolist() == [[4, 2, 2, 1]]
    assert count_within(values, thresholds).tolist() == [[0, 2, 2, 3]]


def test_missing_and_short_results_are_named():
    sequences, results = made_set(4)
    del results["t1"]["s3"]
    results["t0"]["s0"] = results["t0"]["s0"][:-2]
    with pytest.raises(IncompleteError, match=r"t0/s0: \d+ rows for \d+ frames.*t1: no result for 1 of 6.*s3"):
        evaluate(sequences, results)
    scores = evaluate(sequences, results, allow_missing=True, allow_short=True)
    assert np.isnan(scores.curve("success")[1, 3]).all() and not np.isnan(scores.curve("success")[0]).any()
    for form in ("text", "markdown", "latex", "csv", "json"):
        text = scores.table("success", form)
        assert "no result for s3" in text.replace("\\", "") and "padded with the last box" in text


def test_a_negative_first_box_is_replaced_and_rounding_modes():
    truth = np.array([[10.0, 10, 20, 20]] * 4)
    sequence = Sequence("a", Annotation(truth))
    boxes = truth + 0.6
    exact = evaluate([sequence], {"t": {"a": boxes}})
    near = evaluate([sequence], {"t": {"a": boxes}}, rounding="nearest")
    down = evaluate([sequence], {"t": {"a": boxes}}, rounding="trunc")
    assert down.score()[0] == exact.reference()["ceiling"] > exact.score()[0] > near.score()[0]


def test_short_results_as_each_toolkit_takes_them():
    truth = np.tile([100.0, 100, 40, 40], (6, 1))
    sequence = Sequence("a", Annotation(truth))
    short = {"t": {"a": truth[:4]}}
    zeros = {"t": {"a": np.vstack([truth[:4], np.zeros((2, 4))])}}
    # pytracking repairs zero boxes before it pads, so its padding stays zero; a tracker's own zeros do not.
    padded = evaluate([sequence], short, "pytracking")
    assert padded.score("op50")[0] == pytest.approx(4 / 6) and "missing rows are zeros" in padded.table()
    assert evaluate([sequence], zeros, "pytracking").score("op50")[0] == 1.0
    assert evaluate([sequence], short, "got10k").score("op50")[0] == 1.0
    assert evaluate([sequence], short, "trackingnet").score("op50")[0] == pytest.approx(4 / 6)
    for name in ("tnllt", "pytracking-lasot", "stark-lasot", "pysot", "lorat"):
        with pytest.raises(IncompleteError, match="4 rows for 6 frames"):
            evaluate([sequence], short, name)
        assert evaluate([sequence], short, name, allow_short=True).score("op50")[0] == 1.0


@pytest.mark.parametrize(
    ("last", "name"),
    [
        ([np.nan, 50, 20, 20], "tnllt"),
        ([np.nan] * 4, "tnllt"),
        ([50, 50, 0, 0], "tnllt"),
        ([50, 50, 0, 0], "pytracking-lasot"),
    ],
)
def test_a_short_result_is_scored_as_if_its_last_box_had_been_written(last, name):
    truth = np.tile([50.0, 50, 20, 20], (10, 1))
    boxes = np.vstack([truth[:4] + np.array([3, 0, 0, 0]), [last]])
    written = np.vstack([boxes, [last] * 5])
    sequence = Sequence("a", Annotation(truth))
    padded = evaluate([sequence], {"t": {"a": boxes}}, name, allow_short=True)
    for metric in ("success", "precision", "normalized_precision"):
        assert padded.score(metric) == evaluate([sequence], {"t": {"a": written}}, name).score(metric)


@pytest.mark.parametrize("name", ["strict", "lorat"])
def test_a_sequence_without_a_frame_that_counts_is_not_scored(name):
    truth = np.tile([50.0, 50, 20, 20], (10, 1))
    gone = Sequence("gone", Annotation(truth, np.zeros(10, bool)))
    sequences = [Sequence("a", Annotation(truth)), gone]
    scores = evaluate(sequences, {"t": {s.name: s.groundtruth for s in sequences}}, name)
    assert scores.score().tolist() == [1.0] == [scores.reference()["ceiling"]]
    assert "gone: no frame that counts" in "\n".join(f"{n.sequence}: {n.text}" for n in scores.notes)


def test_rounding_is_said():
    sequence = Sequence("a", Annotation(np.tile([10.0, 10, 20, 20], (3, 1))))
    scores = evaluate([sequence], {"t": {"a": sequence.groundtruth}}, rounding="trunc")
    assert "--round trunc" in scores.table() and scores.select(["t"]).rounding == "trunc"
