"""Sentences of synthetic sequences: true of the target, and of nothing else in the scene."""

from __future__ import annotations

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tnllt.datasets.synth import Layer, Library, ScenePlan, SynthConfig, SynthSources, plan
from tnllt.datasets.synth.appearance import SpriteLook, random_look, relative
from tnllt.datasets.synth.colours import COLOURS, distinct, nearest
from tnllt.datasets.synth.shapes import OBJECTS, SHAPES


@pytest.fixture(scope="module")
def sources() -> Library:
    return Library(SynthSources(5))


def distractors(scene: ScenePlan) -> list[Layer]:
    return [layer for layer in scene.layers if layer.role == "distractor"]


@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_no_distractor_answers_to_the_targets_description(sources: Library, grey: float) -> None:
    config = SynthConfig(frames=120, grey=grey, twins=0, change=0.6, distractors=(2, 5), sources=sources.sources)
    changed = 0
    for seed in range(30):
        scene = plan(seed, config, sources)
        changed += len(scene.phrases) > 1
        for index in range(0, 120, 12):
            own = scene.layers[scene.target].look(index).words(not scene.grey)
            assert own in scene.description(index)
            assert own not in {layer.look(index).words(not scene.grey) for layer in distractors(scene)}
    assert changed > 8


def test_the_wrong_sentence_is_never_true_of_the_target(sources: Library) -> None:
    for seed in range(30):
        scene = plan(seed, SynthConfig(frames=100, change=0.5, distractors=(0, 3), sources=sources.sources), sources)
        assert scene.wrong not in scene.descriptions
        looks = [
            layer.look(0).words(not scene.grey)
            for layer in distractors(scene)
            if layer.look(0) != scene.layers[scene.target].look(0)
        ]
        assert not looks or any(words in scene.wrong for words in looks)


def test_grey_sequences_name_no_colour_and_have_none(sources: Library) -> None:
    for seed in range(20):
        scene = plan(seed, SynthConfig(frames=20, grey=1.0, sources=sources.sources), sources)
        words = set(re.findall(r"[a-z]+", " ".join([*scene.descriptions, scene.wrong])))
        assert not words & set(COLOURS)
        image = scene.render(3).image
        assert (image[..., 0] == image[..., 1]).all() and (image[..., 1] == image[..., 2]).all()


def test_a_change_makes_the_first_sentence_false_and_shows(sources: Library) -> None:
    config = SynthConfig(
        frames=100,
        rates=dict.fromkeys(("FOC", "OV", "IV", "LR", "POC", "MB", "BC", "AS"), 0.0),
        change=1.0,
        grey=0,
        twins=0,
        families={"object": 1.0},
        textured=0,
        artefacts=False,
        sources=sources.sources,
    )
    for seed in range(8):
        scene = plan(seed, config, sources)
        true = scene.language_true
        assert true[0] and not true[-1]
        first = scene.phrases[1][0]
        assert true[: first - 1].all() and scene.description(first) != scene.description(first - 1)
        alone = replace(scene, layers=(scene.layers[scene.target],), target=0)
        means = []
        for index in (max(first - 8, 0), min(first + 8, 99)):
            drawn = alone.render(index, mask=True)
            assert drawn.mask is not None
            means.append(drawn.image[drawn.mask].reshape(-1, 3).mean(axis=0))
        assert np.abs(means[0] - means[1]).max() > 6


def test_a_swap_gives_the_old_look_to_a_distractor(sources: Library) -> None:
    config = SynthConfig(
        frames=100, change=1.0, swap=1.0, grey=0, distractors=(4, 6), families={"shape": 1.0}, sources=sources.sources
    )
    swapped = 0
    for seed in range(20):
        scene = plan(seed, config, sources)
        first = scene.layers[scene.target].look(0).words()
        swapped += any(layer.look(99).words() == first for layer in distractors(scene))
    assert swapped >= 10


def test_a_twin_makes_the_sentence_say_where(sources: Library) -> None:
    for seed in range(6):
        config = SynthConfig(
            frames=60, twins=1.0, change=0, distractors=(0, 0), rates={"OV": 0.0}, sources=sources.sources
        )
        scene = plan(seed, config, sources)
        twin = distractors(scene)[-1]
        sprite = sources.sprite(twin.look(0))
        for index in range(0, 60, 10):
            other = twin.matrix[index, :, :2] @ sprite.center + twin.matrix[index, :, 2]
            dx, dy = scene.measures.boxes[index, :2] + scene.measures.boxes[index, 2:] / 2 - other
            sentence = scene.description(index)
            assert ("left " in sentence) == (abs(dx) >= abs(dy) and dx < 0)
            assert ("lower " in sentence) == (abs(dy) > abs(dx) and dy >= 0)


def test_named_colours_are_what_one_sees(sources: Library) -> None:
    """The middle colour of each plainly painted shape is nearest to the colour that its sentence names."""
    for name in COLOURS:
        for seed in range(3):
            raster = sources.sprite(SpriteLook("shape", "circle", name, seed=seed)).levels[0]
            inside = raster[raster[..., 3] == 255][:, :3]
            assert nearest(np.median(inside, axis=0))[0] == name


def test_both_colours_of_an_object_are_to_be_seen(sources: Library) -> None:
    for kind in OBJECTS:
        raster = sources.sprite(SpriteLook("object", kind, "green", "pink", seed=1)).levels[0]
        inside = raster[raster[..., 3] == 255][:, :3].astype(np.float64)
        for colour in ("green", "pink"):
            lab = [
                cv2.cvtColor(np.float32(c).reshape(1, -1, 3) / 255, cv2.COLOR_RGB2LAB)[0]
                for c in (inside, COLOURS[colour])
            ]
            share = (np.linalg.norm(lab[0] - lab[1], axis=1) < 30).mean()
            assert share > 0.02, (kind, colour, share)


def test_relatives_differ_in_what_was_asked(sources: Library) -> None:
    rng = np.random.default_rng(0)
    for family in ("shape", "object"):
        for _ in range(80):
            look = random_look(rng, family, 0, [], 0.0)
            other = relative(rng, look, "colour", [])
            assert other.kind == look.kind and other.main in distinct(look.main)
            other = relative(rng, look, "shape", [])
            assert other.kind != look.kind and other.main == look.main
            assert {look.kind, other.kind} not in (
                {"square", "rectangle"},
                {"circle", "oval"},
                {"person", "walking person"},
            )
            other = relative(rng, look, "part", [])
            assert other.kind == look.kind and other.main == look.main and other.words() != look.words()


def test_phrases_read_well() -> None:
    assert SpriteLook("object", "car", "red", "black").words() == "red car with black wheels"
    assert SpriteLook("object", "person", "orange", "blue").words() == "person in an orange shirt and blue trousers"
    assert SpriteLook("shape", "star", "red", "white", "striped").words() == "red star with white stripes"
    assert SpriteLook("shape", "star", "red", "white", "striped").words(colour=False) == "striped star"
    assert SpriteLook("shape", "oval", "red").words(colour=False) == "oval"
    assert SpriteLook("patch", "round", "green", material=0).words() == "green mottled round patch"
    assert SpriteLook("emoji", "\N{CAT FACE}").words() == "cat face"
    assert SpriteLook("file", "toy_robot-2").words() == "toy robot 2"


def test_every_sprite_can_be_drawn(sources: Library) -> None:
    for kind in SHAPES:
        for pattern in ("plain", "striped", "dotted", "bordered", "checkered", "halved"):
            sprite = sources.sprite(SpriteLook("shape", kind, "red", "white", pattern))
            assert sprite.solid.sum() > 800 and len(sprite.points) > 60
    look = SpriteLook("object", "car", "red", "black")
    premultiplied = sources.sprite(look).levels[0].astype(int)
    assert (premultiplied[..., :3] <= premultiplied[..., 3:]).all()
    assert sources.sprite(look) is sources.sprite(replace(look))
