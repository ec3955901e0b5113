"""Locks on sequences, and files written whole, also where the file system refuses."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tnllt.errors import DataError, UsageError
from tnllt.files import temporary_beside, write_atomic
from tnllt.locks import FileLock, sole_writer
from tnllt.results.store import ResultStore

fcntl = pytest.importorskip("fcntl")


def test_one_takes_it_the_other_sees_who(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    ours, theirs = store.lock("T", "s"), store.lock("T", "s")
    assert ours.holder() == ""
    with ours:
        assert ours.take() and ours.take() and not theirs.take()
        assert theirs.holder().endswith(f" {os.getpid()}")
        theirs.release()  # gives back nothing: it has nothing
        assert not theirs.take()
    assert theirs.take() and not ours.take()
    theirs.release()
    assert ours.holder() == "" and not ours.path.exists()


def test_a_file_that_vanishes_between_opening_and_locking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = ResultStore(tmp_path).lock("T", "s")
    real, calls = fcntl.lockf, []

    def lockf(handle: int, how: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            claim.path.unlink()  # its holder gave it back at this moment
        real(handle, how)

    monkeypatch.setattr(fcntl, "lockf", lockf)
    assert claim.take() and len(calls) == 2 and claim.path.is_file()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def lockf(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", lockf)
    assert ResultStore(tmp_path).lock("T", "s").take()


def test_other_errors_of_locks_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lockf(handle: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "lockf", lockf)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        ResultStore(tmp_path).lock("T", "s").take()


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "Read-only")])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=rf"\.locks: cannot be written: .*{words}"):
        ResultStore(tmp_path).lock("T", "s").take()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=words):
        write_atomic(tmp_path / "x", b"x")


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), temporary_beside(tmp_path / "x") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_bytes() == b"old"


def test_a_forked_helper_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A tracker's helper outlives the run that was killed: the next run must not wait for it."""
    program = f"""
import os, time
from pathlib import Path
from tnllt.locks import FileLock
lock = FileLock(Path({str(tmp_path / "s")!r}))
assert lock.take()
if os.fork() == 0:
    assert not lock.held and not lock.take()
    lock.release()  # without effect on the parent's lock
    print("forked", os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    helper = int(run.stdout.readline().split()[1])
    try:
        ours = FileLock(tmp_path / "s")
        assert not ours.take() and ours.holder().endswith(f" {run.pid}")
        run.kill()
        run.wait()
        os.kill(helper, 0)  # it is still there
        assert ours.take()
        ours.release()
    finally:
        os.kill(helper, 9)


def test_within_a_process_the_lock_excludes_and_survives_looks(tmp_path: Path) -> None:
    ours, theirs = FileLock(tmp_path / "s"), FileLock(tmp_path / "." / "s")
    assert ours.take() and not theirs.take()
    assert theirs.holder() == ours.holder() == f"{os.uname().nodename} {os.getpid()}"
    program = (
        f"from pathlib import Path; from tnllt.locks import FileLock; print(FileLock(Path({str(ours.path)!r})).take())"
    )
    other = [sys.executable, "-c", program]
    assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "False\n"
    theirs.release()
    assert ours.held
    ours.release()
    assert subprocess.run(other, capture_output=True, text=True, check=True).stdout == "True\n"


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(UsageError, match=rf"written by another run \(\S+ {os.getpid()}\)"):
        sole_writer(tmp_path).__enter__()
    with sole_writer(tmp_path):
        pass
