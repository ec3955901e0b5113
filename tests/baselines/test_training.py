"""The training launcher against the miniature repository: every place of the text, faults, resuming, torchrun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tnllt.datasets import ImageFrames
from tnllt.errors import DataError, IncompleteError, UsageError
from tnllt.locks import sole_writer
from tnllt.sequence import Annotation, Sequence
from tnllt.tracking.baselines.bridge import BaselineTracker
from tnllt.tracking.baselines.launch import TrainingOptions, train, write_index
from tnllt.tracking.baselines.record import BaselineRecord

pytest.importorskip("torch")
pytest.importorskip("yaml")
DESCRIPTION = "a red kite"
Network = Callable[..., BaselineRecord]


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> list[Sequence]:
    """Three sequences of 30 small images with descriptions; the target of the third is hidden in most of them."""
    root = tmp_path_factory.mktemp("sequences")
    made = []
    for number, name in enumerate(("one", "two", "hidden")):
        (root / name).mkdir()
        for frame in range(30):
            cv2.imwrite(str(root / name / f"{frame:04}.png"), np.full((32, 40, 3), 10 * number + frame, np.uint8))
        boxes = np.tile([5.0, 6.0, 7.0, 8.0], (30, 1))
        boxes[3] = np.nan
        present = np.ones(30, bool)
        if name == "hidden":
            present[10:] = False
        made.append(Sequence(name, Annotation(boxes, present, DESCRIPTION), ImageFrames(root / name)))
    return made


def start(record: BaselineRecord, mini: Path, out: Path, data: list[Sequence], cfg: str = "", **options: Any) -> Path:
    """One short training; returns the last checkpoint."""
    defaults: dict[str, Any] = {"epochs": 1, "batch_size": 2, "samples": 4, "loader_workers": 0, "device": "cpu"}
    chosen = TrainingOptions(**{**defaults, **options})
    return train(record, data, out, chosen, repo=mini, python=sys.executable, cfg=cfg)


@pytest.fixture(scope="module")
def network(record_of: Network) -> Network:
    def make(text: str = "none") -> BaselineRecord:
        call = {"constructor": ["params", "dataset"]}
        training = {"script_name": "mini", "text": text, "config": {"TRAIN.TEXT": "" if text == "none" else text}}
        return record_of("network", tracker=call, training=training)

    return make


def metrics(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        "nlp",
        *(pytest.param(t, marks=pytest.mark.slow) for t in ("none", "exp_str", "language", "language_description")),
    ],
)
def test_text_reaches_upstreams_sampler(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path, text: str
) -> None:
    start(network(text), mini, tmp_path, sequences)
    steps = metrics(tmp_path)
    assert [step["loader"] for step in steps] == ["train", "train", "val", "val"]
    assert all(np.isfinite(step["Loss/total"]) for step in steps)
    assert {step["Text"] for step in steps} == {0.0 if text == "none" else float(len(DESCRIPTION))}


@pytest.mark.slow
def test_trained_weights_run_and_training_goes_on(
    network: Network,
    mini: Path,
    sequences: list[Sequence],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    image: Any,
    make: Callable[..., BaselineTracker],
) -> None:
    record, output = network(), tmp_path / "out put, é"
    before = {p: p.stat().st_mtime_ns for p in sorted(mini.rglob("*"))}
    first = start(record, mini, output, sequences)
    said = capfd.readouterr().out
    assert "mini: 1 sequences to train on, 1 to validate on" in said
    assert "left out as too short: hidden" in said
    assert "TRAIN sequences: [['one']]" in said and "VAL sequences: [['two']]" in said
    assert first == output / "checkpoints/train/mini/base/Mini_ep0001.pth.tar"
    assert list(first.parent.iterdir()) == [first]

    weights = start(record, mini, output, sequences, epochs=3, save_every_epoch=True)
    assert "resumed after epoch 1" in capfd.readouterr().out
    assert {step["epoch"] for step in metrics(output)} == {1, 2, 3}
    assert {p: p.stat().st_mtime_ns for p in sorted(mini.rglob("*"))} == before, "the clone was written to"

    assert weights.name == "Mini_ep0003.pth.tar"
    tracker = make("network", {"tracker": {"constructor": ["params", "dataset"]}}, weights=weights)
    tracker.initialize(image, [1.0, 2.0, 3.0, 4.0], None)
    assert np.isfinite(tracker.track(image).box).all()


@pytest.mark.slow
def test_other_datasets_of_upstreams_and_their_folders(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    more = {"datasets": ("ELSEWHERE=0.0",), "paths": ("elsewhere_dir=/data/elsewhere",)}
    start(network(), mini, tmp_path, sequences, **more)
    assert "TRAIN sequences: [['one'], '/data/elsewhere']" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("crash", "ended with exit code 1"),
        ("nan", "ended with exit code 5"),
        ("nan as Ls", "ended with exit code 5"),
        ("swallowed", "ended with exit code 6"),
        ("kill", "was killed by SIGKILL"),
    ],
)
def test_training_that_breaks_is_not_taken_for_done(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path, fault: str, end: str
) -> None:
    with pytest.raises(IncompleteError, match=f"training {end}"):
        start(network(), mini, tmp_path, sequences, cfg=f"TRAIN.FAULT={fault}")


def test_two_trainings_do_not_share_an_output(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path
) -> None:
    with sole_writer(tmp_path), pytest.raises(UsageError, match="written by another run"):
        start(network(), mini, tmp_path, sequences)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_launcher_that_is_killed_takes_the_training_along(
    mini: Path, sequences: list[Sequence], tmp_path: Path, processes: int
) -> None:
    """Else the same command, given again, would meet the first run's processes in its folder."""
    data, own, temporary = tmp_path / "data", tmp_path / "mine.toml", tmp_path / "temporary"
    temporary.mkdir()
    assert isinstance(sequences[0].frames, ImageFrames)
    shutil.copytree(sequences[0].frames.folder, data / "one" / "img")
    (data / "one" / "groundtruth.txt").write_text("5,6,7,8\n" * 30)
    own.write_text(
        'name = "mini"\ntitle = "Mini"\nmodes = ["BB"]\nlicence = "MIT"\ncitation = ""\n'
        'repository = "https://example.org/mini"\n[tracker]\nname = "network"\nyaml = "base"\nexperiments = "mini"\n'
        '[checkpoint]\npath = "x"\nsource = "here"\n[training]\nscript_name = "mini"\n'
    )
    command = ["baseline", "--baseline", own, "-d", data, "--split", "all", "-o", tmp_path / "out", "--device", "cpu"]
    command += ["--set", f"repo={mini}", "--set", 'cfg=TRAIN.FAULT="hang"', "--processes", processes, "--epochs", 1]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    launcher = subprocess.Popen(
        [sys.executable, "-m", "tnllt.cli.train", *map(str, command)],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert launcher.stdout is not None
    trainers = []
    for line in launcher.stdout:
        if line.startswith("hanging"):
            trainers.append(int(line.split()[1]))
        if len(trainers) == processes:
            break
    assert len(trainers) == processes
    launcher.kill()
    launcher.wait()
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in trainers) and time.monotonic() < deadline:
        time.sleep(0.2)
    launcher.stdout.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in trainers)
    assert not [p.name for p in temporary.iterdir() if p.name.startswith(("tnllt-", "torchelastic"))]


@pytest.mark.slow
def test_an_unreadable_picture_stops_it(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path
) -> None:
    frames = sequences[0].frames
    assert isinstance(frames, ImageFrames)
    bad = shutil.copytree(frames.folder, tmp_path / "bad")
    for image in bad.iterdir():
        image.write_bytes(b"no image")
    sequence = Sequence("bad", sequences[0].annotation, ImageFrames(bad))
    with pytest.raises(IncompleteError, match="training ended with exit code 4"):
        start(network(), mini, tmp_path / "out", [sequence])


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_processes_by_torchrun(
    network: Network,
    mini: Path,
    sequences: list[Sequence],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    processes: int,
) -> None:
    record = network()
    assert record.training is not None
    if processes == 1:
        record = replace(record, training=replace(record.training, torchrun=True))
    weights = start(record, mini, tmp_path, sequences, processes=processes)
    assert capfd.readouterr().out.count(f"processes: {processes}") == processes
    assert weights.name == "Mini_ep0001.pth.tar"
    assert len(metrics(tmp_path)) == 4, "only one process writes"


def test_index_refuses_what_cannot_be_trained_on(sequences: list[Sequence], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sequence shows its target in 20 frames or more"):
        write_index(sequences[2:], tmp_path / "index.json")
    assert write_index(sequences, tmp_path / "index.json", held_out=0.0) == (2, 2, ["hidden"])
    rows = json.loads((tmp_path / "index.json").read_text())["train"]
    assert rows[0]["boxes"][3] == [0.0, 0.0, 0.0, 0.0] and not rows[0]["present"][3]


def test_a_yaml_that_is_not_there(network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no configuration at .*experiments/mini/nowhere\.yaml"):
        train(network(), sequences, tmp_path / "out", repo=mini, python=sys.executable, yaml="nowhere")
    assert not (tmp_path / "out").exists()


def test_a_ratio_that_is_not_a_number(network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--with NAME=RATIO: the ratio must be a number"):
        start(network(), mini, tmp_path, sequences, datasets=("LASOT=much",))


def test_a_missing_file_of_encoder_weights_is_named(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IncompleteError, match="training ended with exit code 7"):
        start(network(), mini, tmp_path, sequences, cfg="TRAIN.FAULT=no encoder")
    printed = capfd.readouterr().err
    assert "upstream reads pretrained_models/mae.pth, which does not exist: `tnllt-run doctor` names" in printed


def test_a_misspelled_setting_is_refused(
    network: Network, mini: Path, sequences: list[Sequence], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IncompleteError, match="training ended with exit code 8"):
        start(network(), mini, tmp_path, sequences, cfg="TRAIN.FALUT=nan")
    assert "cfg: upstream's configuration has no TRAIN.FALUT; did you mean TRAIN.FAULT?" in capfd.readouterr().err
