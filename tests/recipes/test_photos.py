"""Clips from photographs: the box holds the same thing in every view."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from photos import FRAMES, PhotoSource

from tnllt.errors import DataError
from tnllt.reasoningtrack.config import Config
from tnllt.training.tracker import samples
from tnllt.training.tracker.recipe import recipe
from tnllt.training.tracker.samples import Sampler


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two smooth random pictures, one of them in a folder below."""
    out = tmp_path_factory.mktemp("photos")
    (out / "below").mkdir()
    for seed, name in enumerate(("a.png", "below/b.jpg")):
        small = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
        cv2.imwrite(str(out / name), cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC))
    return out


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.astype(float).ravel(), b.astype(float).ravel())[0, 1])


def test_the_box_holds_the_same_thing_in_every_view(folder: Path) -> None:
    source = PhotoSource(folder, "photos")
    alike, elsewhere = [], []
    for seed in range(30):
        clip = source.clip(np.random.default_rng(seed), seed)
        assert clip.boxes.shape == (FRAMES, 4)
        first, last = (clip.crop(i, tuple(clip.boxes[i]), 32) for i in (0, FRAMES // 4))  # type: ignore[arg-type]
        x, y, w, h = clip.boxes[FRAMES // 4]
        beside = clip.crop(FRAMES // 4, (x + 1.5 * w, y, w, h), 32)
        alike.append(correlation(first, last))
        elsewhere.append(correlation(first, beside) if beside.std() > 1 else 0.0)
    assert np.median(alike) > 0.75
    assert abs(np.median(elsewhere)) < 0.4


def test_same_draw_gives_the_same_clip(folder: Path) -> None:
    one, other = (PhotoSource(folder, "photos").clip(np.random.default_rng(5), 0) for _ in range(2))
    assert np.array_equal(one.boxes, other.boxes)
    region = (-40.0, -40.0, 80.0, 80.0)
    assert np.array_equal(one.crop(3, region, 48), other.crop(3, region, 48))
    # A view that is shown twice has the same noise in it.
    assert np.array_equal(one.crop(3, region, 48), one.crop(3, region, 48))


def test_the_script_adds_the_kind_of_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "KINDS", dict(samples.KINDS))
    runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "train.py"), run_name="train")
    config = Config.make({"size": "tiny", "template_size": 32, "search_size": 64})
    sample = Sampler([(samples.make_source(f"photos:{folder}"), 1.0)], config, recipe("tiny"))[3]
    assert sample.searches.shape == (2, 64, 64, 3)
    assert (sample.boxes[:, 2:] > 0).all()


def test_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no photograph .*\.png"):
        PhotoSource(tmp_path, "photos")


def test_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"x\.jpg"):
        PhotoSource(tmp_path, "photos").clip(np.random.default_rng(0), 0)


@pytest.mark.slow
def test_the_script_trains_on_photographs(folder: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "recipes" / "train.py"
    sizes = ["--set", "batch=2", "--set", "samples_per_epoch=2", "--set", "epochs=1", "--validate-every", "0", "--cpu"]
    command = [sys.executable, str(script), "--out", str(tmp_path), "--data", f"photos:{folder}", *sizes]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "weights.safetensors").is_file()
