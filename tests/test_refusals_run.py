"""What `tnllt-run` refuses, `tnllt.run` refuses: with the same words and the same exit code, before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tnllt
from tests.tracking.conftest import LENGTHS, TRACKERS, tnllt_run, write_dataset
from tnllt.errors import TnlltError
from tnllt.results.store import ResultStore
from tnllt.text import printable

DRIFT = f"{TRACKERS}:Drift"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_dataset(tmp_path_factory.mktemp("data") / "small", dict.fromkeys(LENGTHS, 3))
    (folder / "e" / "language.txt").unlink()
    return folder


@dataclass(frozen=True)
class Refusal:
    """One thing that is refused.

    Attributes:
        says: a part of the message; "" where the command's own parser refuses with its words.
        given: settings, as Python takes them.
        tracker: its name.
        before: settings of a run that comes first.
        prepare: what is done to the results folder and the data before.
        code: the exit code.
    """

    says: str
    given: dict[str, Any] = field(default_factory=dict)
    tracker: str = DRIFT
    before: dict[str, Any] | None = None
    prepare: Callable[[Path, Path], object] = lambda results, data: None
    code: int = 2


def words(given: dict[str, Any]) -> list[str]:
    """The flags that stand for Python's settings."""
    flags: list[str] = []
    for name, value in given.items():
        flag = "--" + name.replace("_", "-")
        if name == "options":
            flags += [word for key, option in value.items() for word in ("--set", f"{key}={option}")]
        elif value is True:
            flags.append(flag)
        else:
            flags += [flag, str(value)]
    return flags


def file_in_the_way(results: Path, data: Path) -> None:
    results.mkdir()
    (results / "Drift_tracking_result").write_text("in the way")


REFUSALS = {
    "unknown tracker": Refusal("no tracker is called 'Nanotrak'; did you mean 'NanoTrack'?", tracker="Nanotrak"),
    "unknown tracker, no dataset": Refusal("did you mean 'NanoTrack'?", {"dataset": "lasot"}, tracker="NanoTrak"),
    "misspelt command": Refusal("called 'statsu'; did you mean 'status'?", {"dataset": "tnllt"}, tracker="statsu"),
    "unknown module": Refusal("no module 'no_such'", tracker="no_such.module:Class"),
    "unknown file": Refusal("nowhere.py: no such file", tracker="nowhere.py:Class"),
    "unknown class": Refusal("has no 'Drfit'; trackers there: ", tracker=f"{TRACKERS}:Drfit"),
    "not a tracker": Refusal("it must inherit from tnllt.tracking.Tracker", tracker="tnllt.boxes:overlap"),
    "weights missing": Refusal("nowhere", {"options": {"weights": "/nowhere"}}, "NanoTrack"),
    "unknown option": Refusal("no option 'pauze'; did you mean 'pause'?", {"options": {"pauze": 1}}),
    "wrong option type": Refusal("Drift takes a number", {"options": {"pause": "soon"}}),
    "missing option": Refusal("Habit needs --set what=VALUE", tracker=f"{TRACKERS}:Habit"),
    "name of a subcommand": Refusal("'status' is a subcommand of tnllt-run", {"name": "status"}),
    "name that is a path": Refusal("cannot be the name of a tracker", {"name": "a/b"}),
    "unknown mode": Refusal("", {"mode": "BOX"}),
    "mode of another tracker": Refusal("cannot start from NL; it takes BB", {"mode": "NL"}),
    "batch of a plain tracker": Refusal("tracks one sequence at a time", {"batch": 2}),
    "timing with workers": Refusal("--timing measures one worker alone", {"timing": True, "workers": 2}),
    "timing in batches": Refusal(
        "--timing measures one worker alone", {"timing": True, "batch": 2}, f"{TRACKERS}:Batched"
    ),
    "timing on a cluster": Refusal("--timing measures one worker alone", {"timing": True, "cluster": "auto"}),
    "no worker": Refusal("", {"workers": 0}),
    "no time": Refusal("", {"frame_timeout": 0}),
    "negative memory": Refusal("", {"max_memory": -1}),
    "shard beyond": Refusal("--shard 3/2: write i/n", {"shard": "3/2"}),
    "shard without a count": Refusal("--shard 2: write i/n", {"shard": "2"}),
    "no cluster": Refusal("no Ray cluster at '127.0.0.1:1'", {"cluster": "127.0.0.1:1"}),
    "unknown dataset": Refusal("neither a benchmark nor a folder", {"dataset": "nowhere_at_all"}),
    "dataset without a place": Refusal("where is LaSOT?", {"dataset": "lasot"}),
    "root that is not there": Refusal("no such folder", {"dataset": "lasot", "root": "/nowhere"}),
    "unknown split": Refusal("no split 'third'", {"dataset": "tnllt", "root": "DATA", "split": "third"}),
    "unknown sequence": Refusal("nobody", {"sequences": "nobody"}),
    "sequences that name nothing": Refusal("--sequences", {"sequences": ","}),
    "annotations alone": Refusal(
        "has annotations but no frames here; give the dataset's --root", {"dataset": "tnllt", "annos": "DATA"},
        prepare=lambda results, data: None,
    ),
    "configuration file missing": Refusal("no such configuration file", {"config": "/nowhere.toml"}),
    "other options": Refusal("step None, now 2.0", {"options": {"step": 2}}, before={}),
    "another seed": Refusal("seed 0, now 1", {"seed": 1}, before={}),
    "another tracker": Refusal("tracker", {"name": "Drift"}, f"{TRACKERS}:Batched", before={}),
    "results that cannot be written": Refusal("cannot be written", prepare=file_in_the_way),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_command_and_python_refuse_alike(
    case: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal, results = REFUSALS[case], tmp_path / "r"
    for variable in ("TNLLT_ROOT", "TNLLT_ANNOS", "TNLLT_DATASET", "TNLLT_NANOTRACK"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    if case == "annotations alone":
        data = annotations_alone(data, tmp_path / "annos")
    given = {"dataset": str(data), "results": str(results), "threads": 1, **refusal.given}
    given = {name: str(data) if value == "DATA" else value for name, value in given.items()}
    if refusal.before is not None:
        tnllt.run(DRIFT, dataset=data, results=results, sequences="a", **refusal.before)
    refusal.prepare(results, data)
    files = sorted(results.rglob("*"))

    done = tnllt_run(refusal.tracker, *words(given))
    assert done.returncode == refusal.code, done.stderr
    assert refusal.says in done.stderr and "Traceback" not in done.stderr and "Error: " in done.stderr

    with pytest.raises(TnlltError) as raised:
        tnllt.run(refusal.tracker, **given)
    assert raised.value.exit_code == refusal.code
    if refusal.says:
        assert done.stderr.endswith(f"Error: {printable(str(raised.value))}\n"), str(raised.value)
    assert sorted(results.rglob("*")) == files, "nothing is written"


def annotations_alone(data: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in LENGTHS:
        (folder / f"{name}.txt").write_bytes((data / name / "groundtruth.txt").read_bytes())
    return folder


def test_a_sequence_that_lacks_its_description_fails_by_itself(data: Path, tmp_path: Path) -> None:
    given = {"dataset": str(data), "results": str(tmp_path), "mode": "NL", "threads": 1}
    run = tnllt.run(f"{TRACKERS}:Both", **given)
    assert run.exit_code == 3 and run.done == ["a", "b", "c", "d"]
    assert "sequence 'e' has no" in run.failed["e"]
    done = tnllt_run(f"{TRACKERS}:Both", *words(given))
    assert done.returncode == 3 and f"e: {run.failed['e']}" in done.stdout


def test_a_run_from_python(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = tnllt.run(DRIFT, dataset=data, results=tmp_path, workers=2, sequences=["a", "b"], options={"step": 2})
    assert sorted(run.done) == ["a", "b"] and run.before == [] and run.failed == {} and run.exit_code == 0
    assert run.modes == {"BB": 2} and run.results == tmp_path and run.tracker == "Drift"
    assert ResultStore(tmp_path).entry("Drift", "a").record.options == {"step": 2.0}
    again = tnllt.run(DRIFT, dataset=data, results=tmp_path, sequences="a,b,c", options=["step=2"])
    assert again.done == ["c"] and sorted(again.before) == ["a", "b"]
    assert capfd.readouterr() == ("", ""), "nothing is printed"


def test_a_tracker_by_its_class(data: Path, tmp_path: Path) -> None:
    from tnllt.tracking.references import StaticBox
    from tnllt.tracking.registry import load_class

    assert tnllt.run(StaticBox, dataset=data, results=tmp_path, sequences="a").tracker == "still"
    assert tnllt.run(load_class(DRIFT), dataset=data, results=tmp_path, sequences="a").done == ["a"]

    class Local(StaticBox):
        pass

    with pytest.raises(tnllt.TnlltError, match="define it at the top of a module or file"):
        tnllt.run(Local, dataset=data, results=tmp_path)
    with pytest.raises(tnllt.TnlltError, match="a name or a folder"):
        tnllt.run("still", dataset=tnllt.open_dataset(data), results=tmp_path)


def test_devices_with_a_tracker_that_has_no_such_option(data: Path, tmp_path: Path) -> None:
    run = tnllt.run(DRIFT, dataset=data, results=tmp_path, device="cpu", sequences="a")
    assert run.done == ["a"] and ResultStore(tmp_path).entry("Drift", "a").record.device == "cpu"


def test_a_watcher_sees_the_run(data: Path, tmp_path: Path) -> None:
    from tnllt.tracking.pool import Watcher

    class Watch(Watcher):
        def __init__(self) -> None:
            self.seen: list[str] = []

        def planned(self, spec: Any, plan: Any) -> None:
            self.seen.append(f"planned {[job.name for job in plan.jobs]}")

        def ended(self, outcome: Any) -> None:
            self.seen.append(f"{outcome.how} {outcome.name}")

    watch = Watch()
    tnllt.run(DRIFT, dataset=data, results=tmp_path, sequences="a", watcher=watch)
    assert watch.seen == ["planned ['a']", "done a"]


def test_importing_tnllt_imports_no_tracking() -> None:
    import subprocess

    code = "import sys, tnllt; tnllt.run.__name__ if len(sys.argv) > 1 else print('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
