"""A process of ours and all that it starts: begun in a process group of its own, watched, and ended as a whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

#: What a child prints is cut off when it reaches this many bytes, so that no disk fills.
MOST_OUTPUT = 16 * 2**20
#: This many bytes, the last ones, are left then.
KEPT_OUTPUT = 64 * 1024


class ChildProcess:
    """A running process; what it prints is kept in a nameless file.

    Args:
        command: program and arguments.
        environment: its environment variables, complete.
        verbose: let what it prints through to standard error, instead of keeping it.
        pipes: further arguments of `subprocess.Popen` that say how to talk to it.

    Raises:
        OSError: the program cannot be started.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], verbose: bool = False, **pipes: Any
    ) -> None:
        self._printed: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        # Appending, so that cutting the file short does not leave a hole up to where the child last wrote.
        fcntl.fcntl(self._printed, fcntl.F_SETFL, fcntl.fcntl(self._printed, fcntl.F_GETFL) | os.O_APPEND)
        printed = sys.stderr if verbose else self._printed
        streams = {"stdin": subprocess.DEVNULL, "stdout": printed, "stderr": printed, **pipes}
        try:
            self.process = subprocess.Popen(list(command), env=dict(environment), start_new_session=True, **streams)
        except OSError:
            self._printed.close()
            raise

    def output(self, most: int = 4000) -> str:
        """The end of what it printed since `forget_output`."""
        size = self._output_size()
        return os.pread(self._printed.fileno(), most, max(0, size - most)).decode(errors="replace")

    def forget_output(self) -> None:
        os.ftruncate(self._printed.fileno(), 0)

    def trim_output(self) -> None:
        """Keep only the end of an output that has grown too large."""
        if (size := self._output_size()) > MOST_OUTPUT:
            end = os.pread(self._printed.fileno(), KEPT_OUTPUT, size - KEPT_OUTPUT)
            self.forget_output()
            os.write(self._printed.fileno(), end)

    def _output_size(self) -> int:
        return os.fstat(self._printed.fileno()).st_size

    def fate(self) -> str:
        """How it ended, in words; waits for the end."""
        return ending(self.process.wait())

    def kill(self) -> None:
        """Ends it at once, with every process that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self, timeout: float) -> bool:
        """Waits until it ends by itself, and kills it where that takes longer than `timeout` seconds: False."""
        try:
            self.process.wait(timeout)
            in_time = True
        except subprocess.TimeoutExpired:
            in_time = False
        self.kill()
        self._printed.close()
        return in_time


def ending(code: int) -> str:
    """A process's exit status in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}" + (" (the system may have run out of memory)" if -code == signal.SIGKILL else "")
