"""The report's file: its numbers are the scores', its size is bounded, overlaps are packed within half a level."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tnllt
from tests.report.conftest import arguments, held
from tnllt.cli.eval import cli
from tnllt.config import LocationConfig
from tnllt.errors import DataError
from tnllt.eval import evaluate
from tnllt.eval.compare import compare
from tnllt.eval.figures import curve_panel
from tnllt.eval.intervals import all_intervals
from tnllt.eval.metrics import METRICS
from tnllt.eval.report import check_size, report_details, write_report
from tnllt.eval.report.build import PAIRED, page_data
from tnllt.eval.report.details import PageDetails
from tnllt.eval.report.overlaps import (
    FEWEST_POINTS,
    LEVELS,
    NOTHING,
    Packed,
    encoded,
    first_strides,
    pack,
    stride_for,
)
from tnllt.eval.report.templating import embed
from tnllt.eval.report.thumbnails import worst_frames
from tnllt.eval.style import Style
from tnllt.eval.view.scene import open_scene
from tnllt.results.layouts import ResultFile
from tnllt.sequence import Annotation, Sequence, Trajectory


def embedded(path: Path, key: str) -> dict:
    page = path.read_text("utf-8")
    start = page.index(f'<script type="application/json" id="{key}">') + len(
        f'<script type="application/json" id="{key}">'
    )
    return json.loads(page[start : page.index("</script>", start)])


@pytest.fixture(scope="module")
def made(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    for command in (["report"], ["--no-plots"]):
        given = [*command, *arguments(release), "--out", str(out)]
        result = CliRunner().invoke(cli, given, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return out


def test_the_embedded_scores_are_scores_json(made: Path) -> None:
    assert embedded(made / "report.html", "scores") == json.loads((made / "scores.json").read_text("utf-8"))


def test_what_the_page_shows_is_scores_json(made: Path) -> None:
    scores, data = (embedded(made / "report.html", key) for key in ("scores", "data"))
    trackers = [t["name"] for t in data["trackers"]]
    assert trackers == scores["trackers"]
    for metric in (m["key"] for m in data["metrics"]):
        for k, tracker in enumerate(trackers):
            assert data["table"][metric]["score"][0][k] == scores["scores"][tracker][metric]
            assert data["table"][metric]["interval"][0][k] == scores["intervals"]["trackers"][tracker][metric]
            assert list(scores["per_sequence"][tracker][metric]) == scores["sequences"]  # the page reads them there
        assert data["table"][metric]["ceiling"][0] == scores["references"]["ceiling"][metric]
        assert data["table"][metric]["floor"][0] == scores["references"]["floor"][metric]
    for place, own in enumerate(data["sets"][1:], 1):
        for k, tracker in enumerate(trackers):
            assert (
                data["table"]["success"]["score"][place][k] == scores["per_attribute"][tracker]["success"][own["key"]]
            )


def test_answers_carry_their_thoughts(made: Path) -> None:
    data = embedded(made / "report.html", "data")
    for sequence in data["sequences"]:
        assert sequence["absent"] == [[19, 27]]
        assert [(c["frame"], c["think"]) for c in sequence["answers"]] == [
            (30, "It came back brighter than it went.")
        ] * 4


@pytest.mark.slow
def test_a_benchmark_fits_into_eight_megabytes(tmp_path: Path) -> None:
    """21 trackers, 50 sequences of 2,400 frames: 2.5 million overlaps that wander as real ones do."""
    rng = np.random.default_rng(0)
    sequences, results = [], {f"tracker {k}": {} for k in range(21)}
    for s in range(50):
        length = int(rng.integers(1800, 3000))
        truth = np.c_[200 + np.cumsum(rng.normal(0, 1, (length, 2)), 0), np.full((length, 2), 60.0)]
        flags = {f"A{i}": bool(rng.random() < 0.5) for i in range(15)}
        sequences.append(Sequence(f"s{s}", Annotation(np.abs(truth) + 1, None, "a sentence", flags), dataset="made"))
        for k, own in enumerate(results.values()):
            boxes = (
                truth
                + np.cumsum(rng.normal(0, 0.2 + k / 20, truth.shape), 0) * [1, 1, 0, 0]
                + rng.normal(0, 1, truth.shape)
            )
            own[f"s{s}"] = Trajectory(boxes.round(2))
    scores = evaluate(sequences, results)
    path = write_report(scores, tmp_path, held(sequences, results))
    assert path.stat().st_size < 8_000_000
    index = embedded(path, "data")["overlaps"]["index"]
    assert all(entry["stride"] == 1 for entry in index), "detail was lost although there was room"
    small = write_report(scores, tmp_path / "small", held(sequences, results), max_bytes=2_000_000)
    assert small.stat().st_size < 2_000_000
    assert max(entry["stride"] for entry in embedded(small, "data")["overlaps"]["index"]) > 1
    with pytest.raises(DataError, match="max-size"):
        write_report(scores, tmp_path / "tiny", held(sequences, results), max_bytes=500_000)
    assert not (tmp_path / "tiny").exists()


def unpack(packed: Packed, trackers: int) -> list[np.ndarray]:
    """The arrays (K, points) again, as the page reads them."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(packed.data)), np.uint8)
    found = []
    for entry in packed.index:
        size = trackers * entry["points"]
        differences = raw[entry["start"] : entry["start"] + size].reshape(trackers, entry["points"])
        codes = np.cumsum(differences, axis=1, dtype=np.uint8)
        found.append(np.where(codes == NOTHING, np.nan, codes / LEVELS))
    return found


def test_packed_overlaps_come_back() -> None:
    rng = np.random.default_rng(1)
    series = [np.where(rng.random((3, n)) < 0.1, np.nan, rng.random((3, n))) for n in (1, 17, 500)]
    codes = [encoded(values) for values in series]
    back = unpack(pack(codes, 10**9), 3)
    for one, two in zip(series, back, strict=True):
        assert np.array_equal(np.isnan(one), np.isnan(two))
        assert np.nanmax(np.abs(one - two), initial=0) <= 0.5 / LEVELS + 1e-12
    thin = pack(codes, 900)
    assert len(thin.data) < len(pack(codes, 10**9).data)
    halves = unpack(thin, 3)[2]
    stride = thin.index[2]["stride"]
    assert stride > 1
    for k in range(3):
        for i in range(5):
            assert halves[k, i] == pytest.approx(np.nanmean(series[2][k, i * stride : (i + 1) * stride]), abs=0.0041)


def test_embedding_leaves_no_way_out() -> None:
    nasty = ["</script>", "<!--", "\u2028\u2029", "\ud800", "&amp;", "]]>"]
    text = embed(nasty)
    assert json.loads(text) == nasty
    assert not set("<>&\u2028\u2029") & set(text)
    text.encode("ascii")


def test_worst_frames_are_spread_and_measured() -> None:
    overlaps = np.full((2, 40), 0.9)
    overlaps[:, [3, 15, 27]] = 0.1
    overlaps[:, 30:] = np.nan
    assert worst_frames(overlaps, 4) == [3, 15, 27]


def test_numbers_that_are_none_stay_none(tmp_path: Path) -> None:
    """A missing result and a single sequence: no interval, no crash, said in the page."""
    sequences = [Sequence("only", Annotation(np.full((5, 4), 10.0)))]
    scores = evaluate(sequences, {"one": {"only": np.full((5, 4), 10.0)}})
    results = {"one": {"only": Trajectory(np.full((5, 4), 10.0))}}
    details = report_details(held(sequences, results))
    data = page_data(scores, details, all_intervals(scores, scores.metrics("all")))
    assert np.isnan(data["table"]["success"]["interval"][0]).all()
    assert [codes.tolist() for codes in details.series] == [[[LEVELS] * 5]]
    assert write_report(scores, tmp_path, held(sequences, results)).is_file()


def test_runs_without_confidence_beside_results_with_it(tmp_path: Path) -> None:
    """Long-term scores of such runs are n/a: null in the file."""
    rng = np.random.default_rng(0)
    sequences = [Sequence(f"s{i}", Annotation(np.full((8, 4), 10.0 + i))) for i in range(4)]
    results: dict[str, dict[str, Trajectory]] = {}
    for tracker in ("A_001", "A_002", "B"):
        confidence = rng.random(8) if tracker == "B" else None
        results[tracker] = {
            s.name: Trajectory(s.groundtruth + rng.normal(0, 1, (8, 4)), confidence=confidence) for s in sequences
        }
    scores = evaluate(sequences, results)
    path = write_report(scores, tmp_path, held(sequences, results))
    data = embedded(path, "data")
    assert data["table"]["lt_f"]["score"][0][:2] == [None, None] and data["table"]["lt_f"]["score"][0][2] > 0
    assert data["runs"]["lt_f"] == [] and data["runs"]["success"][0]["name"] == "A"


@pytest.mark.parametrize("value", [float("nan"), np.nan, np.float32("nan"), np.array([1.0, np.nan])])
def test_embedding_takes_nan_anywhere(value: object) -> None:
    shown = json.loads(embed({"a": [value], "b": {"c": value}}), parse_constant=pytest.fail)
    assert shown["a"][0] in (None, [1.0, None]) and shown["b"]["c"] == shown["a"][0]
    assert json.loads(embed([float("inf"), -np.inf])) == ["Infinity", "-Infinity"]


def test_a_report_that_cannot_fit_is_refused_before_anything_is_read(release: Path, tmp_path: Path) -> None:
    scores = tnllt.score("tnllt", root=release / "data", results=release / "results")

    def read() -> bytes:
        raise AssertionError("a result was read")

    chosen = held([], {"one": {}})
    chosen.files["one"]["s0"] = ResultFile("one", "s0", "memory", read)
    with pytest.raises(DataError, match=r"at least .* MB, more than the 0\.0001 asked for"):
        write_report(scores, tmp_path, chosen, max_bytes=100)
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataError, match=r"takes at least 0\.7 MB, more than the 0\.6 asked for"):  # it takes .612
        check_size(51, 3_000, 1, 600_000)


def test_many_trackers_are_bounded(tmp_path: Path) -> None:
    """Pairs are tested among the best; strides leave a bounded number of points before anything is measured."""
    rng = np.random.default_rng(1)
    sequences = [Sequence(f"s{i}", Annotation(np.full((120, 4), 30.0))) for i in range(3)]
    results = {
        f"t{k:02}": {s.name: Trajectory(s.groundtruth + rng.normal(0, 1 + k / 9, (120, 4))) for s in sequences}
        for k in range(PAIRED + 3)
    }
    scores = evaluate(sequences, results)
    details = PageDetails(held(sequences, results), (PAIRED + 3) * 64 * 3)
    data = page_data(scores, details, all_intervals(scores, scores.metrics("all")))
    assert [s.shape for s in details.series] == [(PAIRED + 3, 60)] * 3 and details.strides == [2, 2, 2]
    assert len(data["pairs"]["success"]) == PAIRED * (PAIRED - 1) // 2 and data["paired"] == PAIRED
    worst = scores.ranking("success")[-1]
    assert not any(str(worst) in key.split("-") for key in data["pairs"]["success"])
    best = scores.ranking("success")[:2]
    alone = compare(scores, *(scores.trackers[k] for k in best))[0]
    pair = data["pairs"]["success"][f"{min(best)}-{max(best)}"]
    assert abs(pair["difference"]) == pytest.approx(alone.difference) and pair["p"] == pytest.approx(alone.p_value)


def test_strides_bound_the_points() -> None:
    lengths = [100, 1_000, 2_400, 64, 1]
    for points in (10**9, 50_000, 10_000, 1):
        strides = first_strides(lengths, 10, points)
        kept = [-(-n // s) for n, s in zip(lengths, strides, strict=True)]
        assert 10 * sum(kept) <= points or max(kept) <= FEWEST_POINTS
        assert all(s & (s - 1) == 0 for s in strides)
    assert first_strides(lengths, 10, 10**9) == [1] * 5 and stride_for(1000, 64) == 16 and stride_for(64, 64) == 1


def test_a_tracker_keeps_its_colour_in_report_figures_viewer_and_video(made: Path, release: Path) -> None:
    data = embedded(made / "report.html", "data")
    shown = {t["name"]: t["colour"] for t in data["trackers"]}
    assert len(set(shown.values())) == len(shown) == 4
    place = {"root": release / "data", "results": release / "results"}
    one = tnllt.score("tnllt", **place, trackers="SiamFC")
    panel = curve_panel(one, METRICS["precision"], Style())
    assert [look.colour for look in panel.looks] == [shown["SiamFC"]]
    scene = open_scene(LocationConfig("tnllt", **place).locate(), one.sequences[0], "SiamFC")
    assert scene.looks["SiamFC"].colour == shown["SiamFC"]
    assert scene.to_page()["trackers"][0]["colour"] == scene.looks["SiamFC"].bright
