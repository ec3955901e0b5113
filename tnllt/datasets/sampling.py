"""Template and search crops of sequences, as trackers are trained on them: which frames, which squares.

`tnllt.datasets.torch.PairDataset` and the training of ReasoningTrack both sample by this module.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.crops import cut, square_around
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Boxes, Image
from tnllt.sequence import Sequence as Video

#: Draws from a source before a sample is given up: a source without one usable clip is an error, not an endless loop.
ATTEMPTS = 50
#: Most that target and look-alike may be apart, along either axis, to be in one search crop: of the crop's side.
APART = 0.8
#: Draws of a place beside the target before one is taken that lies mostly outside the image.
PLACES = 4

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
        name: the sequence's.
    """

    frames: NDArray[np.int64]
    boxes: Boxes
    text: Callable[[int], str | None]
    crop: Crop
    look_alikes: Callable[[int], NDArray[np.float64]] = lambda frame: np.zeros((0, 2))
    name: str = ""


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
        return TrainingClip(
            np.flatnonzero(usable),
            boxes,
            text,
            lambda i, region, size: crop(frame(i), region, size),
            name=sequence.name,
        )


def crop(image: Image, region: Region, size: int) -> Image:
    """A part of an image, at least a pixel wide and high, black outside it, resized to (size, size, 3)."""
    left, top = round(region[0]), round(region[1])
    right, bottom = max(left + 1, round(region[0] + region[2])), max(top + 1, round(region[1] + region[3]))
    return cut(image, (left, top, right, bottom), size)


@dataclass(frozen=True, kw_only=True)
class CropRecipe:
    """How samples are cut.

    Attributes:
        templates, searches, max_gap: frames per sample, all within `max_gap` frames, in temporal order.
        template_factor, search_factor: side of the square, in square roots of the box's area.
        template_size, search_size: side of the crops in pixels.
        center_jitter, scale_jitter: how far a search crop is off: the centre by (U(0,1) - 0.5) sqrt(w h) x centre
            jitter, the size by exp(N(0,1) x scale jitter).
        template_jitter: as center and scale jitter at once, of the boxes of all templates but the first.
        negative_prob: probability that a search crop is cut beside the target, around a look-alike where one is known.
        hard_negative_prob: probability that a search crop is cut so that the target and a near look-alike are equally
            far from its centre.
        stretch: all of a sample is made exp(N(0,1) x stretch) times wider and as much lower.

    Raises:
        UsageError: a value out of its range.
    """

    templates: int = 1
    searches: int = 1
    max_gap: int = 200
    template_factor: float = 2.0
    template_size: int = 128
    search_factor: float = 4.0
    search_size: int = 256
    center_jitter: float = 3.0
    scale_jitter: float = 0.25
    template_jitter: float = 0.0
    negative_prob: float = 0.0
    hard_negative_prob: float = 0.0
    stretch: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 1 if name in ("templates", "searches", "template_size", "search_size") else 0
            if not least <= value <= (1 if name.endswith("_prob") else 1 << 20):  # NaN is not, either
                raise UsageError(
                    f"{name} must be at least {least}{' and at most 1' if '_prob' in name else ''}, not {value}"
                )


class Crops(NamedTuple):
    """The crops of one sample: T templates, S search crops.

    Attributes:
        templates: uint8 (T, z, z, 3). searches: uint8 (S, x, x, 3).
        marks: float32 (T, 4): x, y, w, h of the target as fractions of the template crop.
        boxes: float32 (S, 4): x, y, w, h of the target as fractions of the search crop.
        present: bool (S,): whether the target's centre is in the search crop.
        frames: int64 (T + S,), ascending.
    """

    templates: NDArray[np.uint8]
    marks: NDArray[np.float32]
    searches: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    present: NDArray[np.bool_]
    frames: NDArray[np.int64]


def cut_crops(clip: TrainingClip, recipe: CropRecipe, rng: np.random.Generator) -> Crops | None:
    """A sample of a clip; None where it has too few frames with the target in view, or a box is too small."""
    frames = pick_frames(clip.frames, recipe.templates + recipe.searches, recipe.max_gap, rng)
    if frames is None:
        return None
    first, later = frames[: recipe.templates], frames[recipe.templates :]
    # Squares are cut from an image that is wider by `wide` and lower by as much.
    wide = float(np.exp(rng.standard_normal() * recipe.stretch))
    stretched = clip.boxes[frames] * (wide, 1 / wide, wide, 1 / wide)

    def part(frame: int, left: int, top: int, side: int, size: int) -> NDArray[np.uint8]:
        return clip.crop(int(frame), (left / wide, top * wide, side / wide, side * wide), size)

    templates, marks = [], []
    for k, (i, box) in enumerate(zip(first, stretched[: recipe.templates], strict=True)):
        held = jitter(box, recipe.template_jitter, recipe.template_jitter, rng) if k else box
        left, top, side = square_around(held, recipe.template_factor)
        if side < 4:
            return None
        templates.append(part(i, left, top, side, recipe.template_size))
        marks.append(_in_square(box, left, top, side))
    searches, boxes = [], []
    for i, box in zip(later, stretched[recipe.templates :], strict=True):
        around = jitter(box, recipe.center_jitter, recipe.scale_jitter, rng)
        left, top, side = square_around(around, recipe.search_factor)
        if side < 4:
            return None
        draw = rng.random()
        elsewhere = draw < recipe.negative_prob
        look_alikes = clip.look_alikes(int(i)) * (wide, 1 / wide)
        if not elsewhere and draw < recipe.negative_prob + recipe.hard_negative_prob:
            left, top = between(box, side, look_alikes, rng) or (left, top)
        for _ in range(PLACES):
            at = beside(box, side, look_alikes, rng) if elsewhere else (left, top)
            search = part(i, *at, side, recipe.search_size)
            if not elsewhere or search.any(axis=2).mean() > 0.5:
                break
        boxes.append(_in_square(box, *at, side))
        searches.append(search)
    targets = np.array(boxes, np.float32)
    centers = targets[:, :2] + targets[:, 2:] / 2
    present = np.asarray(((centers >= 0) & (centers <= 1)).all(axis=1), bool)
    return Crops(np.stack(templates), np.array(marks, np.float32), np.stack(searches), targets, present, frames)


def _in_square(box: NDArray[np.float64], left: int, top: int, side: int) -> list[float]:
    x, y, w, h = box
    return [(x - left) / side, (y - top) / side, w / side, h / side]


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


@cache
def limit_opencv_threads() -> None:
    """One OpenCV thread per loader process: the processes are the parallelism."""
    cv2.setNumThreads(0)
