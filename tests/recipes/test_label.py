"""Clips that a teacher labels: kept where it returns, right to the pixel, readable as a dataset."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("torch")

from label import LabelOptions, label, label_video, write_clip

from tnllt import open_dataset
from tnllt.boxes import overlap
from tnllt.errors import DataError
from tnllt.sequence import Image
from tnllt.tracking.tracker import Prediction, Tracker

SIZE = np.array([30, 60])


def scene(frames: int = 90) -> tuple[list[Image], np.ndarray]:
    """A red upright bar that walks over a grey still background from frame 20 on; its boxes."""
    ground = np.random.default_rng(0).integers(90, 110, (200, 320, 3), np.uint8)
    pictures, boxes = [], []
    for i in range(frames):
        x, y = (40 + 2 * (i - 20), 70) if i >= 20 else (-100, 70)
        picture = ground.copy()
        if x > 0:
            picture[y : y + 60, x : x + 30] = (200, 30, 30)
        pictures.append(picture)
        boxes.append([x, y, 30, 60])
    return pictures, np.array(boxes, float)


class RedTeacher(Tracker):
    """Finds the red bar. `lost` frames after its start it lets go, in one direction of time only."""

    def __init__(self, lost: int | None = None) -> None:
        self.lost, self.count = lost, 0

    def initialize(self, image: Image, box: object, language: str | None) -> None:
        self.count = 0

    def track(self, image: Image) -> Prediction:
        self.count += 1
        if self.lost is not None and self.count > self.lost:
            return Prediction(np.array([5.0, 5.0, 30.0, 60.0]))
        rows, columns = np.nonzero(image[..., 0].astype(int) - image[..., 1] > 80)
        box = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
        return Prediction(np.array(box, float), confidence=0.9)


def test_moving_things_are_found_and_tracked() -> None:
    frames, truth = scene()
    clips = list(label_video(frames, RedTeacher(), LabelOptions(clips=5, frames=(20, 30)), lambda line: None))
    assert len(clips) == 5
    for first, boxes in clips:
        assert 20 <= len(boxes) <= 30
        assert np.asarray(overlap(boxes[1:], truth[first + 1 : first + len(boxes)])).min() > 0.9
        assert float(np.asarray(overlap(boxes[:1], truth[first : first + 1]))[0]) > 0.5


def test_a_teacher_that_does_not_return_teaches_nothing() -> None:
    frames, _ = scene()
    said: list[str] = []
    assert list(label_video(frames, RedTeacher(lost=10), LabelOptions(clips=5, frames=(20, 30)), said.append)) == []
    assert said == ["0 clips of 20 regions tried"]


def test_an_unsure_teacher_teaches_nothing() -> None:
    frames, _ = scene()
    options = LabelOptions(clips=3, frames=(20, 30), confidence=0.95)
    assert list(label_video(frames, RedTeacher(), options, lambda line: None)) == []


def test_short_video_is_refused() -> None:
    with pytest.raises(DataError, match="10 frames"):
        next(label_video(scene(10)[0], RedTeacher(), LabelOptions()))


def test_a_written_clip_reads_as_a_sequence(tmp_path: Path) -> None:
    frames, truth = scene()
    write_clip(tmp_path / "a", frames[30:40], truth[30:40])
    write_clip(tmp_path / "b", frames[40:50], truth[40:50])
    sequences = open_dataset(tmp_path, split=None)
    assert [len(s) for s in sequences] == [10, 10]
    for sequence in sequences:
        for frame, (x, y, w, h) in zip(sequence.frames, sequence.groundtruth, strict=True):
            red = frame[..., 0].astype(int) - frame[..., 1] > 80
            rows, columns = np.nonzero(red)
            seen = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert np.allclose(seen, [x, y, w, h], atol=2)


def test_command_labels_a_video(tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 200))
    for frame in scene()[0]:
        video.write(np.ascontiguousarray(frame[:, :, ::-1]))
    video.release()
    command = [str(tmp_path / "walk.avi"), "--out", str(tmp_path / "clips"), "--teacher", f"{__file__}:RedTeacher"]
    done = CliRunner().invoke(label, [*command, "--clips", "2"])
    assert done.exit_code == 0, done.output
    written = len(open_dataset(tmp_path / "clips", split=None))
    assert written >= 1
    assert f"walk.avi: {written} clips of" in done.output
