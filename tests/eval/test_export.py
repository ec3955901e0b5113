"""What `save` writes, `load` reads again: every reduction is the same to the last bit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.eval.test_metrics import made
from tnllt.errors import DataError, UsageError
from tnllt.eval import METRICS, Scores, evaluate, get_protocol
from tnllt.eval import arrays as arrays_module
from tnllt.eval.intervals import all_intervals
from tnllt.eval.style import Style


def incomplete() -> Scores:
    sequences, results = made()
    del results["two"]["s3"]
    results["three"]["s1"].boxes[4] = np.nan
    return evaluate(sequences, results, "pytracking", allow_missing=True, rounding="nearest")


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"absent": "exclude"}, "`absent` cannot be 'exclude'; use 'removed', 'invalid', 'ignored', 'excluded'"),
        ({"abent": "excluded"}, "unknown field `abent`; did you mean 'absent'?"),
        ({"drop_zero_curves": "no"}, "`drop_zero_curves` must be true or false, not text"),
        ({"overlap_thresholds": (0.5, 0.1)}, "must be ascending"),
    ],
)
def test_rules_that_no_protocol_has_are_refused(rules, message) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        get_protocol("tnllt").with_rules(**rules)


def test_rules_may_be_numpys() -> None:
    changed = get_protocol("tnllt").with_rules(precision_at=np.float32(5), overlap_thresholds=np.array([0, 0.5]))
    assert changed == get_protocol("tnllt").with_rules(precision_at=5.0, overlap_thresholds=(0.0, 0.5))


def own_rules() -> Scores:
    rules = get_protocol("tnllt").with_rules(absent_error=np.inf, overlap_thresholds=(0.0, 0.1, 0.7), precision_at=5.0)
    return evaluate(*made(), rules)


def selected() -> Scores:
    return evaluate(*made()).select(["two", "one"], ["s5", "s1", "s2"])


@pytest.mark.parametrize("make", [lambda: evaluate(*made()), incomplete, own_rules, selected])
def test_the_way_there_and_back(make, tmp_path: Path) -> None:
    before = make()
    before.save(tmp_path)
    after = Scores.load(tmp_path)
    assert after.protocol == before.protocol and after.notes == before.notes and after.rounding == before.rounding
    assert (after.trackers, after.sequences, after.dataset) == (before.trackers, before.sequences, before.dataset)
    assert after.attributes.keys() == before.attributes.keys() and after.lengths.tolist() == before.lengths.tolist()
    assert np.array_equal(after.missing, before.missing) and np.array_equal(after.refused, before.refused)
    for metric in METRICS.values():
        for one, other in (
            (before.score(metric), after.score(metric)),
            (before.per_sequence(metric), after.per_sequence(metric)),
            (list(before.reference(metric).values()), list(after.reference(metric).values())),
            (list(before.per_attribute(metric).values()), list(after.per_attribute(metric).values())),
            (all_intervals(before, [metric])[metric.name].low, all_intervals(after, [metric])[metric.name].low),
        ):
            np.testing.assert_array_equal(one, other)
    for fmt in ("text", "json", "csv", "latex"):
        assert after.table("all", fmt) == before.table("all", fmt)
    assert [p.name for p in after.plot(tmp_path / "again", style=Style(formats=("svg",)))]
    again = after.save(tmp_path / "again")
    assert all((tmp_path / p.name).read_bytes() == p.read_bytes() for p in again)


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_what_is_not_saved_scores_is_refused(tmp_path: Path) -> None:
    evaluate(*made()).save(tmp_path)
    text, raw = (tmp_path / "scores.json").read_text(), (tmp_path / "curves.npz").read_bytes()
    with pytest.raises(DataError, match=r"nowhere.scores\.json: cannot be read"):
        Scores.load(tmp_path / "nowhere")

    def refused(match: str, **fields: object) -> None:
        change(tmp_path / "scores.json", **fields)
        with pytest.raises(DataError, match=match):
            Scores.load(tmp_path)
        (tmp_path / "scores.json").write_text(text)

    refused("update tnllt", schema="tnllt.scores/2")
    refused("`trackers` must be a list", trackers="one")
    refused("other trackers or sequences", trackers=["one", "two", "three", "four", "five"])
    refused("do not belong to the sequences", attributes={"A": [99]})
    refused("unknown field `colour`", protocol={"name": "x", "rules": {"colour": 1}})
    refused("`absent` cannot be 'never'", protocol={"name": "x", "rules": {"absent": "never"}})
    refused("no rules", protocol={"name": "x"})
    refused("overlap_thresholds must be ascending", protocol={"name": "x", "rules": {"overlap_thresholds": []}})
    refused("another shape", protocol={"name": "x", "rules": {"overlap_thresholds": [0.0, 0.5]}})

    arrays = arrays_module.unpack(raw)
    for name, array, match in (
        ("success", None, "no array 'success': it was saved by an earlier version"),
        ("missing", arrays["missing"][:2], "too few rows"),
        ("success", arrays["success"].astype(np.float32), "another shape or type"),
        ("longterm/0", np.zeros(3), "another shape or type"),
        ("refused", np.array(True), "too few rows"),
    ):
        rest = {n: a for n, a in arrays.items() if n != name} | ({} if array is None else {name: array})
        (tmp_path / "curves.npz").write_bytes(arrays_module.pack(rest))
        with pytest.raises(DataError, match=match):
            Scores.load(tmp_path)
    for damage in (b"", b"PK", raw[:-30], raw[: len(raw) // 2], raw.replace(b"'shape': (", b"'shape': (9"), raw[::-1]):
        (tmp_path / "curves.npz").write_bytes(damage)
        with pytest.raises(DataError, match=r"curves\.npz"):
            Scores.load(tmp_path)
    np.savez_compressed(tmp_path / "curves.npz", **arrays)
    with pytest.raises(DataError, match="compressed"):
        Scores.load(tmp_path)


def test_a_cache_entry_of_another_shape_is_missing(tmp_path: Path) -> None:
    from tnllt.eval.cache import ScoreCache
    from tnllt.eval.tracker_curves import TrackerCurves

    scores = evaluate(*made())
    own, protocol, cache = scores.tracker_curves[0], scores.protocol, ScoreCache(tmp_path)

    def kept(changed: TrackerCurves, count: int = 8) -> bool:
        cache.put("abc", changed)
        return cache.get("abc", "one", count, protocol) is not None

    def other(name: str, array: np.ndarray) -> TrackerCurves:
        return TrackerCurves(own.tracker, own.arrays | {name: array}, own.missing, own.refused)

    assert kept(own) and not kept(own, count=7)
    assert not kept(other("success", own.arrays["success"][:, :-1])) and not kept(
        other("got10k", np.zeros((8, 4), int))
    )
    assert not kept(other("average_overlap", np.zeros(8))) and not kept(other("longterm", np.zeros((7, 4))))
    assert not kept(TrackerCurves("one", own.arrays, own.missing[:5], own.refused))
    assert not kept(
        TrackerCurves("one", {n: a for n, a in own.arrays.items() if n != "got10k"}, own.missing, own.refused)
    )
