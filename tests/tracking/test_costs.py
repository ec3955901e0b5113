"""`--profile`: parameters and operations by hand, the card, and where it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.tracking.conftest import TRACKERS, tnllt_run
from tnllt.results.costs import Speed, cost_card, cost_text, counted_costs
from tnllt.results.records import RunRecord
from tnllt.results.store import ResultStore
from tnllt.sequence import Trajectory
from tnllt.tracking import costs

NETWORK = """
import torch
from tnllt.tracking import Tracker

class Network(Tracker):
    "A linear layer of 6 x 4 weights, applied to ten rows in each frame, and attention over them."
    def __init__(self):
        self.layer = torch.nn.Linear(6, 4, bias=False)
        self.shared = torch.nn.Parameter(torch.zeros(5))
    def initialize(self, image, box, language=None):
        self.box = box
    def track(self, image):
        with torch.inference_mode():
            rows = self.layer(torch.ones(10, 6))[None, None]
            torch.nn.functional.scaled_dot_product_attention(rows, rows, rows)
        return self.box
"""


def test_a_run_counts_parameters_and_operations(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "network.py").write_text(NETWORK)
    words = (f"{tmp_path / 'network.py'}:Network", "-d", data, "--results", tmp_path / "r", "-s", "a", "-s", "c")
    assert tnllt_run(*words, "--threads", 1).returncode == 0
    done = tnllt_run(*words, "--threads", 1, "--profile")
    assert done.returncode == 0 and "2 of 2 sequences to track" in done.stderr, "results without costs do not serve"
    record = ResultStore(tmp_path / "r").entry("Network", "a").record
    assert record is not None and record.concurrency["exclusive"]
    assert record.costs["parameters"] == 6 * 4 + 5
    # A product of (10, 6) and (6, 4); then (10, 4) by (4, 10), and (10, 10) by (10, 4): two operations a term.
    assert record.costs["flops"] == 2 * (10 * 6 * 4 + 10 * 4 * 10 + 10 * 10 * 4)
    status = tnllt_run("status", "--results", tmp_path / "r")
    assert "costs    Network  latency" in status.stdout and "2.9e-05 M parameters" in status.stdout
    again = json.loads(tnllt_run("status", "--results", tmp_path / "r", "--format", "json").stdout)
    assert again[0]["costs"]["flops"] == record.costs["flops"]
    assert "0 of 2 sequences to track" in tnllt_run(*words, "--threads", 1, "--profile").stderr


def test_a_tracker_without_torch_has_memory_and_latency(data: Path, tmp_path: Path) -> None:
    words = ("still", "-d", data, "--results", tmp_path, "-s", "a", "--profile")
    assert "1 of 1 sequences to track" in tnllt_run(*words).stderr
    record = ResultStore(tmp_path).entry("still", "a").record
    assert record is not None and not {"parameters", "flops"} & set(record.costs)
    shown = tnllt_run("status", "--results", tmp_path).stdout
    assert "costs    still  latency" in shown and "MB of memory" in shown and "parameters" not in shown
    assert "0 of 1 sequences to track" in tnllt_run(*words).stderr


def test_a_fault_while_costs_are_counted_ends_its_sequence_alone(data: Path, tmp_path: Path) -> None:
    words = (f"{TRACKERS}:Habit", "-d", data, "--results", tmp_path, "-s", "b,c", "--set", "what=raise")
    done = tnllt_run(*words, "--profile")
    assert done.returncode == 3 and "1 done, 1 failed" in done.stdout


def test_card_by_hand() -> None:
    one = {
        "costs": {"parameters": 3e6, "flops": 4e9, "joules": 10.0, "accelerator_mb": 512.0},
        "seconds": {"track": [9.0, 0.01, 0.02, None]}, "memory_mb": {"peak": 100.0}, "frames": 4,
    }  # fmt: skip
    two = {"costs": {"parameters": 3e6, "flops": 6e9, "joules": 2.0}, "seconds": {"track": [9.0, 0.03]}, "frames": 2}
    records = [one, two, {"costs": {}, "seconds": {"track": [1, 1]}, "frames": 2}]
    card = cost_card(map(counted_costs, records))
    assert card["latency_ms"] == pytest.approx([20, 30, 30], rel=0.005)
    assert (card["parameters"], card["flops"], card["joules"]) == (3e6, 5e9, 2.0)
    assert (card["memory_mb"], card["accelerator_mb"]) == (100, 512)
    words = cost_text(card)
    assert "99 %: 2" in words or "99 %: 3" in words
    assert "3 M parameters, 5 GFLOPs a frame" in words and "2 J a frame" in words
    kept = json.loads(json.dumps([counted_costs(record) for record in records]))
    assert cost_card(kept) == card, "the same card from what `status` keeps"
    assert cost_card([]) == {} and cost_text({}) == ""


def test_percentiles_are_those_of_all_frames_to_half_a_percent() -> None:
    drawn = np.random.default_rng(0).gamma(4, 0.002, (30, 500))
    records = [{"costs": {"flops": 1.0}, "seconds": {"track": [5.0, *times]}, "frames": 501} for times in drawn]
    found = cost_card(map(counted_costs, records))["latency_ms"]
    assert found == pytest.approx(1000 * np.percentile(drawn, (50, 90, 99)), rel=0.006)
    slow = {"costs": {"flops": 1.0}, "seconds": {"track": [1.0, 0.0, None]}, "frames": 3}
    assert "latency_ms" not in cost_card([counted_costs(slow)]), "a clock that did not move has no latency"


def test_without_torch_nothing_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(costs.sys.modules, "torch", raising=False)
    assert costs.counted(lambda: 7) == (7, {})
    assert costs.accelerator_peak_mb() is None


def test_energy_of_linux_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, microjoules in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 2_000_000), ("intel-rapl:0:0", 10**9)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{microjoules}\n")
    monkeypatch.setattr(costs, "_COUNTERS", tmp_path)
    assert costs.joules() == pytest.approx(7.0), "a package's parts are in it already"
    monkeypatch.setattr(costs, "_COUNTERS", tmp_path / "none")
    assert costs.joules() is None


@pytest.mark.parametrize(
    ("track", "fps"),
    [
        ([0, None, None, 0.25, None, 0.25, None, None], 4.0),  # a run with --realtime dropped the frames between
        ([9, 0.5, 0.5], 2.0), ([9, None], None), ([9], None), ([], None), (None, None),
    ],
)  # fmt: skip
def test_frames_a_second_count_frames_that_have_a_time(track: list[float | None] | None, fps: float | None) -> None:
    record = RunRecord("T", "s", frames=len(track or ()), seconds={"track": track})
    speed = Speed()
    speed.add(record.trajectory(np.ones((record.frames, 4)), "x"))
    speed.add(Trajectory(np.ones((3, 4))))
    assert speed.fps == record.fps() == fps
