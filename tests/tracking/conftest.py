"""A small dataset on disk, and the command in a process of its own."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest

from tnllt.files import TEMPORARY

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


def tnllt_run(*words: object) -> subprocess.CompletedProcess[str]:
    """`tnllt-run` with these words, in this process (its workers are processes of their own)."""
    from tnllt.cli.common import run_command
    from tnllt.cli.run import cli

    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["tnllt-run", *map(str, words)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            run_command(cli, "tnllt-run")
    except SystemExit as end:
        code = end.code
    finally:
        sys.argv = before
    assert isinstance(code, int)
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())


def tnllt_run_apart(*words: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, for what the tracker prints and for clusters."""
    return subprocess.run(command(*words), capture_output=True, text=True, errors="replace", timeout=timeout)


def results(folder: Path, tracker: str) -> dict[str, bytes]:
    """{sequence: the result file's bytes}; what a killed writer left under a temporary name is no result."""
    found = sorted((folder / f"{tracker}_tracking_result").glob("*.txt"))
    return {p.stem: p.read_bytes() for p in found if not p.name.startswith(TEMPORARY)}
