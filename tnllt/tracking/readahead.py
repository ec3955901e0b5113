"""Frames decoded ahead of the tracker, each with the seconds its reading took and a digest of its content."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from tnllt.errors import DataError, TnlltError
from tnllt.sequence import Frames, Image

#: Rows of a frame that its digest is taken from, evenly spaced: enough to tell another file, decoder or size, at a
#: cost (0.04 ms at 1280 x 720) that a fast tracker does not feel.
DIGEST_ROWS = 16
#: Frames waiting for the tracker take at most this many bytes, however many were asked for.
MOST_BYTES = 256 * 2**20


class ReadAhead:
    """The frames 0..count-1 in order, the next few decoded on a thread of their own.

    Args:
        frames: the pictures.
        count: how many of them.
        depth: how many to decode ahead; 0 decodes each when it is asked for.
        where: names the sequence in errors.
    """

    def __init__(self, frames: Frames, count: int, depth: int = 4, where: str = "") -> None:
        self._frames, self._count, self._depth, self._where = frames, count, depth, where
        self._next = 0
        self._hash = hashlib.sha256()
        self._waiting: deque[Future[tuple[Image, float, bytes]]] = deque()
        self._pool = ThreadPoolExecutor(1, "tnllt-read") if depth > 0 else None

    def __len__(self) -> int:
        return self._count

    def read(self) -> tuple[Image, float]:
        """The next frame, RGB uint8 (H, W, 3), and the seconds its decoding took (not the waiting for it).

        Raises DataError that names sequence and frame where it cannot be decoded.
        """
        if self._pool is None:
            image, seconds, digest = self._decode(self._next)
            self._next += 1
        else:
            self._fill()
            image, seconds, digest = self._waiting.popleft().result()
            self._depth = max(1, min(self._depth, MOST_BYTES // max(1, image.nbytes)))
            self._fill()
        self._hash.update(digest)
        return image, seconds

    def digest(self) -> str:
        """SHA-256 over the digests of all frames read so far: shape and `DIGEST_ROWS` rows of the decoded pixels."""
        return self._hash.hexdigest()

    def close(self) -> None:
        self._waiting.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        assert self._pool is not None
        while self._next < self._count and len(self._waiting) < self._depth:
            self._waiting.append(self._pool.submit(self._decode, self._next))
            self._next += 1

    def _decode(self, index: int) -> tuple[Image, float, bytes]:
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
