"""Planned scenes: what is said before a pixel is drawn must hold in the pixels."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.datasets.synth import ATTRIBUTES, Library, ScenePlan, SynthConfig, SynthSources, only, plan, sources
from tnllt.errors import UsageError


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(SynthSources(5))


def bare(library: Library, family: str = "object", frames: int = 60, **options: object) -> SynthConfig:
    """A configuration with nothing in it but what is asked for."""
    base = SynthConfig(
        frames=frames,
        rates=only(),
        families={family: 1.0},
        distractors=(0, 0),
        change=0,
        twins=0,
        grey=0,
        artefacts=False,
        sources=library.sources,
    )
    return replace(base, **options)  # type: ignore[arg-type]


def mask_box(mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()], float)


@pytest.mark.parametrize("family", ["shape", "object", "patch"])
@pytest.mark.parametrize("attribute", ["ROT", "DEF", "SV", "ARC", "VC"])
def test_boxes_fit_the_drawn_pixels(library: Library, family: str, attribute: str) -> None:
    for seed in range(4):
        scene = plan(seed, bare(library, family, rates=only(attribute)), library)
        for index in (0, 17, 31, 59):
            if not (scene.visible[index] == 1.0 and scene.present[index]):
                continue
            drawn = scene.render(index, mask=True)
            assert drawn.mask is not None
            difference = np.abs(mask_box(drawn.mask) - drawn.box)
            assert difference.max() <= 2.0 + 0.02 * drawn.box[2:].max(), (family, attribute, seed, index, difference)


def test_every_frame_alone_is_the_frame_in_order(library: Library) -> None:
    config = SynthConfig(frames=30, sources=library.sources)
    forward = [plan(5, config, library).render(i).image for i in range(30)]
    again = plan(5, config, library)
    for index in (29, 3, 17, 3):
        assert np.array_equal(again.render(index).image, forward[index])
    assert not np.array_equal(plan(6, config, library).render(3).image, forward[3])


def test_a_fresh_library_gives_the_same_pictures(library: Library) -> None:
    config = SynthConfig(frames=20, sources=library.sources)
    for seed in range(3):
        a, b = plan(seed, config, library), plan(seed, config, Library(library.sources))
        assert np.array_equal(a.render(9).image, b.render(9).image)
        assert np.array_equal(a.boxes, b.boxes) and a.descriptions == b.descriptions


def test_a_region_is_that_part_of_the_frame(library: Library) -> None:
    scene = plan(3, bare(library, distractors=(2, 2)), library)
    whole, part = scene.render(20), scene.render(20, region=(100, 50, 200, 150))
    same = whole.image[50:200, 100:300].astype(int)
    assert np.abs(part.image.astype(int) - same).mean() < 0.5
    np.testing.assert_allclose(part.box, whole.box - (100, 50, 0, 0))


def test_a_scaled_region_shows_the_target_where_its_box_says(library: Library) -> None:
    scene = plan(4, bare(library), library)
    x, y, w, h = scene.boxes[10]
    side = 3 * max(w, h)
    drawn = scene.render(10, region=(x + w / 2 - side / 2, y + h / 2 - side / 2, side, side), size=128, mask=True)
    assert drawn.image.shape == (128, 128, 3) and drawn.mask is not None
    np.testing.assert_allclose(drawn.box[:2] + drawn.box[2:] / 2, (64, 64), atol=1e-6)
    assert np.abs(mask_box(drawn.mask) - drawn.box).max() < 3


def test_outside_the_frame_a_region_is_black(library: Library) -> None:
    drawn = plan(1, SynthConfig(frames=10, grey=0, sources=library.sources), library).render(
        0, region=(-64, -64, 128, 128)
    )
    assert drawn.image[:63].max() < 25 and drawn.image[:, :63].max() < 25  # JPEG may ring at the border
    assert drawn.image[70:, 70:].mean() > 5


def test_visible_share_is_what_the_mask_leaves(library: Library) -> None:
    for seed in range(6):
        scene = plan(seed, bare(library, rates=only("FOC", "POC")), library)
        clear = replace(scene, layers=(scene.layers[scene.target],), target=0)
        for index in range(0, 60, 6):
            left, all_of_it = (s.render(index, mask=True).mask for s in (scene, clear))
            assert left is not None and all_of_it is not None
            assert left.sum() / all_of_it.sum() == pytest.approx(scene.visible[index], abs=0.08)


def test_absent_frames_have_no_box_and_show_nothing(library: Library) -> None:
    scene = plan(2, bare(library, rates=only("OV")), library)
    absent = np.flatnonzero(~scene.present)
    assert len(absent) > 3 and scene.present[0]
    assert (scene.boxes[absent] == 0).all()
    gone = absent[scene.visible[absent] == 0]
    mask = scene.render(int(gone[0]), mask=True).mask
    assert mask is not None and not mask.any()


def test_boxes_stay_within_the_frame(library: Library) -> None:
    for seed in range(20):
        scene = plan(seed, SynthConfig(frames=80, width=320, height=240, sources=library.sources), library)
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= (320 + 1e-6, 240 + 1e-6)).all()
        assert scene.present[0] and set(scene.attributes) == set(ATTRIBUTES)


def test_ten_thousand_frames_are_planned_and_any_of_them_drawn(library: Library) -> None:
    scene = plan(11, SynthConfig(frames=10_000, sources=library.sources), library)
    assert len(scene) == 10_000 and len(scene.descriptions) == 10_000
    assert scene.render(9_999).image.shape == (360, 640, 3)


def test_noise_differs_between_frames_but_not_between_runs(library: Library) -> None:
    scene = plan(8, bare(library), library)
    scene.noise = 4.0
    first, second = scene.render(0).image.astype(int), scene.render(0).image.astype(int)
    assert np.array_equal(first, second)
    scene.noise = 0.0
    assert 2.0 < (first - scene.render(0).image).std() < 5.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": {"XX": 1.0}}, "no attribute XX"),
        ({"rates": {"FOC": 2.0}}, "between 0 and 1"),
        ({"frames": 1}, "frames=1: give a number at least 2"),
        ({"grey": 1.5}, "at most 1"),
        ({"width": 20}, "frames have 64x64"),
        ({"families": {"robot": 1.0}}, "sprite families"),
        ({"size": (0.5, 0.2)}, "size"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SynthConfig(**options)  # type: ignore[arg-type]


def test_an_index_out_of_range_is_an_error(library: Library) -> None:
    scene = plan(0, bare(library), library)
    with pytest.raises(IndexError):
        scene.render(60)
    assert np.array_equal(scene.render(-1).image, scene.render(59).image)


def digest(scene: ScenePlan) -> str:
    arrays = (scene.boxes, scene.background, scene.render(0).image, scene.render(len(scene) // 2).image)
    joined = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    joined.update(repr((scene.descriptions, scene.wrong, scene.attributes)).encode())
    return joined.hexdigest()


def test_scenes_do_not_depend_on_what_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Emoji fonts are used on demand alone: hidden or shown, the same seed gives the same bytes."""
    (tmp_path / "font.ttf").write_bytes(b"a font")
    config = SynthConfig(frames=20, width=160, height=120, families=dict.fromkeys(("emoji", "patch"), 0.5))
    found = []
    for fonts in ((), (tmp_path / "font.ttf",)):
        monkeypatch.setattr(sources, "EMOJI_FONTS", fonts)
        sources.emoji_characters.cache_clear()
        made = Library(SynthSources(7))
        found.append([digest(plan(seed, config, made)) for seed in range(4)])
        assert made.describe()["photographs"] == 0 and made.describe()["emoji"] == 0
    assert found[0] == found[1]


def test_sources_that_are_asked_for_and_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EMOJI_FONTS", ())
    sources.emoji_characters.cache_clear()
    with pytest.raises(UsageError, match="emoji font is not installed"):
        Library(SynthSources(emoji="auto"))


KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "change": {"change": 1.0, "distractors": (2, 4), "twins": 0.0},
    "lookalike": {"change": 0.0, "distractors": (2, 4), "twins": 0.0},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [10_000_054, 10_000_586, 10_002_972])
def test_no_distractor_hides_the_target_in_the_first_frame(seed: int, kind: str) -> None:
    config = SynthConfig(frames=60, width=320, height=240, **KINDS[kind])
    scene = plan(seed, config)
    assert scene.present[0] and scene.visible[0] >= 0.05


@pytest.mark.parametrize("frames", [2, 3, 4, 5, 7, 10])
def test_short_sequences_show_the_target_first(frames: int, library: Library) -> None:
    for rates in ({}, dict.fromkeys(ATTRIBUTES, 1.0)):
        config = SynthConfig(frames=frames, width=320, height=240, rates=rates)
        assert all(plan(seed, config, library).present[0] for seed in range(20_000, 20_012))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_seed_shows_the_target_first(kind: str) -> None:
    config = SynthConfig(frames=60, width=320, height=240, sources=SynthSources(12), **KINDS[kind])
    made = Library(config.sources)
    assert all(plan(seed, config, made).present[0] for seed in range(30_000_000, 30_000_500))
