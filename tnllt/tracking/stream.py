"""Any source as a stream of images: a video, a folder, a glob, a camera, a stream from the network, an iterable."""

from __future__ import annotations

import glob
import sys
import threading
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tnllt.datasets.frames import ImageFrames, frame_order, is_frame, read_image
from tnllt.errors import DataError, DataWarning, EndOfStream
from tnllt.files import user_path
from tnllt.sequence import Image
from tnllt.text import register_secret

#: A path, a glob, a camera's number, a URL, or images as they come: RGB uint8 (H, W, 3).
SourceLike = str | Path | int | Iterable[Image]


@dataclass
class ImageStream:
    """Images in order, as `tnllt.sequence.Frames`: frame i can be asked for once, when i - 1 has been.

    Attributes:
        name: of the source, for messages.
        images: RGB uint8 (H, W, 3).
        fps: frames per second that the source states, 0 where it states none.
        stored: it comes as fast as it is read: a file, not a camera.
    """

    name: str
    images: Iterator[Image]
    fps: float = 0.0
    stored: bool = False

    def __len__(self) -> int:
        return sys.maxsize  # nobody knows

    def __getitem__(self, index: int) -> Image:
        image = next(self.images, None)
        if image is None:
            raise EndOfStream("the stream is over")
        return image


def open_stream(source: SourceLike) -> ImageStream:
    """The images of a source; a camera or a stream is connected here.

    Args:
        source: a video file, a folder of images, a glob ("shots/*.png"), a camera's number (0, or "0"), a URL that
            OpenCV's FFmpeg reads (rtsp, http, https, rtmp, udp), or any iterable of images.

    Raises:
        DataError: it is not there or cannot be opened.
    """
    if isinstance(source, Path | str):
        text = str(source)
        if text.isdecimal() and not Path(text).exists():
            return _captured(int(text), f"camera {text}")
        if "://" in text:
            register_secret(urlsplit(text).password or "")
            return _captured(text, text)
        path = user_path(text)
        if path.is_file():
            if is_frame(path.name):
                return ImageStream(text, iter([read_image(path)]), stored=True)
            return _captured(str(path), text, stored=True)
        if path.is_dir():
            frames = ImageFrames(path)
            if not frames.names:
                raise DataError("holds no image", path)
            return ImageStream(text, map(frames.__getitem__, range(len(frames))), stored=True)
        found = sorted((f for f in glob.glob(str(path)) if is_frame(Path(f).name)), key=frame_order)  # noqa: PTH207
        if not found:
            raise DataError("is neither a file, a folder, a glob of images, a camera's number nor a URL", path)
        return ImageStream(text, map(read_image, found), stored=True)
    if isinstance(source, int):
        return _captured(source, f"camera {source}")
    return ImageStream(type(source).__name__, iter(source), float(getattr(source, "fps", 0)))


def _captured(place: int | str, name: str, stored: bool = False) -> ImageStream:
    import cv2

    capture = cv2.VideoCapture(place)
    if not capture.isOpened():
        raise DataError(f"{name} cannot be opened; is it there, and a format that OpenCV reads?")
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if stored else 0
    return ImageStream(name, _decoded(capture, name, count), rate if 0 < rate <= 1000 else 0.0, stored)


def _decoded(capture: Any, name: str, count: int) -> Iterator[Image]:
    import cv2

    done = 0
    try:
        while (read := capture.read())[0]:
            done += 1
            yield np.asarray(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        capture.release()
    if done < count - 1:  # headers are often one off
        warnings.warn(f"{name}: only {done} of its {count} frames can be decoded", DataWarning, stacklevel=2)


class LatestImages(Iterator[Image]):
    """The newest image of a source at each request; those that came since the one before are dropped.

    Args:
        stream: the source. One that is stored is played at its frame rate (30 where it states none).

    Attributes:
        index: number of the image given last, from 0, among all that came.
        dropped: how many were not given.
        waited: for how many seconds the image given last had been there.
    """

    def __init__(self, stream: ImageStream) -> None:
        self.index, self.dropped, self.waited = -1, 0, 0.0
        self._stream, self._arrived = stream, threading.Condition()
        self._newest: tuple[int, Image, float] | None = None
        self._error: BaseException | None = None
        self._over = False
        self._thread: threading.Thread | None = None

    def __next__(self) -> Image:
        if self._thread is None:
            self._thread = threading.Thread(target=self._receive, name="tnllt-live", daemon=True)
            self._thread.start()
        with self._arrived:
            self._arrived.wait_for(lambda: self._newest is not None or self._over)
            if self._newest is None:
                raise self._error or StopIteration
            index, image, arrival = self._newest
            self._newest = None
        self.waited = time.perf_counter() - arrival
        self.dropped += index - self.index - 1
        self.index = index
        return image

    def close(self) -> None:
        """Ends the thread, after the image that it is waiting for."""
        self._over = True

    def _receive(self) -> None:
        start, pause = time.perf_counter(), 1 / (self._stream.fps or 30.0) if self._stream.stored else 0.0
        try:
            for index, image in enumerate(self._stream.images):
                time.sleep(max(0.0, start + index * pause - time.perf_counter()))
                with self._arrived:
                    self._newest = index, image, time.perf_counter()
                    self._arrived.notify()
                if self._over:
                    break
        except BaseException as error:
            self._error = error
        finally:
            with self._arrived:
                self._over = True
                self._arrived.notify()
