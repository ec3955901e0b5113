"""Real kills: workers and runner at random times, a full disk, two runs at once. Nothing is lost, nothing is half."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.tracking.conftest import LENGTHS, TRACKERS, command, results, tnllt_run
from tests.tracking.kill_rounds import alive, tracked
from tests.tracking.kill_rounds import rounds as kill_rounds_of_variants
from tnllt.results.store import ResultStore


def children(pid: int) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def words(data: Path, folder: Path, *more: object) -> tuple[object, ...]:
    return (f"{TRACKERS}:Drift", "-d", data, "--results", folder, "--set", "pause=0.004", "--workers", 2, *more)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert tnllt_run(*words(data, folder)).returncode == 0
    return results(folder, "Drift")


def assert_whole(folder: Path, expected: dict[str, bytes]) -> None:
    """Whatever is there is whole: at any moment, under any interruption."""
    for name, text in results(folder, "Drift").items():
        assert text == expected[name], name
        assert ResultStore(folder).entry("Drift", name).status == "done"


def interrupt(data: Path, folder: Path, victim: str, delay: float) -> bool:
    """Kills a run, `delay` seconds after it began to track; whether a sequence was being tracked at that moment."""
    run = subprocess.Popen(command(*words(data, folder)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run.poll() is None and not tracked(folder):
        time.sleep(0.005)
    time.sleep(delay)
    landed = run.poll() is None and bool(tracked(folder))
    workers = children(run.pid)
    if victim == "runner":
        run.kill()
    for pid in random.sample(workers, 1) if victim == "worker" and workers else ():
        os.kill(pid, signal.SIGKILL)
    run.wait(60)
    end = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(alive, workers)), "workers end with their runner"
    return landed


def kill_rounds(data: Path, folder: Path, expected: dict[str, bytes], rounds: int) -> None:
    random.seed(rounds)
    landed = []
    for number in range(rounds):
        place = folder / str(number)
        for victim in random.choices(("worker", "runner"), k=2):
            landed.append(interrupt(data, place, victim, random.uniform(0, 0.12)))
            assert_whole(place, expected)
        assert tnllt_run(*words(data, place)).returncode == 0
        assert results(place, "Drift") == expected
        rests = [p.name for p in (place / "Drift_tracking_result").glob("*") if p.suffix not in (".txt", ".json")]
        assert all(name.startswith(".") for name in rests), rests
    assert sum(landed) >= len(landed) / 2, "at least half of the kills land while a sequence is being tracked"


def test_kills_of_worker_and_runner(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    kill_rounds(data, tmp_path, undisturbed, 2)


@pytest.mark.slow
def test_twenty_rounds_of_kills(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    kill_rounds(data, tmp_path, undisturbed, 20)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_kindly(data: Path, tmp_path: Path, undisturbed: dict[str, bytes], how: signal.Signals) -> None:
    run = subprocess.Popen(command(*words(data, tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not results(tmp_path, "Drift"):
        time.sleep(0.02)
    workers = children(run.pid)
    run.send_signal(how)
    _, said = run.communicate(timeout=30)
    assert run.returncode == 128 + how and "Traceback" not in said and "run again" in said
    assert workers and not any(map(alive, workers))
    assert_whole(tmp_path, undisturbed)
    assert tnllt_run(*words(data, tmp_path)).returncode == 0
    assert results(tmp_path, "Drift") == undisturbed


def test_two_runs_on_one_folder(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    runs = [
        subprocess.Popen(command(*words(data, tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert results(tmp_path, "Drift") == undisturbed
    attempts = [ResultStore(tmp_path).entry("Drift", name).record.attempts for name in LENGTHS]
    assert attempts == [1] * len(LENGTHS)


def test_a_run_takes_over_from_one_that_dies(data: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    first = subprocess.Popen(
        command(*words(data, tmp_path, "--set", "step=1")), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list(tmp_path.rglob(".locks/*")):
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    stopped = children(first.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    second = subprocess.Popen(command(*words(data, tmp_path, "--set", "step=1")), stderr=subprocess.PIPE, text=True)
    assert second.stderr is not None
    while "is being tracked by another run" not in second.stderr.readline():
        pass
    first.kill()
    for pid in stopped:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    first.wait()
    second.communicate(timeout=60)
    assert second.returncode == 0
    assert results(tmp_path, "Drift") == undisturbed


@pytest.fixture
def small_disk(tmp_path: Path):
    """64 KB that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk(data: Path, small_disk: Path, undisturbed: dict[str, bytes]) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(44 * 1024))
    run = tnllt_run(*words(data, small_disk))
    assert run.returncode == 2 and "the disk is full" in run.stderr and str(small_disk) in run.stderr, run.stderr
    assert "Traceback" not in run.stderr
    there = results(small_disk, "Drift")
    assert len(there) < len(LENGTHS)
    assert_whole(small_disk, undisturbed)
    ballast.unlink()
    assert tnllt_run(*words(data, small_disk)).returncode == 0
    assert results(small_disk, "Drift") == undisturbed


def test_concurrent_runs_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    random.seed(1)
    assert kill_rounds_of_variants(1, tmp_path).faults == []


@pytest.mark.slow
def test_ten_rounds_of_concurrent_runs(tmp_path: Path) -> None:
    random.seed(10)
    tally = kill_rounds_of_variants(10, tmp_path)
    assert tally.faults == [] and tally.in_a_sequence >= tally.kills / 2
