"""Questions to the bundled reasoner with their true answers, drawn from the generator's scenes.

Sample number `i` of a run is a pure function of (seed, i), so a resumed run gets exactly those that it would have
had. A scene is planned once and asked about several times, at long intervals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.sampling import jitter
from tnllt.datasets.synth import ScenePlan, SynthConfig, plan
from tnllt.datasets.synth.appearance import SpriteLook, random_look
from tnllt.datasets.synth.motion import affine, bounds, placed
from tnllt.datasets.synth.occlusion import visible_fractions
from tnllt.datasets.synth.scene import Layer
from tnllt.datasets.synth.target_motion import make_wave
from tnllt.reasoningtrack.reasoners.looks import KINDS, described_numbers, numbers, read_description
from tnllt.reasoningtrack.reasoners.reader import SCALE, SIDES, window
from tnllt.sequence import Image

#: Seed of the first scene that is read, and how far those of two streams are apart.
READ_SEED, STREAM = 300_000_000, 1_000_000
#: Kind of scene -> its fraction, and how it differs from the generator's defaults.
SCENES: dict[str, tuple[float, dict[str, Any]]] = {
    "change": (0.55, {"change": 1.0, "swap": 0.5, "distractors": (2, 4), "twins": 0.0}),
    "lookalike": (0.30, {"change": 0.0, "distractors": (2, 4), "twins": 0.0}),
    "default": (0.15, {}),
}
#: Where the tracker's box is in a question, and how often.
PLACES = {"target": 0.35, "look-alike": 0.4, "off": 0.25}
#: Least part of an object that shows where it counts as seen, and objects that are kept of a window.
SEEN, MOST_OBJECTS = 0.25, 32


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
    now = [
        Layer(lay.role, lay.looks, lay.matrix[at], None if lay.wave is None else lay.wave[at]) for lay in scene.layers
    ]
    order = [scene.target, *(k for k, lay in enumerate(scene.layers) if lay.role == "distractor")]
    sprites = [scene.library.sprite(lay.looks[0][1]) for lay in now]
    extents = [
        bounds(*placed(sprite.edge(lay.wave is not None), lay.wave, lay.matrix))[0]
        for lay, sprite in zip(now, sprites, strict=True)
    ]
    boxes, shown, looks = [], [], []
    for k in order:
        layer, look = now[k], scene.layers[k].look(index)
        if look.kind not in KINDS:
            continue
        boxes.append(extents[k])
        above = range(k + 1, len(now))
        front = [now[i] for i in above if now[i].role != "shade" and _touch(extents[i], extents[k])]
        shown.append(visible_fractions(sprites[k], layer.wave, layer.matrix, front, scene.library, scene.config)[1][0])
        looks.append(numbers(look, not scene.grey))
    return Facts(np.array(boxes), np.array(shown), np.array(looks, np.int64))


def _touch(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two boxes x, y, w, h overlap."""
    return bool((np.minimum(a[:2] + a[2:], b[:2] + b[2:]) > np.maximum(a[:2], b[:2])).all())


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


class WindowSample(NamedTuple):
    """One scene asked about: a first window, N current ones.

    Attributes:
        first: uint8 (S, S, 3). now: uint8 (N, s, s, 3). crowd: the same of frames with many objects.
        first_labels: (M, 9), now_labels, crowd_labels (N, M, 9): see `labels`.
        described: (4,) numbers of the look in the description.
    """

    first: Image
    now: NDArray[np.uint8]
    crowd: NDArray[np.uint8]
    first_labels: NDArray[np.float32]
    now_labels: NDArray[np.float32]
    crowd_labels: NDArray[np.float32]
    described: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Footage:
    """Some drawn frames of a scene: numbers, ascending from 0; what is in them; RGB uint8 images.

    crowds: what is in frames with many objects in place of the scene's own, and their images.
    """

    scene: ScenePlan
    frames: tuple[int, ...]
    facts: tuple[Facts, ...]
    images: tuple[Image, ...]
    crowds: tuple[tuple[Facts, Image], ...] = ()


def footage(scene: ScenePlan, rng: np.random.Generator, frames: int) -> Footage:
    """The first frame and `frames` others, most of them after the target's change of look where it changes."""
    changes = [first for first, _ in scene.phrases[1:]]
    start = min(changes[0], len(scene) - frames - 1) if changes and rng.random() < 0.75 else 1
    chosen = [0, *sorted(rng.choice(np.arange(max(1, start), len(scene)), frames, replace=False).tolist())]
    images = tuple(np.asarray(scene.render(i).image, np.uint8) for i in chosen)
    return Footage(scene, tuple(chosen), tuple(facts(scene, i) for i in chosen), images)


#: New looks in each crowd, and how many of the last ones it draws from: painting a look costs more than placing it.
NEW_LOOKS, RECENT_LOOKS = 10, 700


def crowd(scene: ScenePlan, seed: int, number: int, rng: np.random.Generator) -> tuple[Facts, Image]:
    """A frame of the scene with its background and light, but some thirty objects of all kinds in it.

    Only reading is learnt from it: a scene has five objects, most of them of one kind.
    """
    config, library, frames = scene.config, scene.library, len(scene)
    size = float(rng.uniform(22, 46))
    columns, rows = int(config.width / size / 1.25), int(config.height / size / 1.25)
    cell = np.array([config.width / columns, config.height / rows])
    layers = []
    for k in rng.permutation(columns * rows)[:MOST_OBJECTS].tolist():
        which = (number + 1) * NEW_LOOKS - 1 - int(rng.integers(min(RECENT_LOOKS, (number + 1) * NEW_LOOKS)))
        look = crowd_look(seed, which, library.backgrounds)
        sprite = library.sprite(look)
        middle = (np.array([k % columns, k // columns]) + rng.uniform(0.15, 0.85, 2)) * cell
        scale = size / np.sqrt(sprite.extent.prod()) * rng.uniform(0.75, 1.3) * np.exp(rng.normal(0, 0.06, 2))
        angle = rng.normal(0, 8) if rng.random() < 0.8 else rng.uniform(-180, 180)
        mirror = np.array([rng.choice([-1.0, 1.0]), 1.0])
        matrix = affine(middle[None], (scale * mirror)[None], np.array([angle]), sprite)
        wave = make_wave(rng, 2)[:1] if rng.random() < 0.25 else None
        blur = rng.normal(0, 4, (1, 2)) if rng.random() < 0.1 else None
        curves = (None if curve is None else np.repeat(curve, frames, 0) for curve in (wave, blur))
        layers.append(Layer("distractor", ((0, look),), np.repeat(matrix, frames, 0), *curves))
    index = int(rng.integers(frames))
    busy = replace(scene, layers=tuple(layers), target=0, clutter=())
    seen = facts(busy, index)
    return seen, np.asarray(busy.render(index).image, np.uint8)


def crowd_look(seed: int, which: int, images: int) -> SpriteLook:
    """Look number `which` of a run's crowds."""
    rng = np.random.default_rng((seed, 1 << 41, which))
    return random_look(rng, str(rng.choice(["shape", "object", "patch"], p=[0.42, 0.42, 0.16])), images, [], 0.5)


@dataclass
class WindowSampler:
    """Draws questions.

    Args:
        seed: of the run. first: seed of the first scene.
        reuse: questions for each new scene. pool: a question is about one of that many last scenes; so a run begins
            with few scenes, seen often, from which shapes are learnt sooner.
        count: current windows of each question. busy: windows of crowds.
        frames: of each scene that are drawn, beside its first. crowds: of each scene.
    """

    seed: int
    first: int = READ_SEED
    reuse: int = 8
    pool: int = 400
    count: int = 2
    busy: int = 3
    frames: int = 4
    crowds: int = 2

    def __post_init__(self) -> None:
        self._scenes: dict[int, Footage] = {}

    def __getitem__(self, index: int) -> WindowSample:
        rng = np.random.default_rng((self.seed, index))
        newest = index // self.reuse
        oldest = max(0, newest - self.pool + 1)
        for old in [number for number in self._scenes if number < oldest]:
            del self._scenes[old]
        film = self._footage(int(rng.integers(oldest, newest + 1)))
        return question(film, rng, self.count, self.busy)

    def _footage(self, number: int) -> Footage:
        if number not in self._scenes:
            rng = np.random.default_rng((self.seed, 1 << 40, number))
            kind = str(rng.choice(list(SCENES), p=[fraction for fraction, _ in SCENES.values()]))
            film = footage(scene_of(self.first + number, kind), rng, self.frames)
            first = number * self.crowds
            crowds = tuple(crowd(film.scene, self.seed, k, rng) for k in range(first, first + self.crowds))
            self._scenes[number] = replace(film, crowds=crowds)
        return self._scenes[number]


def question(film: Footage, rng: np.random.Generator, count: int, busy: int) -> WindowSample:
    """One scene's question, with `count` windows of its later frames, and `busy` of crowds."""
    initial, described = jitter(film.scene.boxes[0], 0.2, 0.08, rng), read_description(film.scene.language)
    parts: dict[str, list[Any]] = {"now": [], "now_labels": [], "crowd": [], "crowd_labels": []}

    def look(name: str, seen: Facts, image: Image, box: NDArray[np.float64]) -> None:
        parts[name].append(window(image, box.tolist(), 1))
        parts[f"{name}_labels"].append(labels(seen, box, 1))

    for k in rng.integers(1, len(film.images), count).tolist():
        place = str(rng.choice(list(PLACES), p=list(PLACES.values())))
        look("now", film.facts[k], film.images[k], tracker_box(rng, film.facts[k], place))
    for k in rng.integers(max(1, len(film.crowds)), size=busy).tolist():
        seen, image = film.crowds[k]
        around = np.array([image.shape[1], image.shape[0]]) * rng.uniform(0.3, 0.7, 2)
        apart = np.linalg.norm(seen.boxes[:, :2] + seen.boxes[:, 2:] / 2 - around, axis=1)
        look("crowd", seen, image, jitter(seen.boxes[int(apart.argmin())], 0.5, 0.2, rng))
    first, first_labels = window(film.images[0], initial.tolist(), 0), labels(film.facts[0], initial, 0)
    numbers = np.array(described_numbers(described), np.int64)
    stacked: dict[str, Any] = {name: np.stack(rows) if rows else np.zeros(0) for name, rows in parts.items()}
    out = WindowSample(first=first, first_labels=first_labels, described=numbers, **stacked)
    return mirrored(out) if rng.random() < 0.5 else out


def mirrored(given: WindowSample) -> WindowSample:
    """The same with left and right exchanged."""
    parts: dict[str, Any] = {}
    for name, side in (("first", SIDES[0]), ("now", SIDES[1]), ("crowd", SIDES[1])):
        if not len(getattr(given, name)):
            continue
        table = getattr(given, f"{name}_labels").copy()
        table[..., 0] = side - table[..., 0] - table[..., 2]
        parts |= {name: np.ascontiguousarray(getattr(given, name)[..., ::-1, :]), f"{name}_labels": table}
    return given._replace(**parts)


def collate(questions: Sequence[WindowSample]) -> Mapping[str, Any]:
    """A batch's tensors, as in `WindowSample` with B in front."""
    import torch

    return {name: torch.from_numpy(np.stack([getattr(q, name) for q in questions])) for name in WindowSample._fields}


@dataclass
class WindowBatches:
    """The batches of steps, drawn from `streams` samplers in turn; see `ReaderRecipe`."""

    seed: int
    batch: int
    streams: int
    reuse: int
    _samplers: dict[int, WindowSampler] = field(default_factory=dict)

    def __getitem__(self, step: int) -> Mapping[str, Any]:
        turn, stream = divmod(step, self.streams)
        if stream not in self._samplers:
            self._samplers[stream] = WindowSampler(self.seed + stream, READ_SEED + STREAM * stream, self.reuse)
        questions = self._samplers[stream]
        return collate([questions[turn * self.batch + k] for k in range(self.batch)])


def drawn(source: Any, numbers: range, workers: int) -> Iterator[Any]:
    """`source[number]` of each of the numbers, in order, by so many processes ahead; 0: by this one."""
    from torch.utils.data import DataLoader

    if workers == 0 or not numbers:
        return (source[number] for number in numbers)
    # New processes: a copy of one whose threads have computed may wait for them for ever.
    loader: Any = DataLoader(
        source, batch_size=None, sampler=numbers, num_workers=workers, prefetch_factor=2, collate_fn=_as_it_is,
        worker_init_fn=_one_thread, multiprocessing_context="spawn",
    )  # fmt: skip
    return iter(loader)


def _as_it_is(item: Any) -> Any:
    return item


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)
