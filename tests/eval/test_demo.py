"""`make demo` makes, tracks, scores and draws something worth looking at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tnllt import demo
from tnllt.datasets import open_dataset


def test_its_commands_are_ours(tmp_path: Path) -> None:
    listed = list(demo.commands(tmp_path))
    assert {command[0] for command in listed} == {"tnllt-data", "tnllt-run", "tnllt-eval"}
    runs = [command[1] for command in listed if command[0] == "tnllt-run"]
    assert runs == [*demo.TRACKERS, "ReasoningTrack"]


@pytest.mark.slow
def test_the_demo_leaves_what_it_says(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    environment = {**os.environ, "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tnllt.demo", str(tmp_path)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    for name in ("sequences.png", "scores/curves.png", "scores/scores.json", "scores/success_radar.png", "report.html"):
        assert (tmp_path / name).stat().st_size > 0
        assert name in done.stdout or name.startswith("scores/")
    for tracker in demo.TRACKERS:
        assert len(list((tmp_path / "results" / f"{tracker}_tracking_result").glob("*.txt"))) == 8
    stays = tmp_path / "results" / f"ReasoningTrack@reasoner={demo.REASONER}_tracking_result"
    assert len(list(stays.glob("*.txt"))) == 8
    revised = tmp_path / "results" / "ReasoningTrack_tracking_result"
    right = 0
    for trace in revised.glob("*.trace.jsonl"):
        sequence = open_dataset("demo").select(trace.name.partition(".")[0])[0]
        for event in map(json.loads, trace.read_text("utf-8").splitlines()):
            changed = event.get("after", "") != event.get("before", "")
            right += changed and event["after"] == sequence.descriptions[event["frame"]]
    assert right >= 1, "no description was revised to what is true in that frame"
