"""Trackers that misbehave: each costs its own sequence and no more, and the record tells what happened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.tracking.conftest import TRACKERS, results, tnllt_run, tnllt_run_apart
from tnllt.results.store import ResultStore

OTHERS = {"a", "c", "d", "e"}


def habit(data: Path, folder: Path, what: str, *words: object):
    return tnllt_run(f"{TRACKERS}:Habit", "-d", data, "--results", folder, "--set", f"what={what}", *words)


@pytest.mark.parametrize(
    ("what", "kind", "message"),
    [
        ("raise", "exception", "frame 4: RuntimeError: cannot see a thing"),
        ("nan", "answer", "frame 4: the tracker answered [1.0, nan, 3.0, 4.0] instead of finite numbers"),
        ("five", "answer", "frame 4: the tracker answered 5 numbers [1.0, 2.0, 3.0, 4.0, 5.0] instead of four"),
        ("none", "answer", "frame 4: the tracker answered None instead of four numbers x, y, w, h"),
    ],
)
def test_a_fault_costs_its_sequence_alone(data: Path, tmp_path: Path, what: str, kind: str, message: str) -> None:
    done = habit(data, tmp_path, what)
    assert done.returncode == 3 and f"b: {message}" in done.stdout and "4 done, 1 failed" in done.stdout
    assert set(results(tmp_path, "Habit")) == OTHERS
    entry = ResultStore(tmp_path).entry("Habit", "b")
    assert entry.status == "failed" and entry.record is not None and entry.record.failure is not None
    assert entry.record.failure["kind"] == kind and entry.record.failure["frame"] == 3
    if what == "raise":
        assert 'raise RuntimeError("cannot see a thing")' in entry.record.failure["traceback"]
    assert len(entry.record.seconds["track"]) == 3, "what was measured until then is kept"


def test_retry_tracks_failures_and_nothing_else(data: Path, tmp_path: Path) -> None:
    once = tmp_path / "once"
    done = habit(data, tmp_path / "r", "raise", "--set", f"once={once}", "-s", "a", "-s", "b")
    assert done.returncode == 3
    again = tnllt_run("retry", "-d", data, "--results", tmp_path / "r", "--yes")
    assert again.returncode == 0 and "1 of 5 sequences to track" in again.stderr
    assert set(results(tmp_path / "r", "Habit")) == {"a", "b"}, "what was never tracked is left alone"
    assert "nothing failed" in tnllt_run("retry", "-d", data, "--results", tmp_path / "r").stdout


def test_a_hanging_tracker_is_ended_by_the_frame_timeout(data: Path, tmp_path: Path) -> None:
    done = habit(data, tmp_path, "hang", "--frame-timeout", 1, "--workers", 2)
    assert done.returncode == 3 and "b: frame 4: no answer within 1 s (--frame-timeout)" in done.stdout
    assert set(results(tmp_path, "Habit")) == OTHERS
    record = ResultStore(tmp_path).entry("Habit", "b").record
    assert record is not None and record.failure is not None
    assert record.failure["kind"] == "timeout" and "do_hang" in record.failure["traceback"], "where it hung"


def test_a_tracker_that_does_not_start(data: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import time\nfrom tnllt.tracking import Tracker\n"
        "class Slow(Tracker):\n"
        "    def __init__(self): time.sleep(60)\n"
        "    def initialize(self, image, box=None, language=None): pass\n"
        "    def track(self, image): return [1, 2, 3, 4]\n"
        "class Broken(Slow):\n"
        "    def __init__(self): raise FileNotFoundError('no weights here')\n"
    )
    done = tnllt_run(f"{slow}:Slow", "-d", data, "--results", tmp_path / "r", "--start-timeout", 1)
    assert done.returncode == 2 and "Slow: not loaded within 1 s (--start-timeout)" in done.stderr
    assert f'{slow}", line 4 in __init__' in done.stderr
    done = tnllt_run(f"{slow}:Broken", "-d", data, "--results", tmp_path / "r")
    assert done.returncode == 2 and "Broken cannot be loaded: FileNotFoundError: no weights here" in done.stderr
    assert "Traceback" not in done.stderr
    assert "in __init__" in tnllt_run_apart(f"{slow}:Broken", "-d", data, "--results", tmp_path / "r", "-v").stderr


def test_what_a_tracker_prints_disturbs_nothing_and_is_kept(data: Path, tmp_path: Path) -> None:
    done = habit(data, tmp_path, "rubbish")
    assert done.returncode == 0 and "rubbish" not in done.stdout + done.stderr
    store = ResultStore(tmp_path)
    kept = store.entry("Habit", "b").record.output
    assert kept.endswith("raw bytes\n") and "and on stderr" in kept and len(kept) <= 4000
    assert store.entry("Habit", "a").record.output == ""
    words = (f"{TRACKERS}:Habit", "-d", data, "--results", tmp_path / "shown", "--set", "what=rubbish", "--verbose")
    assert "rubbish" in tnllt_run_apart(*words).stderr


def test_a_leaking_tracker_is_ended_by_the_memory_limit(data: Path, tmp_path: Path) -> None:
    done = habit(data, tmp_path, "leak", "--max-memory", 600)
    assert done.returncode == 3 and "above 600 (--max-memory)" in done.stdout
    assert set(results(tmp_path, "Habit")) == OTHERS


def test_growing_memory_is_told(data: Path, tmp_path: Path) -> None:
    done = habit(data, tmp_path, "grow")
    assert done.returncode == 0 and "memory grew by 3" in done.stderr and "over b" in done.stderr
    memory = ResultStore(tmp_path).entry("Habit", "b").record.memory_mb
    assert memory["end"] - memory["start"] > 290


@pytest.mark.parametrize("what", ["die", "segfault", "exit"])
def test_a_tracker_that_takes_its_process_along(data: Path, tmp_path: Path, what: str) -> None:
    done = habit(data, tmp_path, what)
    assert done.returncode == 3 and set(results(tmp_path, "Habit")) == OTHERS
    record = ResultStore(tmp_path).entry("Habit", "b").record
    assert record is not None and record.failure is not None
    if what == "exit":  # SystemExit is an answer of the tracker's, not the end of the run
        assert "SystemExit: 5" in record.failure["message"] and record.attempts == 1
        return
    signal = {"die": "SIGKILL", "segfault": "SIGSEGV"}[what]
    assert record.failure["kind"] == "lost" and signal in record.failure["message"] and record.attempts == 3
    if what == "segfault":
        assert "do_segfault" in record.failure["traceback"], "where it crashed"
        assert re.search(r'trackers\.py", line \d+ in do_segfault$', record.failure["message"])


def test_a_lost_worker_is_replaced(data: Path, tmp_path: Path) -> None:
    done = habit(data, tmp_path / "r", "die", "--set", f"once={tmp_path / 'once'}", "--workers", 2)
    assert done.returncode == 0, done.stdout
    assert set(results(tmp_path / "r", "Habit")) == OTHERS | {"b"}
    assert ResultStore(tmp_path / "r").entry("Habit", "b").record.attempts == 2


def test_a_frame_that_cannot_be_read(tmp_path: Path) -> None:
    from tests.tracking.conftest import write_dataset

    data = write_dataset(tmp_path / "data", {"a": 6, "b": 8})
    (data / "b" / "imgs" / "00005.png").write_bytes(b"no picture")
    done = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path / "r")
    assert done.returncode == 3 and "00005.png" in done.stdout and set(results(tmp_path / "r", "Drift")) == {"a"}
