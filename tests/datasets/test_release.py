"""A release of TNLLT's size: listing it is quick, and nothing is read before it is asked for."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from trees import write

from tnllt import TNLLTDataset
from tnllt.datasets import prefetch
from tnllt.datasets.splits import packaged


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 sequences under their real names, frames as links to one picture."""
    root = tmp_path_factory.mktemp("release")
    image = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    original = root / "frame.jpg"
    original.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    for name in packaged("tnllt", "all"):
        folder = root / name
        (folder / "imgs").mkdir(parents=True)
        for i in range(1, 21):
            os.link(original, folder / "imgs" / f"{i:05}.jpg")
        write(folder / "groundtruth.txt", *["10,20,30,40"] * 20)
        write(folder / "absent_label.txt", *[1] * 20)
        write(folder / "language.txt", "the target")
        write(folder / "attributes.txt", ",".join("0" * 15))
    original.unlink()
    return root


def test_listing_is_quick_and_reads_nothing(release: Path, monkeypatch: pytest.MonkeyPatch):
    for split in ("train", "test"):
        TNLLTDataset(release, split)  # imports; the packaged lists are read once

    def refuse(*args, **kwargs):
        raise AssertionError(f"read while listing: {args[0]}")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    for module, name in ((builtins, "open"), (io, "open"), (np, "fromfile")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    seconds = []
    for split, count in (("test", 50), ("train", 150), (None, 200)) * 3:
        begin = time.process_time()  # not the wall clock: other work must not fail the test
        dataset = TNLLTDataset(release, split=split)
        assert len(dataset) == count and len([sequence.name for sequence in dataset]) == count
        seconds.append(time.process_time() - begin)
    assert min(seconds[2::3]) < 0.2, seconds


def test_annotations_are_parsed_on_first_use_and_once(release: Path, monkeypatch: pytest.MonkeyPatch):
    sequence = TNLLTDataset(release)[0]
    assert len(sequence) == 20
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read twice"))
    assert sequence.present.all() and sequence.groundtruth.shape == (20, 4)


def test_a_dataset_travels_to_other_processes(release: Path):
    dataset = TNLLTDataset(release)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.names == dataset.names and copy[3].frames[0].shape == (360, 640, 3)
    sequence = pickle.loads(pickle.dumps(dataset[2]))
    assert sequence.language == "the target" and len(list(prefetch(sequence))) == 20
