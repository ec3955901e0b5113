"""A worker process: its start, framed messages to and fro, time limits, and its end. The other side is worker.py."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from tnllt.errors import TnlltError
from tnllt.sequence import Image

PROTOCOL = 1
_HEAD = struct.Struct(">4sI")
_MAGIC = b"TNLT"
#: How much of the worker's printed output is kept, in bytes: the end of it.
_KEPT = 64 * 1024
#: Longest answer, in bytes: more is garbage on the pipe, not worth the memory.
_LONGEST = 64 * 1024 * 1024


class BaselineError(TnlltError):
    """The worker or upstream's code failed.

    Args:
        message: one or two lines.
        details: upstream's traceback, or the end of what it printed.
    """

    def __init__(self, message: str, details: str = "") -> None:
        self.message, self.details = message, details.rstrip()
        super().__init__(message + (f"\n{self.details}" if self.details else ""))


class UpstreamWorker:
    """One worker. Not thread-safe: one request at a time.

    Args:
        name: the baseline's, for messages.
        command: interpreter and script.
        environment: the worker's environment variables, complete.
        start_timeout: seconds for the interpreter to say hello.

    Raises:
        BaselineError: the interpreter is not there, or ends, or says something else.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], start_timeout: float
    ) -> None:
        self.name = name
        self._expired = self._ended = False
        try:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            raise BaselineError(f"{name}: cannot start the interpreter {command[0]}: {error.strerror}") from error
        self._tail, self._tail_lock = bytearray(), threading.Lock()
        self._pump = threading.Thread(target=self._keep_output, daemon=True)
        self._pump.start()
        try:
            hello = self._answer(start_timeout, None, "start")
            if hello.get("protocol") != PROTOCOL:
                spoken = hello.get("protocol")
                raise BaselineError(f"{name}: the worker speaks protocol {spoken}, this tnllt {PROTOCOL}")
        except BaselineError:
            self.kill()
            self.close()
            raise

    @property
    def alive(self) -> bool:
        return not self._ended and self._process.poll() is None

    def request(self, op: str, timeout: float, what: str = "", **message: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Args:
            op: start, initialize, track or finish.
            timeout: seconds; beyond them the worker is killed.
            what: the request in words, for messages.

        Raises:
            BaselineError: upstream raised, the worker died, or the time was up.
        """
        answer = self._answer(timeout, {"op": op, **message}, what or op)
        if not answer.pop("ok", False):
            error, trace = answer.get("error"), answer.get("traceback")
            raise BaselineError(f"{self.name}: {what or op} failed: {error}", trace or "")
        return answer

    def _answer(self, timeout: float, message: Mapping[str, Any] | None, what: str) -> dict[str, Any]:
        # The killing ends a blocked read or write, so that neither needs a limit of its own.
        watchdog = threading.Timer(timeout, self._expire)
        watchdog.daemon = True
        watchdog.start()
        try:
            if message is not None:
                self._send(message)
            answer = self._receive()
        except (OSError, ValueError, EOFError) as error:
            if self._expired:
                reason = f"no answer within {timeout:g} s, so the worker was ended"
            elif isinstance(error, ValueError):
                reason = f"the worker's answer is not a message of this protocol ({error})"
            else:
                reason = f"the worker died ({self._death()})"
            self.kill()
            raise BaselineError(f"{self.name}: {what}: {reason}", self._said()) from error
        finally:
            watchdog.cancel()
        return answer

    def _send(self, message: Mapping[str, Any]) -> None:
        stream = _stream(self._process.stdin)
        text = json.dumps(message).encode()
        stream.write(_HEAD.pack(_MAGIC, len(text)) + text)
        stream.flush()

    def _receive(self) -> dict[str, Any]:
        stream = _stream(self._process.stdout)
        magic, length = _HEAD.unpack(self._exactly(stream, _HEAD.size))
        if magic != _MAGIC or length > _LONGEST:
            raise ValueError(f"{magic!r}, {length} bytes")
        try:
            answer = json.loads(self._exactly(stream, length))
        except RecursionError:
            raise ValueError("JSON that is nested too deeply") from None
        if not isinstance(answer, dict):
            raise ValueError(f"{type(answer).__name__} instead of an object")
        return answer

    @staticmethod
    def _exactly(stream: IO[bytes], length: int) -> bytes:
        block = stream.read(length)
        if len(block) != length:
            raise EOFError
        return block

    def _expire(self) -> None:
        self._expired = True
        self.kill()

    def _keep_output(self) -> None:
        stream = _stream(self._process.stderr)
        while block := os.read(stream.fileno(), _KEPT):
            with self._tail_lock:
                self._tail += block
                del self._tail[:-_KEPT]

    def output(self, forget: bool = False) -> str:
        """The end of what the worker printed, at most 64 KiB; after a call with `forget`, only what came later."""
        deadline = time.monotonic() + 0.2
        with contextlib.suppress(OSError, ValueError):  # closed already
            while self._pump.is_alive() and time.monotonic() < deadline:
                if not select.select([_stream(self._process.stderr)], [], [], 0)[0]:
                    break
                time.sleep(0.002)
        with self._tail_lock:
            text = self._tail.decode(errors="replace")
            if forget:
                self._tail.clear()
        return text

    def _said(self) -> str:
        self._pump.join(1.0)
        lines = self.output().strip().splitlines()[-25:]
        return "the last it printed:\n" + "\n".join(f"  {line[:500]}" for line in lines) if lines else ""

    def _death(self) -> str:
        try:
            code = self._process.wait(2)
        except subprocess.TimeoutExpired:
            return "it closed its pipe"
        if code >= 0:
            return f"exit code {code}"
        return f"signal {signal.Signals(-code).name}" + (", perhaps out of memory" if code == -signal.SIGKILL else "")

    def kill(self) -> None:
        """End the worker and whatever it started, now."""
        self._ended = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self, timeout: float = 10.0) -> None:
        """Ask the worker to end; after `timeout` seconds end it."""
        with contextlib.suppress(OSError, ValueError):
            if self.alive:
                self._send({"op": "close"})
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            print(f"{self.name}: the worker did not end within {timeout:g} s and was killed", file=sys.stderr)
        self.kill()
        self._process.wait()
        self._pump.join(1.0)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError, ValueError):
                _stream(stream).close()


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


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
