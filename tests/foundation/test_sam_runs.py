"""The SAM family by `tnllt-run` over a real clip: result files, masks and boxes of a session that forgets nothing."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import tnllt
from tnllt.masks import mask_box
from tnllt.results.store import ResultStore

pytest.importorskip("torch")
pytest.importorskip("transformers")
from test_sam import FAMILY, plain_session

#: Frames of the clip; 300 by TNLLT_STREAMED_FRAMES=300, which takes minutes.
FRAMES = int(os.environ.get("TNLLT_STREAMED_FRAMES", "40"))


@pytest.fixture(scope="module")
def clip(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OTB's MotorRolling, forward and then backward as often as needed."""
    source, folder = shared / "data" / "otb" / "MotorRolling", tmp_path_factory.mktemp("clips")
    images = sorted((source / "img").glob("*.jpg"))
    rows = (source / "groundtruth_rect.txt").read_text().replace("\t", ",").split()
    there_and_back = [*range(len(images)), *range(len(images) - 2, 0, -1)]
    order = [there_and_back[i % len(there_and_back)] for i in range(FRAMES)]
    (folder / "motor" / "img").mkdir(parents=True)
    for i, frame in enumerate(order, 1):
        (folder / "motor" / "img" / f"{i:04}.jpg").symlink_to(images[frame])
    (folder / "motor" / "groundtruth.txt").write_text("".join(f"{rows[frame]}\n" for frame in order))
    (folder / "motor" / "language.txt").write_text("the person\n")
    return folder


def megabytes_while_it_runs(command: list[str]) -> list[float]:
    """Resident memory of the largest process below a command, from where it has nearly reached its most to its end."""
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        samples = []
        while process.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                below = psutil.Process(process.pid).children(recursive=True)
                samples.append(max([child.memory_info().rss / 1e6 for child in below], default=0.0))
            time.sleep(0.1)
        said.seek(0)
        assert process.returncode == 0, said.read()
    while samples and samples[-1] < 0.8 * max(samples):  # it has ended
        samples.pop()
    return samples[next(i for i, value in enumerate(samples) if value > 0.8 * max(samples)) :]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILY)
def test_a_run_over_a_real_clip_gives_the_masks_of_a_plain_session(name: str, clip: Path, tmp_path: Path) -> None:
    make, cls = FAMILY[name]
    folder, results = make(tmp_path / "model"), tmp_path / "runs"
    command = [sys.executable, "-m", "tnllt.cli.run", cls.name, "--dataset", str(clip), "--results", str(results)]
    command += ["--set", f"weights={folder}", "--device", "cpu", "--threads", "1", "--masks"]
    command += ["--mode", "NL" if name == "sam3 by text" else "BB"]
    held = megabytes_while_it_runs(command)

    store, sequence = ResultStore(results), tnllt.open_dataset(clip)["motor"]
    masks, record = store.masks(cls.name, "motor"), store.record(cls.name, "motor")
    boxes = store.read(cls.name, "motor").boxes
    assert record is not None and len(masks) == len(boxes) == FRAMES
    frames = (sequence.frames[i] for i in range(FRAMES))
    box = sequence.groundtruth[0].tolist()
    distinct = set()
    for i, (expected, _) in enumerate(plain_session(name, folder, frames, box, sequence.frames[0].shape[:2])):
        mask = masks[i]
        assert mask is not None and np.array_equal(mask, expected), i
        distinct.add(mask.tobytes())
        if i and (around := mask_box(mask)) is not None:
            assert np.allclose(boxes[i], around, atol=1e-4), i
    assert len(distinct) > 0.5 * FRAMES  # with random weights the object drifts out of view, and its masks are empty
    if name == "sam3 by text":
        events = [json.loads(row) for row in store.path(cls.name, "motor", ".trace.jsonl").read_text().splitlines()]
        (chosen,) = [event for event in events if event["event"] == "target" and event["frame"] == 0]
        assert chosen["scores"][str(chosen["object"])] == max(chosen["scores"].values()) and len(chosen["scores"]) > 1
        assert "highest score in the first frame" in record.info["start"]
    start, half, end = held[len(held) // 5], held[len(held) // 2], held[-1]
    kept = store.path(cls.name, "motor", ".masks.jsonl").stat().st_size / 1e6  # run lengths, in memory until the end
    memory = f"{start:.1f} after a fifth, {half:.1f} halfway, {end:.1f} at the end, masks {kept:.1f}"
    print(f"\n{name}: {FRAMES} frames, {len(distinct)} masks; MB of the tracking process: {memory}")
    if FRAMES >= 200:  # in a short run, half of the time is spent on loading
        assert end - half < 15
