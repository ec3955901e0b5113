"""Where training samples come from: sequences of a dataset, or scenes that the generator draws when they are asked for.

Both give a `TrainingClip`: frames with known boxes and descriptions, and a function that cuts a square out of a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tnllt.datasets.sampling import Region, SequenceSource, TrainingClip
from tnllt.errors import DataError, UsageError
from tnllt.options import key_values, split_pairs
from tnllt.sequence import Image


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
        raise UsageError(f"where is {spec}? Give --root {spec}=DIR, set TNLLT_ROOT, or use tnllt.toml")
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
