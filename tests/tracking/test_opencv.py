"""OpenCV's trackers through `tnllt-run`: on real clips, box for box what a plain OpenCV loop answers."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tracking.conftest import tnllt_run
from tnllt.boxes import overlap
from tnllt.datasets import ArrayFrames, open_dataset
from tnllt.errors import DataError, UsageError
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Sequence
from tnllt.tracking import run_sequence
from tnllt.tracking.opencv import MIL, NanoTrack, ViT
from tnllt.tracking.references import GroundTruth, StaticBox


def plain_loop(weights: Path, folder: Path, first: np.ndarray) -> np.ndarray:
    """What anyone would write with OpenCV alone."""
    parameters = cv2.TrackerNano_Params()
    parameters.backbone = str(weights / "nanotrack_backbone_sim.onnx")
    parameters.neckhead = str(weights / "nanotrack_head_sim.onnx")
    tracker = cv2.TrackerNano_create(parameters)
    images = [cv2.imread(str(path)) for path in sorted((folder / "img").glob("*.jpg"))]
    tracker.init(images[0], tuple(int(v) for v in first))
    return np.array([first, *(tracker.update(image)[1] for image in images[1:])], float)


def test_nanotrack_equals_a_plain_loop_on_five_real_clips(shared: Path, tmp_path: Path) -> None:
    clips, weights = shared / "data" / "otb", shared / "data" / "nanotrack"
    words = ("NanoTrack", "--dataset", clips, "--results", tmp_path, "--set", f"weights={weights}")
    done = tnllt_run(*words, "--workers", 2)
    assert done.returncode == 0, done.stderr
    store, overlaps = ResultStore(tmp_path), {}
    for sequence in open_dataset(clips):
        boxes = store.read("NanoTrack", sequence.name).boxes
        plain = plain_loop(weights, clips / sequence.name, sequence.groundtruth[0])[: len(sequence)]
        assert (boxes == plain).all(), sequence.name
        overlaps[sequence.name] = overlap(boxes, sequence.groundtruth).mean()
    assert len(overlaps) == 5
    assert overlaps["Crossing"] >= 0.75 and overlaps["Man"] >= 0.79 and overlaps["Couple"] >= 0.67


@pytest.fixture
def moving(tmp_path: Path) -> Sequence:
    """A checkered square that moves over a soft ground."""
    from tnllt.tracking.check import BORDER, write_sequences

    write_sequences(tmp_path / "made")
    sequence = open_dataset("tnllt", tmp_path / "made", split=None)[BORDER]
    return Sequence("moving", Annotation(sequence.groundtruth[:12]), ArrayFrames(list(sequence)[:12]), "made")


def test_mil_is_repeatable_and_its_seed_matters(moving: Sequence) -> None:
    tracker = MIL()
    first, again, fresh = (run_sequence(t, moving).boxes for t in (tracker, tracker, MIL()))
    assert (first == again).all() and (first == fresh).all()
    assert overlap(first, moving.groundtruth).mean() > 0.4
    others = [run_sequence(tracker, moving, seed=seed).boxes for seed in (1, 2, 3)]
    assert any((other != first).any() for other in others)


def test_floor_and_ceiling(moving: Sequence) -> None:
    assert (run_sequence(StaticBox(), moving).boxes == moving.groundtruth[0]).all()
    truth = run_sequence(GroundTruth(), moving)
    assert (truth.boxes == moving.groundtruth).all() and truth.confidence is not None
    gaps = moving.groundtruth.copy()
    gaps[3:5], gaps[7] = np.nan, np.nan
    present = np.isfinite(gaps).all(axis=1)
    kept = run_sequence(GroundTruth(), Sequence("gaps", Annotation(gaps, present), moving.frames))
    assert (kept.boxes[3:5] == gaps[2]).all() and kept.absent is not None and (kept.absent == ~present).all()


def test_weights_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TNLLT_NANOTRACK", raising=False)
    monkeypatch.delenv("TNLLT_VITTRACK", raising=False)
    with pytest.raises(UsageError, match="--set weights=PATH or TNLLT_NANOTRACK"):
        NanoTrack()
    with pytest.raises(UsageError, match="no weights of ViT there"):
        ViT(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"one file \*backbone\*.onnx is needed, found none"):
        NanoTrack(tmp_path)
    assert "found none" in NanoTrack.missing(tmp_path) and "ViT needs weights" in ViT.missing()
    for name in ("a_backbone.onnx", "a_head.onnx", "vit.onnx"):
        (tmp_path / name).write_bytes(b"this is no network")
    assert NanoTrack.missing(tmp_path) == "" == ViT.missing(tmp_path / "vit.onnx")
    for load in (lambda: NanoTrack(tmp_path), lambda: ViT(tmp_path / "vit.onnx")):
        with pytest.raises(DataError, match="cannot load these weights"):
            load()


def test_weights_by_environment(shared: Path, monkeypatch: pytest.MonkeyPatch, moving: Sequence) -> None:
    monkeypatch.setenv("TNLLT_NANOTRACK", str(shared / "data" / "nanotrack"))
    answer = run_sequence(NanoTrack(), moving)
    assert answer.confidence is not None and np.isnan(answer.confidence[0]) and answer.confidence[1] > 0
    assert set(answer.record["info"]["weights"]) == {"nanotrack_backbone_sim.onnx", "nanotrack_head_sim.onnx"}
