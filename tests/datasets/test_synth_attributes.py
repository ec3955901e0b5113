"""Each attribute on demand: its flag is set, and shows in the pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tnllt.datasets.synth import ATTRIBUTES, Layer, Library, ScenePlan, SynthConfig, SynthSources, only, plan
from tnllt.datasets.synth.attribute_flags import CAMERA_STEP

SEEDS = range(6)


@pytest.fixture(scope="module")
def sources() -> Library:
    return Library(SynthSources(5))


@pytest.fixture(scope="module")
def make(sources: Library) -> Callable[..., ScenePlan]:
    def make(seed: int, *attributes: str, frames: int = 80, **options: object) -> ScenePlan:
        config = SynthConfig(
            frames=frames,
            rates=only(*attributes),
            families={"object": 1.0},
            distractors=(0, 0),
            change=0,
            twins=0,
            grey=0,
            artefacts=False,
            sources=sources.sources,
        )
        return plan(seed, replace(config, **options), sources)  # type: ignore[arg-type]

    return make


Make = Callable[..., ScenePlan]


def seen(scene: ScenePlan, name: str) -> np.ndarray:
    return np.flatnonzero(scene.measures.per_frame()[name])


def masked(scene: ScenePlan, index: int) -> np.ndarray:
    mask = scene.render(int(index), mask=True).mask
    assert mask is not None
    return mask


def alone(scene: ScenePlan, **changes: object) -> ScenePlan:
    """The scene with its target changed and nothing else in it."""
    layer: Layer = replace(scene.layers[scene.target], **changes)  # type: ignore[arg-type]
    return replace(scene, layers=(layer,), target=0)


def extent(mask: np.ndarray) -> tuple[float, float]:
    ys, xs = np.nonzero(mask)
    return float(np.ptp(xs) + 1), float(np.ptp(ys) + 1)


#: What comes along by definition: nothing is wholly hidden without having been partly so; a turned box is another.
COMES_ALONG = {"FOC": {"POC"}, "ROT": {"ARC", "SV"}, "OV": {"FM"}, "POC": {"FOC"}}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_what_is_asked_for_is_given_and_nothing_else(make: Make, name: str) -> None:
    for seed in range(12):
        flags = make(seed, name).attributes
        assert flags[name], seed
        others = {other for other, flag in flags.items() if flag} - {name} - COMES_ALONG.get(name, set())
        assert not others, (seed, others)


def test_nothing_asked_for_nothing_given(make: Make) -> None:
    for seed in range(12):
        assert not any(make(seed).attributes.values())


def test_all_at_once(make: Make) -> None:
    counts = dict.fromkeys(ATTRIBUTES, 0)
    for seed in range(10):
        for name, flag in make(seed, *ATTRIBUTES, frames=300).attributes.items():
            counts[name] += flag
    assert min(counts.values()) >= 9, counts


def test_camera_motion_moves_the_ground(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "CM")
        jump = int(seen(scene, "CM")[0])
        before, after = (alone(scene, opacity=np.zeros(80)).render(i).image for i in (jump - 1, jump))
        grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY).astype(np.float32) for p in (before, after)]
        window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
        (dx, dy), _ = cv2.phaseCorrelate(*grey, window)
        assert np.hypot(dx, dy) == pytest.approx(scene.measures.camera_step[jump], rel=0.25, abs=2)
        assert scene.measures.camera_step[jump] > CAMERA_STEP * np.hypot(640, 360)


def test_rotation_turns_the_pixels(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "ROT")
        index = int(seen(scene, "ROT")[0])
        turn = scene.measures.angle[index] - scene.measures.angle[0]
        masks = [_centered(masked(alone(scene), i)) for i in (0, index)]
        rotation = cv2.getRotationMatrix2D((128, 128), -turn, 1)
        turned = cv2.warpAffine(masks[0], rotation, (256, 256))
        assert _iou(turned, masks[1]) > 0.75
        assert _iou(turned, masks[1]) > _iou(masks[0], masks[1])


def _centered(mask: np.ndarray) -> np.ndarray:
    """The mask about its centroid, in a square, its area brought to a fixed one."""
    m = cv2.moments(mask.astype(np.uint8), True)
    scale = 70 / np.sqrt(m["m00"])
    move = np.array([[scale, 0, 128 - scale * m["m10"] / m["m00"]], [0, scale, 128 - scale * m["m01"] / m["m00"]]])
    return cv2.warpAffine(mask.astype(np.uint8), move, (256, 256))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum())


def test_deformation_bends_the_outline(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "DEF")
        index = int(seen(scene, "DEF")[-1])
        bent, rigid = masked(alone(scene), index), masked(alone(scene, wave=None), index)
        assert _iou(_centered(bent), _centered(rigid)) < 0.93


def test_full_occlusion_leaves_no_pixel(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "FOC")
        hidden = seen(scene, "FOC")
        assert not scene.present[hidden].any()
        whole = masked(alone(scene), int(hidden[0])).sum()
        assert masked(scene, int(hidden[len(hidden) // 2])).sum() <= 0.04 * whole


def test_partial_occlusion_hides_a_part(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "POC")
        for index in seen(scene, "POC")[::7]:
            share = masked(scene, index).sum() / masked(alone(scene), index).sum()
            assert 0.02 < share < 0.92


def test_illumination_changes_the_light(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "IV")
        light = scene.measures.light / scene.measures.light[0]
        index = int(np.argmax(np.abs(np.log(light))))
        first, other = (float(scene.render(i).image.mean()) for i in (0, index))
        assert (first / other > 1.5) if light[index] < 1 else (other / first > 1.15)  # what is white stays white


def test_out_of_view_is_out_of_the_frame(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "OV")
        gone = seen(scene, "OV")
        assert not scene.present[gone].any() and scene.present[0]
        assert masked(scene, gone[len(gone) // 2]).sum() == 0
        x, y, w, h = scene.measures.boxes[gone[len(gone) // 2]]
        assert x + w <= 3 or y + h <= 3 or x >= 637 or y >= 357


def test_another_viewpoint_is_narrower(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "VC")
        index = int(np.argmax(np.abs(np.cos(np.radians(scene.measures.turn)) < 0.2)))
        index = int(np.argmin(np.abs(np.abs(scene.measures.turn) - 90)))
        widths = [np.divide(*extent(masked(alone(scene), i))) for i in (0, index)]
        assert widths[1] < 0.9 * widths[0]


def test_scale_and_aspect_change_the_drawn_extent(make: Make) -> None:
    for seed in SEEDS:
        scale, aspect = make(seed, "SV"), make(seed, "ARC")
        (w0, h0), (w1, h1) = (extent(masked(alone(scale), i)) for i in (0, seen(scale, "SV")[-1]))
        assert w1 * h1 / (w0 * h0) > 1.7 or w1 * h1 / (w0 * h0) < 0.6
        (w0, h0), (w1, h1) = (extent(masked(alone(aspect), i)) for i in (0, seen(aspect, "ARC")[-1]))
        assert (w1 / h1) / (w0 / h0) > 1.7 or (w1 / h1) / (w0 / h0) < 0.6


def test_clutter_has_the_targets_colours(make: Make) -> None:
    nearer = 0
    for seed in range(10):
        with_clutter, without = make(seed, "BC", families={"shape": 1.0}), make(seed, families={"shape": 1.0})
        nearer += _likeness(with_clutter) > _likeness(without)
    assert nearer >= 9


def _likeness(scene: ScenePlan) -> float:
    """Share of the pixels about the target that have a colour of the target."""
    drawn = scene.render(0, mask=True)
    assert drawn.mask is not None
    bins = (drawn.image >> 5).astype(int) @ (64, 8, 1)
    own = np.bincount(bins[drawn.mask], minlength=512) > 0.02 * drawn.mask.sum()
    return float(own[bins[~drawn.mask]].mean())


def test_motion_blur_takes_sharpness(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "MB", textured=1.0)
        index = int(seen(scene, "MB")[2])
        sharp = replace(alone(scene, blur=None), camera_blur=None)
        x, y, w, h = (int(v) for v in scene.boxes[index])
        energy = []
        for each in (scene, sharp):
            grey = cv2.cvtColor(each.render(index).image, cv2.COLOR_RGB2GRAY)[y : y + h, x : x + w]
            energy.append(cv2.Laplacian(grey, cv2.CV_64F).var())
        assert energy[0] < 0.6 * energy[1], seed


def test_low_resolution_is_small(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "LR")
        width, height = extent(masked(alone(scene), seen(scene, "LR")[0]))
        assert width * height < 1100


def test_fast_motion_leaps_by_more_than_its_size(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "FM")
        index = int(seen(scene, "FM")[0])
        centers, sizes = [], []
        for i in (index - 1, index):
            mask = masked(alone(scene), i)
            centers.append(np.argwhere(mask).mean(axis=0))
            sizes.append(np.sqrt(np.prod(extent(mask))))
        assert np.linalg.norm(centers[1] - centers[0]) > 0.95 * sizes[0]


def test_adversarial_perturbation_keeps_its_bound(make: Make) -> None:
    for seed in SEEDS:
        scene = make(seed, "AS")
        index = int(seen(scene, "AS")[0])
        clean = replace(scene, attack=None)
        difference = scene.render(index).image.astype(int) - clean.render(index).image
        bound = scene.measures.attack[index]
        assert np.abs(difference).max() == bound
        assert np.abs(difference).mean() > 0.8 * bound  # less only where black or white leaves no room
