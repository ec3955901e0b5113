"""Pairs of frames out of any dataset, written as folders of samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tnllt.errors import DataError
from tnllt.reasoningtrack.reasoners.images import bounded
from tnllt.sequence import Sequence
from tnllt.training.vlm.answers import true_description, write_answer
from tnllt.training.vlm.records import Box, write_sample

if TYPE_CHECKING:
    from tnllt.reasoningtrack.reasoners import Reasoner

log = logging.getLogger(__name__)

#: Frames are reduced to so many pixels: reasoners get fewer, and trackers crop.
_PIXELS = 1920 * 1080


@dataclass(frozen=True)
class PairOptions:
    """Which pairs: how many per sequence, how many frames apart, and from which seed."""

    per_sequence: int = 4
    gap: tuple[int, int] = (10, 400)
    seed: int = 0


def choose(sequence: Sequence, options: PairOptions) -> list[tuple[int, int]]:
    """Numbers of frames (first < second) in which the target is annotated and in view, the same for the same seed."""
    boxes = sequence.groundtruth
    usable = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)
    if sequence.present is not None:
        usable &= sequence.present
    frames = np.flatnonzero(usable)
    rng = np.random.default_rng([options.seed, *sequence.name.encode()])
    pairs: set[tuple[int, int]] = set()
    for _ in range(20 * options.per_sequence):
        if len(pairs) == options.per_sequence or len(frames) < 2:
            break
        first = int(rng.choice(frames))
        later = frames[(frames >= first + options.gap[0]) & (frames <= first + options.gap[1])]
        if len(later):
            pairs.add((first, int(rng.choice(later))))
    return sorted(pairs)


def write_pairs(
    sequences: Iterable[Sequence], folder: Path, options: PairOptions, teacher: Reasoner | None = None
) -> int:
    """Writes `sample00001/`, ... and returns their number.

    The answer to learn comes from the teacher where there is one (answers that are not well formed are left out),
    else from the annotation: the description of the second frame where the dataset has one per frame, else the
    sequence's own with a wrong side of the image corrected.

    Raises:
        DataError: not one pair could be made.
    """
    number = 0
    undescribed: list[str] = []
    for sequence in sequences:
        if not sequence.language:
            undescribed.append(sequence.name)
            continue
        for first, second in choose(sequence, options):
            if _write(sequence, first, second, folder / f"sample{number + 1:05d}", teacher):
                number += 1
    if undescribed:
        log.warning("%d sequences without a description give no pairs (%s, ...)", len(undescribed), undescribed[0])
    if not number:
        raise DataError("no pair of frames could be made: descriptions, boxes or enough frames are missing", folder)
    return number


def _write(sequence: Sequence, first: int, second: int, folder: Path, teacher: Reasoner | None) -> bool:
    images, boxes = zip(*(_frame(sequence, number) for number in (first, second)), strict=True)
    own = str(sequence.language)
    if teacher is not None:
        output = _teacher_answer(teacher, images[0], images[1], own)
        if output is None:
            return False
    else:
        widths = (images[0].shape[1], images[1].shape[1])
        current = sequence.descriptions[second] if sequence.descriptions else None
        now = current or true_description(own, boxes[1], widths[1])
        output = write_answer(own, now, (boxes[0], boxes[1]), widths)
    facts = {
        "language_description": own,
        "img1_groundtruth": ",".join(f"{v:g}" for v in boxes[0]),
        "img2_groundtruth": ",".join(f"{v:g}" for v in boxes[1]),
        "source_folder": sequence.name,
        "frames": [first, second],
        "output": output,
    }
    write_sample(folder, images, facts)
    return True


def _frame(sequence: Sequence, number: int) -> tuple[np.ndarray, Box]:
    """A frame reduced to at most _PIXELS, and its box at that size."""
    image = sequence.frames[number]
    small = bounded(image, _PIXELS)
    scale = (small.shape[1] / image.shape[1], small.shape[0] / image.shape[0])
    x, y, w, h = (float(value) for value in sequence.groundtruth[number])
    return small, (x * scale[0], y * scale[1], w * scale[0], h * scale[1])


def _teacher_answer(teacher: Reasoner, first: np.ndarray, second: np.ndarray, own: str) -> str | None:
    from tnllt.training.rewards import strict_reward

    try:
        raw = teacher.describe(first, second, own).raw
    except Exception as error:
        log.warning("the teacher gave no answer: %s", error)
        return None
    return raw if strict_reward(raw) else None
