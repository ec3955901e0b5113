"""Results that somebody else made: memory and time grow with what is there, whatever it claims."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.numbers import parse_table
from tnllt.results.layouts import ZippedFiles, find_results
from tnllt.results.reading import read_many

ROW = b"1,2,3,4\n"


def within(seconds: float, call: Callable[[], object]) -> object:
    """What the call returns or raises, in a thread that is left behind where it hangs."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert found, f"still running after {seconds} s"
    return found[0]


def test_links_in_a_circle_are_read_once(tmp_path: Path) -> None:
    """Eight links to their own folder: 8^7 paths."""
    (tmp_path / "T").mkdir()
    (tmp_path / "T" / "s.txt").write_bytes(ROW)
    for i in range(8):
        (tmp_path / f"link{i}").symlink_to(".")
        (tmp_path / "T" / f"up{i}").symlink_to("..")
    (tmp_path / "itself").symlink_to("itself")
    found = within(20, lambda: find_results(tmp_path, ["s"]))
    assert list(found.trackers) == ["T"]  # type: ignore[attr-defined]


def test_a_linked_tracker_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "s.txt").write_bytes(ROW)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "T").symlink_to("../elsewhere")
    assert list(find_results(tmp_path / "results", ["s"]).trackers) == ["T"]


def test_pipes_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "T").mkdir()
    os.mkfifo(tmp_path / "T" / "s.txt")
    os.mkfifo(tmp_path / "U.zip")
    found = find_results(tmp_path, ["s"])
    error = within(20, lambda: read_many([found.trackers["T"]["s"]]))
    assert isinstance(error, DataError) and "s.txt: is a pipe" in str(error)
    error = within(20, lambda: find_results(tmp_path / "U.zip", ["s"]))
    assert isinstance(error, DataError) and "neither a folder nor a zip file" in str(error)


def test_a_folder_in_place_of_a_result(tmp_path: Path) -> None:
    (tmp_path / "T" / "s.txt").mkdir(parents=True)
    (tmp_path / "T" / "two.txt").write_bytes(ROW)
    assert list(find_results(tmp_path, ["s", "two"]).trackers["T"]) == ["two"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "T").mkdir(mode=0)
    with pytest.raises(DataError, match=r"T: cannot be read .*change its permissions"):
        find_results(tmp_path, ["s"])


def test_a_zip_file_is_opened_once(tmp_path: Path) -> None:
    """11,200 members once took 392 s: the archive was opened for each."""
    names = [f"s{i}" for i in range(280)]
    with zipfile.ZipFile(tmp_path / "r.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for tracker in range(40):
            for name in names:
                archive.writestr(f"T{tracker}/{name}.txt", ROW * 20)
    program = f"""
from pathlib import Path
from tnllt.results.layouts import find_results
from tnllt.results.reading import read_many
found = find_results({str(tmp_path / "r.zip")!r}, [f"s{{i}}" for i in range(280)])
print(sum(len(b) for own in found.trackers.values() for b in read_many(list(own.values()))))
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the process that started this one, too
print(int(status.partition("VmHWM:")[2].split()[0]) >> 10)
"""
    started = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    used = time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - started
    assert int(out[0]) == 40 * 280 * 20 and int(out[1]) < 500 and used < 60


def test_a_zip_file_that_swells_is_refused_before_it_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(10):
            archive.writestr(f"T/s{i}.txt", ROW * 1_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"r\.zip: would unpack from 0\.\d MB to 80 MB in 10 files"):
        find_results(tmp_path / "r.zip", [f"s{i}" for i in range(10)])
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


def test_zip_files_with_two_files_of_a_name_or_lzma(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "r.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("T/s.txt", ROW)
    with pytest.raises(DataError, match="packed with LZMA"):
        ZippedFiles(tmp_path / "r.zip").read("T/s.txt")
    with zipfile.ZipFile(tmp_path / "r.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("T/s.txt", ROW)
    with pytest.raises(DataError, match="two files of one name"):
        find_results(tmp_path / "r.zip", ["s"])


@pytest.mark.parametrize(
    "text", [ROW * 400_000, b"nan,nan,nan,nan\n" * 200_000, b"0,0,0,0\r" * 200_000, b"1.5\t2\t3\t4\r\n" * 200_000]
)
def test_parsing_takes_a_small_multiple_of_the_text(text: bytes) -> None:
    """250 MB of rows of `nan` once took 7.9 GB."""
    tracemalloc.start()
    table = parse_table(text, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 11 * len(text) + (16 << 20), peak / len(text)
    rows = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").decode().split("\n")[:-1]
    assert table.shape == (len(rows), 4)
    first = [float(c) for c in rows[0].replace("\t", ",").split(",")]
    assert np.array_equal(table, np.tile(first, (len(rows), 1)), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        (b"1," * 3_000_000, None, "longer than 4 MB"),
        (b"1," * 3_000_000, 4, "longer than 4 MB"),
        (b"1," * 1_000_000 + b"\n" + b"1\n" * 1_000_000, None, "row 2: 1 number instead of 1000000"),
        (ROW * 200_000 + b"1,2,3\n" + ROW * 10, 4, "row 200001: 3 numbers"),
        (ROW * 200_000 + b"\n" + ROW * 10, 4, "row 200001: is blank"),
        (b"nan,1,2,3\n" * 200_000 + b"1,2,x,3\n", 4, "row 200001: 'x' is not a number"),
        (b"nan,1,2,3\n" * 200_000 + b"\xff\n", 4, "is not text"),
        (b"1e3,1,2,3\n" * 200_000 + b"\0\n", 4, "zero bytes"),
    ],
)
def test_bad_rows_of_large_texts_are_named(text: bytes, columns: int | None, words: str) -> None:
    tracemalloc.start()
    with pytest.raises(DataError, match=words):
        parse_table(text, columns, "x.txt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 250 << 20
