"""A Ray cluster of two nodes on this machine, one of them killed midway."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.eval.eval_trees import write_tree
from tests.tracking.conftest import LENGTHS, TRACKERS, command, results
from tests.tracking.conftest import tnllt_run_apart as tnllt_run
from tnllt.results.store import ResultStore

ray = pytest.importorskip("ray", reason='needs the extra "cluster"')
pytestmark = pytest.mark.slow

NODE = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 100 * 2**20}


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with one processor each, listening on the loopback device alone."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_raylet_start_wait_time_s", "180")  # a busy machine starts one slowly
        nodes = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        assert nodes.address.startswith("127.0.0.1")
        second = nodes.add_node(**NODE)
        nodes.wait_for_nodes()
        yield nodes, second
        nodes.shutdown()


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_failures_and_errors_come_back_from_the_cluster(data: Path, tmp_path: Path, cluster) -> None:
    nodes, _ = cluster
    words = (f"{TRACKERS}:Habit", "-d", data, "--results", tmp_path, "--threads", 1, "--cluster", nodes.address)
    done = tnllt_run(*words, "--set", "what=raise", timeout=240)
    assert done.returncode == 3 and "b: frame 4: RuntimeError: cannot see a thing" in done.stdout, done.stderr
    assert ResultStore(tmp_path).entry("Habit", "b").status == "failed"
    assert set(results(tmp_path, "Habit")) == set(LENGTHS) - {"b"}
    hanging = (*words, "--set", "what=hang", "--name", "Hang", "--frame-timeout", 1)
    done = tnllt_run(*hanging, timeout=240)
    assert done.returncode == 3 and "no answer within 1 s (--frame-timeout)" in done.stdout, done.stderr


def test_scores_are_those_of_one_process(tmp_path: Path, cluster) -> None:
    nodes, _ = cluster
    write_tree(tmp_path, count=4, trackers=3)
    where = ("-d", "tnllt", "--annos", tmp_path / "annos", "--results", tmp_path / "results", "--no-cache")

    def score(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "tnllt.cli.eval", *map(str, (*where, *words)), "--format", "csv"]
        return subprocess.run(line, capture_output=True, text=True, timeout=240, check=False)

    alone, shared = score(), score("--cluster", nodes.address)
    assert (shared.returncode, shared.stdout) == (0, alone.stdout), shared.stderr
    assert len(alone.stdout.splitlines()) > 3
    path = tmp_path / "results" / "t2_tracking_result" / "s3.txt"
    path.write_text("x,1,2,3\n" + path.read_text())
    failed = score("--cluster", nodes.address)
    assert failed.returncode == 2
    assert "s3.txt, row 1: 'x' is not a number" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_lost_node_loses_nothing(data: Path, tmp_path: Path, cluster) -> None:
    nodes, second = cluster
    words = (f"{TRACKERS}:Drift", "-d", data, "--set", "pause=0.1", "--threads", 1)
    run = subprocess.Popen(
        command(*words, "--results", tmp_path / "cluster", "--cluster", nodes.address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    claims = tmp_path / "cluster" / "Drift_tracking_result" / ".locks"
    wait_for(lambda: len(list(claims.glob("*"))) == 2 or run.poll() is not None)
    time.sleep(0.5)
    nodes.remove_node(second, allow_graceful=False)
    out, said = run.communicate(timeout=240)
    assert run.returncode == 0, said
    assert "5 done, 0 failed" in out
    assert tnllt_run(*words, "--results", tmp_path / "here", "--workers", 2).returncode == 0
    assert results(tmp_path / "cluster", "Drift") == results(tmp_path / "here", "Drift")
    assert len(results(tmp_path / "here", "Drift")) == len(LENGTHS)


def test_no_cluster_there(data: Path, tmp_path: Path) -> None:
    words = ("still", "-d", data, "--results", tmp_path, "--cluster", "127.0.0.1:1")
    done = tnllt_run(*words, timeout=240)
    assert done.returncode == 2 and "no Ray cluster at '127.0.0.1:1'" in done.stderr and "Traceback" not in done.stderr
