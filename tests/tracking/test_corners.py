"""Corners that an ordinary run does not reach: a cluster's answers, an accelerator, names that lead nowhere."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from tests.tracking.conftest import LENGTHS, TRACKERS, results, tnllt_run
from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Sequence
from tnllt.tracking import Mode, Prediction, Tracker, system, worker
from tnllt.tracking.loop import TrackingLoop, run_sequence
from tnllt.tracking.options import check_options, describe
from tnllt.tracking.registry import TrackerSpec, find_tracker, missing
from tnllt.tracking.sequence_run import SequenceRun

BOXES = np.tile(np.array([[1.0, 2, 8, 9]]), (4, 1))


class Frames(list):  # type: ignore[type-arg]
    pass


def sequence(name: str = "s") -> Sequence:
    return Sequence(name, Annotation(BOXES), Frames([np.zeros((12, 16, 3), np.uint8)] * 4))


class Still(Tracker):
    def initialize(self, image: Any, box: Any = None, language: Any = None) -> None:
        self.box = list(box)

    def track(self, image: Any) -> Prediction:
        return Prediction(self.box)


# --- a cluster -------------------------------------------------------------------------------------------------------


class FakeRay(ModuleType):
    """What `tnllt.tracking.cluster` asks of Ray, in this process. `spoil` may change what a task gives."""

    def __init__(self, spoil: Any = None) -> None:
        super().__init__("ray")
        self.spoil, self.said, self.down = spoil, {}, False  # type: ignore[var-annotated]

        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                super().__init__(str(cause))
                self.cause = cause

        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def init(self, **how: Any) -> None:
        if how["address"] == "auto:nobody":
            raise ConnectionError("nobody\nanswers")
        self.said["init"] = how

    def remote(self, **how: Any) -> Any:
        self.said["remote"] = how
        return lambda task: SimpleNamespace(remote=lambda words, job: (task, words, tuple(job.items())))

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        return references[-1:], references[:-1]  # the last begun ends first

    def get(self, reference: Any) -> Any:
        task, words, job = reference
        if self.spoil is not None:
            self.spoil(self, dict(job))
        return task(words, dict(job))

    def shutdown(self) -> None:
        self.down = True


def on_cluster(monkeypatch: pytest.MonkeyPatch, spoil: Any, *words: object) -> tuple[Any, FakeRay]:
    ray = FakeRay(spoil)
    monkeypatch.setitem(sys.modules, "ray", ray)
    return tnllt_run(*words, "--cluster", "auto", "--threads", 1), ray


def test_a_cluster_gives_the_results_of_one_machine(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"{TRACKERS}:Drift", "-d", data)
    done, ray = on_cluster(monkeypatch, None, *words, "--results", tmp_path / "cluster")
    assert done.returncode == 0 and ray.down, done.stderr
    assert ray.said["init"]["address"] == "auto" and ray.said["init"]["logging_level"] == logging.ERROR
    assert ray.said["remote"]["num_cpus"] == 1 and ray.said["remote"]["scheduling_strategy"] == "SPREAD"
    assert tnllt_run(*words, "--results", tmp_path / "here").returncode == 0
    assert results(tmp_path / "cluster", "Drift") == results(tmp_path / "here", "Drift")
    assert len(results(tmp_path / "here", "Drift")) == len(LENGTHS)


def test_what_a_cluster_loses_is_told(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(ray: FakeRay, job: dict[str, Any]) -> None:
        if job["name"] == "b":
            raise ray.exceptions.RayError("the node\ndied")

    done, ray = on_cluster(monkeypatch, lose, f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path)
    assert done.returncode == 3 and "b: given up by the cluster: the node died" in done.stdout and ray.down
    assert set(results(tmp_path, "Drift")) == set(LENGTHS) - {"b"}


@pytest.mark.parametrize(
    ("cause", "said"), [(TnlltError("no weights there"), "no weights there"), (KeyError("x"), "KeyError: 'x'")]
)
def test_what_fails_on_a_cluster_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Exception, said: str
) -> None:
    def fail(ray: FakeRay, job: dict[str, Any]) -> None:
        raise ray.exceptions.RayTaskError(cause)

    done, ray = on_cluster(monkeypatch, fail, f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr and ray.down


def test_a_cluster_that_does_not_answer(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay())
    words = (f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path)
    done = tnllt_run(*words, "--cluster", "auto:nobody")
    assert done.returncode == 2 and "no Ray cluster at 'auto:nobody': nobody answers" in done.stderr
    done = tnllt_run(*words, "--cluster", "127.0.0.1:1")
    assert done.returncode == 2 and "no Ray cluster at '127.0.0.1:1'" in done.stderr


# --- the machine -----------------------------------------------------------------------------------------------------


def test_an_accelerator_is_seeded_waited_for_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    cuda = SimpleNamespace(
        is_initialized=lambda: True, synchronize=lambda: asked.append("wait"), is_available=lambda: True,
        get_device_name=lambda device: f"card {device}",
    )  # fmt: skip
    torch = SimpleNamespace(
        cuda=cuda, manual_seed=lambda seed: asked.append(("seed", seed)), __version__="9.9",
        set_num_threads=lambda count: asked.append(("threads", count)), version=SimpleNamespace(cuda="99.1"),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "torch", torch)
    system.seed_everything(7)
    system.limit_threads(3)
    system.synchronize()
    assert asked == [("seed", 7), ("threads", 3), "wait"]
    assert system.describe_system("cuda:1")["accelerator"] == "card cuda:1"
    told = system.versions("pytest.something")
    assert (told["torch"], told["cuda"], told["pytest"]) == ("9.9", "99.1", pytest.__version__)
    cuda.is_initialized = lambda: False
    torch.mps = SimpleNamespace(synchronize=lambda: asked.append("mps"))
    torch.backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True))
    system.synchronize()
    assert asked[-1] == "mps"


def test_a_system_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    assert system.resident_mb(2**30) is None
    own = system.resident_mb()
    assert own is not None and own > 5

    def refuse(*_: object, **__: object) -> str:
        raise OSError("no /proc here")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert system.resident_mb() is None
    assert isinstance(system.describe_system()["processor"], str)


# --- names and options -----------------------------------------------------------------------------------------------


def test_names_that_lead_to_baselines() -> None:
    assert find_tracker("OSTRACK").target == "baseline:ostrack"
    cls = TrackerSpec("x", "baseline:ostrack").tracker_class
    assert issubclass(cls, Tracker) and cls.name == "ostrack"
    with pytest.raises(UsageError, match=r"no tracker is called 'ostrak'; did you mean 'ostrack'\?"):
        find_tracker("ostrak")
    assert missing("still") == ""


@pytest.mark.parametrize(
    ("text", "cls", "words"),
    [
        ("import nowhere_at_all\n", "X", "cannot be imported: No module named 'nowhere_at_all'"),
        ("class X:\n    pass\n", "X", "is not a tracker: it must inherit from"),
        (
            "class X:\n    def initialize(self): ...\n    def track(self): ...\n",
            "X",
            "must inherit from tnllt.tracking",
        ),
        ("from tnllt.tracking import Tracker\nclass Good(Tracker): ...\n", "X", "has no 'X'; trackers there: Good"),
    ],
)
def test_files_that_hold_no_tracker(tmp_path: Path, text: str, cls: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=words):
        find_tracker(f"{tmp_path}/mine.py:{cls}")


def test_modules_that_lack_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lacking_mine.py").write_text("import nowhere_at_all\n")
    with pytest.raises(UsageError, match=r"lacking_mine cannot be imported: .*install what it needs"):
        find_tracker("lacking_mine:X")
    with pytest.raises(UsageError, match="no module 'nowhere_at_all' for tracker nowhere_at_all:X"):
        find_tracker("nowhere_at_all:X")
    with pytest.raises(UsageError, match=r"none\.py: no such file"):
        find_tracker("none.py:X")


def test_types_in_words_and_annotated_ones() -> None:
    class Asks(Tracker):
        def __init__(
            self, rate: Annotated[float, "Hz"] = 1.0, kind: Literal["a", 3] = "a", any_: Any = None
        ) -> None: ...

    assert check_options(Asks, {"rate": "2.5", "kind": "3", "any_": "[1]"}) == {"rate": 2.5, "kind": 3, "any_": [1]}
    assert describe(Literal["a", 3]) == "a or 3"
    assert describe(Any) == "VALUE" and " or " in describe(int | str | None)
    with pytest.raises(UsageError, match="rate"):
        check_options(Asks, {"rate": True})


# --- tracking -------------------------------------------------------------------------------------------------------


def test_a_tracker_of_single_sequences_takes_no_batch() -> None:
    with pytest.raises(UsageError, match="tracks one sequence at a time"):
        TrackingLoop(Still(), batch=2)


class Miscounts(Still):
    def step(self, states: list[Any], images: list[Any]) -> list[Prediction]:
        return [Prediction([1, 2, 3, 4])]

    def start(self, image: Any, box: Any, language: Any, emit: Any = None) -> Any:
        return list(box)

    def end(self, state: Any) -> dict[str, Any]:
        return {}


def test_a_batch_answered_with_too_few_boxes() -> None:
    loop = TrackingLoop(Miscounts(), batch=2)
    ended: list[Any] = []
    for name in ("s", "t"):
        assert loop.start(SequenceRun(sequence(name), Mode.BB, 0, 0)) is None
    while loop.active:
        ended += loop.step()
    assert ended and all(getattr(end, "kind", "") in ("batch", "answer") for _, end in ended)


def test_events_are_handed_on_as_they_happen() -> None:
    class Talks(Still):
        def track(self, image: Any) -> Prediction:
            self.emit({"event": "looked", "before": "a", "after": "b", "frame": 1})
            return Prediction(self.box)

    heard: list[Any] = []
    trajectory = run_sequence(Talks(), sequence(), emit=heard.append)
    assert [event["event"] for event in heard] == ["looked"] * 3
    assert trajectory.record["description_changes"] == [{"frame": 1, "description": "b"}] * 3


# --- workers ---------------------------------------------------------------------------------------------------------


def test_a_tracker_that_cannot_be_loaded_is_told_once(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(
        "from tnllt.errors import UsageError\n"
        "from tnllt.tracking import Tracker\n"
        "class Base(Tracker):\n"
        "    def initialize(self, image, box=None, language=None): ...\n"
        "    def track(self, image): ...\n"
        "class Raises(Base):\n"
        "    def __init__(self): raise RuntimeError('no such\\nnetwork')\n"
        "class Refuses(Base):\n"
        "    def __init__(self): raise UsageError('give weights')\n"
    )
    done = tnllt_run(f"{file}:Raises", "-d", data, "--results", tmp_path)
    assert done.returncode == 2 and "Raises cannot be loaded: RuntimeError: no such network" in done.stderr
    done = tnllt_run(f"{file}:Refuses", "-d", data, "--results", tmp_path)
    assert done.returncode == 2 and "give weights" in done.stderr and "Traceback" not in done.stderr


def test_a_results_folder_that_is_a_file(data: Path, tmp_path: Path) -> None:
    (tmp_path / "Drift_tracking_result").write_text("in the way")
    done = tnllt_run(f"{TRACKERS}:Drift", "-d", data, "--results", tmp_path)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "Traceback" not in done.stderr


def test_what_was_printed_needs_a_file_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def flush(self) -> None:
            raise ValueError("I/O operation on closed file")

    monkeypatch.setattr(sys, "stdout", Closed())
    worker.flush_output()
    worker.discard_output()
    assert worker.kept_output() == ""


def test_a_trace_with_a_row_that_is_no_event(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    store.tracker_folder("T").mkdir()
    store.path("T", "s", ".trace.jsonl").write_text('{"event": "x"}\n[1]\n')
    with pytest.raises(DataError, match="holds a row that is not an event"):
        store.trace("T", "s")
    old = store.tracker_folder("T") / ".tnllt-1-abc.txt"
    old.write_text("half")
    store.sweep("T")
    assert old.exists(), "it may be another machine's, at work"
    import os

    os.utime(old, (0, 0))
    store.sweep("T")
    assert not old.exists()
