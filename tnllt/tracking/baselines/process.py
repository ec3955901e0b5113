"""A baseline's worker process: framed messages to and fro within a time limit. The other side is worker.py."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tnllt.errors import TnlltError
from tnllt.sequence import Image
from tnllt.tracking.child import KEPT_OUTPUT, ChildProcess, ending

PROTOCOL = 1
_HEAD = struct.Struct(">4sI")
_MAGIC = b"TNLT"
#: Longest answer, in bytes: more is garbage on the pipe, not worth the memory.
_LONGEST = 64 * 1024 * 1024
#: Seconds between two looks at how much a worker that does not answer has printed.
_TICK = 0.2


class BaselineError(TnlltError):
    """The worker or upstream's code failed.

    Args:
        message: one or two lines.
        details: upstream's traceback, or the end of what it printed.
    """

    def __init__(self, message: str, details: str = "") -> None:
        self.message, self.details = message, details.rstrip()
        super().__init__(message + (f"\n{self.details}" if self.details else ""))


class UpstreamWorker(ChildProcess):
    """One worker. Not thread-safe: one request at a time.

    Args:
        name: the baseline's, for messages.
        command: interpreter and script.
        environment: the worker's environment variables, complete.
        start_timeout: seconds for the interpreter's greeting.

    Raises:
        BaselineError: the interpreter cannot be started, or ends, or answers something else.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], start_timeout: float) -> None:
        self.name = name
        self._received = bytearray()
        try:
            super().__init__(command, environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise BaselineError(f"{name}: cannot start the interpreter {command[0]}: {error.strerror}") from error
        assert self.process.stdin is not None and self.process.stdout is not None  # they are pipes
        self._requests, self._answers = self.process.stdin, self.process.stdout
        os.set_blocking(self._requests.fileno(), False)
        try:
            greeting = self._exchange(start_timeout, None, "start")
            if (protocol := greeting.get("protocol")) != PROTOCOL:
                raise BaselineError(f"{name}: the worker uses protocol {protocol}, and this tnllt {PROTOCOL}")
        except BaselineError:
            self.kill()
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def request(self, op: str, timeout: float, what: str = "", **message: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Args:
            op: start, initialize, track or finish.
            timeout: seconds; beyond them the worker is killed.
            what: the request in words, for messages.

        Raises:
            BaselineError: upstream raised, the worker died, or the time was up.
        """
        answer = self._exchange(timeout, {"op": op, **message}, what or op)
        if not answer.pop("ok", False):
            error, trace = answer.get("error"), answer.get("traceback")
            raise BaselineError(f"{self.name}: {what or op} failed: {error}", trace or "")
        return answer

    def _exchange(self, timeout: float, message: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        try:
            if message is not None:
                self._send(message, deadline)
            return read_answer(lambda length: self._exactly(length, deadline))
        except TimeoutError:
            reason = f"no answer within {timeout:g} s, so the worker was ended"
        except ValueError as error:
            reason = f"the worker's answer is not a message of this protocol ({error})"
        except (OSError, EOFError):
            try:
                reason = f"the worker {ending(self.process.wait(2))}"
            except subprocess.TimeoutExpired:
                reason = "the worker closed its pipe"
        self.kill()
        lines = [f"  {line[:500]}" for line in self.output().strip().splitlines()[-25:]]
        raise BaselineError(
            f"{self.name}: {what}: {reason}", "\n".join(["the end of its output:", *lines] if lines else [])
        )

    def _send(self, message: Mapping[str, Any], deadline: float) -> None:
        text = json.dumps(message).encode()
        rest = memoryview(_HEAD.pack(_MAGIC, len(text)) + text)
        while rest:
            self._wait([], [self._requests], deadline)
            with contextlib.suppress(BlockingIOError):
                rest = rest[os.write(self._requests.fileno(), rest) :]

    def _exactly(self, length: int, deadline: float) -> bytes:
        """The next `length` bytes of the answers. Raises EOFError where the worker has closed its pipe."""
        while len(self._received) < length:
            self._wait([self._answers], [], deadline)
            block = os.read(self._answers.fileno(), 1 << 16)
            if not block:
                raise EOFError
            self._received += block
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    def _wait(self, readable: list[IO[bytes]], writable: list[IO[bytes]], deadline: float) -> None:
        """Wait until one of the pipes is ready. Raises TimeoutError at the deadline."""
        while True:
            ready = select.select(readable, writable, [], max(0.0, min(_TICK, deadline - time.monotonic())))
            if any(ready):
                return
            if time.monotonic() >= deadline:
                raise TimeoutError
            self.trim_output()

    def output(self, most: int = KEPT_OUTPUT) -> str:
        return super().output(most)

    def close(self, timeout: float = 10.0) -> None:
        """Ask the worker to end; after `timeout` seconds end it."""
        with contextlib.suppress(OSError):
            if self.alive:
                self._send({"op": "close"}, time.monotonic() + timeout)
        if not self.end(timeout):
            print(f"{self.name}: the worker did not end within {timeout:g} s and was killed", file=sys.stderr)
        self._requests.close()
        self._answers.close()


def read_answer(read: Callable[[int], bytes]) -> dict[str, Any]:
    """The next message. `read` gives exactly as many bytes as asked. Raises ValueError where it is not one."""
    magic, length = _HEAD.unpack(read(_HEAD.size))
    if magic != _MAGIC or length > _LONGEST:
        raise ValueError(f"{magic!r}, {length} bytes")
    try:
        answer = json.loads(read(length))
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
    if not isinstance(answer, dict):
        raise ValueError(f"{type(answer).__name__} instead of an object")
    return answer


class FrameFile:
    """A memory-mapped file through which frames go to a worker. In memory where the system has such a place."""

    def __init__(self) -> None:
        self._map: mmap.mmap | None = None
        self._name = ""

    def put(self, image: Image) -> dict[str, Any]:
        """Write a frame, uint8 (H, W, 3); returns what the request must say about it."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"an image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
        fields: dict[str, Any] = {"shape": list(image.shape)}
        if self._map is None or len(self._map) < image.size:
            self.close()
            self._name, self._map = self._make(image.size)
            fields["file"] = self._name
        target: Image = np.frombuffer(self._map, np.uint8, image.size).reshape(image.shape)
        target[...] = image
        return fields

    @staticmethod
    def _make(size: int) -> tuple[str, mmap.mmap]:
        memory = Path("/dev/shm")
        handle, name = tempfile.mkstemp(prefix="tnllt-frame-", dir=memory if os.access(memory, os.W_OK) else None)
        try:
            _reserve(handle, size)
        except OSError:  # a container's memory folder may be small; writing beyond it would end this process
            os.close(handle)
            Path(name).unlink()
            handle, name = tempfile.mkstemp(prefix="tnllt-frame-")
            os.truncate(handle, size)
        try:
            return name, mmap.mmap(handle, size)
        finally:
            os.close(handle)

    def close(self) -> None:
        self._map = None  # unmapped with the last array that looks into it
        if self._name:
            Path(self._name).unlink(missing_ok=True)  # where no worker lived to do it


def _reserve(handle: int, size: int) -> None:
    """Make a file `size` bytes long, with room for all of them. OSError where there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)
