"""One training sample: templates, search frames in temporal order, their boxes and descriptions.

Sample number `i` of a run is a pure function of (seed, i). So a resumed run gets exactly the samples that it
would have had, whatever the number of loader processes.

Source: DUTrack's published recipe (three templates, two search frames, jittered crops), with two additions for the
bundled weights: a sample may be grey, and its templates may lose their colour, which then only the description has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.geometry import square_around, tint_around
from tnllt.reasoningtrack.text import WordPiece
from tnllt.training.tracker.recipe import Recipe
from tnllt.training.tracker.sources import ClipSource, TrainingClip, limit_opencv_threads

#: Draws from a source before a sample is given up: a source without one usable clip is an error, not an endless loop.
ATTEMPTS = 50
#: Most that target and look-alike may be apart, along either axis, to be in one search crop: of the crop's side.
APART = 0.8
#: Draws of a place beside the target before one is taken that lies mostly outside the image.
PLACES = 4


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

    def __getitem__(self, index: int) -> Sample:
        """Sample number `index` of the run. Raises DataError where no source gives one."""
        limit_opencv_threads()
        rng = np.random.default_rng((self.recipe.seed, index))
        fractions = np.array([fraction for _, fraction in self.sources], float)
        for attempt in range(ATTEMPTS):
            source = self.sources[int(rng.choice(len(fractions), p=fractions / fractions.sum()))][0]
            sample = self._from_clip(source.clip(rng, index + attempt), rng)
            if sample is not None:
                return sample
        raise DataError(f"no usable sample in {ATTEMPTS} draws: too few frames with the target in view")

    def _from_clip(self, clip: TrainingClip, rng: np.random.Generator) -> Sample | None:
        chosen = pick_frames(clip.frames, self.recipe.templates + self.recipe.searches, self.recipe.max_gap, rng)
        if chosen is None:
            return None
        first, later = chosen[: self.recipe.templates], chosen[self.recipe.templates :]
        config = self.config
        # Squares are cut from an image that is wider by `wide` and lower by as much.
        wide = float(np.exp(rng.standard_normal() * self.recipe.stretch))
        stretched = clip.boxes[chosen] * (wide, 1 / wide, wide, 1 / wide)

        def cut(frame: int, left: int, top: int, side: int, size: int) -> NDArray[np.uint8]:
            return clip.crop(int(frame), (left / wide, top * wide, side / wide, side * wide), size)

        templates, marks = [], []
        for k, (i, box) in enumerate(zip(first, stretched[: self.recipe.templates], strict=True)):
            held = jitter(box, self.recipe.template_jitter, self.recipe.template_jitter, rng) if k else box
            left, top, side = square_around(held, config.template_factor)
            if side < 4:
                return None
            templates.append(cut(i, left, top, side, config.template_size))
            x, y, w, h = box
            marks.append([(x - left) / side, (y - top) / side, w / side, h / side])
        searches, boxes = [], []
        for i, box in zip(later, stretched[self.recipe.templates :], strict=True):
            around = jitter(box, self.recipe.center_jitter, self.recipe.scale_jitter, rng)
            left, top, side = square_around(around, config.search_factor)
            if side < 4:
                return None
            draw = rng.random()
            elsewhere = draw < self.recipe.negative_prob
            look_alikes = clip.look_alikes(int(i)) * (wide, 1 / wide)
            if not elsewhere and draw < self.recipe.negative_prob + self.recipe.hard_negative_prob:
                left, top = between(box, side, look_alikes, rng) or (left, top)
            for _ in range(PLACES):
                at = beside(box, side, look_alikes, rng) if elsewhere else (left, top)
                search = cut(i, *at, side, config.search_size)
                if not elsewhere or search.any(axis=2).mean() > 0.5:
                    break
            x, y, w, h = box
            boxes.append([(x - at[0]) / side, (y - at[1]) / side, w / side, h / side])
            searches.append(search)
        descriptions = [clip.text(int(i)) or "" for i in later]
        marked = np.array(marks, np.float32), np.stack(templates)
        return self._augmented(*marked, np.stack(searches), np.array(boxes, np.float32), descriptions, rng)

    def _augmented(
        self,
        marks: NDArray[np.float32],
        templates: NDArray[np.uint8],
        searches: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        descriptions: list[str],
        rng: np.random.Generator,
    ) -> Sample:
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


def pick_frames(
    frames: NDArray[np.int64], count: int, max_gap: int, rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """`count` different frames, all within `max_gap` of each other, ascending; None where there are too few."""
    if len(frames) < count:
        return None
    start = int(rng.integers(len(frames)))
    low, high = np.searchsorted(frames, [frames[start], frames[start] + max_gap + 1])
    if high - low < count:  # too near the end: look back instead
        low, high = np.searchsorted(frames, [frames[start] - max_gap, frames[start] + 1])
    if high - low < count:
        return None
    return np.sort(rng.choice(frames[low:high], count, replace=False))


def jitter(box: NDArray[np.float64], center: float, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """The box a search crop is cut around: size x exp(N(0,1) scale), moved by (U(0,1) - 0.5) sqrt(w h) center."""
    size = box[2:] * np.exp(rng.standard_normal(2) * scale)
    shift = (rng.random(2) - 0.5) * np.sqrt(size.prod()) * center
    return np.concatenate([box[:2] + box[2:] / 2 + shift - size / 2, size])


def beside(
    box: NDArray[np.float64], side: int, look_alikes: NDArray[np.float64], rng: np.random.Generator
) -> tuple[int, int]:
    """left, top of a square of this side that leaves all of the box out, up to one and a half sides away.

    Args:
        look_alikes: (N, 2) centres of look-alikes. Where there are some, a square with one in it is preferred: only
            those teach the network what the target is not.
    """
    middle, half = box[:2] + box[2:] / 2, (side + box[2:]) / 2 + 1
    for _ in range(PLACES * PLACES if len(look_alikes) else 0):
        center = look_alikes[int(rng.integers(len(look_alikes)))] + rng.uniform(-0.4, 0.4, 2) * side
        if (np.abs(center - middle) > half).any():
            break
    else:
        shift = rng.uniform(-1.5, 1.5, 2) * side
        axis = int(rng.integers(2))
        shift[axis] = rng.choice([-1, 1]) * (half[axis] + rng.random() * side)
        center = middle + shift
    left, top = center - side / 2
    return round(left), round(top)


def between(
    box: NDArray[np.float64], side: int, look_alikes: NDArray[np.float64], rng: np.random.Generator
) -> tuple[int, int] | None:
    """left, top of a square of this side with the target and a look-alike in it, neither of them nearer to its middle.

    So that being near the middle tells nothing. None where no look-alike is near enough.

    Args:
        look_alikes: (N, 2) middles of look-alikes.
    """
    middle = box[:2] + box[2:] / 2
    apart = look_alikes - middle
    apart = apart[np.abs(apart).max(axis=1, initial=0) < APART * side]
    if not len(apart):
        return None
    chosen = apart[int(rng.integers(len(apart)))]
    free = np.maximum(0, (APART * side - np.abs(chosen)) / 2)
    left, top = middle + chosen / 2 + rng.uniform(-1, 1, 2) * free - side / 2
    return round(left), round(top)


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
