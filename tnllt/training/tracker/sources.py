"""Where training samples come from: sequences of a dataset, or scenes that the generator draws when they are asked for.

Both give a `TrainingClip`: frames with known boxes and descriptions, and a function that cuts a square out of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError, UsageError
from tnllt.options import key_values, split_pairs
from tnllt.reasoningtrack.geometry import cut
from tnllt.sequence import Boxes, Image
from tnllt.sequence import Sequence as Video

Region = tuple[float, float, float, float]

#: (frame, region x y w h in pixels, size) -> that part of the frame, black outside it, RGB uint8 (size, size, 3).
Crop = Callable[[int, Region, int], Image]


@dataclass(frozen=True)
class TrainingClip:
    """The frames of one sequence that can be learnt from.

    Attributes:
        frames: (N,) numbers of the frames on which the target is in view, ascending.
        boxes: (T, 4) x, y, w, h px of every frame.
        text: frame -> the description that is true then, or None.
        crop: see `Crop`.
        look_alikes: frame -> (N, 2) x, y px of known objects that look like the target and are not it.
    """

    frames: NDArray[np.int64]
    boxes: Boxes
    text: Callable[[int], str | None]
    crop: Crop
    look_alikes: Callable[[int], NDArray[np.float64]] = lambda frame: np.zeros((0, 2))


class ClipSource(Protocol):
    """Something that clips can be drawn from: sample `index` gets the same clip whoever asks, in whatever order."""

    name: str

    def clip(self, rng: np.random.Generator, index: int) -> TrainingClip: ...


class SequenceSource:
    """Clips of a dataset's sequences, one sequence as likely as another.

    Args:
        name: shown in logs. sequences: with frames.

    Raises:
        DataError: there is no sequence.
    """

    def __init__(self, name: str, sequences: Sequence[Video]) -> None:
        if len(sequences) == 0:
            raise DataError(f"no sequence to train on in {name}")
        self.name = name
        self._sequences = sequences

    def clip(self, rng: np.random.Generator, index: int) -> TrainingClip:
        sequence = self._sequences[int(rng.integers(len(self._sequences)))]
        boxes = sequence.groundtruth
        usable = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 1).all(1)
        if sequence.present is not None:
            usable &= sequence.present

        def text(frame: int) -> str | None:
            return sequence.descriptions[frame] if sequence.descriptions is not None else sequence.language

        frame = cache(sequence.frames.__getitem__)  # template and search crops may come from the same one
        return TrainingClip(np.flatnonzero(usable), boxes, text, lambda i, region, size: crop(frame(i), region, size))


def crop(image: Image, region: Region, size: int) -> Image:
    """A part of an image, at least a pixel wide and high, black outside it, resized to (size, size, 3)."""
    left, top = round(region[0]), round(region[1])
    right, bottom = max(left + 1, round(region[0] + region[2])), max(top + 1, round(region[1] + region[3]))
    return cut(image, (left, top, right, bottom), size)


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

    dataset = open_dataset(
        spec, root=root or LocationConfig(spec).locate().root, split=None if Path(spec).is_dir() else "train"
    )
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


@cache
def limit_opencv_threads() -> None:
    """One OpenCV thread per loader process: the processes are the parallelism."""
    cv2.setNumThreads(0)
