"""The heartbeat of a worker: what it is doing at this moment, in a few bytes of shared memory."""

from __future__ import annotations

import mmap
import struct
import tempfile
import time
from dataclasses import dataclass
from typing import IO

LOADING, IDLE, READING, STARTING, TRACKING, FINISHING, WRITING = range(7)
_LAYOUT = struct.Struct("=ddd")  # phase, clock when it began, frames tracked since the worker started


@dataclass(frozen=True)
class Reading:
    """phase: one of the constants above; seconds: since it began; frames: tracked since the worker started."""

    phase: int
    seconds: float
    frames: int


class Heartbeat:
    """A memory-mapped file of 24 bytes; the worker writes, the runner reads. Writing costs about a microsecond."""

    def __init__(self, handle: int) -> None:
        self._map = mmap.mmap(handle, _LAYOUT.size)
        self._frames = 0

    @staticmethod
    def file() -> IO[bytes]:
        """A file for a new heartbeat; its descriptor goes to the worker."""
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(_LAYOUT.pack(LOADING, time.monotonic(), 0))
        file.flush()
        return file

    def phase(self, phase: int, frames: int = 0) -> None:
        """A phase begins; `frames` were tracked just before."""
        self._frames += frames
        _LAYOUT.pack_into(self._map, 0, phase, time.monotonic(), self._frames)

    def read(self) -> Reading:
        phase, since, frames = _LAYOUT.unpack_from(self._map, 0)
        return Reading(int(phase), time.monotonic() - since, int(frames))

    def close(self) -> None:
        self._map.close()
