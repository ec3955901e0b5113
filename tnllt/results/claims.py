"""Claims: two runs on one results folder do not take the same sequence.

A claim is an advisory lock (`flock`) on a small file beside the results. The system gives it back when its process
ends, however it ends, so no claim is ever stale; network file systems carry it from machine to machine. Where a file
system has no locks the claim is given without one: results are written whole either way, and two runs on the same
sequence then only waste time.
"""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tnllt.errors import DataError, UsageError

FOLDER = ".claims"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)


class Claim:
    """An exclusive claim on a file's name. Use `with claim:` after `take` said True, or call `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Takes the claim; False where another process has it. Raises DataError where the folder cannot be written."""
        while self._handle is None:
            handle = self._open()
            if not _lock(handle):
                os.close(handle)
                return False
            # The holder before us may have removed the file between our open and our lock: then it names nothing.
            if not _names(self.path, handle):
                os.close(handle)
                continue
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.write(handle, f"{platform.node()} {os.getpid()}\n".encode())
            self._handle = handle
        return True

    def release(self) -> None:
        """Gives the claim back."""
        if self._handle is None:
            return
        with suppress(OSError):
            self.path.unlink()
        os.close(self._handle)
        self._handle = None

    def holder(self) -> str:
        """Who has the claim ("host pid"), or ""."""
        try:
            return self.path.read_text(errors="replace").strip()
        except OSError:
            return ""

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            what = "the disk is full; free some space and run again" if full else error.strerror
            raise DataError(f"cannot be written: {what}", self.path.parent) from error


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """This process is the folder's only writer until the block ends.

    Raises:
        UsageError: another process is. DataError: the folder cannot be written.
    """
    claim = Claim(folder / ".writer")
    if not claim.take():
        raise UsageError(f"{folder} is being written by another run ({claim.holder()}); wait for it, or name another")
    with claim:
        yield


def _lock(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: see the module's text
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return True
        raise
    return True


def _names(path: Path, handle: int) -> bool:
    try:
        there, ours = path.stat(), os.fstat(handle)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
