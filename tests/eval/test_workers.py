"""Scoring by several processes: the same numbers, the same errors, the same cache."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tnllt
from tests.eval.eval_trees import write_tree
from tnllt.errors import DataError, UsageError
from tnllt.eval import METRICS
from tnllt.eval.cache import ScoreCache
from tnllt.processes import can_fork


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    for name in ("_BLOCK_FRAMES", "_WORTH_A_FORK", "_WORTH_A_PROCESS"):
        monkeypatch.setattr(f"tnllt.eval.selection.{name}", 1)  # each tracker is a block then
    for module in ("tnllt.processes", "tnllt.eval.selection"):
        monkeypatch.setattr(f"{module}.can_fork", lambda: False)  # what is patched here is not patched there then
    write_tree(tmp_path, count=4, trackers=4)
    return {"dataset": "tnllt", "annos": str(tmp_path / "annos"), "results": str(tmp_path / "results")}


def test_numbers_are_those_of_one_process(tree: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = tnllt.score(**tree, cache=False)
    with monkeypatch.context() as patch:
        patch.setattr("tnllt.eval.selection.score_trackers", lambda *_, **__: pytest.fail("scored in this process"))
        shared = tnllt.score(**tree, workers=2)
    assert shared.trackers == alone.trackers
    for own, other in zip(shared.tracker_curves, alone.tracker_curves, strict=True):
        assert own.arrays.keys() == other.arrays.keys()
        assert all(np.array_equal(own.arrays[name], other.arrays[name], equal_nan=True) for name in own.arrays)
    # The processes left the cache filled: nothing is put into it again.
    monkeypatch.setattr(ScoreCache, "put", lambda *_: pytest.fail("scored again"))
    assert tnllt.score(**tree).score("success").tolist() == alone.score("success").tolist()


FORKS = """
import os, sys
import numpy as np
import tnllt
from tnllt.errors import DataError
from tnllt.eval import selection
from tnllt.processes import can_fork

assert can_fork()
selection._WORTH_A_FORK = 1
places = {"dataset": "tnllt", "annos": sys.argv[1] + "/annos", "results": sys.argv[1] + "/results", "cache": False}
alone = tnllt.score(**places)
mine, scored = os.getpid(), selection.score_trackers


def in_a_fork(*given, **named):
    assert os.getpid() != mine
    return scored(*given, **named)


selection.score_trackers = in_a_fork
print("once")
shared = tnllt.score(**places, workers=3)
assert shared.trackers == alone.trackers
for own, other in zip(shared.tracker_curves, alone.tracker_curves, strict=True):
    assert all(np.array_equal(own.arrays[name], other.arrays[name], equal_nan=True) for name in own.arrays)
open(sys.argv[1] + "/results/t3_tracking_result/s3.txt", "a").write("x,1,2,3\\n")
try:
    tnllt.score(**places, workers=3)
except DataError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not tell a process's threads")
def test_forks_give_the_same(tmp_path: Path) -> None:
    write_tree(tmp_path, count=4, trackers=4)
    environment = os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", FORKS, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1  # a fork does not print what its parent had still to print
    assert re.search(r"s3\.txt, row \d+: 'x' is not a number", done.stdout), done.stdout


def test_a_process_with_another_thread_is_not_forked() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(can_fork).result()


def test_a_process_names_file_and_row(tree: dict[str, str]) -> None:
    path = Path(tree["results"]) / "t3_tracking_result" / "s3.txt"
    path.write_text(path.read_text().replace("\n", "\nx,1,2,3\n", 1))
    with pytest.raises(DataError, match=r"s3\.txt, row 2: 'x' is not a number"):
        tnllt.score(**tree, workers=2)


def test_a_metric_from_outside_stays_in_one_process(tree: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    success = METRICS["success"]
    outside = replace(success.measure, compute=lambda results, compute=success.measure.compute: compute(results))
    monkeypatch.setitem(METRICS, "mine", replace(success, name="mine", measure=outside))
    assert len(tnllt.score(**tree, workers=2).trackers) == 4
    with pytest.raises(UsageError, match="metric from outside tnllt"):
        tnllt.score(**tree, cluster="auto")


def test_more_workers_than_trackers(tree: dict[str, str]) -> None:
    assert len(tnllt.score(**tree, trackers="t0", workers=8).trackers) == 1


SLEEPERS = """
import os
import time
from tnllt.processes import map_in_processes

def sleep(seconds):
    os.write(1, b"started\\n")  # whole, whoever else writes
    time.sleep(seconds)

if __name__ == "__main__":
    try:
        list(map_in_processes(sleep, [0.5] * 20, 2))
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.skipif(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, reason="Ctrl-C is ignored in the background")
def test_an_interrupt_is_the_parents_alone(tmp_path: Path) -> None:
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "sleepers.py")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        os.killpg(process.pid, signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert said.endswith("interrupted\n")
    assert said.count("started") < 20  # the rest was given up
    assert errors == ""
