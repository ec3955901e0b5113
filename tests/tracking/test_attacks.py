"""Trackers and folders that mean ill, or go wrong in rare ways."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tnllt
from tests.tracking.conftest import TRACKERS, command, results, tnllt_run, write_dataset
from tnllt.errors import UsageError
from tnllt.results.store import ResultStore

BASE = "from tests.tracking.trackers import Drift\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "small", {"a": 5, "b": 6})


def tracker(folder: Path, body: str) -> str:
    (folder / "mine.py").write_text("import os, sys, time\n" + BASE + "class Mine(Drift):\n" + body)
    return f"{folder / 'mine.py'}:Mine"


def run(name: str, data: Path, folder: Path, **settings: Any) -> tnllt.tracking.runner.RunResult:
    return tnllt.run(name, dataset=data, results=folder, **{"threads": 1, **settings})


# --- one deadline ----------------------------------------------------------------------------------------------------


def test_a_sequence_that_is_not_finished_in_time_fails(data: Path, tmp_path: Path) -> None:
    name = tracker(tmp_path, "    def finish(self):\n        time.sleep(100)\n")
    begin = time.monotonic()
    ended = run(name, data, tmp_path / "r", frame_timeout=1)
    assert time.monotonic() - begin < 60 and set(ended.failed) == {"a", "b"}
    assert "the sequence was not finished within 1 s (--frame-timeout)" in ended.failed["a"]
    record = ResultStore(tmp_path / "r").entry("Mine", "a").record
    assert record is not None and record.failure is not None
    assert record.failure["kind"] == "timeout" and "in finish" in str(record.failure["traceback"])


def test_a_tracker_that_does_not_close_is_ended(data: Path, tmp_path: Path) -> None:
    name = tracker(tmp_path, "    def close(self):\n        time.sleep(1000)\n")
    begin = time.monotonic()
    assert run(name, data, tmp_path / "r").exit_code == 0
    assert time.monotonic() - begin < 60


# --- processes that a tracker forks ----------------------------------------------------------------------------------


def test_a_forked_helper_does_not_keep_the_lock_of_a_killed_run(data: Path, tmp_path: Path) -> None:
    body = (
        "    def initialize(self, image, box=None, language=None):\n"
        "        if os.fork() == 0:\n"
        f"            open({str(tmp_path / 'helper')!r}, 'w').write(str(os.getpid()))\n"
        "            time.sleep(60)\n"
        "            os._exit(0)\n"
        "        super().initialize(image, box, language)\n"
    )
    name = tracker(tmp_path, body)
    words = (name, "-d", data, "--results", tmp_path / "r", "--threads", 1)
    first = subprocess.Popen(command(*words, "--set", "pause=30"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (tmp_path / "helper").is_file() or not (tmp_path / "helper").read_text():
        assert first.poll() is None
        time.sleep(0.02)
    helper = int((tmp_path / "helper").read_text())
    first.kill()
    first.wait()
    try:
        assert Path(f"/proc/{helper}").is_dir(), "the helper lives on"
        (tmp_path / "r" / "Mine_tracking_result" / "run.json").unlink()
        second = subprocess.run(command(*words), capture_output=True, text=True, timeout=40)
        assert second.returncode == 0 and "waiting for it" not in second.stderr, second.stderr
    finally:
        os.kill(helper, signal.SIGKILL)


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise ValueError('child')", "return self.box"])
def test_a_forked_child_that_comes_back_writes_nothing(data: Path, tmp_path: Path, end: str) -> None:
    body = (
        "    def track(self, image):\n"
        "        child = os.fork()\n"
        f"        if child == 0:\n            {end}\n"
        "        os.waitpid(child, 0)\n"
        "        return super().track(image)\n"
    )
    ended = run(tracker(tmp_path, body), data, tmp_path / "r")
    assert ended.exit_code == 0 and sorted(ended.done) == ["a", "b"]
    plain = run(f"{TRACKERS}:Drift", data, tmp_path / "plain")
    assert plain.exit_code == 0
    assert results(tmp_path / "r", "Mine") == results(tmp_path / "plain", "Drift")
    assert all(ResultStore(tmp_path / "r").entry("Mine", name).record.attempts == 1 for name in "ab")


# --- records ---------------------------------------------------------------------------------------------------------


def test_infinite_confidence_survives_the_record(data: Path, tmp_path: Path) -> None:
    body = (
        "    def track(self, image):\n"
        "        from tnllt.tracking import Prediction\n"
        "        self.count = getattr(self, 'count', 0) + 1\n"
        "        return Prediction(self.box, [float('inf'), float('-inf'), 0.5][self.count % 3])\n"
    )
    run(tracker(tmp_path, body), data, tmp_path / "r", sequences="a")
    read = ResultStore(tmp_path / "r").read("Mine", "a").confidence
    assert read is not None
    assert np.array_equal(read, [np.nan, -np.inf, 0.5, np.inf, -np.inf], equal_nan=True)
    text = ResultStore(tmp_path / "r").path("Mine", "a", ".run.json").read_text()
    assert '"confidence": [null, "-Infinity", 0.5, "Infinity", "-Infinity"]' in text


def test_confidence_that_is_always_infinite_is_kept(data: Path, tmp_path: Path) -> None:
    body = (
        "    def track(self, image):\n"
        "        from tnllt.tracking import Prediction\n"
        "        return Prediction(self.box, float('inf'))\n"
    )
    run(tracker(tmp_path, body), data, tmp_path / "r", sequences="a")
    read = ResultStore(tmp_path / "r").read("Mine", "a").confidence
    assert read is not None and np.isposinf(read[1:]).all()


# --- code from folders of others -------------------------------------------------------------------------------------


def test_retry_runs_no_code_that_a_record_alone_names(data: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    name = tracker(tmp_path, f"    open({str(mark)!r}, 'w').close()\n    def track(self, image): raise ValueError\n")
    assert run(name, data, tmp_path / "r").exit_code == 3
    mark.unlink()
    refused = tnllt_run("retry", "-d", data, "--results", tmp_path / "r")
    assert refused.returncode == 2 and "--yes runs it" in refused.stderr
    assert f"with {name} as their records say" in refused.stderr and not mark.exists()
    assert tnllt_run("retry", "-d", data, "--results", tmp_path / "r", "--yes").returncode == 3 and mark.exists()


STARTER = """
class Corner:
    def __init__(self, score: float = 1.0): ...
    def locate(self, image, text): return [((1.0, 1.0, 9.0, 9.0), 1.0)]
"""


@pytest.mark.parametrize(("ends", "sequences"), [("raise", "b"), ("hang", "a,b")])
@pytest.mark.parametrize(
    "words",
    [
        ("--seed", 5, "--mode", "BB"),
        ("--realtime", 20),
        ("--text", "none"),
        ("--starter", "{folder}/corner.py:Corner", "--starter-set", "score=0.5"),
    ],
    ids=lambda words: words[0],
)
def test_retry_keeps_all_that_decides_results(
    words: tuple[object, ...], ends: str, sequences: str, data: Path, tmp_path: Path
) -> None:
    """All sequences fail, so the identity may change; or one, whose worker is ended: the runner writes the record."""
    (tmp_path / "corner.py").write_text(STARTER)
    given = [str(word).format(folder=tmp_path) for word in words]
    where = ("-d", data, "--results", tmp_path, "-s", sequences, "--frame-timeout", 1, "--start-timeout", 60)
    run = tnllt_run(f"{TRACKERS}:Habit", *where, "--set", f"what={ends}", "--set", "at=1", *given)
    assert run.returncode == 3, run.stderr
    store = ResultStore(tmp_path)
    (name,) = store.trackers()
    before = store.identity(name)
    again = tnllt_run("retry", *where, "--yes")
    assert again.returncode == 3 and "1 of" in again.stderr, again.stderr
    assert before is not None and store.identity(name) == before


def test_the_working_folder_is_not_searched(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "planted_module.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    assert tnllt_run("list").returncode == 0
    body = (
        "    def info(self):\n"
        "        import importlib.util\n"
        "        return {'path': sys.path, 'found': importlib.util.find_spec('planted_module') is not None}\n"
    )
    assert run(tracker(tmp_path, body), data, folder, sequences="a").exit_code == 0
    info = ResultStore(folder).entry("Mine", "a").record.info
    assert not info["found"] and not {"", str(folder)} & {*info["path"], *sys.path}


def test_a_module_of_the_working_folder_is_found_where_it_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker(tmp_path, "    pass\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert run("mine:Mine", data, tmp_path / "r").exit_code == 0
    assert str(tmp_path) in sys.path


def test_a_dataset_by_a_relative_name_is_found_after_chdir(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dataset(tmp_path / "ds", {"a": 4})
    body = (
        "    def initialize(self, *given, **more):\n        os.chdir('/')\n        super().initialize(*given, **more)\n"
    )
    name = tracker(tmp_path, body)
    monkeypatch.chdir(tmp_path)
    assert run(name, Path("ds"), Path("r")).exit_code == 0
    assert tnllt_run(name, "-d", "ds", "--results", "r2").returncode == 0
    with pytest.raises(UsageError, match="neither a benchmark nor a folder"):
        run(name, Path("no_ds"), Path("r"))
