"""Training the bundled reasoner: labels, samples that follow from their number, and runs that resume to the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tnllt.errors import UsageError
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.reasoners.bundled import BundledReasoner
from tnllt.reasoningtrack.reasoners.factory import BUNDLED
from tnllt.reasoningtrack.reasoners.looks import KINDS, SHADES, described_numbers, read_description
from tnllt.reasoningtrack.reasoners.reader import MOST, SCALE, SIDES, LookReader, Objects
from tnllt.tensors import read
from tnllt.training.reasoner.choosing import (
    TRACKED_ASKED,
    TRACKED_SEED,
    ChoiceRows,
    fit,
    tracked_choices,
    tracked_scene,
    train_choice,
)
from tnllt.training.reasoner.losses import target_among
from tnllt.training.reasoner.options import ChoiceRecipe, GainRecipe, ReaderRecipe, ReasonerOptions, TrackedRecipe
from tnllt.training.reasoner.samples import (
    Facts,
    WindowBatches,
    WindowSampler,
    collate,
    facts,
    labels,
    mirrored,
    scene_of,
    tracker_box,
)
from tnllt.training.reasoner.trainer import train


def test_the_facts_of_a_frame_are_the_scenes() -> None:
    scene = scene_of(5, "change", frames=30)
    for index in (0, 29):
        seen = facts(scene, index)
        if scene.present[index]:
            x, y, w, h = seen.boxes[0]
            low, high = np.clip([x, y], 0, (320, 240)), np.clip([x + w, y + h], 0, (320, 240))
            np.testing.assert_allclose(scene.boxes[index], [*low, *(high - low)], atol=1e-6)
        look = scene.layers[scene.target].look(index)
        assert KINDS[seen.looks[0, 0]] == look.kind
        assert SHADES[seen.looks[0, 1]] == ("" if scene.grey else look.main)


def test_labels_are_in_pixels_of_the_window() -> None:
    seen = Facts(np.array([[100.0, 50.0, 40.0, 10.0]]), np.array([1.0]), np.array([[3, 2, 1, 0]]))
    row = labels(seen, (100.0, 50.0, 40.0, 10.0), 1)[0]
    middle = SIDES[1] / 2
    np.testing.assert_allclose(row, [middle - SCALE, middle - SCALE / 4, 2 * SCALE, SCALE / 2, 1, 3, 2, 1, 0])


def test_boxes_are_where_a_tracker_may_be() -> None:
    seen = Facts(np.array([[100.0, 50, 20, 20], [200.0, 50, 20, 20]]), np.ones(2), np.zeros((2, 4), int))
    rng = np.random.default_rng(0)
    for place, x in (("target", 110), ("look-alike", 210)):
        boxes = np.array([tracker_box(rng, seen, place) for _ in range(200)])
        assert np.median(boxes[:, 0] + boxes[:, 2] / 2) == pytest.approx(x, abs=1.5)


def test_a_sample_follows_from_its_number_alone() -> None:
    one, other = (WindowSampler(1, count=2, busy=1, frames=2, crowds=1) for _ in range(2))
    first, second = one[0], one[1]
    for a, b in zip(other[1], second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.now.shape == (2, SIDES[1], SIDES[1], 3)
    assert (first.crowd_labels[..., 4] > 0.5).sum() > 5  # a crowd has many objects
    twice = mirrored(mirrored(first))
    np.testing.assert_array_equal(twice.crowd, first.crowd)
    np.testing.assert_allclose(twice.now_labels, first.now_labels, atol=1e-4)


def objects(count: int, rng: torch.Generator) -> Objects:
    looks = [torch.randn(count, MOST, n, generator=rng) for n in (44, 13, 13, 6)]
    at = torch.arange(MOST).expand(count, MOST)
    return Objects.of([at, torch.ones(count, MOST), torch.rand(count, MOST, 2, generator=rng), *looks])


def test_the_target_is_the_object_whose_cell_is_at_its_middle() -> None:
    table = torch.full((2, 3, 9), -1.0)
    table[:, 0, :5] = torch.tensor([2 * 8 + 4 - 12.0, 4 - 12.0, 24, 24, 1])  # middle in cell 2
    table[1, 0, 4] = 0.1  # hidden
    assert target_among(objects(2, torch.Generator()), table, 18).tolist() == [2, MOST]


@pytest.mark.parametrize("recipe", [ChoiceRecipe(epochs=30, batch=16), GainRecipe(epochs=30, batch=16, divergence=0.0)])
def test_the_choice_learns_what_is_right_or_what_gains(recipe: ChoiceRecipe) -> None:
    """Of eight objects the one whose colour is the described one, most surely."""
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    first, now = objects(60, rng), objects(60, rng)
    described = torch.randint(0, 6, (60, 4), generator=rng)
    wanted = now.looks["main"].softmax(2).gather(2, described[:, None, 1:2].expand(-1, MOST, 1))[..., 0].argmax(1)
    values = torch.nn.functional.one_hot(wanted, MOST + 1).float()
    model, said = LookReader().requires_grad_(False), []
    before = {n: p.clone() for n, p in model.named_parameters() if n.startswith(("stem", "heads"))}
    fit(model, ChoiceRows(first, now, described, values, torch.zeros(60)), recipe, said.append)
    assert float(said[-1].split()[4].rstrip(",")) > float(said[0].split()[4].rstrip(",")) + 0.2
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters() if n in before)


def test_questions_at_the_tracker_s_boxes_have_their_true_answers() -> None:
    recipe = TrackedRecipe(lookalikes=0.0)
    tracker, reasoner = ReasoningTrack(reasoner="static"), BundledReasoner()
    tracked = tracked_scene(0, recipe)
    assert tracked is not None
    rows = list(tracked_choices(tracker, reasoner, tracked))
    scene = scene_of(TRACKED_SEED, "change")
    numbers = described_numbers(read_description(scene.language))
    assert len(rows) == len(TRACKED_ASKED)
    found = 0
    for row, frame in zip(rows, TRACKED_ASKED, strict=True):
        assert float(row.values.sum()) == 1 and row.described.tolist() == [list(numbers)]
        chosen = int(row.values.argmax())
        assert bool(row.changed.isnan()) == (chosen == MOST)
        if chosen < MOST:
            look = facts(scene, frame).looks[0].tolist()
            assert bool(row.changed) == any(new != old for new, old in zip(look, numbers, strict=True) if old >= 0)
            found += 1
    assert found >= 5
    assert {float(row.changed) for row in rows} >= {0.0, 1.0}


def test_each_stream_draws_scenes_of_its_own_and_one_is_the_sampler() -> None:
    one, two = WindowBatches(1, 2, 1, 8), WindowBatches(1, 2, 2, 8)
    alone = WindowSampler(1)
    for step in range(2):
        whole = collate([alone[2 * step], alone[2 * step + 1]])
        assert all(torch.equal(whole[name], one[step][name]) for name in whole)
    assert torch.equal(two[0]["now"], one[0]["now"])
    assert not torch.equal(two[1]["now"], one[1]["now"])
    assert torch.equal(two[2]["now"], one[1]["now"])  # the first stream's second batch


@pytest.mark.slow
def test_workers_draw_the_same_and_share_the_streams(tmp_path: Path) -> None:
    recipe = ReaderRecipe(steps=4, batch=1, warmup=2, streams=2)
    found = [
        read(train(recipe, ReasonerOptions(tmp_path / str(n), workers=n), weights=BUNDLED)).content for n in (0, 2)
    ]
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    with pytest.raises(UsageError, match="3 workers, streams=2"):
        train(recipe, ReasonerOptions(tmp_path / "3", workers=3))
    with pytest.raises(UsageError, match="weights"):
        train(recipe, ReasonerOptions(tmp_path / "2", workers=2))  # begun with others


@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = ReaderRecipe(steps=3, batch=1, warmup=2)
    whole = train(recipe, ReasonerOptions(tmp_path / "whole"), lambda line: None)
    options = ReasonerOptions(tmp_path / "parts", save_every=1, log_every=1, minutes=1e-9)
    for _ in range(3):  # each stops after a step
        parts = train(recipe, options, lambda line: None)
    one, other = read(whole).content, read(parts).content
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [line.split(",")[0] for line in (tmp_path / "parts" / "curves.csv").read_text().splitlines()] == [
        "step", "1", "2", "3"
    ]  # fmt: skip
    with pytest.raises(UsageError, match="another recipe"):
        train(ReaderRecipe(steps=5, batch=1), options)
    with pytest.raises(UsageError, match="another recipe"):
        train_choice(ChoiceRecipe(scenes=1), options, whole, print)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        ChoiceRecipe(scenes=2, epochs=1, batch=4),
        TrackedRecipe(scenes=2, epochs=1, batch=4),
        GainRecipe(scenes=2, epochs=1, batch=2),
    ],
)
def test_stages_gather_once_and_train(tmp_path: Path, recipe: ChoiceRecipe) -> None:
    said: list[str] = []
    options = ReasonerOptions(tmp_path / "choice")
    first = read(train_choice(recipe, options, BUNDLED, said.append)).content
    assert "2 of 2 scenes" in said
    said.clear()
    again = read(train_choice(recipe, options, BUNDLED, said.append)).content  # reads what was gathered
    assert "2 of 2 scenes" not in said
    assert all(torch.equal(first[name], again[name]) for name in first)
    shared = ReasonerOptions(tmp_path / "shared", workers=2)
    other = read(train_choice(recipe, shared, BUNDLED, said.append)).content
    assert all(torch.allclose(first[name].float(), other[name].float(), atol=2e-3) for name in first)


def killed_at_random(command: list[str], out: Path, kills: int, draw: random.Random) -> int:
    """Starts the command and kills it (SIGKILL) some time after it has saved something new, again and again. Returns
    how many kills hit a running process."""
    landed = 0
    for _ in range(kills):
        before = {path: path.stat().st_mtime_ns for path in out.glob("*")}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            saved = [path for path in out.glob("*.*") if path.suffix != ".part"]
            if any(path.name != "run.json" and before.get(path) != path.stat().st_mtime_ns for path in saved):
                break
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        landed += process.wait() == -signal.SIGKILL
    return landed


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["read", "choose"])
def test_killed_stages_end_with_the_same_weights(tmp_path: Path, stage: str) -> None:
    """TNLLT_KILLS=100 asks for so many kills."""
    kills = int(os.environ.get("TNLLT_KILLS", "2"))
    changes = {"read": ["steps=8", "batch=1", "warmup=2"], "choose": ["scenes=8", "epochs=2", "batch=4"]}[stage]
    command = [sys.executable, "-m", "tnllt.cli.train", "reasoner", "--stage", stage, "--save-every", "1"]
    command += [part for change in changes for part in ("--set", change)]
    if stage == "choose":
        first = train(ReaderRecipe(steps=1, batch=1), ReasonerOptions(tmp_path / "read"), lambda line: None)
        command += ["--weights", str(first)]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*command, "--out", str(whole)], check=True, stdout=subprocess.DEVNULL)
    killed.mkdir()
    landed = killed_at_random([*command, "--out", str(killed)], killed, kills, random.Random(0))
    assert landed >= kills / 2, f"{landed} of {kills} kills landed in a run"
    subprocess.run([*command, "--out", str(killed)], check=True, stdout=subprocess.DEVNULL)
    one, other = (read(folder / "weights.safetensors").content for folder in (whole, killed))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
