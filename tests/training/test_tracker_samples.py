"""Training samples: where the target is, what a sample depends on, who gets which."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from tnllt.crops import square_around
from tnllt.datasets.sampling import SequenceSource, TrainingClip, beside, between, jitter, pick_frames
from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.config import Config
from tnllt.sequence import Annotation, Image, Sequence
from tnllt.training.tracker.recipe import RECIPES, recipe
from tnllt.training.tracker.samples import (
    Batches,
    Sampler,
    SynthSource,
    collate,
    make_source,
    synth_config,
)

CONFIG = Config.make({"size": "tiny", "template_size": 32, "search_size": 64})


class WhiteSquare:
    """A white square that moves over black."""

    def __init__(self, boxes: np.ndarray) -> None:
        self.boxes = boxes

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: int) -> Image:
        image = np.zeros((120, 160, 3), np.uint8)
        x, y, w, h = self.boxes[index].astype(int)
        image[y : y + h, x : x + w] = 255
        return image


def white_square(frames: int = 30, present: np.ndarray | None = None, language: str | None = "the square") -> Sequence:
    boxes = np.array([[40 + i, 30 + i, 24, 20] for i in range(frames)], float)
    return Sequence("white", Annotation(boxes, present, language), WhiteSquare(boxes))


def sampler(source: object, **changes: object) -> Sampler:
    calm = {"gray": 0, "color_shift": 0, "brightness": 0, "light": 0, **changes}
    return Sampler([(source, 1.0)], CONFIG, recipe("tiny", **calm))  # type: ignore[list-item]


def test_box_is_where_the_target_is() -> None:
    draw = sampler(SequenceSource("white", [white_square()]))
    for index in range(20):
        sample = draw[index]
        for image, box in zip(sample.searches, sample.boxes, strict=True):
            rows, columns = np.nonzero(image[..., 0] > 127)
            seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 64
            x, y, w, h = box
            assert np.allclose(seen, np.clip([x, y, x + w, y + h], 0, 1), atol=2 / 64)


def test_sample_depends_on_seed_and_number_alone() -> None:
    first, second = (sampler(SynthSource(small_synth(), pool=4, reuse=3)) for _ in range(2))
    forward = [first[i] for i in range(8)]
    backward = {i: second[i] for i in reversed(range(8))}
    for i, sample in enumerate(forward):
        assert all(np.array_equal(a, b) for a, b in zip(sample, backward[i], strict=True))
    other = sampler(SynthSource(small_synth(), pool=4, reuse=3), seed=1)[0]
    assert not np.array_equal(other.searches, forward[0].searches)


def test_frames_without_the_target_are_not_used() -> None:
    present = np.zeros(30, bool)
    present[10:16] = True
    rng = np.random.default_rng(0)
    clip = SequenceSource("white", [white_square(present=present)]).clip(rng, 0)
    assert clip.frames.tolist() == list(range(10, 16))
    with pytest.raises(DataError, match="no usable sample"):
        sampler(SequenceSource("none", [white_square(present=np.zeros(30, bool))]))[0]


def test_frames_come_in_order_and_near_each_other() -> None:
    frames = np.array([0, 1, 2, 50, 51, 52, 53, 54, 300])
    for seed in range(50):
        chosen = pick_frames(frames, 5, 60, np.random.default_rng(seed))
        if chosen is not None:
            assert (np.diff(chosen) > 0).all()
            assert chosen[-1] - chosen[0] <= 60
    assert pick_frames(frames, 10, 1000, np.random.default_rng(0)) is None


def test_jitter_follows_the_recipes_formula() -> None:
    box = np.array([10.0, 20.0, 30.0, 40.0])
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    moved = jitter(box, 3.5, 0.5, rng)
    size = box[2:] * np.exp(same.standard_normal(2) * 0.5)
    center = box[:2] + box[2:] / 2 + (same.random(2) - 0.5) * np.sqrt(size.prod()) * 3.5
    assert np.allclose(moved, [*(center - size / 2), *size])


def test_square_is_the_trackers() -> None:
    assert square_around([10.0, 20.0, 30.0, 40.0], 2.0) == (10 + 15 - 35, 20 + 20 - 35, 70)


def test_mirroring_leaves_sided_sentences_alone() -> None:
    draw = sampler(SequenceSource("white", [white_square(language="the square on the left")]), flip=1.0)
    plain = sampler(SequenceSource("white", [white_square(language="the square")]), flip=1.0)
    assert not np.array_equal(draw[0].searches, plain[0].searches)
    assert np.array_equal(draw[0].searches, plain[0].searches[:, :, ::-1])


def test_processes_share_the_samples_out() -> None:
    parts = [list(Batches(2, 4, 3, rank, 2)) for rank in (0, 1)]
    assert parts == [[[12, 14, 16], [18, 20, 22]], [[13, 15, 17], [19, 21, 23]]]
    assert list(Batches(0, 2, 2)) == [[0, 1], [2, 3]]


def test_sampler_goes_to_another_process() -> None:
    draw = sampler(SynthSource(small_synth(), pool=2))
    before = draw[0]
    after = pickle.loads(pickle.dumps(draw))[0]
    assert np.array_equal(before.searches, after.searches)


def test_collated_shapes() -> None:
    batch = collate([sampler(SequenceSource("white", [white_square()]))[i] for i in range(4)])
    assert batch["templates"].shape == (4, 2, 32, 32, 3)
    assert batch["searches"].shape == (4, 2, 64, 64, 3)
    assert batch["boxes"].shape == (4, 2, 4)
    assert batch["text"].shape == (4, 2, 16)


def test_sentence_of_the_moment_is_read() -> None:
    from tnllt.reasoningtrack.text import WordPiece

    boxes = white_square().groundtruth
    texts = tuple(f"square number {i}" for i in range(30))
    source = SequenceSource("w", [Sequence("w", Annotation(boxes, descriptions=texts), WhiteSquare(boxes))])
    known = {tuple(WordPiece(16).encode(text).ids) for text in texts}
    sample = sampler(source, drop_text=0.0)[0]
    assert {tuple(row) for row in sample.text} <= known
    assert len({tuple(row) for row in sample.text}) == 2
    empty = tuple(WordPiece(16).encode("").ids)
    assert {tuple(row) for row in sampler(source, drop_text=1.0)[0].text} == {empty}


def test_recipes_say_what_was_published() -> None:
    base = RECIPES["256"]
    assert (base.templates, base.searches, base.max_gap, base.epochs, base.drop_epoch) == (3, 2, 200, 45, 40)
    assert (base.learning_rate, base.backbone_factor, base.weight_decay, base.clip) == (1e-4, 0.1, 1e-4, 0.1)
    assert (base.giou, base.l1, base.focal, base.center_jitter) == (2.0, 5.0, 1.0, 3.5)
    assert (RECIPES["384"].center_jitter, RECIPES["384"].epochs) == (4.5, 50)


@pytest.mark.parametrize("changes", [{"schedule": "sine"}, {"batch": 0}, {"nonsense": 1}, {"regress_at": "x"}])
def test_impossible_recipes_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        recipe("tiny", **changes)


def test_synth_options() -> None:
    config = synth_config("patch=0.7,frames=33,grey=0.2,procedural=5,distractors=2-4")
    assert (config.families["patch"], config.frames, config.grey, config.sources.procedural) == (0.7, 33, 0.2, 5)
    assert config.distractors == (2, 4)
    assert isinstance(make_source("synth:frames=20"), SynthSource)
    for bad in ("nonsense=1", "frames=many", "distractors=2", "distractors=few-many"):
        with pytest.raises(UsageError):
            synth_config(bad)


def small_synth():  # type: ignore[no-untyped-def]
    from tnllt.datasets.synth import SynthConfig, SynthSources

    return SynthConfig(frames=30, width=160, height=120, sources=SynthSources(4))


def test_light_changes_between_templates_and_search_frames() -> None:
    draw = Sampler([(SequenceSource("white", [white_square()]), 1.0)], CONFIG, recipe("tiny", gray=0, light=1.0))  # type: ignore[list-item]
    brightest = np.array([[draw[i].searches[k].max() for k in (0, 1)] for i in range(40)])
    changed = brightest[:, 0] != brightest[:, 1]
    assert 5 < changed.sum() < 35  # half of the samples, less those that are white all the same


def test_only_the_first_template_shows_its_box() -> None:
    sample = sampler(SequenceSource("white", [white_square()]))[0]
    colourful = [int((np.ptp(t.astype(int), axis=2) > 20).sum()) for t in sample.templates]
    assert colourful[0] > 200
    assert colourful[1] == 0


def test_a_square_beside_the_target_has_none_of_it() -> None:
    source = SequenceSource("white", [white_square()])
    draw = sampler(source, negative_prob=1.0)
    for index in range(20):
        sample = draw[index]
        assert not sample.searches.any()
        low, high = sample.boxes[:, :2], sample.boxes[:, :2] + sample.boxes[:, 2:]
        assert ((low >= 1) | (high <= 0)).any(axis=1).all()
    some = np.array([sampler(source, negative_prob=0.3)[i].searches.any(axis=(1, 2, 3)) for i in range(60)])
    assert 0.2 < 1 - some.mean() < 0.4


def test_a_look_alike_is_preferred_beside_the_target() -> None:
    box, alike = np.array([100.0, 100.0, 20.0, 20.0]), np.array([[160.0, 110.0]])
    for seed in range(30):
        rng = np.random.default_rng(seed)
        left, top = beside(box, 64, alike, rng)
        assert left < 160 < left + 64 and top < 110 < top + 64
        assert left >= 120 or left + 64 <= 100 or top >= 120 or top + 64 <= 100
        near = beside(box, 64, np.array([[112.0, 110.0]]), rng)  # no square has it and not the target
        assert near[0] >= 120 or near[0] + 64 <= 100 or near[1] >= 120 or near[1] + 64 <= 100


def test_target_and_look_alike_are_equally_far_from_the_middle_of_their_square() -> None:
    box = np.array([100.0, 100.0, 20.0, 20.0])
    target, near, far = np.array([110.0, 110.0]), [140.0, 95.0], [170.0, 110.0]
    nearer, middles = 0, []
    for seed in range(400):
        found = between(box, 64, np.array([near, far]), np.random.default_rng(seed))
        assert found is not None
        middle = np.array(found) + 32
        for place in (target, near):
            assert (np.abs(middle - place) < 32).all(), "both are in the square"
        nearer += np.linalg.norm(middle - target) < np.linalg.norm(middle - near)
        middles.append(middle)
    assert 160 < nearer < 240
    assert np.ptp(middles, axis=0).min() > 20, "not always the same place"
    rng = np.random.default_rng(0)
    assert between(box, 64, np.array([far]), rng) is None
    assert between(box, 64, np.zeros((0, 2)), rng) is None


def test_rivals_come_into_the_search_crops() -> None:
    class Pair(SequenceSource):
        def clip(self, rng: np.random.Generator, index: int) -> TrainingClip:
            return replace(super().clip(rng, index), look_alikes=lambda frame: boxes[frame, None, :2] + (23, 5))

    boxes = np.column_stack([np.linspace(40, 60, 30), np.full(30, 60.0), np.full(30, 10.0), np.full(30, 10.0)])
    source = Pair("pair", [Sequence("pair", Annotation(boxes), WhiteSquare(boxes))])

    def from_the_middle(rival: float) -> float:
        draw = sampler(source, hard_negative_prob=rival, center_jitter=0.1)
        offs = [draw[i].boxes[:, :2] + draw[i].boxes[:, 2:] / 2 - 0.5 for i in range(40)]
        return float(np.abs(offs).max(axis=2).mean())

    assert from_the_middle(0.0) < 0.1
    assert from_the_middle(1.0) > 0.25


def test_sentences_are_kept_where_the_templates_lie() -> None:
    source = SequenceSource("white", [white_square()])
    for shift, silent in ((1.0, 0), (0.0, 20)):
        draw = sampler(source, color_shift=shift, drop_text=1.0)
        assert sum((draw[i].text != 0).sum(axis=1).max() <= 2 for i in range(20)) == silent


def test_the_generator_knows_its_look_alikes() -> None:
    from tnllt.datasets.synth import plan

    config = replace(synth_config("twins=0,width=320,height=240,frames=12"), distractors=(1, 1))
    near = 0
    for seed in range(8):
        scene = plan(seed, config)
        (middle,) = scene.alike(5)
        without = replace(scene, noise=0.0, layers=tuple(x for x in scene.layers if x.role != "distractor"), target=0)
        scene = replace(scene, noise=0.0)
        changed = np.abs(scene.render(5).image.astype(int) - without.render(5).image).max(axis=2) > 24
        rows, columns = np.nonzero(changed)
        if len(rows) < 50 or min(middle) < 30 or middle[0] > 290 or middle[1] > 210:
            continue  # behind something, or cut by the border
        seen = (columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2
        near += bool(np.abs(np.subtract(seen, middle)).max() < 10)
    assert near >= 3
    twin = plan(0, replace(config, twins=1.0))
    assert twin.place is not None and len(twin.alike(5)) == 0
