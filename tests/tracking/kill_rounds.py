"""Runs of equal and of different settings in one folder at the same time, killed at random: is anything mixed?

    python -m tests.tracking.kill_rounds --rounds 100

Each round starts two runs of one variant and one of another at once (other options, another seed, or other data under
the same names), kills some of them or their workers at random moments, and then continues both variants undisturbed.
Exactly one of them owns the folder and must be bit equal to a run that nobody disturbed; the other must be refused by
name. A run that was not killed ends with 0, or with 2 and the difference.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.tracking.conftest import TRACKERS, command, results, write_dataset
from tnllt.results.store import ResultStore

LENGTHS = {"a": 12, "b": 30, "c": 8, "d": 20, "e": 16}
REFUSED = ("results of Drift are here that another run made",)


@dataclass
class Tally:
    """What all rounds showed."""

    runs: int = 0
    kills: int = 0
    in_a_sequence: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        inside = f" ({self.in_a_sequence} while a sequence was tracked)" if self.in_a_sequence else ""
        return (
            f"{self.runs} runs, {self.kills} kills{inside}, {self.refused} refused by name, {len(self.faults)} faults"
        )


def variants(folder: Path) -> dict[str, list[object]]:
    data, other = write_dataset(folder / "data", LENGTHS), write_dataset(folder / "other", LENGTHS)
    for name in LENGTHS:
        boxes = other / name / "groundtruth.txt"
        boxes.write_text(boxes.read_text().replace("12,9,8", "13,9,8"))
    common = [f"{TRACKERS}:Drift", "--set", "pause=0.01", "--workers", 2, "--threads", 1]
    return {
        "plain": [*common, "-d", data],
        "step": [*common, "-d", data, "--set", "step=2"],
        "seed": [*common, "-d", data, "--seed", 7],
        "data": [*common, "-d", other],
    }


def start(words: list[object], place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words, "--results", place), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def workers(process: subprocess.Popen[str]) -> list[int]:
    try:
        return [int(p) for p in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tracked(results: Path) -> list[Path]:
    """The lock files of the sequences being tracked; those of killed runs name processes that are gone."""
    found = []
    for path in (results / "Drift_tracking_result" / ".locks").glob("[!.]*"):
        with suppress(OSError, IndexError, ValueError):
            if alive(int(path.read_text().split()[-1])):
                found.append(path)
    return found


def disturb(runs: list[subprocess.Popen[str]], place: Path, tally: Tally) -> set[int]:
    """Kills one to three times; the runs that were killed themselves."""
    killed: set[int] = set()
    deadline = time.monotonic() + 60
    while not tracked(place) and any(run.poll() is None for run in runs) and time.monotonic() < deadline:
        time.sleep(0.005)
    for _ in range(random.randint(1, 3)):
        time.sleep(random.uniform(0, 0.4))
        alive = [run for run in runs if run.poll() is None]
        if not alive:
            break
        victim = random.choice(alive)
        tally.kills += 1
        tally.in_a_sequence += bool(tracked(place))
        pids = workers(victim)
        if pids and random.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(random.choice(pids), signal.SIGKILL)
        else:
            killed.add(victim.pid)
            victim.kill()
    return killed


def one_round(words: dict[str, list[object]], expected: dict[str, dict[str, bytes]], place: Path, tally: Tally) -> None:
    first, second = random.sample(sorted(words), 2)
    order = [first, first, second]
    random.shuffle(order)
    runs = [start(words[name], place) for name in order]
    killed = disturb(runs, place, tally)
    for name, run in zip(order, runs, strict=True):
        judge(name, run, run.pid in killed, tally)
    owners = []
    for name in (first, second):
        run = start(words[name], place)
        judge(name, run, False, tally)
        if run.returncode == 0:
            owners.append(name)
    if len(owners) != 1:
        tally.faults.append(f"{place.name}: owned by {owners}, not by one of {first}, {second}")
        return
    if results(place, "Drift") != expected[owners[0]]:
        tally.faults.append(f"{place.name}: not the results of {owners[0]}")
    store = ResultStore(place)
    run_identity = store.identity("Drift")
    entries = [store.entry("Drift", name, rows, run_identity) for name, rows in LENGTHS.items()]
    if [entry.status for entry in entries] != ["done"] * len(LENGTHS):
        tally.faults.append(f"{place.name}: {[entry.reason for entry in entries]}")


def judge(
    name: str, run: subprocess.Popen[str], killed: bool, tally: Tally, refusals: tuple[str, ...] = REFUSED
) -> None:
    """Waits for a run and counts it: one that was not killed ends with 0, or is refused in one of these words."""
    try:
        _, said = run.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        run.kill()
        tally.faults.append(f"{name}: did not end within five minutes")
        return
    tally.runs += 1
    refused = run.returncode == 2 and any(words in said for words in refusals)
    tally.refused += refused
    if not (killed or refused or run.returncode == 0):
        tally.faults.append(f"{name}: exit code {run.returncode}: {said[-500:]}")


def rounds(count: int, folder: Path) -> Tally:
    words, tally = variants(folder), Tally()
    expected = {}
    for name in words:
        run = start(words[name], folder / "undisturbed" / name)
        _, said = run.communicate(timeout=300)
        assert run.returncode == 0, said
        expected[name] = results(folder / "undisturbed" / name, "Drift")
    assert len({tuple(sorted(files.items())) for files in expected.values()}) == len(words), "the variants differ"
    for number in range(count):
        place = folder / f"round{number}"
        one_round(words, expected, place, tally)
        shutil.rmtree(place, ignore_errors=True)
    return tally


def main(about: str | None, rounds: Callable[[int, Path], Tally]) -> None:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    with tempfile.TemporaryDirectory(prefix="tnllt-kill-") as folder:
        tally = rounds(given.rounds, Path(folder))
    print(f"{given.rounds} rounds: {tally}")
    print("\n".join(tally.faults))
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main(__doc__, rounds)
