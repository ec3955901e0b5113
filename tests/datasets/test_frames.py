"""Decoding, reading ahead, and the view for torch."""

from __future__ import annotations

import gc
import pickle
import time
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from trees import SIZE, number_of, picture, rows, tnllt_sequence, write, write_images

from tnllt import TNLLTDataset, open_dataset
from tnllt.datasets import ArrayFrames, ImageFrames, VideoFrames, prefetch
from tnllt.errors import DataError, DataWarning


def test_paths_outside_ascii(tmp_path: Path):
    write_images(tmp_path / "跟踪 é" / "imgs", range(1, 3))
    write(tmp_path / "跟踪 é" / "groundtruth.txt", *rows(2))
    (sequence,) = TNLLTDataset(tmp_path, split=None)
    assert sequence.name == "跟踪 é" and number_of(sequence.frames[1]) == 2


def test_gray_and_sixteen_bit_images_become_rgb_uint8(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "1.png"), np.full(SIZE, 77, np.uint8))
    cv2.imwrite(str(tmp_path / "2.png"), np.full(SIZE, 77 * 257, np.uint16))
    for frame in ImageFrames(tmp_path):
        assert frame.shape == (*SIZE, 3) and frame.dtype == np.uint8 and (frame == 77).all()


def test_a_broken_frame_is_named(tmp_path: Path):
    tnllt_sequence(tmp_path / "a", 3)
    (tmp_path / "a" / "imgs" / "00002.png").write_bytes(b"")
    frames = TNLLTDataset(tmp_path, split=None)["a"].frames
    assert number_of(frames[2]) == 3
    with pytest.raises(DataError, match=r"00002\.png: frame cannot be decoded"):
        frames[1]


def test_previews_are_never_frames(tmp_path: Path):
    write_images(tmp_path / "a" / "imgs", range(1, 3))
    write_images(tmp_path / "a" / "imgs", range(1), "firstFrame_bbox%d.jpg")
    write(tmp_path / "a" / "groundtruth.txt", *rows(2))
    write_images(tmp_path / "b", range(1, 2), "%d.jpg")  # one picture beside the boxes is a preview too
    write(tmp_path / "b" / "groundtruth.txt", *rows(9))
    a, b = TNLLTDataset(tmp_path, split=None)
    assert [number_of(frame) for frame in a] == [1, 2] and not b.has_frames


def test_boxes_that_end_before_the_frames(tmp_path: Path):
    write_images(tmp_path / "a" / "imgs", range(1, 6))
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    sequence = TNLLTDataset(tmp_path, split=None)["a"]
    with pytest.warns(DataWarning, match="5 frames but 3 boxes; the sequence is its 3 annotated frames"):
        assert len(sequence.frames) == 3
    with pytest.raises(DataError, match="has 3 frames; there is no frame 3"):
        sequence.frames[3]


def test_frames_that_end_before_the_boxes(tmp_path: Path):
    write_images(tmp_path / "a" / "imgs", range(1, 3))
    write(tmp_path / "a" / "groundtruth.txt", *rows(5))
    sequence = TNLLTDataset(tmp_path, split=None)["a"]
    with pytest.warns(DataWarning, match="5 boxes but only 2 frames"):
        assert len(sequence.frames) == 2
    assert len(sequence) == 5
    with pytest.raises(DataError):
        list(prefetch(sequence))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE[::-1])
    for number in range(1, 21):
        writer.write(picture(number)[..., ::-1])
    writer.release()
    return path


def test_video_file_with_a_box_file(video: Path):
    write(video.with_suffix(".txt"), *rows(20))
    (sequence,) = open_dataset(video)
    assert sequence.name == "clip" and len(sequence) == len(sequence.frames) == 20
    assert [number_of(sequence.frames[i]) for i in (0, 3, 1, 19, 18, -20)] == [1, 4, 2, 20, 19, 1]
    assert [number_of(image) for image in prefetch(sequence, workers=4)] == list(range(1, 21))
    copy = pickle.loads(pickle.dumps(sequence))
    assert number_of(copy.frames[7]) == 8
    boxes = write(video.parent / "other.txt", *rows(20, first=5))
    assert open_dataset(video, annos=boxes)[0].groundtruth[0, 0] == 5


def test_video_without_boxes(video: Path):
    with pytest.raises(DataError, match=r"no box file for it: give --annos FILE, or put clip\.txt beside"):
        open_dataset(video)


def test_a_folder_of_videos(video: Path):
    write(video.with_suffix(".txt"), *rows(20))
    (sequence,) = open_dataset(video.parent)
    assert isinstance(sequence.frames, VideoFrames) and number_of(sequence.frames[4]) == 5


class Counting:
    """Frames that know how many of them are alive."""

    def __init__(self, length: int, slow: float = 0.0, broken: int = -1) -> None:
        self.length, self.slow, self.broken = length, slow, broken
        self.alive = self.most = self.decoded = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> np.ndarray:
        self.alive += 1
        self.most = max(self.most, self.alive)
        self.decoded += 1
        if index == self.broken:
            raise DataError("broken", f"{index}.jpg")
        time.sleep(self.slow)
        image = np.full((2, 2, 3), index % 256, np.uint8)
        weakref.finalize(image, self._gone)
        return image

    def _gone(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize("ahead", [1, 2, 5])
@pytest.mark.parametrize("workers", [1, 3])
def test_prefetch_holds_no_more_than_its_bound(ahead: int, workers: int):
    frames = Counting(60)
    seen = []
    for image in prefetch(frames, ahead=ahead, workers=workers):
        time.sleep(0.001)
        seen.append(int(image[0, 0, 0]))
    assert seen == list(range(60))
    # One more than the bound where nothing is read ahead: the old frame goes when the new one is bound to the name.
    assert frames.most <= max(ahead, 2)


def test_prefetch_decodes_while_the_caller_works():
    frames = Counting(20)
    reading = prefetch(frames, ahead=4)
    next(reading)
    deadline = time.monotonic() + 10
    while frames.decoded < 3 and time.monotonic() < deadline:
        time.sleep(0.001)  # the caller's work
    assert frames.decoded == 3, "three are ready or under way while one is in hand"


def test_prefetch_raises_at_the_broken_frame():
    seen = 0
    with pytest.raises(DataError, match=r"7\.jpg: broken"):
        for _ in prefetch(Counting(20, broken=7), ahead=4):
            seen += 1
    assert seen == 7


def test_prefetch_stops_when_closed():
    frames = Counting(1000)
    reading = prefetch(frames, ahead=4)
    next(reading)
    reading.close()
    gc.collect()
    decoded = frames.decoded
    time.sleep(0.05)
    assert frames.decoded == decoded <= 4 and frames.alive == 0


def test_prefetch_of_a_part():
    assert [int(i[0, 0, 0]) for i in prefetch(Counting(10), 2, 5)] == [2, 3, 4]
    assert len(list(prefetch(ArrayFrames(np.zeros((3, 4, 4, 3), np.uint8))))) == 3
