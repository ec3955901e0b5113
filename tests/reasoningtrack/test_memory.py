"""The template history: which crops are asked for, what comes back, what it costs, what it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tnllt.errors import DataError
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.inference import Answer, Engine
from tnllt.reasoningtrack.memory import TemplateHistory, template_indices
from tnllt.reasoningtrack.network import Network


def test_which_templates() -> None:
    assert [template_indices(n) for n in (1, 2, 3, 4, 6, 7, 9, 100)] == [
        (0,),
        (0, 1),
        (0, 1, 2),
        (0, 1, 2),
        (0, 1, 3, 5),
        (0, 1, 3, 5),
        (0, 1, 4, 7),
        (0, 16, 49, 82),
    ]
    assert template_indices(20, 4) == (0, 2, 7, 12, 17)


def test_any_crop_comes_back(tmp_path: Path) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    history = TemplateHistory(8, tmp_path)
    for i, crop in enumerate(crops):
        history.append(crop)
        assert np.array_equal(history[i // 2], crops[i // 2])
    assert all(np.array_equal(history[i], crops[i]) for i in reversed(range(50)))
    for outside in (-1, 50):
        with pytest.raises(IndexError):
            history[outside]
    with pytest.raises(ValueError, match="uint8"):
        history.append(crops[0, :4])
    history.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--set history=FOLDER"):
        TemplateHistory(8, tmp_path / "none")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    history = TemplateHistory(64, tmp_path)
    history._file.close()
    history._file = Path("/dev/full").open("r+b")  # noqa: SIM115 (closed with the history)
    with pytest.raises(DataError, match="No space left"):
        history.append(np.zeros((64, 64, 3), np.uint8))
    history.close()


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_nothing_stays_where_the_process_is_killed(tmp_path: Path) -> None:
    code = """
import sys, time
import numpy as np
from tnllt.reasoningtrack.memory import TemplateHistory
history = TemplateHistory(128, sys.argv[1])
for _ in range(50):
    history.append(np.ones((128, 128, 3), np.uint8))
print("ready", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list(tmp_path.iterdir()) == []


def own_memory() -> int:
    """Anonymous memory of this process, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon in /proc/self/status")


def track_long(monkeypatch: pytest.MonkeyPatch, folder: Path, frames: int) -> int:
    """Tracks a sequence at 256, every part of the loop but the network's arithmetic; the growth in bytes."""
    config = Config.make({"size": 256, "depths": [0, 0, 1]})
    rng = np.random.default_rng(0)

    def encode(self: Engine, crops: list[Any]) -> torch.Tensor:
        return torch.zeros(len(crops), config.template_tokens, config.dims[2])

    def predict(self: Engine, queries: list[Any]) -> list[Answer]:
        box = np.array([0.5, 0.5, 0.25, 0.25]) + rng.normal(0, 0.002, 4)
        return [Answer(box, 0.9, torch.zeros(len(queries), 3, config.dims[2])[i]) for i in range(len(queries))]

    monkeypatch.setattr(Engine, "encode_templates", encode)
    monkeypatch.setattr(Engine, "predict", predict)
    torch.manual_seed(0)
    tracker = ReasoningTrack(config, Network(config).state_dict(), device="cpu", history=folder)
    image = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    tracker.initialize(image, (140, 100, 40, 40), "a car")
    before = 0
    for n in range(1, frames):
        tracker.track(image)
        if n == 100:
            before = own_memory()
    grown = own_memory() - before
    tracker.close()
    return grown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_does_not_grow_with_the_history(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert track_long(monkeypatch, tmp_path, 1500) < 20e6  # the crops are 74 MB


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_memory_over_20_000_frames(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grown = track_long(monkeypatch, tmp_path, 20_000)
    print(f"grown by {grown / 1e6:.1f} MB")
    assert grown < 100e6
