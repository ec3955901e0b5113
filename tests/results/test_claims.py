"""Claims on sequences, and files written whole, where the file system does not play along."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tnllt.errors import DataError
from tnllt.results.atomic import temporary_beside, write_atomic
from tnllt.results.store import ResultStore

fcntl = pytest.importorskip("fcntl")


def test_one_takes_it_the_other_sees_who(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    ours, theirs = store.claim("T", "s"), store.claim("T", "s")
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
    claim = ResultStore(tmp_path).claim("T", "s")
    real, calls = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            claim.path.unlink()  # its holder gave it back at this moment
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert claim.take() and len(calls) == 2 and claim.path.is_file()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert ResultStore(tmp_path).claim("T", "s").take()


def test_other_errors_of_locks_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        ResultStore(tmp_path).claim("T", "s").take()


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "Read-only")])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DataError, match=rf"\.claims: cannot be written: .*{words}"):
        ResultStore(tmp_path).claim("T", "s").take()
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=words):
        write_atomic(tmp_path / "x", b"x")


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), temporary_beside(tmp_path / "x") as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["x"] and (tmp_path / "x").read_bytes() == b"old"
