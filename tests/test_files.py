"""Files are read by what is there, and nothing but regular files; numbers survive strict JSON."""

from __future__ import annotations

import os
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.files import float_array, parse_json, plain, read_bytes, temporary_beside, to_json, write_atomic


def test_reading_takes_as_much_memory_as_there_is_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1,2,3,4\n" * 1000)
    tracemalloc.start()
    assert len(read_bytes(tmp_path / "x")) == 8000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 10)
    real = os.fstat

    def fstat(handle: int) -> os.stat_result:
        about = real(handle)
        with path.open("ab") as stream:
            stream.write(b"b" * 3_000_000)
        return about

    monkeypatch.setattr(os, "fstat", fstat)
    assert len(read_bytes(path)) == 3_000_010
    path.write_bytes(b"a" * 10)
    with pytest.raises(DataError, match="larger than 1 MB"):
        read_bytes(path, 1 << 20)


def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused: list[str] = []

    def read() -> None:
        for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "none", "a\0b"):
            with pytest.raises(DataError) as caught:
                read_bytes(place)
            refused.append(str(caught.value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert [r.partition(": ")[2] for r in refused] == [
        "is a pipe, socket or device, not a file", "is a folder, not a file", "is a pipe, socket or device, not a file",
        "cannot be read (No such file or directory)", "cannot be read (embedded null byte)",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_sizes(tmp_path: Path, size: int) -> None:
    (tmp_path / "x").write_bytes(bytes(size))
    assert len(read_bytes(tmp_path / "x")) == size


def test_numbers_survive_strict_json() -> None:
    values = [1.5, np.nan, np.inf, -np.inf]
    text = to_json({"a": np.array(values), "b": np.float32(0.5), "c": (Path("x"), {1})})
    assert parse_json(text) == {"a": [1.5, None, "Infinity", "-Infinity"], "b": 0.5, "c": ["x", [1]]}
    np.testing.assert_array_equal(float_array(parse_json(text)["a"]), values)
    with pytest.raises(ValueError, match="could not convert"):
        float_array(["x"])
    assert plain({2: np.array([[True]])}) == {"2": [[True]]}


def test_a_folder_is_written_whole_too(tmp_path: Path) -> None:
    with temporary_beside(tmp_path / "state") as place:
        place.mkdir()
        (place / "x").write_text("1")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    with pytest.raises(ZeroDivisionError), temporary_beside(tmp_path / "other") as place:
        place.mkdir()
        (place / "x").write_text("1")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("place", [".", "..", "/", "folder", "folder/.."])
def test_a_folder_cannot_be_written_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_atomic(Path(place), b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_names_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    write_atomic(tmp_path / ("a." + "b" * 253), b"x")
    with pytest.raises(DataError, match="cannot be written: File name too long"):
        write_atomic(tmp_path / ("a" * 256), b"x")


def test_a_long_json_text_is_read_as_a_short_one() -> None:
    values = [
        b"1", b"-0", b"1.50", b"1e999", b"NaN", b'"\\ud800"', b"null", b"0.0001234567890123456", b'{"a": 1, "a": 2}',
        b"123456789012345678", b"1234567890123456789", b"-123456789012345678", b"[[true], 99999999999999999999]",
    ]  # fmt: skip
    for value in values:
        short = parse_json(value)
        (long,) = parse_json(b"[" + b" " * 20_000 + value + b"]")
        assert repr(long) == repr(short), value
    for fault in (b"01", b"[1,]", b"[1", b'"\t"', b"\xff", b"[" * 100_000):
        with pytest.raises(DataError):
            parse_json(b" " * 20_000 + fault)
