"""What scoring, its cache and its pictures say where something is wrong."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tnllt import video as video_write
from tnllt.cli.eval import cli
from tnllt.datasets.frames import ArrayFrames, VideoFrames
from tnllt.errors import DataError, IncompleteError, TnlltError, UsageError
from tnllt.eval import cache as cache_module
from tnllt.eval.cache import ScoreCache
from tnllt.eval.compare import compare
from tnllt.eval.evaluate import evaluate
from tnllt.eval.protocols import TNLLT
from tnllt.eval.tracker_curves import TrackerCurves
from tnllt.eval.view.pictures import render
from tnllt.eval.view.scene import Scene
from tnllt.eval.view.server import JpegFrames, SeekingVideo
from tnllt.sequence import Annotation, Sequence

TRUTH = np.tile(np.array([[10.0, 20, 30, 40]]), (6, 1))


def sequence(name: str = "s", frames: bool = False) -> Sequence:
    pictures = ArrayFrames([np.full((64, 96, 3), 9 * i, np.uint8) for i in range(len(TRUTH))])
    return Sequence(name, Annotation(TRUTH), pictures if frames else None)


# --- scoring ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_scored() -> None:
    with pytest.raises(DataError, match="no sequence to score"):
        evaluate([], {"T": {}})
    with pytest.raises(DataError, match="no tracker to score"):
        evaluate([sequence()], {})
    with pytest.raises(DataError, match="two sequences have the name 's'"):
        evaluate([sequence(), sequence()], {"T": {"s": TRUTH}})
    with pytest.raises(IncompleteError, match=r"T: no result for 1 of 2 sequences \(t\)"):
        evaluate([sequence(), sequence("t")], {"T": {"s": TRUTH}})
    with pytest.raises(IncompleteError, match=r"T: no result for any of the 1 sequences"):
        evaluate([sequence()], {"T": {"x": TRUTH}}, allow_missing=True)


def test_scores_answer_questions_and_refuse_wrong_ones(tmp_path: Path) -> None:
    scores = evaluate(
        [sequence(), sequence("t")], {"T": {"s": TRUTH}, "U": {"s": TRUTH + 3, "t": TRUTH}}, allow_missing=True
    )
    assert scores.curve("precision").shape == (2, 2, len(scores.protocol.thresholds("precision")))
    assert scores.curve("normalized_precision").shape[:2] == (2, 2) and scores.missing.tolist() == [
        [False, True],
        [False, False],
    ]
    with pytest.raises(UsageError, match="no metric 'x'; known: success"):
        scores.score("x")
    with pytest.raises(UsageError, match="no tracker 'V' among the results; there are: T, U"):
        compare(scores, "T", "V")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file.scores.json: cannot be written"):
        scores.save(tmp_path / "file")


# --- the cache --------------------------------------------------------------------------------------------------------


def one_tracker() -> TrackerCurves:
    return evaluate([sequence()], {"T": {"s": TRUTH + 1}}).tracker_curves[0]


def get(cache: ScoreCache, key: str) -> TrackerCurves | None:
    return cache.get(key, "U", 1, TNLLT)


def test_a_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ScoreCache(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    monkeypatch.setattr(Path, "replace", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "full")))
    kept.put("abc", one_tracker())
    assert get(kept, "abc") is None and not list((tmp_path / "ab").iterdir())


def test_a_cache_forgets_what_is_old_or_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ScoreCache(tmp_path)
    for key in ("aa1", "bb2", "cc3"):
        kept.put(key, one_tracker())
    found = get(kept, "bb2")
    assert found is not None and found.tracker == "U" and found.arrays["success"].shape[0] == 1
    long_ago = time.time() - 40 * 86400
    os.utime(tmp_path / "aa" / "aa1.npz", (long_ago, long_ago))
    kept.prune()
    assert get(kept, "aa1") is None and get(kept, "bb2") is not None
    os.utime(tmp_path / "bb" / "bb2.npz", (time.time() - 9, time.time() - 9))
    size = (tmp_path / "cc" / "cc3.npz").stat().st_size
    monkeypatch.setattr(cache_module, "_MOST_BYTES", size)
    kept.prune()
    assert get(kept, "bb2") is None and get(kept, "cc3") is not None


# --- looking at results -----------------------------------------------------------------------------------------------


def test_a_scene_without_frames_or_trackers() -> None:
    scene = Scene(sequence(), {})
    assert scene.size() == (64, 80)  # as far as its boxes reach, and a margin
    assert scene.overlaps == {} and scene.absences() == []
    with pytest.raises(TnlltError, match="no frames here"):
        render(scene, Path("x.gif"), range(3))


def fake_ffmpeg(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `ffmpeg` that does as the script says; the last argument is the file it should write."""
    folder.mkdir()
    tool = folder / "ffmpeg"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(video_write, "_h264", lambda: str(tool))


def test_mp4_by_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path / "bin", 'for last; do :; done; cat > "$last"', monkeypatch)
    render(Scene(sequence(frames=True), {}), tmp_path / "x.mp4", range(len(TRUTH)), fps=5)
    size = (tmp_path / "x.mp4").stat().st_size
    assert size % len(TRUTH) == 0 and size >= len(TRUTH) * 64 * 96 * 3  # raw pictures, whole, one after the other


def test_h264_of_an_odd_size(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    render(Scene(sequence(frames=True), {}), tmp_path / "x.mp4", range(len(TRUTH)), fps=5, width=95)
    assert b"avc1" in (tmp_path / "x.mp4").read_bytes()
    video = VideoFrames(tmp_path / "x.mp4")
    assert len(video) == len(TRUTH)
    assert not video[0].shape[0] % 2 and video[0].shape[1] == 94  # H.264 in 4:2:0 knows even sizes only


def test_an_ffmpeg_that_fails_is_said_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ffmpeg(tmp_path / "bin", "echo unknown encoder >&2; exit 1", monkeypatch)
    with pytest.raises(DataError, match="ffmpeg failed: unknown encoder"):
        render(Scene(sequence(frames=True), {}), tmp_path / "x.mp4", range(len(TRUTH)))
    assert [p.name for p in tmp_path.iterdir()] == ["bin"]


def test_pictures_are_kept_within_their_room(tmp_path: Path) -> None:
    frames = ArrayFrames([np.random.default_rng(i).integers(0, 255, (32, 32, 3)).astype(np.uint8) for i in range(70)])
    pictures = JpegFrames(frames)
    first = pictures.jpeg(0)
    assert pictures.jpeg(0) == first and all(pictures.jpeg(i) != first for i in range(1, 70))
    assert pictures._encoded.cache_info().currsize == 64

    class Gone(ArrayFrames):
        def path(self, index: int) -> Path:
            return tmp_path / f"{index}.jpg"

    with pytest.raises(DataError, match=r"0\.jpg: frame cannot be read"):
        JpegFrames(Gone([np.zeros((2, 2, 3), np.uint8)])).jpeg(0)


def test_a_video_that_cannot_be_sought_is_read_from_the_start(tmp_path: Path) -> None:
    seeking = SeekingVideo(VideoFrames(tmp_path / "none.avi"))
    with pytest.raises(DataError, match=r"none\.avi: video cannot be opened"):
        seeking[0]


def test_commands_say_what_they_miss(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["--max-drop", "0.1", "--annos", str(tmp_path)])
    assert isinstance(result.exception, UsageError) and "--max-drop needs --baseline" in str(result.exception)
