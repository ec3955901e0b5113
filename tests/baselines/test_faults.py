"""Everything that can go wrong on the other side, and what a user reads then."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.errors import UsageError
from tnllt.tracking.baselines import BaselineError, process
from tnllt.tracking.baselines.bridge import BaselineTracker

Make = Callable[..., BaselineTracker]
BOX = [100.0, 50.0, 30.25, 20.125]


def track(tracker: BaselineTracker, image: Any, frames: int = 4) -> list[Any]:
    tracker.initialize(image, BOX, "")
    return [list(tracker.track(image).box) for _ in range(frames)]


def fault(make: Make, name: str, **options: Any) -> BaselineTracker:
    return make(cfg=f'TEST.FAULT="{name}"', **options)


def test_interpreter_absent(make: Make) -> None:
    with pytest.raises(BaselineError, match="mini: cannot start the interpreter /no/python: No such file"):
        make(python="/no/python")


def test_too_long_an_answer_is_not_waited_for(make: Make, tmp_path: Path) -> None:
    babbler = tmp_path / "python"
    babbler.write_text("#!/bin/sh\nprintf 'TNLT\\377\\377\\377\\377{}'\nsleep 1000\n")
    babbler.chmod(0o755)
    with pytest.raises(BaselineError, match=r"not a message of this protocol .*4294967295 bytes"):
        make(python=str(babbler))


def test_interpreter_is_something_else(make: Make) -> None:
    with pytest.raises(BaselineError, match=r"mini: start: the worker ended with exit code 0"):
        make(python="/bin/true")


def test_import_error(make: Make) -> None:
    with pytest.raises(BaselineError, match="a_module_that_is_nowhere") as caught:
        make("broken_import")
    assert "tnllt-run doctor --baseline mini.toml" in str(caught.value)
    assert "broken_import.py" in caught.value.details


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("constructor", "RuntimeError: the constructor broke"),
        ("cuda", "AssertionError: Torch not compiled with CUDA enabled"),
        ("exit", "SystemExit: upstream has left"),
    ],
)
def test_start_fails(make: Make, name: str, said: str) -> None:
    with pytest.raises(BaselineError, match=f"mini: start failed: {said}") as caught:
        fault(make, name)
    assert "basetracker.py" in caught.value.details


def test_cuda_absent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if torch.version.cuda and torch.cuda.is_available():
        pytest.skip("this test needs a machine, or a torch, without CUDA")
    with pytest.raises(BaselineError, match=r"no CUDA device is visible .*device=cpu"):
        make("network", device="cuda")


def test_missing_weights(make: Make, mini: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mini: no weights at .*w\.pth; from these tests; give --set weights=FILE"):
        make(weights=tmp_path / "w.pth")
    with pytest.raises(UsageError, match=r"no weights at .*output/checkpoints/train/mini/base/Mini_ep0002\.pth\.tar"):
        make(weights=None)


def test_weights_of_something_else(make: Make, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    call = {"tracker": {"constructor": ["params", "dataset"]}}
    other, cut = tmp_path / "other.pth", tmp_path / "cut.pth"
    torch.save({"net": {"a": torch.zeros(3)}}, other)
    with pytest.raises(BaselineError, match=r"no tensor of the checkpoint fits Mini .*give the tracker's own weights"):
        make("network", call, weights=other)
    cut.write_bytes(other.read_bytes()[:300])
    with pytest.raises(BaselineError, match="the weights file is cut off, or not a checkpoint"):
        make("network", call, weights=cut)
    cut.write_bytes(b"hello\n")
    with pytest.raises(BaselineError, match="the weights file is cut off, or not a checkpoint"):
        make("network", call, weights=cut)


def test_clone_absent(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a clone of Mini .*git clone https://example.org/mini"):
        make(repo=tmp_path)
    (tmp_path / "lib/test/tracker").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"is not a clone of Mini \(no lib/test/tracker/only_params\.py in it\)"):
        make(repo=tmp_path)
    with pytest.raises(UsageError, match="mini needs its clone: --set repo=DIR"):
        make(repo=None)


def test_configuration_absent(make: Make) -> None:
    with pytest.raises(UsageError, match=r"no configuration at .*experiments/mini/nix\.yaml; there are: base"):
        make(yaml="nix")
    with pytest.raises(UsageError, match=r"no configuration at .*nix\.yaml$"):
        make(yaml="/nowhere/nix.yaml")


def test_initialize_fails_and_the_worker_lives_on(make: Make, image: Any) -> None:
    tracker = fault(make, "initialize")
    for _ in range(2):
        with pytest.raises(BaselineError, match="mini: initialize failed: KeyError: 'init_mask'"):
            tracker.initialize(image, BOX, "")


def test_track_fails_with_upstreams_traceback(make: Make, image: Any) -> None:
    tracker = fault(make, "track")
    with pytest.raises(BaselineError, match="mini: track, call 3 failed: ValueError: lost at frame 3") as caught:
        track(tracker, image)
    assert "in break_down" in caught.value.details
    assert track(tracker, image, 2) == [[101.0, 52.0, *BOX[2:]], [102.0, 54.0, *BOX[2:]]]


def test_frames_grow_while_the_next_object_cannot_be_built(make: Make, image: Any) -> None:
    tracker, big = fault(make, "rebuild"), np.full((80, 120, 3), 2, np.uint8)
    moved = [[101.0, 52.0, *BOX[2:]]]
    assert track(tracker, image, 1) == moved
    with pytest.raises(BaselineError, match="initialize failed: RuntimeError: the second one broke"):
        track(tracker, big)
    assert track(tracker, big, 1) == moved


def test_an_endless_error_text_is_cut(make: Make, image: Any) -> None:
    with pytest.raises(BaselineError, match="track, call 3 failed: ValueError: xxx") as caught:
        track(fault(make, "long"), image)
    assert len(str(caught.value)) < 50_000 and "in break_down" not in caught.value.message


def test_memory_folder_is_full(make: Make, image: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(process, "_reserve", full)
    assert track(make(), image, 1) == [[101.0, 52.0, *BOX[2:]]]


@pytest.mark.parametrize(
    ("name", "how"), [("crash", "SIGABRT"), ("segfault", "SIGSEGV"), ("close", "closed its pipe|exit code")]
)
def test_crash_in_the_middle(make: Make, image: Any, name: str, how: str) -> None:
    tracker = fault(make, name)
    with pytest.raises(BaselineError, match=f"mini: track, call 3: the worker .*({how})") as caught:
        track(tracker, image)
    assert name != "crash" or "about to crash" in caught.value.details
    assert len(track(tracker, image, 2)) == 2, "the next sequence starts a new worker"


@pytest.mark.parametrize("name", ["hang", "endless"])
def test_no_answer_in_time(make: Make, image: Any, name: str) -> None:
    tracker = fault(make, name, frame_timeout=3.0)
    begin = time.monotonic()
    with pytest.raises(BaselineError, match="track, call 3: no answer within 3 s, so the worker was ended") as caught:
        track(tracker, image)
    assert time.monotonic() - begin < 60
    assert ("going to sleep" if name == "hang" else "lalala") in caught.value.details
    assert len(caught.value.details) < 20_000


def test_whatever_upstream_prints_disturbs_nothing(make: Make, image: Any) -> None:
    assert track(fault(make, "chatter"), image) == [[100.0 + i, 50.0 + 2 * i, *BOX[2:]] for i in (1, 2, 3, 4)]


def test_wrong_number_of_boxes(make: Make, image: Any) -> None:
    with pytest.raises(BaselineError, match="mini: call 4: upstream answered 5 numbers, not x, y, w, h"):
        track(fault(make, "numbers"), image)


def test_device_that_is_none(make: Make) -> None:
    with pytest.raises(UsageError, match="device='gpu' is not one of cpu, cuda, cuda:N"):
        make(device="gpu")


def test_the_worker_ends_with_its_parent(mini: Path, weights: Path, tmp_path: Path) -> None:
    """A runner that is killed leaves nothing behind: no worker, even one that hangs, no child of it, no folder."""
    (tmp_path / "temporary").mkdir()
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tests.baselines.conftest import mini_record, tracker_class
import numpy as np
t = tracker_class(mini_record())(**dict(repo={str(mini)!r}, python=sys.executable, weights={str(weights)!r},
                                       device="cpu", cfg='TEST.FAULT="hang"'))
print(t._worker.process.pid, flush=True)
t.initialize(np.zeros((9, 9, 3), np.uint8), [1, 2, 3, 4], "")
for _ in range(3):
    t.track(np.zeros((9, 9, 3), np.uint8))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    command = [sys.executable, "-c", code]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    deadline = time.monotonic() + 60
    while len(group(worker)) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert len(group(worker)) == 2, "the worker and its child"
    assert len(list((tmp_path / "temporary").iterdir())) == 1
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    while group(worker) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not group(worker)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_worker_that_is_hung_up_on_takes_its_folder_along(make: Make, image: Any) -> None:
    """A dying runner's pipes close before it counts as dead: hanging up must be enough."""
    tracker = make()
    tracker.initialize(image, BOX, "")
    assert tracker._worker is not None and tracker._scratch is not None
    scratch, process_ = Path(tracker._scratch.name), tracker._worker.process
    assert scratch.is_dir() and process_.stdin is not None
    process_.stdin.close()
    process_.wait(30)
    assert not scratch.exists()


def group(leader: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, number = status.read_text().rpartition(") ")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(number) == leader and state != "Z":
            found.append(int(status.parent.name))
    return found
