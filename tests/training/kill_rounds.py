"""Trainings of equal and of different recipes in one folder at the same time, killed at random: is anything mixed?

    python -m tests.training.kill_rounds --rounds 100

Each round starts two trainings of one recipe and one of another at once, kills some of them at random moments, and then
continues both recipes undisturbed. Exactly one of them owns the folder, and its weights must be bit equal to those of a
training that nobody disturbed; the other must be refused by name. A training that was not killed ends with 0, or with
2 because another one writes there or had begun the folder with another recipe.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from tests.tracking.kill_rounds import Tally, judge, main
from tnllt.tensors import read

RECIPES = {
    "plain": ["steps=8", "batch=1", "warmup=2"],
    "rate": ["steps=8", "batch=1", "warmup=2", "learning_rate=0.001"],
    "seed": ["steps=8", "batch=1", "warmup=2", "seed=5"],
}
REFUSED = ("is being written by another run", "holds a run of another recipe")


def start(name: str, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tnllt.cli.train", "reasoner", "--save-every", "1", "--out", str(out)]
    command += [word for change in RECIPES[name] for word in ("--set", change)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def weights(out: Path) -> dict[str, torch.Tensor]:
    return dict(read(out / "weights.safetensors").content)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def disturb(runs: list[subprocess.Popen[str]], out: Path, tally: Tally) -> list[subprocess.Popen[str]]:
    """Kills one to three of the trainings, the first when something is saved."""
    killed: list[subprocess.Popen[str]] = []
    deadline = time.monotonic() + 120
    while not list(out.glob("state-*")) and any(run.poll() is None for run in runs) and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(random.randint(1, 3)):
        time.sleep(random.uniform(0, 0.5))
        if alive := [run for run in runs if run.poll() is None]:
            killed.append(random.choice(alive))
            killed[-1].kill()
            tally.kills += 1
    return killed


def one_round(expected: dict[str, dict[str, torch.Tensor]], out: Path, tally: Tally) -> None:
    first, second = random.sample(sorted(RECIPES), 2)
    order = [first, first, second]
    random.shuffle(order)
    runs = [start(name, out) for name in order]
    killed = disturb(runs, out, tally)
    for name, run in zip(order, runs, strict=True):
        judge(name, run, run in killed, tally, REFUSED)
    owners = []
    for name in (first, second):
        judge(name, run := start(name, out), False, tally, REFUSED)
        if run.returncode == 0:
            owners.append(name)
    if len(owners) != 1:
        tally.faults.append(f"{out.name}: owned by {owners}, not by one of {first}, {second}")
    elif not same(weights(out), expected[owners[0]]):
        tally.faults.append(f"{out.name}: not the weights of {owners[0]}")


def rounds(count: int, folder: Path) -> Tally:
    tally, expected = Tally(), {}
    for name in RECIPES:
        _, said = (run := start(name, folder / name)).communicate(timeout=600)
        assert run.returncode == 0, said
        expected[name] = weights(folder / name)
    assert not any(same(expected["plain"], expected[name]) for name in ("rate", "seed"))
    for number in range(count):
        one_round(expected, out := folder / f"round{number}", tally)
        shutil.rmtree(out, ignore_errors=True)
    return tally


if __name__ == "__main__":
    main(__doc__, rounds)
