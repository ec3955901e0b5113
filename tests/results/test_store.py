"""The result store: whole files or none, claims, records, and what is not taken for a result."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.files import TEMPORARY, plain, sweep, write_atomic
from tnllt.locks import FileLock
from tnllt.results.records import RunRecord, parse_record, read_record
from tnllt.results.store import ResultStore, format_boxes
from tnllt.sequence import Trajectory

BOXES = np.array([[1, 2, 3, 4], [1.00004, 2.5, 3, 4.123456]])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "deep" / "down")
    answer = Trajectory(BOXES, [np.nan, 0.5], [False, True], [0.25, 0.125], {"mode": "BB", "info": {"n": np.int64(3)}})
    store.write("T", "s", answer, [{"event": "x", "value": np.float32(0.5), "bad": float("nan")}])
    assert store.path("T", "s").read_bytes() == b"1.0000,2.0000,3.0000,4.0000\n1.0000,2.5000,3.0000,4.1235\n"
    again = store.read("T", "s")
    assert np.allclose(again.boxes, BOXES, atol=5e-5)
    assert again.confidence is not None and np.isnan(again.confidence[0]) and again.confidence[1] == 0.5
    assert again.absent is not None and again.absent.tolist() == [False, True]
    assert again.seconds is not None and again.seconds.tolist() == [0.25, 0.125]
    assert again.record["info"] == {"n": 3} and again.record["frames"] == 2
    assert store.trace("T", "s") == [{"event": "x", "value": 0.5, "bad": None}]
    assert store.entry("T", "s").status == "done" and store.trackers() == ["T"] and store.sequences("T") == ["s"]
    first_line = store.path("T", "s", ".run.json").read_text().splitlines()[1]
    assert json.loads("{" + first_line.rstrip(",") + "}") == {"schema": "tnllt.run/1"}


def test_numbers_keep_four_decimals_and_signs() -> None:
    assert format_boxes(np.array([[-0.00004, -1.5, 1e6, 0]])) == b"-0.0000,-1.5000,1000000.0000,0.0000\n"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", ".hidden", "nul\0", "a\\b"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    store = ResultStore(tmp_path)
    with pytest.raises(DataError, match="cannot be the name"):
        store.path("T", name)
    with pytest.raises(DataError, match="cannot be the name"):
        store.write(name, "s", Trajectory(BOXES))


def test_what_is_not_a_result(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    assert store.entry("T", "s").status == "missing"
    store.write("T", "s", Trajectory(BOXES))
    text, record = store.path("T", "s"), store.path("T", "s", ".run.json")
    whole = text.read_bytes()
    text.write_bytes(whole[:20])
    assert store.entry("T", "s").status == "missing" and "not the result" in store.entry("T", "s").reason
    text.unlink()
    assert store.entry("T", "s").status == "missing", "a record alone is a run that was killed before its last step"
    text.write_bytes(whole)
    assert store.entry("T", "s").status == "done"
    for damage in (
        b"",
        b"{",
        b"[]",
        b'{"schema": "other/1"}',
        b'{"schema": "tnllt.run/99"}',
        b'{"schema": "tnllt.run/1"}',
        b"\xff",
    ):
        record.write_bytes(damage)
        entry = store.entry("T", "s")
        assert entry.status == "missing" and str(record) in entry.reason, damage
        with pytest.raises(DataError, match=r"s\.run\.json"):
            read_record(record)
    record.unlink()
    entry = store.entry("T", "s")
    assert entry.status == "foreign" and "another tool" in entry.reason
    assert store.read("T", "s").confidence is None
    text.write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"s\.txt"):
        store.read("T", "s")
    with pytest.raises(DataError, match="no such result"):
        store.read("T", "other")


def test_a_record_of_another_length_is_refused(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write("T", "s", Trajectory(BOXES, [0.1, 0.2]))
    store.path("T", "s").write_text("1,2,3,4\n")
    with pytest.raises(DataError, match="2 values of confidence for 1 rows"):
        store.read("T", "s")


def test_a_failure_replaces_a_result_and_the_other_way_round(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.write("T", "s", Trajectory(BOXES), [{"event": "old"}])
    store.write_failure(RunRecord("T", "s", "failed", failure={"message": "m"}))
    assert (
        store.entry("T", "s").status == "failed" and not store.path("T", "s").exists() and store.trace("T", "s") == []
    )
    assert [r.sequence for r in store.failures("T")] == ["s"]
    store.write("T", "s", Trajectory(BOXES))
    assert store.entry("T", "s").status == "done" and store.failures("T") == []


@pytest.mark.parametrize(
    ("was", "now", "kept"),
    [
        ({"seed": 1, "data": "x"}, {"seed": 1, "data": "x"}, True),
        ({"seed": 1, "data": "x"}, {"seed": 2, "data": "x"}, False),
        ({"seed": 1, "data": "x"}, {"seed": 1, "data": "y"}, False),
        ({}, {"seed": 1}, False),
    ],
)
def test_a_failure_leaves_a_result_of_the_same_identity(
    was: dict[str, Any], now: dict[str, Any], kept: bool, tmp_path: Path
) -> None:
    store = ResultStore(tmp_path)
    record = store.write("T", "s", Trajectory(BOXES, record={"identity": was}), [{"event": "old"}])
    note = store.write_failure(
        RunRecord("T", "s", "failed", identity=now, failure={"message": "m"}), [{"event": "new"}]
    )
    assert ("s.failure.json" in note) == kept and store.entry("T", "s").status == ("done" if kept else "failed")
    assert store.trace("T", "s") == [{"event": "old" if kept else "new"}] and store.sequences("T") == ["s"]
    failure = store.path("T", "s", ".failure.json")
    assert not kept or (store.record("T", "s") == record and read_record(failure).failure == {"message": "m"})
    store.write("T", "s", Trajectory(BOXES))
    assert {path.name for path in failure.parent.iterdir()} == {"s.txt", "s.run.json"}


def test_a_result_stays_where_the_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)
    store.write("T", "s", Trajectory(BOXES), [{"event": "old"}])
    before = {path.name: path.read_bytes() for path in store.tracker_folder("T").iterdir()}
    written = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".jsonl":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="the disk is full"):
        store.write("T", "s", Trajectory(2 * BOXES), [{"event": "new"}])
    assert {path.name: path.read_bytes() for path in store.tracker_folder("T").iterdir()} == before


def test_unknown_fields_of_a_record_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "s.run.json"
    path.write_text('{"schema": "tnllt.run/1", "tracker": "T", "sequence": "s", "from_the_future": 1}')
    assert read_record(path) == RunRecord("T", "s")


@pytest.mark.parametrize(
    "options", [{"a": 1, "b": [0.5, {"c": "x"}]}, {"a": 10**18}, {"a": [10**30]}, {"a": {"b": -(10**19)}}]
)
@pytest.mark.parametrize("confidence", [[1, float("inf"), 0.25], [float("nan")] * 3, None])
def test_a_record_of_ours_is_read_as_any_json_is(options: dict[str, Any], confidence: list[float] | None) -> None:
    times: Any = {"load": 1, "read": [1, 2.5, None], "track": [0.1, 12345678901234567890, 3]}
    raw = RunRecord("T", "s", options=options, confidence=confidence, seconds=times, absent=[True] * 3).to_json()
    found, expected = parse_record(raw, "r"), parse_record(b" " + raw, "r")
    assert repr(found) == repr(expected) and found == expected
    for damaged in (raw[:-3], raw.replace(b'"frames": 0', b'"frames": "x"'), raw.replace(b"12345", b"x"),
                    raw.replace(b'"attempts": 1', b'"attempts": 1, "schema": "tnllt.run/9"')):  # fmt: skip
        with pytest.raises(DataError) as one:
            parse_record(damaged, "r")
        with pytest.raises(DataError) as two:
            parse_record(b" " + damaged, "r")
        assert str(one.value).partition("(char")[0][:40] == str(two.value).partition("(char")[0][:40]


def test_plain_values() -> None:
    odd = {"a": (np.float32(1), Path("x")), 2: {float("inf")}, "b": np.array([[True]])}
    assert plain(odd) == {"a": [1.0, "x"], "2": ["Infinity"], "b": [[True]]}


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="the disk is full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_folder_in_place_of_a_result_is_named(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.path("T", "s").mkdir(parents=True)
    assert store.entry("T", "s").status == "missing"
    with pytest.raises(DataError, match=r"s\.txt: cannot be replaced \(.*\); move it away"):
        store.write("T", "s", Trajectory(BOXES))


def test_rests_of_killed_runs_are_swept(tmp_path: Path) -> None:
    old, young = tmp_path / f"{TEMPORARY}1-a.txt", tmp_path / f"{TEMPORARY}2-b.txt"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 7200,) * 2)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_claim_is_one_process_own_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / ".locks" / "s"
    ready, done = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    other = context.Process(target=_hold, args=(path, done))
    other.start()
    assert ready.recv() is True
    mine = FileLock(path)
    assert not mine.take() and str(other.pid) in mine.holder()
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    assert mine.take(), "the system gave it back"
    mine.release()
    assert not path.exists()


def _hold(path: Path, done) -> None:
    claim = FileLock(path)
    done.send(claim.take())
    time.sleep(60)


def test_claims_are_exclusive_under_contention(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        overlaps = pool.starmap(_contend, [(tmp_path,)] * 4)
    assert sum(overlaps) == 0
    assert (tmp_path / "count").read_text() == "200"


def _contend(folder: Path) -> int:
    """Adds one to a number in a file, fifty times, each time under the claim; counts lost turns."""
    wrong, count = 0, folder / "count"
    for _ in range(50):
        claim = FileLock(folder / "claims" / "s")
        while not claim.take():
            time.sleep(0.001)
        with claim:
            before = int(count.read_text()) if count.exists() else 0
            count.write_text(str(before + 1))
            wrong += int(count.read_text()) != before + 1
    return wrong
