"""The runner's end of a worker: starting it, talking to it, watching it, ending it."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import IO, Any

from tnllt.processes import THREADS_WAIT
from tnllt.tracking import system
from tnllt.tracking.child import ChildProcess
from tnllt.tracking.config import RunSpec

#: What a worker is doing, as its heartbeat says.
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


#: Runs the worker without the working folder on Python's path, which may hold anybody's files.
_START = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import runpy
runpy.run_module("tnllt.tracking.worker", run_name="__main__", alter_sys=True)
"""


@dataclass
class Job:
    """One sequence to track.

    Attributes:
        name: of the sequence.
        frames: how many it has.
        attempt: 1, or more after its worker was lost.
        again: track it although its result is there.
        alone: track it by itself, although the tracker tracks several at once.
    """

    name: str
    frames: int
    attempt: int = 1
    again: bool = False
    alone: bool = False


class TrackingWorker(ChildProcess):
    """A running worker.

    Args:
        spec: what it is to do.
        hide_devices: give it only the accelerator that `spec.device` names, for trackers that take no device.
        verbose: let what the tracker prints through to standard error, instead of keeping it for the record.
    """

    def __init__(self, spec: RunSpec, hide_devices: bool = False, verbose: bool = False) -> None:
        self.spec = spec
        self.jobs: dict[str, Job] = {}
        self.loaded = False
        self.accounted = 0
        ours, theirs = socket.socketpair()
        with Heartbeat.file() as heartbeat, theirs:
            self.heartbeat = Heartbeat(heartbeat.fileno())
            fds = (theirs.fileno(), heartbeat.fileno())
            command = [sys.executable, "-c", _START, *map(str, fds)]
            super().__init__(command, _environment(spec, hide_devices), verbose, pass_fds=fds)
        self.wire = Connection(ours.detach())
        self._send(spec.as_json())

    @property
    def free(self) -> int:
        """How many more sequences it takes now."""
        if any(job.alone for job in self.jobs.values()):
            return 0
        return self.spec.batch - len(self.jobs)

    def track(self, job: Job) -> None:
        self.jobs[job.name] = job
        self._send({"track": job.name, "attempt": job.attempt, "again": job.again})

    def messages(self) -> Iterator[dict[str, Any]]:
        """Its messages since the last call. Raises EOFError when it is gone."""
        while True:
            try:
                if not self.wire.poll():
                    return
                message = json.loads(self.wire.recv_bytes())
            except OSError as error:
                raise EOFError from error
            yield message

    def stack(self, wait: float = 0.5) -> str:
        """The stacks of its threads; "" where it does not answer."""
        before = self._output_size()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(wait)
        printed = self._output_size() - before
        return self.output(printed) if printed > 0 else ""

    def no_more(self) -> None:
        with contextlib.suppress(OSError):
            self._send({"no": "more"})

    def close(self, timeout: float = 10.0) -> None:
        """Lets it close its tracker; kills it where that takes longer than `timeout` seconds."""
        self.no_more()
        self.end(timeout if self.loaded else 0)
        self.wire.close()
        self.heartbeat.close()

    def _send(self, message: Any) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError):  # its death shows when it is next listened to
            self.wire.send_bytes(json.dumps(message).encode())


def _environment(spec: RunSpec, hide_devices: bool) -> dict[str, str]:
    environment = dict(os.environ)
    environment.update(dict.fromkeys(system.THREAD_VARIABLES, str(spec.threads)))
    environment.setdefault(*THREADS_WAIT)
    environment["PYTHONUNBUFFERED"] = "1"  # what a killed tracker printed is not lost
    environment["OPENCV_LOG_LEVEL"] = environment.get("OPENCV_LOG_LEVEL", "ERROR")
    if hide_devices and spec.device.startswith("cuda:"):
        environment["CUDA_VISIBLE_DEVICES"] = spec.device.partition(":")[2]
    return environment
