"""Synthetic sets on disk, their sources, the demo dataset and the command."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tnllt.cli.data import cli
from tnllt.datasets import TNLLTDataset, open_dataset
from tnllt.datasets.synth import (
    ATTRIBUTES,
    FrameFormat,
    Library,
    SynthConfig,
    SynthSources,
    demo_folder,
    plan,
    write_dataset,
)
from tnllt.datasets.synth.sources import EMOJI_FONTS
from tnllt.datasets.synth.write import sequence_seed
from tnllt.errors import DataError, UsageError

SMALL = SynthConfig(frames=60, width=160, height=120, sources=SynthSources(3))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_written_is_what_was_planned(tmp_path: Path) -> None:
    names = write_dataset(tmp_path / "set", SMALL, 3, seed=9)
    dataset = TNLLTDataset(tmp_path / "set")
    assert dataset.names == names and (tmp_path / "set/splits/test.txt").read_text().split() == names
    for number, sequence in enumerate(dataset, 1):
        scene = plan(sequence_seed(9, number), SMALL)
        np.testing.assert_allclose(sequence.groundtruth, scene.boxes, atol=0.006)
        assert sequence.present is not None and np.array_equal(sequence.present, scene.present)
        assert sequence.language == scene.language and sequence.descriptions == scene.descriptions
        assert dict(sequence.attributes or {}) == scene.attributes
        assert np.abs(sequence.frames[7].astype(int) - scene.render(7).image).mean() < 8  # JPEG
        record = json.loads((tmp_path / "set" / sequence.name / "synth.json").read_text())
        assert record["seed"] == scene.seed and record["wrong"] == scene.wrong
        assert record["sources"]["procedural"] == 3
    assert not list((tmp_path / "set").glob(".partial-*"))


def test_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        write_dataset(tmp_path / str(workers), SMALL, 2, seed=4, workers=workers, form=FrameFormat(masks=True))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_png_keeps_every_pixel_and_masks_fit_the_boxes(tmp_path: Path) -> None:
    config = SynthConfig(frames=12, width=160, height=120, rates={"FOC": 0, "POC": 0, "OV": 0}, sources=SMALL.sources)
    (name,) = write_dataset(tmp_path / "set", config, 1, seed=2, form=FrameFormat(png=True, masks=True))
    scene = plan(sequence_seed(2, 1), config)
    frame = cv2.imread(str(tmp_path / "set" / name / "imgs/00004.png"))
    assert np.array_equal(frame[..., ::-1], scene.render(3).image)
    mask = cv2.imread(str(tmp_path / "set" / name / "masks/00004.png"), cv2.IMREAD_GRAYSCALE)
    assert set(np.unique(mask)) == {0, 255}
    ys, xs = np.nonzero(mask)
    x, y, w, h = scene.boxes[3]
    assert x - 2 <= xs.min() and xs.max() <= x + w + 2 and y - 2 <= ys.min() and ys.max() <= y + h + 2


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "set"
    names = write_dataset(out, SMALL, 3, seed=1)
    whole = contents(out)
    # As a kill leaves it: one sequence whole, one half drawn, no lists.
    (out / names[1]).rename(out / f".partial-{names[1]}")
    for late in sorted((out / f".partial-{names[1]}/imgs").iterdir())[20:]:
        late.unlink()
    shutil.rmtree(out / names[2])
    shutil.rmtree(out / "splits")
    before = (out / names[0] / "imgs/00001.jpg").stat().st_mtime_ns
    seen: list[tuple[int, int]] = []
    write_dataset(out, SMALL, 3, seed=1, report=lambda done, total: seen.append((done, total)))
    assert contents(out) == whole
    assert (out / names[0] / "imgs/00001.jpg").stat().st_mtime_ns == before
    assert seen[-1] == (180, 180)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals")
def test_a_killed_run_leaves_no_worker_and_goes_on(tmp_path: Path) -> None:
    options = ["-n", "3", "-t", "150", "--size", "160x120", "--seed", "2"]
    command = [sys.executable, "-c", "from tnllt.cli.data import main; main()", "synth"]
    out = tmp_path / "killed"
    run = subprocess.Popen([*command, str(out), *options, "-w", "2"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob(".partial-*/imgs/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.kill()
    assert run.stderr is not None
    run.wait()
    run.stderr.read()  # ends only when the last process that holds the pipe, a worker, is gone
    assert not (out / "splits").exists()
    for folder, workers in ((out, "1"), (tmp_path / "whole", "1")):
        result = CliRunner().invoke(cli, ["synth", str(folder), *options, "-w", workers])
        assert result.exit_code == 0, result.output
    assert contents(out) == contents(tmp_path / "whole")


def test_another_set_is_not_overwritten(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", SMALL, 1, seed=1)
    before = contents(tmp_path / "set")
    with pytest.raises(UsageError, match="made with other seed"):
        write_dataset(tmp_path / "set", SMALL, 1, seed=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        write_dataset(tmp_path / "mine", SMALL, 1)
    assert contents(tmp_path / "set") == before


def test_own_backgrounds_and_sprites(tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    (tmp_path / "sprites").mkdir()
    cv2.imwrite(str(tmp_path / "back/wall.png"), np.full((500, 700, 3), (200, 30, 10), np.uint8))
    sprite = np.zeros((80, 50, 4), np.uint8)
    sprite[10:70, 5:45] = (0, 255, 0, 255)
    cv2.imwrite(str(tmp_path / "sprites/garden_gnome.png"), sprite)
    sources = SynthSources(0, backgrounds=str(tmp_path / "back"), sprites=str(tmp_path / "sprites"), emoji="none")
    config = SynthConfig(
        frames=10,
        rates=dict.fromkeys(ATTRIBUTES, 0.0),
        families={"file": 1.0},
        distractors=(0, 0),
        grey=0,
        change=0,
        twins=0,
        artefacts=False,
        sources=sources,
    )
    scene = plan(1, config)
    assert "garden gnome" in scene.language
    drawn = scene.render(0, mask=True)
    assert drawn.mask is not None
    np.testing.assert_allclose(np.median(drawn.image[drawn.mask].reshape(-1, 3), axis=0), (0, 255, 0), atol=12)
    np.testing.assert_allclose(np.median(drawn.image[~drawn.mask].reshape(-1, 3), axis=0), (10, 30, 200), atol=14)
    assert drawn.box[3] / drawn.box[2] == pytest.approx(60 / 40, rel=0.2)


def test_sprites_whose_names_read_alike(tmp_path: Path) -> None:
    """Their words do not differ, so no distractor can be told from the target: planning ends all the same."""
    for name in ("red_car", "red-car"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((20, 30, 4), 255, np.uint8))
    config = SynthConfig(frames=5, families={"file": 1.0}, distractors=(2, 2), change=0)
    library = Library(SynthSources(2, sprites=str(tmp_path)))
    assert plan(1, config, library).language.endswith("red car")


def test_bad_sources_are_named(tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    with pytest.raises(UsageError, match="no images here"):
        Library(SynthSources(backgrounds=str(tmp_path / "back")))
    (tmp_path / "back/broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"broken\.jpg"):
        Library(SynthSources(0, backgrounds=str(tmp_path / "back"))).background(0)
    with pytest.raises(UsageError, match="no such folder"):
        Library(SynthSources(sprites=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="no box tracks"):
        Library(SynthSources(motion_from=str(tmp_path / "back")))
    (tmp_path / "back/flat.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    broken = Library(SynthSources(sprites=str(tmp_path / "back")))
    from tnllt.datasets.synth.appearance import SpriteLook

    with pytest.raises(DataError, match="opacity"):
        broken.sprite(SpriteLook("file", "flat"))


def test_real_tracks_are_followed(tmp_path: Path) -> None:
    steps = np.arange(150)
    boxes = np.stack([100 + 3 * steps, 200 + 40 * np.sin(steps / 9), np.full(150, 60), np.full(150, 40)], axis=1)
    boxes[70:75] = 0  # out of view in the recording: bridged
    np.savetxt(tmp_path / "walk-1.txt", boxes, fmt="%.1f", delimiter=",")
    (tmp_path / "absent").mkdir()
    np.savetxt(tmp_path / "absent/walk-1.txt", np.zeros(150), fmt="%d")
    sources = SynthSources(3, motion_from=str(tmp_path))
    config = SynthConfig(frames=150, rates=dict.fromkeys(ATTRIBUTES, 0.0), real_motion=1.0, sources=sources)
    scene = plan(3, config)
    assert scene.track == "walk-1"
    center = scene.measures.boxes[:, :2] + scene.measures.boxes[:, 2:] / 2
    real = boxes[:, :2] + boxes[:, 2:] / 2
    real[70:75] = np.nan
    keep = np.isfinite(real[:, 0]) & (center[:, 0] > 90) & (center[:, 0] < 550)
    assert abs(np.corrcoef(center[keep, 1], real[keep, 1])[0, 1]) > 0.95


def test_real_tracks_of_lasot(shared: Path) -> None:
    library = Library(SynthSources(3, motion_from=str(shared / "data/lasot/annos")))
    assert len(library.tracks) == 280
    config = SynthConfig(frames=100, real_motion=1.0, sources=library.sources)
    assert {plan(seed, config, library).present[0] for seed in range(20)} == {True}


@pytest.mark.skipif(not any(font.is_file() for font in EMOJI_FONTS), reason="Noto's colour emoji font is not installed")
def test_emoji_show_what_their_names_say() -> None:
    names = SynthSources(3, emoji="auto")
    library = Library(names)
    assert len(library.emoji) > 500
    scene = plan(1, SynthConfig(frames=10, families={"emoji": 1.0}, change=0, sources=names), library)
    assert scene.layers[scene.target].look(0).family == "emoji"
    from tnllt.datasets.synth.appearance import SpriteLook
    from tnllt.datasets.synth.colours import nearest

    for character, colour in (
        ("\N{GREEN HEART}", "green"),
        ("\N{ORANGE BOOK}", "orange"),
        ("\N{LARGE RED CIRCLE}", "red"),
    ):
        raster = library.sprite(SpriteLook("emoji", character)).levels[0]
        inside = raster[raster[..., 3] == 255][:, :3]
        assert nearest(np.median(inside, axis=0))[0] == colour


def test_the_demo_is_made_once_and_reads_as_tnllt() -> None:
    folder = demo_folder()
    made = {p: p.stat().st_mtime_ns for p in folder.rglob("*.jpg")}
    assert demo_folder() == folder and made == {p: p.stat().st_mtime_ns for p in folder.rglob("*.jpg")}
    demo = open_dataset("demo")
    assert len(demo) == 8 and all(len(s) == 80 and s.language for s in demo)
    seen = {name for s in demo for name, flag in (s.attributes or {}).items() if flag}
    assert seen == set(ATTRIBUTES)
    assert demo[0].frames[0].shape == (270, 480, 3)
    assert not list(folder.parent.glob(".making-demo-*"))


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke(
        cli,
        [
            "synth",
            str(tmp_path / "set"),
            "-n",
            "2",
            "-t",
            "30",
            "--size",
            "160x120",
            "--seed",
            "3",
            "--workers",
            "1",
            "--attributes",
            "FOC",
            "--iv",
            "1",
        ],
    )
    assert run.exit_code == 0, run.output
    flags = [s.attributes for s in TNLLTDataset(tmp_path / "set")]
    assert all(f and f["FOC"] and f["IV"] and not f["OV"] and not f["CM"] for f in flags)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "640"], "not of the form"),
        (["--foc", "2"], "0<=x<=1"),
        (["--attributes", "FOC,XY"], "no attribute XY"),
        (["--distractors", "4-1"], "in order"),
        (["--backgrounds", "nowhere"], "no such folder"),
        (["--motion-from", "annos"], "no such folder of box tracks"),
        (["--emoji", "nowhere.ttf"], "no such font file"),
    ],
)
def test_the_command_refuses(tmp_path: Path, arguments: list[str], message: str) -> None:
    run = CliRunner().invoke(cli, ["synth", str(tmp_path / "set"), *arguments])
    assert run.exit_code != 0
    assert message in run.output + str(run.exception)
    assert not (tmp_path / "set").exists()
