"""Planned scenes: what is said before a pixel is drawn must hold in the pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tnllt.datasets.synth import ATTRIBUTES, Library, SynthConfig, SynthSources, only, plan
from tnllt.errors import UsageError


@pytest.fixture(scope="module")
def sources() -> Library:
    return Library(SynthSources.only_procedural(5), megabytes=100)


def bare(sources: Library, family: str = "object", frames: int = 60, **options: object) -> SynthConfig:
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
        sources=sources.sources,
    )
    return replace(base, **options)  # type: ignore[arg-type]


def mask_box(mask: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()], float)


@pytest.mark.parametrize("family", ["shape", "object", "patch"])
@pytest.mark.parametrize("attribute", ["ROT", "DEF", "SV", "ARC", "VC"])
def test_boxes_fit_the_drawn_pixels(sources: Library, family: str, attribute: str) -> None:
    for seed in range(4):
        scene = plan(seed, bare(sources, family, rates=only(attribute)), sources)
        for index in (0, 17, 31, 59):
            if not (scene.visible[index] == 1.0 and scene.present[index]):
                continue
            drawn = scene.render(index, mask=True)
            assert drawn.mask is not None
            difference = np.abs(mask_box(drawn.mask) - drawn.box)
            assert difference.max() <= 2.0 + 0.02 * drawn.box[2:].max(), (family, attribute, seed, index, difference)


def test_every_frame_alone_is_the_frame_in_order(sources: Library) -> None:
    config = SynthConfig(frames=30, sources=sources.sources)
    forward = [plan(5, config, sources).render(i).image for i in range(30)]
    again = plan(5, config, sources)
    for index in (29, 3, 17, 3):
        assert np.array_equal(again.render(index).image, forward[index])
    assert not np.array_equal(plan(6, config, sources).render(3).image, forward[3])


def test_a_fresh_library_gives_the_same_pictures(sources: Library) -> None:
    config = SynthConfig(frames=20, sources=sources.sources)
    for seed in range(3):
        a, b = plan(seed, config, sources), plan(seed, config, Library(sources.sources, megabytes=20))
        assert np.array_equal(a.render(9).image, b.render(9).image)
        assert np.array_equal(a.boxes, b.boxes) and a.descriptions == b.descriptions


def test_a_region_is_that_part_of_the_frame(sources: Library) -> None:
    scene = plan(3, bare(sources, distractors=(2, 2)), sources)
    whole, part = scene.render(20), scene.render(20, region=(100, 50, 200, 150))
    same = whole.image[50:200, 100:300].astype(int)
    assert np.abs(part.image.astype(int) - same).mean() < 0.5
    np.testing.assert_allclose(part.box, whole.box - (100, 50, 0, 0))


def test_a_scaled_region_shows_the_target_where_its_box_says(sources: Library) -> None:
    scene = plan(4, bare(sources), sources)
    x, y, w, h = scene.boxes[10]
    side = 3 * max(w, h)
    drawn = scene.render(10, region=(x + w / 2 - side / 2, y + h / 2 - side / 2, side, side), size=128, mask=True)
    assert drawn.image.shape == (128, 128, 3) and drawn.mask is not None
    np.testing.assert_allclose(drawn.box[:2] + drawn.box[2:] / 2, (64, 64), atol=1e-6)
    assert np.abs(mask_box(drawn.mask) - drawn.box).max() < 3


def test_outside_the_frame_a_region_is_black(sources: Library) -> None:
    drawn = plan(1, SynthConfig(frames=10, grey=0, sources=sources.sources), sources).render(
        0, region=(-64, -64, 128, 128)
    )
    assert drawn.image[:63].max() < 25 and drawn.image[:, :63].max() < 25  # JPEG may ring at the border
    assert drawn.image[70:, 70:].mean() > 5


def test_visible_share_is_what_the_mask_leaves(sources: Library) -> None:
    for seed in range(6):
        scene = plan(seed, bare(sources, rates=only("FOC", "POC")), sources)
        clear = replace(scene, layers=(scene.layers[scene.target],), target=0)
        for index in range(0, 60, 6):
            left, all_of_it = (s.render(index, mask=True).mask for s in (scene, clear))
            assert left is not None and all_of_it is not None
            assert left.sum() / all_of_it.sum() == pytest.approx(scene.visible[index], abs=0.08)


def test_absent_frames_have_no_box_and_show_nothing(sources: Library) -> None:
    scene = plan(2, bare(sources, rates=only("OV")), sources)
    absent = np.flatnonzero(~scene.present)
    assert len(absent) > 3 and scene.present[0]
    assert (scene.boxes[absent] == 0).all()
    gone = absent[scene.visible[absent] == 0]
    mask = scene.render(int(gone[0]), mask=True).mask
    assert mask is not None and not mask.any()


def test_boxes_stay_within_the_frame(sources: Library) -> None:
    for seed in range(20):
        scene = plan(seed, SynthConfig(frames=80, width=320, height=240, sources=sources.sources), sources)
        assert (scene.boxes[:, :2] >= 0).all()
        assert (scene.boxes[:, :2] + scene.boxes[:, 2:] <= (320 + 1e-6, 240 + 1e-6)).all()
        assert scene.present[0] and set(scene.attributes) == set(ATTRIBUTES)


def test_ten_thousand_frames_are_planned_and_any_of_them_drawn(sources: Library) -> None:
    scene = plan(11, SynthConfig(frames=10_000, sources=sources.sources), sources)
    assert len(scene) == 10_000 and len(scene.descriptions) == 10_000
    assert scene.render(9_999).image.shape == (360, 640, 3)


def test_noise_differs_between_frames_but_not_between_runs(sources: Library) -> None:
    scene = plan(8, bare(sources), sources)
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
        ({"frames": 1}, "at least 2 frames"),
        ({"width": 20}, "at least 2 frames of at least 64x64"),
        ({"families": {"robot": 1.0}}, "sprite families"),
        ({"size": (0.5, 0.2)}, "size"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SynthConfig(**options)  # type: ignore[arg-type]


def test_an_index_out_of_range_is_an_error(sources: Library) -> None:
    scene = plan(0, bare(sources), sources)
    with pytest.raises(IndexError):
        scene.render(60)
    assert np.array_equal(scene.render(-1).image, scene.render(59).image)
