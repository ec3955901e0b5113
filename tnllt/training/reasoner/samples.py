"""Questions to the bundled reasoner with their true answers, drawn from the generator's scenes.

Question number `i` of a run is a pure function of (seed, i), so a resumed run gets exactly those that it would have
had. A scene is planned once and asked about several times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth import ScenePlan, SynthConfig, plan
from tnllt.datasets.synth.geometry import bounds, placed
from tnllt.datasets.synth.occlusion import visible_fractions
from tnllt.datasets.synth.scene import Layer
from tnllt.reasoningtrack.reasoners.looks import KINDS, described_numbers, numbers, read_description
from tnllt.reasoningtrack.reasoners.reader import SCALE, SIDES, window
from tnllt.sequence import Image
from tnllt.training.tracker.samples import jitter

#: Kind of scene -> its fraction, and how it differs from the generator's defaults.
SCENES: dict[str, tuple[float, dict[str, Any]]] = {
    "change": (0.55, {"change": 1.0, "swap": 0.5, "distractors": (2, 4), "twins": 0.0}),
    "lookalike": (0.30, {"change": 0.0, "distractors": (2, 4), "twins": 0.0}),
    "default": (0.15, {}),
}
#: Where the tracker's box is in a question, and how often.
PLACES = {"target": 0.35, "look-alike": 0.4, "off": 0.25}
#: Least part of an object that shows where it counts as seen, and objects that are kept of a window.
SEEN, MOST_OBJECTS = 0.25, 10


def scene_of(seed: int, kind: str, frames: int = 60) -> ScenePlan:
    """The scene of a seed. Raises UsageError where the generator has none."""
    return plan(seed, SynthConfig(frames=frames, width=320, height=240, **SCENES[kind][1]))


class Facts(NamedTuple):
    """The N objects in one frame: boxes (N, 4) x, y, w, h px, part of each that shows (N,), numbers of the look (N, 4).

    The target is the first."""

    boxes: NDArray[np.float64]
    shown: NDArray[np.float64]
    looks: NDArray[np.int64]


def facts(scene: ScenePlan, index: int) -> Facts:
    """Target and distractors in frame `index`; clutter and what passes in front are no objects."""
    at = slice(index, index + 1)
    now = [Layer(lay.role, lay.looks, lay.matrix[at], None if lay.wave is None else lay.wave[at]) for lay in scene.layers]
    order = [scene.target, *(k for k, lay in enumerate(scene.layers) if lay.role == "distractor")]
    boxes, shown, looks = [], [], []
    for k in order:
        layer, look = now[k], scene.layers[k].look(index)
        if look.kind not in KINDS:
            continue
        sprite = scene.library.sprite(scene.layers[k].looks[0][1])
        boxes.append(bounds(*placed(sprite.edge(layer.wave is not None), layer.wave, layer.matrix))[0])
        front = [lay for lay in now[k + 1 :] if lay.role != "shade"]
        shown.append(visible_fractions(sprite, layer.wave, layer.matrix, front, scene.library, scene.config)[1][0])
        looks.append(numbers(look, not scene.grey))
    return Facts(np.array(boxes), np.array(shown), np.array(looks, np.int64))


def tracker_box(rng: np.random.Generator, seen: Facts, place: str) -> NDArray[np.float64]:
    """A box as a tracker may have it: on the target, on another object, or off both. x, y, w, h px."""
    box = seen.boxes[0]
    if place == "look-alike" and len(seen.boxes) > 1:
        box = seen.boxes[1 + int(rng.integers(len(seen.boxes) - 1))]
    if place == "off":
        away = rng.uniform(-2.5, 2.5, 2) * np.sqrt(box[2:].prod())
        box = np.concatenate([box[:2] + away, box[2:]])
    return jitter(box, 0.5, 0.2, rng)


def labels(seen: Facts, box: Sequence[float] | NDArray[np.float64], which: int) -> NDArray[np.float32]:
    """(MOST_OBJECTS, 9): x, y, w, h in window pixels, part shown, four numbers; of what is not there shown is -1."""
    x, y, w, h = (float(v) for v in box)
    size = np.sqrt(max(w * h, 1.0))
    out = np.full((MOST_OBJECTS, 9), -1, np.float32)
    for row, (own, shown, look) in enumerate(zip(*seen, strict=True)):
        if row < MOST_OBJECTS:
            corner = (own[:2] - (x + w / 2, y + h / 2)) / size * SCALE + SIDES[which] / 2
            out[row] = (*corner, *(own[2:] / size * SCALE), shown, *look)
    return out


class Question(NamedTuple):
    """One scene asked about: a first window, N current ones.

    Attributes:
        first: uint8 (S, S, 3). now: uint8 (N, s, s, 3). first_labels: (M, 9), now_labels (N, M, 9): see `labels`.
        described: (4,) numbers of the look in the description.
    """

    first: Image
    now: NDArray[np.uint8]
    first_labels: NDArray[np.float32]
    now_labels: NDArray[np.float32]
    described: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Footage:
    """Some drawn frames of a scene: numbers, ascending from 0; what is in them; RGB uint8 images."""

    scene: ScenePlan
    facts: tuple[Facts, ...]
    images: tuple[Image, ...]


def footage(scene: ScenePlan, rng: np.random.Generator, frames: int) -> Footage:
    """The first frame and `frames` others, most of them after the target's change of look where it changes."""
    changes = [first for first, _ in scene.phrases[1:]]
    start = min(changes[0], len(scene) - frames - 1) if changes and rng.random() < 0.75 else 1
    chosen = [0, *sorted(rng.choice(np.arange(max(1, start), len(scene)), frames, replace=False).tolist())]
    images = tuple(np.asarray(scene.render(i).image, np.uint8) for i in chosen)
    return Footage(scene, tuple(facts(scene, i) for i in chosen), images)


@dataclass
class Questions:
    """Draws questions.

    Args:
        seed: of the run. first: seed of the first scene. pool: scenes in hand at a time. reuse: questions of each.
        count: current windows of each. frames: of each scene that are drawn, beside its first.
    """

    seed: int
    first: int = 300_000_000
    pool: int = 96
    reuse: int = 8
    count: int = 6
    frames: int = 8

    def __post_init__(self) -> None:
        self._scenes: dict[int, Footage] = {}

    def __getitem__(self, index: int) -> Question:
        number = index // (self.pool * self.reuse) * self.pool + index % self.pool
        return question(self._footage(number), np.random.default_rng((self.seed, index)), self.count)

    def _footage(self, number: int) -> Footage:
        if number not in self._scenes:
            while len(self._scenes) >= self.pool:
                self._scenes.pop(next(iter(self._scenes)))
            rng = np.random.default_rng((self.seed, 1 << 40, number))
            kind = str(rng.choice(list(SCENES), p=[fraction for fraction, _ in SCENES.values()]))
            self._scenes[number] = footage(scene_of(self.first + number, kind), rng, self.frames)
        return self._scenes[number]


def question(film: Footage, rng: np.random.Generator, count: int) -> Question:
    """One scene's question, with `count` windows of its later frames."""
    initial, described = film.scene.boxes[0], read_description(film.scene.language)
    nows, now_labels = [], []
    for k in rng.integers(1, len(film.images), count).tolist():
        place = str(rng.choice(list(PLACES), p=list(PLACES.values())))
        box = tracker_box(rng, film.facts[k], place)
        nows.append(window(film.images[k], box.tolist(), 1))
        now_labels.append(labels(film.facts[k], box, 1))
    first, first_labels = window(film.images[0], initial.tolist(), 0), labels(film.facts[0], initial, 0)
    look = described_numbers(described)
    out = Question(first, np.stack(nows), first_labels, np.stack(now_labels), np.array(look, np.int64))
    return mirrored(out) if rng.random() < 0.5 else out


def mirrored(given: Question) -> Question:
    """The same with left and right exchanged."""
    parts = {}
    for name, side in (("first", SIDES[0]), ("now", SIDES[1])):
        table = getattr(given, f"{name}_labels").copy()
        table[..., 0] = side - table[..., 0] - table[..., 2]
        parts |= {name: np.ascontiguousarray(getattr(given, name)[..., ::-1, :]), f"{name}_labels": table}
    return given._replace(**parts)


def collate(questions: Sequence[Question]) -> Mapping[str, Any]:
    """A batch's tensors, as in `Question` with B in front."""
    import torch

    return {name: torch.from_numpy(np.stack([getattr(q, name) for q in questions])) for name in Question._fields}
