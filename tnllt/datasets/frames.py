"""Images of a sequence, decoded when asked for and never before: image folders, video files, arrays.

And image files as files: their size from the header, and whether they are whole.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.datasets.headers import PNG, oriented_size, png_chunks, refusal
from tnllt.errors import DataError, DataWarning
from tnllt.files import read_bytes
from tnllt.sequence import Frames, Image, Sequence

#: Called with what is done and what there is in all, in frames, images or bytes.
OnProgress = Callable[[int, int], None]


IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"})
VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg"})
#: Images with the box drawn into them, which some releases put beside the frames: never a tracker's input.
PREVIEWS = ("firstframe_bbox*", "*_bbox.*", "*preview*", "*thumb*")
_DIGITS = re.compile(r"([0-9]+)")


def read_image(path: str | Path, flags: int | None = None) -> Image:
    """Decodes one image file as RGB uint8 (H, W, 3); any path works, non-ASCII ones too.

    Args:
        flags: OpenCV's, for an image as `cv2.imdecode` gives it; None: RGB.

    Raises DataError that names the file where it is not there, empty, or no image.
    """
    data = read_bytes(path)
    image = decode(data, flags)
    if image is None:
        remedy = "`tnllt-data check --decode` lists all such files"
        raise DataError(f"{refusal(data) or 'frame cannot be decoded'}; {remedy}", path)
    return image


def decode(data: bytes, flags: int | None = None) -> Image | None:
    """An image file's bytes as RGB uint8 (H, W, 3), None where they are not an image; `flags` as for `read_image`."""
    import cv2

    rgb = getattr(cv2, "IMREAD_COLOR_RGB", None)  # OpenCV 4.10 does not know it yet
    if refusal(data) is not None:
        return None
    try:
        array = np.frombuffer(data, np.uint8)
        image = cv2.imdecode(array, (cv2.IMREAD_COLOR if rgb is None else rgb) if flags is None else flags)
    except cv2.error:  # for example larger than OpenCV's own limit
        image = None
    if image is None or flags is not None:
        return image  # type: ignore[return-value]
    return np.asarray(image if rgb is not None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def is_frame(name: str) -> bool:
    """Whether a file of this name is a frame: an image, neither hidden nor a preview."""
    lower = name.lower()
    return (
        os.path.splitext(lower)[1] in IMAGE_SUFFIXES  # noqa: PTH122  # called once per frame of a release
        and not lower.startswith(".")
        and not is_preview(lower)
    )


def is_preview(name: str) -> bool:
    """Whether a file of this name is an image for people, such as one with the box drawn in."""
    return any(fnmatch(name.lower(), pattern) for pattern in PREVIEWS)


def frame_order(name: str) -> tuple[Any, ...]:
    """Sort key that puts `10.jpg` behind `2.jpg`; padded numbers stay in the order of their names."""
    # Split at a group: text and digits take turns.
    return tuple(int(part) if i % 2 else part for i, part in enumerate(_DIGITS.split(name.lower())))


def frame_number(name: str) -> int | None:
    """The last number in a frame's file name: 247 for `0247.jpg`."""
    numbers = _DIGITS.findall(Path(name).stem)
    return int(numbers[-1]) if numbers else None


class FrameIndexError(DataError, IndexError):
    """A frame that a sequence does not have; an IndexError too, so that plain iteration ends there."""


class ImageFrames:
    """The image files of a folder, listed on first use.

    Args:
        folder: where they are.
        annotated: gives the number of annotated frames; frames behind it are left out, with a DataWarning.
        first, last: numbers in the file names of the first and last frame, where a sequence is a part of a video.
    """

    def __init__(
        self,
        folder: str | Path,
        annotated: Callable[[], int] | None = None,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._annotated = annotated
        self._first, self._last = first, last
        self._names: list[str] | None = None

    def found(self) -> list[str]:
        """Names of all frames of the sequence on disk, those behind the last box too."""
        try:
            with os.scandir(self.folder) as entries:
                names = sorted((entry.name for entry in entries if is_frame(entry.name)), key=frame_order)
        except OSError as error:
            raise DataError(f"folder of frames cannot be listed ({error.strerror})", self.folder) from error
        if self._first or self._last is not None:
            last = float("inf") if self._last is None else self._last
            numbers = [(name, frame_number(name)) for name in names]
            names = [name for name, number in numbers if number is not None and self._first <= number <= last]
        return names

    @property
    def names(self) -> list[str]:
        """File names of the annotated frames, in order."""
        if self._names is None:
            names = self.found()
            self._names = names[: _usable(len(names), self._annotated, self.folder)]
        return self._names

    def path(self, index: int) -> Path:
        return self.folder / self.names[_checked(index, len(self), self.folder)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Image:
        return read_image(self.path(index))

    def __repr__(self) -> str:
        return f"ImageFrames({str(self.folder)!r})"


class VideoFrames:
    """Frames of a video file. Reading in order is fast; going back decodes from the start again, to stay exact.

    Args:
        path: the video.
        annotated: as for `ImageFrames`.
    """

    def __init__(self, path: str | Path, annotated: Callable[[], int] | None = None) -> None:
        self.file = Path(path)
        self._annotated = annotated
        self._forget()

    def _forget(self) -> None:
        self._capture: Any = None
        self._next = 0
        self._length: int | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self.file, "_annotated": self._annotated}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _open(self) -> Any:
        import cv2

        capture = cv2.VideoCapture(str(self.file))
        if not capture.isOpened():
            raise DataError("video cannot be opened; is it there, and a format that OpenCV reads?", self.file)
        return capture

    def _stated(self, name: str) -> float:
        """A property of the video as the file's header has it."""
        import cv2

        capture = self._open()
        value = float(capture.get(getattr(cv2, name)))
        capture.release()
        return value

    def found(self) -> int:
        """Number of frames as the file's header has it."""
        count = int(self._stated("CAP_PROP_FRAME_COUNT"))
        if count <= 0:
            raise DataError("the number of frames is not in the video's header; convert it to images", self.file)
        return count

    @property
    def fps(self) -> float:
        """Frames per second as the file's header has it; 0 where it does not."""
        rate = self._stated("CAP_PROP_FPS")
        return rate if 0 < rate <= 1000 else 0.0

    def __len__(self) -> int:
        if self._length is None:
            self._length = _usable(self.found(), self._annotated, self.file)
        return self._length

    def __getitem__(self, index: int) -> Image:
        import cv2

        index = _checked(index, len(self), self.file)
        with self._lock:
            if self._capture is None or index < self._next:
                if self._capture is not None:
                    self._capture.release()
                self._capture, self._next = self._open(), 0
            while self._next < index and self._capture.grab():
                self._next += 1
            ok, image = self._capture.read()
            self._next += 1
        if not ok:
            raise DataError(f"frame {index + 1} cannot be decoded", self.file)
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)

    def __repr__(self) -> str:
        return f"VideoFrames({str(self.file)!r})"


class ArrayFrames:
    """Frames that are in memory: (T, H, W, 3) uint8 RGB, or a list of such images."""

    def __init__(self, images: np.ndarray[Any, Any] | list[Image]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Image:
        return np.asarray(self._images[index], np.uint8)


def prefetch(
    sequence: Sequence | Frames,
    start: int = 0,
    stop: int | None = None,
    *,
    ahead: int = 8,
    workers: int = 1,
) -> Iterator[Image]:
    """Frames in order, decoded ahead on threads while the caller works on the one in hand.

    At no time are more than `ahead` frames held (decoded, being decoded, or in the caller's hand until it asks for the
    next). An error is raised at the frame it belongs to; closing the iterator stops the reading.

    Args:
        sequence: a `Sequence` (its annotated frames) or `Frames`.
        start, stop: range of frames, from 0.
        ahead: the bound, at least 1; 1 reads nothing ahead.
        workers: decoding threads; one for a video file.
    """
    frames = sequence.frames if isinstance(sequence, Sequence) else sequence
    length = len(sequence)
    stop = length if stop is None else min(stop, length)
    if ahead < 1 or workers < 1:
        raise ValueError("ahead and workers must be at least 1")
    return _read_ahead(frames, range(start, stop), ahead, 1 if isinstance(frames, VideoFrames) else workers)


def _read_ahead(frames: Frames, indices: range, ahead: int, workers: int) -> Iterator[Image]:
    if ahead == 1:
        yield from (frames[i] for i in indices)
        return
    waiting: deque[Future[Image]] = deque()
    todo = iter(indices)
    pool = ThreadPoolExecutor(min(workers, ahead), thread_name_prefix="tnllt-frames")
    try:
        # The frame in the caller's hand counts, hence one less may be under way.
        for _ in range(ahead - 1):
            if (index := next(todo, None)) is not None:
                waiting.append(pool.submit(frames.__getitem__, index))
        while waiting:
            yield waiting.popleft().result()
            if (index := next(todo, None)) is not None:
                waiting.append(pool.submit(frames.__getitem__, index))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _usable(found: int, annotated: Callable[[], int] | None, place: Path) -> int:
    """How many frames a sequence has: its annotated ones, of which a warning says so where the images go on.

    A single box is the initial one of all frames: a user's own video, or a test set whose annotation is kept back.
    """
    if annotated is None or (expected := annotated()) == 1:
        return found
    if found > expected:
        text = f"{place}: {found} frames but {expected} boxes; the sequence is its {expected} annotated frames"
        warnings.warn(text, DataWarning, stacklevel=4)
    elif found < expected:
        text = f"{place}: {expected} boxes but only {found} frames; the boxes behind frame {found} have no picture"
        warnings.warn(text, DataWarning, stacklevel=4)
    return min(found, expected)


def _checked(index: int, length: int, place: Path) -> int:
    position = index + length if index < 0 else index
    if not 0 <= position < length:
        raise FrameIndexError(f"has {length} frames; there is no frame {index} (counted from 0)", place)
    return position


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, from its header where that is enough. Raises DataError."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise DataError(f"frame cannot be read ({error.strerror})", path) from error
    size = oriented_size(head)
    if size is None:
        height, width, _ = read_image(path).shape
        return height, width
    return size


def is_truncated(data: bytes) -> bool:
    """Whether a PNG or JPEG file ends before its image does, or a PNG's checksums fail."""
    if data.startswith(PNG):
        return not _whole_png(data)
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-65536:]
    return False


def _whole_png(data: bytes) -> bool:
    for at, length in png_chunks(data):
        end = at + 8 + length
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big") or end + 4 > len(data):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
    return False


def examine(path: Path) -> tuple[str | None, tuple[int, int] | None]:
    """Decodes one image: (`image-undecodable`, `image-truncated` or None; its (height, width) or None)."""
    try:
        data = read_bytes(path)
    except DataError:
        return "image-undecodable", None
    image = decode(data)
    if data and is_truncated(data):
        return "image-truncated", None if image is None else (image.shape[0], image.shape[1])
    if image is None:
        return "image-undecodable", None
    return None, (image.shape[0], image.shape[1])
