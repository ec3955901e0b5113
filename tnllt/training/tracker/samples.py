"""One training sample: templates, search frames in temporal order, their boxes and descriptions; and its sources.

Sources are sequences of a dataset, or scenes that the generator draws when they are asked for. Both give a
`TrainingClip`: frames with known boxes and descriptions, and a function that cuts a square out of a frame.

Sample number `i` of a run is a pure function of (seed, i). So a resumed run gets exactly the samples that it
would have had, whatever the number of loader processes.

Source: DUTrack's published recipe (three templates, two search frames, jittered crops), with two additions for the
bundled weights: a sample may be grey, and its templates may lose their colour, which then only the description has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.sampling import (
    ATTEMPTS,
    CropRecipe,
    Crops,
    Region,
    SequenceSource,
    TrainingClip,
    cut_crops,
    limit_opencv_threads,
)
from tnllt.errors import DataError, UsageError
from tnllt.options import key_values, split_pairs
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.geometry import tint_around
from tnllt.reasoningtrack.text import WordPiece
from tnllt.sequence import Image
from tnllt.training.tracker.recipe import Recipe


class ClipSource(Protocol):
    """Something that clips can be drawn from: sample `index` gets the same clip whoever asks, in whatever order."""

    name: str

    def clip(self, rng: np.random.Generator, index: int) -> TrainingClip: ...


class SynthSource:
    """Scenes drawn on demand: no file is read, and only the crops that a sample needs are painted.

    Planning a scene costs as much as painting twenty samples' crops of it. So `pool` scenes are in hand at a time, each
    for `reuse` samples, in turns: neighbours in a batch come from different scenes, and yet sample `index` says alone
    which scene it has.

    Args:
        config: a `tnllt.datasets.synth.SynthConfig`.
        first: the generator's seed of the first scene, so that training and validation scenes differ.
    """

    def __init__(self, config: Any, first: int = 0, pool: int = 128, reuse: int = 20, name: str = "synth") -> None:
        self.name = name
        self._config, self._first, self._pool, self._reuse = config, first, pool, reuse
        self._scenes: dict[int, Any] = {}

    def clip(self, rng: np.random.Generator, index: int) -> TrainingClip:
        scene = self._scene(index // (self._pool * self._reuse) * self._pool + index % self._pool)

        def painted(frame: int, region: Region, size: int) -> Image:
            return np.asarray(scene.render(frame, region=region, size=size).image, np.uint8)

        return TrainingClip(np.flatnonzero(scene.present), scene.boxes, scene.description, painted, scene.alike)

    def _scene(self, number: int) -> Any:
        from tnllt.datasets.synth import plan

        if number not in self._scenes:
            while len(self._scenes) >= self._pool:
                self._scenes.pop(next(iter(self._scenes)))
            self._scenes[number] = plan(self._first + number, self._config)
        return self._scenes[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scenes": {}}


#: Kinds of sources that have a prefix: "KIND:ARGUMENT" -> (argument, the whole text as name) -> source.
KINDS: dict[str, Callable[[str, str], ClipSource]] = {
    "synth": lambda options, name: SynthSource(synth_config(options), name=name),
}


def make_source(spec: str, root: Path | None = None) -> ClipSource:
    """A source from its command-line name.

    `synth` or `synth:key=value,...` (see `synth_config`), another kind in `KINDS`, a benchmark's name, a dataset's
    folder (all its sequences; of a benchmark given by name, those of its training split).

    Raises:
        UsageError: an option that the generator does not have.
        DataError: the dataset cannot be opened, or has no frames.
    """
    if not spec:
        raise UsageError("an empty name of a source; write synth, a benchmark's name or a folder")
    kind, _, argument = spec.partition(":")
    if kind in KINDS:
        return KINDS[kind](argument, spec)
    from tnllt.config import LocationConfig
    from tnllt.datasets import open_dataset
    from tnllt.datasets.benchmarks import find_layout

    root = root or LocationConfig(spec).locate().root
    if root is None and find_layout(spec) is not None:
        raise UsageError(f"where is {spec}? Give --root {spec}=DIR, or use tnllt.toml")
    dataset = open_dataset(spec, root=root, split=None if Path(spec).is_dir() else "train")
    if len(dataset) and not dataset[0].has_frames:
        raise DataError(f"{spec} has annotations but no frames here: give its frames with --root {spec}=DIR")
    return SequenceSource(spec, dataset)


def synth_config(options: str = "") -> Any:
    """A generator's configuration from `key=value,...`.

    Keys: the numbers of `SynthConfig` (`frames=300`) and its ranges (`distractors=2-4`), the fields of its
    `SynthSources` (`motion_from=DIR`), and the families of sprites (`patch=0.5`, their fraction).

    Raises:
        UsageError: a key that is none of these, or a value that is no number or no range.
    """
    from dataclasses import fields, replace

    from tnllt.datasets.synth import FAMILIES, SynthConfig, SynthSources

    config, families = SynthConfig(), dict(FAMILIES)
    numbers = {f.name: getattr(config, f.name) for f in fields(config)}
    places = {f.name: getattr(config.sources, f.name) for f in fields(SynthSources)}
    changes: dict[str, Any] = {}
    sources: dict[str, Any] = {}
    for key, value in key_values(split_pairs(options), "synth:").items():
        try:
            if key in families:
                families[key] = float(value)
            elif key in places:
                sources[key] = int(value) if isinstance(places[key], int) else value
            elif isinstance(numbers.get(key), int | float):
                changes[key] = type(numbers[key])(float(value))
            elif isinstance(numbers.get(key), tuple):
                low, high = map(type(numbers[key][0]), value.split("-"))
                changes[key] = (low, high)
            else:
                raise UsageError(f"synth has no option {key!r}")
        except (ValueError, OverflowError) as error:
            what = "a range, LEAST-MOST" if isinstance(numbers.get(key), tuple) else "a number"
            raise UsageError(f"synth: {key}={value!r} is not {what}") from error
    return SynthConfig(**changes, families=families, sources=replace(config.sources, **sources))


class Sample(NamedTuple):
    """One sample; S search frames, T templates.

    Attributes:
        templates: uint8 (T, z, z, 3). searches: uint8 (S, x, x, 3).
        marks: float32 (T, 4): x, y, w, h of the target as fractions of the template crop.
        boxes: float32 (S, 4): x, y, w, h of the target as fractions of the search crop.
        text: int64 (S, 16) word pieces of the description that is true at each search frame.
    """

    templates: NDArray[np.uint8]
    marks: NDArray[np.float32]
    searches: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    text: NDArray[np.int64]


@dataclass
class Sampler:
    """Draws samples. Picklable, so that loader processes can have one each.

    Args:
        sources: with their weights (any positive numbers).
        config: the network's crop sizes and factors.
        recipe: jitters, augmentation, seed.
    """

    sources: Sequence[tuple[ClipSource, float]]
    config: Config
    recipe: Recipe

    def __post_init__(self) -> None:
        """Sizes and factors of the crops are the network's, the rest is the recipe's."""
        network = ("template_factor", "template_size", "search_factor", "search_size")
        rest = {f.name: getattr(self.recipe, f.name) for f in fields(CropRecipe) if f.name not in network}
        self._crops = CropRecipe(**{name: getattr(self.config, name) for name in network}, **rest)

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index` of the run. Raises DataError where no source gives one."""
        limit_opencv_threads()
        rng = np.random.default_rng((self.recipe.seed, index))
        fractions = np.array([fraction for _, fraction in self.sources], float)
        for attempt in range(ATTEMPTS):
            source = self.sources[int(rng.choice(len(fractions), p=fractions / fractions.sum()))][0]
            clip = source.clip(rng, index + attempt)
            crops = cut_crops(clip, self._crops, rng)
            if crops is not None:
                descriptions = [clip.text(int(i)) or "" for i in crops.frames[self.recipe.templates :]]
                return self._augmented(crops, descriptions, rng)
        raise DataError(f"no usable sample in {ATTEMPTS} draws: too few frames with the target in view")

    def _augmented(self, crops: Crops, descriptions: list[str], rng: np.random.Generator) -> Sample:
        templates, marks, searches, boxes, *_ = crops
        recipe = self.recipe
        # A mirrored image would make "on the left" wrong.
        sided = any(word in description for description in descriptions for word in ("left", "right"))
        if rng.random() < recipe.flip and not sided:
            templates, searches = templates[:, :, ::-1], searches[:, :, ::-1]
            for parts in (boxes, marks):
                parts[:, 0] = 1 - parts[:, 0] - parts[:, 2]
        untrue = False
        if rng.random() < recipe.gray:
            templates, searches = to_gray(templates), to_gray(searches)
        elif untrue := rng.random() < recipe.color_shift:
            templates = to_gray(templates) if rng.random() < 0.5 else turn_hue(templates, int(rng.integers(20, 160)))
        gain = rng.uniform(max(0, 1 - recipe.brightness), 1 + recipe.brightness, 2)
        templates, searches = brighten(templates, gain[0]), brighten(searches, gain[1])
        if rng.random() < 0.5 and recipe.light > 0:
            gains = np.exp(rng.standard_normal(1 + len(searches)) * recipe.light)
            templates = brighten(templates, gains[0])
            searches = np.stack([brighten(search, gain) for search, gain in zip(searches, gains[1:], strict=True)])
        templates[0] = tint_around(templates[0], marks[0].tolist(), self.config.template_tint)
        # Without a description, templates of another colour would leave nothing to identify the target by.
        silent = rng.random() < recipe.drop_text and not untrue
        text = np.stack([self._words("" if silent else description) for description in descriptions])
        return Sample(np.ascontiguousarray(templates), marks, np.ascontiguousarray(searches), boxes, text)

    def _words(self, description: str) -> NDArray[np.int64]:
        return _tokenizer(self.config.text_length).encode(description).ids


@lru_cache(maxsize=1)
def _tokenizer(length: int) -> WordPiece:
    """Made once in each loader process."""
    return WordPiece(length)


def to_gray(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB uint8 (N, H, W, 3), luma in all three channels."""
    gray = np.stack([cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) for image in images])
    return np.asarray(np.repeat(gray[..., None], 3, axis=-1), np.uint8)


def turn_hue(images: NDArray[np.uint8], degrees_half: int) -> NDArray[np.uint8]:
    """RGB uint8 (N, H, W, 3) with the hue turned by 2 x `degrees_half` degrees."""
    turned = []
    for image in images:
        hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + degrees_half) % 180
        turned.append(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    return np.asarray(np.stack(turned), np.uint8)


def brighten(images: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    return np.asarray(np.clip(images.astype(np.float32) * gain, 0, 255), np.uint8)


class Batches:
    """The sample numbers of each step from `first` on, for this process: a batch sampler for torch's DataLoader.

    Step s of a run with N processes of batch B uses samples s N B .. (s + 1) N B - 1; process r takes every N-th.
    """

    def __init__(self, first: int, last: int, batch: int, rank: int = 0, world: int = 1) -> None:
        self._steps, self._batch, self._rank, self._world = range(first, last), batch, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            start = step * self._world * self._batch + self._rank
            yield list(range(start, start + self._world * self._batch, self._world))

    def __len__(self) -> int:
        return len(self._steps)


def collate(samples: Sequence[Sample]) -> Mapping[str, Any]:
    """A batch's tensors, as in `Sample` with B in front."""
    import torch

    return {name: torch.from_numpy(np.stack([getattr(s, name) for s in samples])) for name in Sample._fields}
