"""Runs from language, by command: three kinds of trackers, scripted starters, and the language audit on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.baselines.conftest import MINI, WITHOUT_TORCH
from tnllt.results.store import ResultStore

pytestmark = pytest.mark.slow

STARTERS = '''
import json
from pathlib import Path

TRUTH = json.loads((Path(__file__).parent / "truth.json").read_text())

class Reads:
    """Knows which box each description means; without a known one, it takes a corner."""
    def locate(self, image, text):
        return [(TRUTH.get(text, [2.0, 2.0, 12.0, 12.0]), 0.9), ([0.0, 0.0, 9.0, 9.0], 0.1)]

class Ignores:
    """The same box, whatever the description."""
    def locate(self, image, text):
        return [([40.0, 30.0, 30.0, 24.0], 0.9)]
'''
RECORD = """
name = "mine"
title = "Mine"
repository = "{repo}"
licence = "MIT"
citation = ""
modes = ["BB"]
[tracker]
name = "with_dataset"
yaml = "base"
experiments = "mini"
[checkpoint]
path = "x.pth"
source = "here"
[environment]
upstream = ""
python = "3"
packages = []
modules = ["numpy", "cv2"]
[environment.variables]
PYTHONPATH = "{without_torch}"
[options]
repo = "{repo}"
weights = "{repo}/weights.pth"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty clips of four frames, each with a textured square and a description of its own; starters; a baseline."""
    folder, random, truth = tmp_path_factory.mktemp("language"), np.random.default_rng(5), {}
    for number in range(30):
        target = random.integers(0, 128, (24, 30, 3), dtype=np.uint8)
        x, y = int(random.integers(20, 110)), int(random.integers(20, 70))
        clip = folder / "data" / f"clip{number:02}"
        (clip / "imgs").mkdir(parents=True)
        for i in range(4):
            image = np.zeros((120, 160, 3), np.uint8)
            image[y + i : y + 24 + i, x + 2 * i : x + 30 + 2 * i] = target
            cv2.imwrite(str(clip / "imgs" / f"{i + 1:04}.png"), image)
        (clip / "groundtruth.txt").write_text("".join(f"{x + 2 * i},{y + i},30,24\n" for i in range(4)))
        (clip / "language.txt").write_text(f"square number {number}\n")
        truth[f"square number {number}"] = [float(x), float(y), 30.0, 24.0]
    (folder / "data" / "dataset.toml").write_text('base = "tnl2k"\n')
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "starters.py").write_text(STARTERS)
    (folder / "weights.pth").write_bytes(b"weights!")
    (folder / "mine.toml").write_text(RECORD.format(repo=MINI, without_torch=WITHOUT_TORCH).replace(
        f"{MINI}/weights.pth", str(folder / "weights.pth")))  # fmt: skip
    return folder


def command(module: str, *arguments: object) -> str:
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def named(tracker: str, place: Path, shared: Path) -> list[object]:
    return {
        "NanoTrack": ["NanoTrack", "--set", f"weights={shared / 'data' / 'nanotrack'}"],
        "ReasoningTrack": ["ReasoningTrack"],
        "mine": ["--baseline", place / "mine.toml"],
    }[tracker]


@pytest.mark.parametrize("tracker", ["NanoTrack", "ReasoningTrack", "mine"])
def test_the_audit_tells_which_start_reads(tracker: str, place: Path, shared: Path, tmp_path: Path) -> None:
    """One tracker, two starters: the audit's verdict is about what starts it from the description."""
    which, data = named(tracker, place, shared), ["--dataset", place / "data", "--split", "all"]
    for starter in ("Reads", "Ignores"):
        results = tmp_path / starter
        how = ["--starter", f"{place / 'starters.py'}:{starter}", "--text", "own,none,shuffled"]
        command("tnllt.cli.run", *which, *data, "--results", results, *how, "--device", "cpu", "--threads", 1)
        store = ResultStore(results)
        first = set()
        for text in ("own", "none", "shuffled"):
            record = store.record(f"{tracker}@text={text}", "clip07")
            first.add(tuple(store.read(f"{tracker}@text={text}", "clip07").boxes[0]))
            assert record is not None and record.mode == "NL"
            assert record.info["started_by"].endswith(f":{starter}") and record.info["start_frame"] == 0
        assert len(first) == (3 if starter == "Reads" else 1)
        out = tmp_path / f"audit-{starter}"
        command("tnllt.cli.eval", "language", *data, "--results", results, "--out", out)
        (found,) = json.loads((out / "language_success.json").read_text())["trackers"]
        print(f"\n{tracker} started by {starter}: {found}")
        # ReasoningTrack is told the description, too, so that it may read where its starter does not.
        if starter == "Reads" or tracker != "ReasoningTrack":
            assert found["verdict"] == ("reads" if starter == "Reads" else "does not")
