"""File locks: two runs on one results folder do not take the same sequence.

A lock is a POSIX record lock (`fcntl.lockf`) on a small file. The system drops it when its process ends, however it
ends, so no lock is ever stale; network file systems carry it from machine to machine. Unlike `flock`, which the
library filelock uses, a record lock is not inherited by a forked child: a helper that a tracker has forked cannot keep
it after the run was killed. For this reason no library is used.

Record locks have two pitfalls. They do not exclude within a process, so `_HELD` lists what this process holds. And
closing any descriptor of a locked file drops its lock, so this process never opens a file that it has locked.

Where a file system or a system has no locks, the lock is granted without one: results are written whole either way,
and two runs on the same sequence then only waste time.
"""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tnllt.errors import DataError, UsageError

_BUSY = (errno.EAGAIN, errno.EACCES)
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL)

#: What this process has locked: {(device, inode): holder}. A child forked from it holds nothing.
_HELD: dict[tuple[int, int], str] = {}
_guard = threading.RLock()


def _forget_all() -> None:
    global _guard
    _guard = threading.RLock()
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


class FileLock:
    """An exclusive lock on a file's name. Use `with lock:` after `take` returned True, or call `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None
        self._file: tuple[int, int] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock, in this process."""
        return self._file is not None and self._file in _HELD

    def take(self) -> bool:
        """Takes the lock; False where somebody else holds it. Raises DataError where the folder cannot be written."""
        with _guard:
            while not self.held:
                if _identity(self.path) in _HELD:
                    return False
                handle = self._open()
                if not _lock(handle):
                    os.close(handle)
                    return False
                about = os.fstat(handle)
                # The former holder may have removed the file between our open and our lock: then it has no name.
                if _identity(self.path) != (about.st_dev, about.st_ino):
                    os.close(handle)
                    continue
                holder = f"{platform.node()} {os.getpid()}"
                with suppress(OSError):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{holder}\n".encode())
                self._handle, self._file = handle, (about.st_dev, about.st_ino)
                _HELD[self._file] = holder
            return True

    def release(self) -> None:
        """Drops the lock and removes its file. Without effect where this object does not hold it."""
        with _guard:
            if self._handle is None or self._file is None:
                return
            if self.held:
                with suppress(OSError):
                    self.path.unlink()
                del _HELD[self._file]
            os.close(self._handle)
            self._handle = self._file = None

    def holder(self) -> str:
        """Who holds the lock ("host pid"), or ""."""
        with _guard:
            ours = _HELD.get(_identity(self.path) or (0, 0))
            if ours is not None:
                return ours
            try:
                return self.path.read_text(errors="replace").strip()
            except OSError:
                return ""

    def __enter__(self) -> FileLock:
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
    lock = FileLock(folder / ".writer")
    if not lock.take():
        raise UsageError(f"{folder} is being written by another run ({lock.holder()}); wait for it, or name another")
    with lock:
        yield


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _lock(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: see the module's text
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        if error.errno in _UNSUPPORTED:
            return True
        raise
    return True
