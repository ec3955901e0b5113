"""A small dataset on disk, and the command in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

TRACKERS = Path(__file__).with_name("trackers.py")
LENGTHS = {"a": 12, "b": 30, "c": 8, "d": 20, "e": 16}


def write_dataset(folder: Path, lengths: dict[str, int], size: tuple[int, int] = (48, 64)) -> Path:
    """Sequences in TNLLT's layout with random frames; the corner pixel of sequence i is (i, i, i)."""
    for number, (name, frames) in enumerate(lengths.items()):
        random = np.random.default_rng(number)
        (folder / name / "imgs").mkdir(parents=True)
        for index in range(frames):
            picture = random.integers(0, 256, (*size, 3), dtype=np.uint8)
            picture[0, 0] = number
            cv2.imwrite(str(folder / name / "imgs" / f"{index + 1:05d}.png"), picture)
        rows = "".join(f"{10 + i},{12},{9},{8}\n" for i in range(frames))
        (folder / name / "groundtruth.txt").write_text(rows)
        (folder / name / "language.txt").write_text(f"the thing called {name}\n")
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "small", LENGTHS)


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tnllt.cli.run", *map(str, words)]


def tnllt_run(*words: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`tnllt-run` with these words, in a process of its own."""
    return subprocess.run(command(*words), capture_output=True, text=True, errors="replace", timeout=timeout)


def results(folder: Path, tracker: str) -> dict[str, bytes]:
    """{sequence: the result file's bytes}."""
    return {p.stem: p.read_bytes() for p in sorted((folder / f"{tracker}_tracking_result").glob("*.txt"))}
