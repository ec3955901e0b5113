"""Frames decoded ahead of the tracker, each with the seconds its reading took and a digest of its content."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue

import numpy as np

from tnllt.errors import DataError, TnlltError
from tnllt.sequence import Frames, Image

#: Rows of a frame that its digest is taken from, evenly spaced: enough to tell another file, decoder or size, at a
#: cost (0.04 ms at 1280 x 720) that a fast tracker does not feel.
DIGEST_ROWS = 16
#: Frames waiting for the tracker take at most this many bytes, however many were asked for.
MOST_BYTES = 256 * 2**20

_Decoded = tuple[Image, float, bytes]


class ReadAhead:
    """The frames 0..count-1 in order, the next few decoded on a thread of their own.

    Args:
        frames: the images.
        count: how many of them.
        depth: how many to decode ahead; 0 decodes each when it is asked for.
        where: names the sequence in errors.
    """

    def __init__(self, frames: Frames, count: int, depth: int = 4, where: str = "") -> None:
        self._frames, self._count, self._depth, self._where = frames, count, depth, where
        self._taken = self._asked = 0
        self._hash = hashlib.sha256()
        # Queues written in C, not futures: handing a frame over costs microseconds, which fast trackers notice.
        self._wanted: SimpleQueue[int | None] = SimpleQueue()
        self._ready: SimpleQueue[_Decoded | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tnllt-read", daemon=True) if depth > 0 else None
        if self._thread is not None:
            self._thread.start()
            self._ask(1)

    def read(self) -> tuple[Image, float]:
        """The next frame, RGB uint8 (H, W, 3), and the seconds its decoding took (not the waiting for it).

        Raises DataError that names sequence and frame where it cannot be decoded.
        """
        got = self._decode(self._taken) if self._thread is None else self._ready.get()
        if isinstance(got, BaseException):
            raise got
        self._taken += 1
        image, seconds, digest = got
        if self._thread is not None:
            self._ask(max(1, min(self._depth, MOST_BYTES // max(1, image.nbytes))))
        self._hash.update(digest)
        return image, seconds

    def digest(self) -> str:
        """SHA-256 over the digests of all frames read so far: shape and `DIGEST_ROWS` rows of the decoded pixels."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Ends the thread, after the frame it has in hand. What it has decoded is forgotten."""
        if self._thread is not None and self._thread.is_alive():
            while not self._wanted.empty():
                with suppress(Empty):
                    self._wanted.get_nowait()
            self._wanted.put(None)
            self._thread.join()

    def _ask(self, ahead: int) -> None:
        """Requests `ahead` frames beyond those taken."""
        while self._asked < min(self._count, self._taken + ahead):
            self._wanted.put(self._asked)
            self._asked += 1

    def _work(self) -> None:
        while (index := self._wanted.get()) is not None:
            try:
                self._ready.put(self._decode(index))
            except BaseException as error:
                self._ready.put(error)
                return

    def _decode(self, index: int) -> _Decoded:
        begin = time.perf_counter()
        try:
            image = self._frames[index]
        except TnlltError:
            raise
        except Exception as error:
            raise DataError(f"{self._where}: frame {index + 1} cannot be read: {error}") from error
        seconds = time.perf_counter() - begin
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(f"{self._where}: frame {index + 1} is {image.dtype} {image.shape}, not RGB uint8 (H, W, 3)")
        return image, seconds, frame_digest(image)


def frame_digest(image: Image) -> bytes:
    """SHA-256 of the frame's shape and of `DIGEST_ROWS` evenly spaced rows."""
    digest = hashlib.sha256(repr(image.shape).encode())
    step = max(1, image.shape[0] // DIGEST_ROWS)
    digest.update(np.ascontiguousarray(image[step // 2 :: step]).data)
    return digest.digest()
