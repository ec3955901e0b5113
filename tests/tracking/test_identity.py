"""One identity of a run: results of other options, code, weights or data are never mixed, nor taken for done."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import tnllt
from tests.tracking.conftest import TRACKERS, command, results, tnllt_run, write_dataset
from tnllt.errors import DataError, UsageError
from tnllt.results.records import RunIdentity, differences
from tnllt.results.store import ResultStore
from tnllt.tracking.identity import content_hash, data_digest
from tnllt.tracking.pool import SequenceOutcome, Watcher
from tnllt.tracking.references import StaticBox

DRIFT = f"{TRACKERS}:Drift"
LENGTHS = {"a": 4, "b": 6, "c": 5}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", LENGTHS)


def run(data: Path, folder: Path, tracker: str = DRIFT, **settings: Any) -> tnllt.tracking.runner.RunResult:
    return tnllt.run(tracker, dataset=data, results=folder, **{"threads": 1, **settings})


def identity_file(folder: Path, tracker: str = "Drift") -> Path:
    return folder / f"{tracker}_tracking_result" / "run.json"


def test_the_identity_is_written_once_and_recorded(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "r", sequences="a")
    store = ResultStore(tmp_path / "r")
    first = store.identity("Drift")
    assert first is not None and set(first.data) == {"a"} and first.facts["seed"] == 0 and first.facts["mode"] == "BB"
    assert first.facts["tracker"] == "trackers.py:Drift" and first.facts["code"] == content_hash(Path(TRACKERS))
    record = store.entry("Drift", "a").record
    assert record is not None and record.identity == {**first.facts, "data": first.data["a"]}
    run(data, tmp_path / "r", workers=2, device="cpu", batch=1)  # what depends on the machine may change
    whole = store.identity("Drift")
    assert whole is not None and set(whole.data) == set(LENGTHS) and whole.facts == first.facts
    assert [f.name for f in (tmp_path / "r" / "Drift_tracking_result").glob("*.run.json")] != []
    from tnllt.results.layouts import find_results

    found = find_results(tmp_path / "r", LENGTHS)
    assert set(found.trackers) == {"Drift"} and not found.unknown, "readers of results pass the file over"


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"options": {"step": 2}}, "step None, now 2.0"), ({"seed": 1}, "seed 0, now 1")],
)
def test_other_settings_are_refused_before_a_sequence_is_done(
    data: Path, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    """Two runs that start together: the second finds the identity of the first, though no result is there yet."""
    first = subprocess.Popen(
        command(DRIFT, "-d", data, "--results", tmp_path / "r", "--set", "pause=0.5", "--threads", 1),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not identity_file(tmp_path / "r").is_file():
        assert first.poll() is None
        time.sleep(0.01)
    given = {**settings, "options": {"pause": 0.5, **settings.get("options", {})}}
    with pytest.raises(UsageError, match=says) as refused:
        run(data, tmp_path / "r", **given)
    assert "--name" in str(refused.value) and "--again" in str(refused.value)
    assert first.wait(60) == 0
    assert len(results(tmp_path / "r", "Drift")) == len(LENGTHS)


def test_two_runs_with_other_options_started_together(data: Path, tmp_path: Path) -> None:
    words = [DRIFT, "-d", data, "--results", tmp_path / "r", "--set", "pause=0.05", "--threads", 1]
    runs = [
        subprocess.Popen(
            command(*words, "--set", f"step={step}"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for step in (1, 2)
    ]
    said = [process.communicate(timeout=120)[1] for process in runs]
    codes = [process.returncode for process in runs]
    assert sorted(codes) == [0, 2], said
    assert "now " in said[codes.index(2)] and "step " in said[codes.index(2)]
    steps = {ResultStore(tmp_path / "r").entry("Drift", name).record.options["step"] for name in LENGTHS}
    assert steps == {codes.index(0) + 1.0}


def test_a_run_that_was_replaced_is_refused_at_its_next_sequence(data: Path, tmp_path: Path) -> None:
    words = [DRIFT, "-d", data, "--results", tmp_path / "r", "--set", "pause=0.3", "--threads", 1]
    first = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not results(tmp_path / "r", "Drift"):
        time.sleep(0.01)
    time.sleep(0.2)  # the longest, b, is done, and c is being tracked
    workers = [int(p) for p in Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()]
    for pid in (first.pid, *workers):
        os.kill(pid, signal.SIGSTOP)
    run(data, tmp_path / "r", options={"step": 3}, again=True, sequences="a,b")
    for pid in (first.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 2 and "step 3.0, now None" in said
    store = ResultStore(tmp_path / "r")
    entries = {name: store.entry("Drift", name, run=store.identity("Drift")) for name in LENGTHS}
    assert [entry.status for entry in entries.values()] == ["done", "done", "missing"]
    assert "made by another run" in entries["c"].reason
    assert sorted(run(data, tmp_path / "r", options={"step": 3}, again=True).done) == list(LENGTHS)


def test_failures_alone_do_not_bind_the_next_run(data: Path, tmp_path: Path) -> None:
    habit = f"{TRACKERS}:Habit"
    assert run(data, tmp_path / "r", habit, sequences="b", options={"what": "raise"}).exit_code == 3
    fixed = run(data, tmp_path / "r", habit, options={"what": "rubbish"})
    assert fixed.exit_code == 0 and sorted(fixed.done) == list(LENGTHS)
    with pytest.raises(UsageError, match="what 'rubbish', now 'raise'"):
        run(data, tmp_path / "r", habit, options={"what": "raise"})


def test_other_data_under_the_same_names_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "r", sequences="a,b")
    boxes, image = data / "a" / "groundtruth.txt", data / "b" / "imgs" / "00006.png"
    before = boxes.read_text(), image.read_bytes()
    boxes.write_text(before[0].replace("10,12,9,8", "11,12,9,8"))
    with pytest.raises(UsageError, match="other frames or annotations of a"):
        run(data, tmp_path / "r")
    boxes.write_text(before[0])
    cv2.imwrite(str(image), np.full((48, 64, 3), 7, np.uint8))
    with pytest.raises(UsageError, match="other frames or annotations of b"):
        run(data, tmp_path / "r")
    image.write_bytes(before[1])
    shutil.move(data, tmp_path / "elsewhere")  # the same data at another place
    assert run(tmp_path / "elsewhere", tmp_path / "r").done == ["c"]


def test_edited_code_is_refused_between_two_runs(data: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    shutil.copy(TRACKERS, code)
    run(data, tmp_path / "r", f"{code}:Drift", sequences="a")
    code.write_text(code.read_text() + "\n# changed\n")
    with pytest.raises(UsageError, match="code '"):
        run(data, tmp_path / "r", f"{code}:Drift")
    assert sorted(run(data, tmp_path / "r", f"{code}:Drift", again=True).done) == list(LENGTHS)
    assert run(data, tmp_path / "r", f"{code}:Drift").before == list(LENGTHS)


def test_code_that_changes_during_a_run_is_refused_by_its_next_worker(data: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "import os\nfrom pathlib import Path\nfrom tests.tracking.trackers import Drift\n"
        "class Mine(Drift):\n"
        "    def finish(self):\n"
        "        Path(__file__).write_text(Path(__file__).read_text() + '#')\n"
        "        os._exit(9)\n"
    )
    with pytest.raises(UsageError, match=r"Mine changed since the run began: code '"):
        run(data, tmp_path / "r", f"{code}:Mine")


def test_weights_count_by_content_not_by_place(data: Path, tmp_path: Path) -> None:
    code = tmp_path / "mine.py"
    code.write_text(
        "from pathlib import Path\nfrom tests.tracking.trackers import Drift\n"
        "class Mine(Drift):\n    def __init__(self, weights: Path): super().__init__()\n"
    )
    one, two = tmp_path / "one.bin", tmp_path / "two.bin"
    one.write_bytes(b"weights"), two.write_bytes(b"weights")
    run(data, tmp_path / "r", f"{code}:Mine", sequences="a", options={"weights": one})
    assert run(data, tmp_path / "r", f"{code}:Mine", sequences="b", options={"weights": two}).done == ["b"]
    one.write_bytes(b"Weights")
    with pytest.raises(UsageError, match="weights '"):
        run(data, tmp_path / "r", f"{code}:Mine", options={"weights": one})


@pytest.mark.parametrize(
    ("text", "says"), [("", "is empty"), ("no boxes\n", "is not a result"), ("1,2,3,4\n", "has 1 rows, but the")]
)
def test_a_file_that_is_no_result_is_neither_done_nor_replaced(
    data: Path, tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "r" / "Drift_tracking_result" / "b.txt"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for sequences in (None, "b"):
        with pytest.raises(UsageError, match=says) as refused:
            run(data, tmp_path / "r", sequences=sequences)
    assert "remove it" in str(refused.value) and path.read_text() == text
    status = tnllt_run("status", "-d", data, "--results", tmp_path / "r")
    assert status.returncode == 3 and "damaged  Drift  b" in status.stdout and says[:8] in status.stdout
    assert len(run(data, tmp_path / "r", again=True).done) == 3


def test_results_of_another_tool_are_not_mixed_with_new_ones(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "r" / "Drift_tracking_result" / "b.txt"
    path.parent.mkdir(parents=True)
    path.write_text("1,2,3,4\n" * LENGTHS["b"])
    for more in ({}, {"sequences": "b"}, {"sequences": "b", "timing": True}):  # also where nothing is left to track
        with pytest.raises(UsageError, match="no run record: another tool wrote it"):
            run(data, tmp_path / "r", **more)
    status = tnllt_run("status", "-d", data, "--results", tmp_path / "r", "--sequences", "b")
    assert status.returncode == 3 and "foreign  Drift  b: another tool wrote" in status.stdout
    assert " 0 " in status.stdout.splitlines()[1] and path.read_text().startswith("1,2,3,4\n")


def test_a_result_that_another_tool_writes_meanwhile_is_not_replaced(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "r" / "Drift_tracking_result" / "a.txt"

    class Other(Watcher):
        def ended(self, outcome: SequenceOutcome) -> None:
            if outcome.name == "b":
                path.write_text("1,2,3,4\n" * LENGTHS["a"])

    with pytest.raises(UsageError, match=r"a\.txt has no run record"):
        run(data, tmp_path / "r", watcher=Other(), options={"pause": 0.1})
    assert path.read_text().startswith("1,2,3,4\n")


def test_a_result_without_an_identity_is_not_continued(data: Path, tmp_path: Path) -> None:
    """Such as one that a script stored: nothing says which code, weights or seed it is of."""
    sequence = tnllt.open_dataset(data)["a"]
    ResultStore(tmp_path / "r").write("Drift", "a", tnllt.run_sequence(StaticBox(), sequence))
    with pytest.raises(UsageError, match=r"a\.txt has no identity in its run record"):
        run(data, tmp_path / "r")
    with pytest.raises(UsageError, match=r"a\.txt has no identity in its run record"):
        run(data, tmp_path / "r", sequences="a")
    assert sorted(run(data, tmp_path / "r", again=True).done) == list(LENGTHS)


def test_status_does_not_count_results_of_another_run(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "r")
    run(data, tmp_path / "r", sequences="a", options={"step": 2}, again=True)
    shown = tnllt_run("status", "-d", data, "--results", tmp_path / "r")
    assert shown.returncode == 3 and "made by another run (step None, now 2.0)" in shown.stdout
    with pytest.raises(UsageError, match=r"b: step None, now 2\.0"):
        run(data, tmp_path / "r", options={"step": 2})


def test_a_damaged_identity_is_named(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "r", sequences="a")
    identity_file(tmp_path / "r").write_text('{"schema": "tnllt.identity/1", "facts": 1}')
    with pytest.raises(DataError, match=r"run\.json.*`facts` must be a table"):
        run(data, tmp_path / "r")


def test_digests_of_data(data: Path) -> None:
    dataset = tnllt.open_dataset(data)
    digests = {s.name: data_digest(s) for s in dataset}
    assert len(set(digests.values())) == 3 and all(len(d) == 32 for d in digests.values())
    (data / "a" / "language.txt").write_text("another thing\n")
    fresh = tnllt.open_dataset(data)
    assert data_digest(fresh["a"]) != digests["a"] and data_digest(fresh["b"]) == digests["b"]
    shutil.rmtree(data / "b" / "imgs")
    assert data_digest(tnllt.open_dataset(data)["b"]) == "", "what cannot be read fails when it is tracked"


def test_differences_in_words() -> None:
    was = RunIdentity({"seed": 0, "options": {"a": 1}}, {"x": "1", "y": "2"})
    assert was.differences(RunIdentity({"seed": 0, "options": {"a": 1}}, {"x": "1", "z": "3"})) == []
    assert was.differences(RunIdentity(was.facts, {"x": "", "y": "9"})) == ["other frames or annotations of y"]
    assert differences(was.facts, {"seed": 1, "options": {"b": 2}}) == [
        "a 1, now None",
        "b None, now 2",
        "seed 0, now 1",
    ]
