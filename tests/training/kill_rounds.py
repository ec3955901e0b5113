"""Trainings of equal and of different recipes in one folder at the same time, killed at random: is anything mixed?

    python -m tests.training.kill_rounds --rounds 100

Each round starts two trainings of one recipe and one of another at once, kills some of them at random moments, and then
continues both recipes undisturbed. Exactly one of them owns the folder, and its weights must be bit equal to those of a
training that nobody disturbed; the other must be refused by name. A training that was not killed ends with 0, or with
2 because another one writes there or had begun the folder with another recipe.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

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


class Rounds:
    """What all rounds showed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runs, self.kills, self.refused, self.faults = folder, 0, 0, 0, list[str]()
        self.expected: dict[str, dict[str, torch.Tensor]] = {}
        for name in RECIPES:
            _, said = (run := start(name, folder / name)).communicate(timeout=600)
            assert run.returncode == 0, said
            self.expected[name] = weights(folder / name)
        assert not same(self.expected["plain"], self.expected["rate"])
        assert not same(self.expected["plain"], self.expected["seed"])

    def once(self, out: Path) -> None:
        first, second = random.sample(sorted(RECIPES), 2)
        order = [first, first, second]
        random.shuffle(order)
        runs = [start(name, out) for name in order]
        killed = self.disturb(runs, out)
        for name, run in zip(order, runs, strict=True):
            self.judge(name, run, run in killed)
        owners = []
        for name in (first, second):
            self.judge(name, run := start(name, out), False)
            if run.returncode == 0:
                owners.append(name)
        if len(owners) != 1:
            self.faults.append(f"{out.name}: owned by {owners}, not by one of {first}, {second}")
        elif not same(weights(out), self.expected[owners[0]]):
            self.faults.append(f"{out.name}: not the weights of {owners[0]}")

    def disturb(self, runs: list[subprocess.Popen[str]], out: Path) -> list[subprocess.Popen[str]]:
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
                self.kills += 1
        return killed

    def judge(self, name: str, run: subprocess.Popen[str], killed: bool) -> None:
        _, said = run.communicate(timeout=600)
        self.runs += 1
        refused = run.returncode == 2 and any(words in said for words in REFUSED)
        self.refused += refused
        if not (killed or refused or run.returncode == 0):
            self.faults.append(f"{name}: exit code {run.returncode}: {said[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    with tempfile.TemporaryDirectory(prefix="tnllt-kill-") as folder:
        rounds = Rounds(Path(folder))
        for number in range(given.rounds):
            rounds.once(out := Path(folder) / f"round{number}")
            shutil.rmtree(out, ignore_errors=True)
    counts = f"{rounds.runs} runs, {rounds.kills} kills, {rounds.refused} refused by name, {len(rounds.faults)} faults"
    print(f"{given.rounds} rounds: {counts}")
    print("\n".join(rounds.faults))
    sys.exit(bool(rounds.faults))


if __name__ == "__main__":
    main()
