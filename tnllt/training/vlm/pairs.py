"""Pairs of frames out of any dataset, written as folders of samples."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tnllt.errors import DataError
from tnllt.eval.longterm import in_view
from tnllt.reasoningtrack.reasoners import Look, Question, answer_to, parse_answer
from tnllt.reasoningtrack.reasoners.images import bounded
from tnllt.sequence import Sequence
from tnllt.training.gain import Window
from tnllt.training.rewards import strict_reward
from tnllt.training.vlm.answers import true_description, write_answer
from tnllt.training.vlm.moments import Moment, refreshes, write_window
from tnllt.training.vlm.records import Box, write_sample

if TYPE_CHECKING:
    from tnllt.reasoningtrack.reasoners import Reasoner
    from tnllt.training.vlm.frozen import FrozenTracker

log = logging.getLogger(__name__)

#: Frames are reduced to so many pixels: reasoners get fewer, and trackers crop.
_PIXELS = 1920 * 1080


@dataclass(frozen=True)
class PairOptions:
    """Which pairs: how many per sequence, how many frames apart, and from which seed."""

    per_sequence: int = 4
    gap: tuple[int, int] = (10, 400)
    seed: int = 0


@dataclass(frozen=True)
class GainSelection:
    """How an answer is chosen among those of a teacher by tracking gain: the best, where it reaches `least`."""

    candidates: int = 1
    least: float = 0.02


def choose(sequence: Sequence, options: PairOptions) -> list[tuple[int, int]]:
    """Numbers of frames (first < second) in which the target is annotated and in view, the same for the same seed."""
    frames = np.flatnonzero(in_view(sequence))
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
    sequences: Iterable[Sequence],
    folder: Path,
    options: PairOptions,
    teacher: Reasoner | None = None,
    tracker: FrozenTracker | None = None,
    selection: GainSelection | None = None,
) -> int:
    """Writes `sample00001/`, ... and returns their number.

    The answer to learn comes from the teacher where there is one (answers that are not well formed are left out),
    else from the annotation: the description of the second frame where the dataset has one per frame, else the
    sequence's own with a wrong side of the image corrected.

    Args:
        tracker: runs on each sequence, and the moments are its refreshes, with window and state for tracking gain;
            None draws pairs of annotated frames.
        selection: chooses among several answers of the teacher by the tracker's gain.

    Raises:
        DataError: not one pair could be made.
    """
    number = 0
    undescribed: list[str] = []
    for sequence in sequences:
        if not sequence.language:
            undescribed.append(sequence.name)
            continue
        if tracker is None:
            moments = [Moment(*pair) for pair in choose(sequence, options)]
        else:
            moments = refreshes(sequence, tracker.tracker, tracker.window, options.per_sequence, options.seed)
        for moment in moments:
            if _write(sequence, moment, folder / f"sample{number + 1:05d}", teacher, tracker, selection):
                number += 1
    if undescribed:
        log.warning("%d sequences without a description give no pairs (%s, ...)", len(undescribed), undescribed[0])
    if not number:
        raise DataError("no pair of frames could be made: descriptions, boxes or enough frames are missing", folder)
    return number


def _write(
    sequence: Sequence,
    moment: Moment,
    folder: Path,
    teacher: Reasoner | None,
    tracker: FrozenTracker | None,
    selection: GainSelection | None,
) -> bool:
    first, second, whole = moment.first, moment.second, moment.snapshot is not None
    images, boxes = zip(*(_frame(sequence, number, whole) for number in (first, second)), strict=True)
    own = str(sequence.language)
    widths = (images[0].shape[1], images[1].shape[1])
    window = None if tracker is None else Window.of(sequence, second, tracker.window)
    if teacher is not None:
        looks = (Look(images[0], boxes[0], first), Look(images[1], moment.box or boxes[1], second))
        question = Question.of_pair(*looks, own)
        answers = _teacher_answers(teacher, question, 1 if selection is None else selection.candidates)
        if selection is None or tracker is None or window is None:
            output = answers[0] if answers else None
        else:
            output = _best(answers, own, tracker.gains_of(moment.snapshot, window, own, answers), selection.least)
        if output is None:
            return False
    else:
        current = sequence.descriptions[second] if sequence.descriptions else None
        now = current or true_description(own, boxes[1], widths[1])
        output = write_answer(own, now, (boxes[0], boxes[1]), widths)
    facts = {
        "language_description": own,
        "img1_groundtruth": _as_text(boxes[0]),
        "img2_groundtruth": _as_text(boxes[1]),
        "source_folder": sequence.name,
        "frames": [first, second],
        "output": output,
    }
    write_sample(folder, images, facts if moment.box is None else {**facts, "tracker_box": _as_text(moment.box)})
    if tracker is not None and window is not None and moment.snapshot is not None:
        write_window(folder, window, moment.snapshot, tracker.tracker.info().get("weights_sha256"))
    return True


def _best(answers: list[str], own: str, gains: list[float | None], least: float) -> str | None:
    """The answer with the largest gain; below `least` a "no", of the teacher where it said so. None without a gain."""
    measured = [(gain, answer) for gain, answer in zip(gains, answers, strict=True) if gain is not None]
    if not measured:
        return None
    gain, best = max(measured, key=lambda pair: pair[0])
    if gain >= least:
        return best
    refusals = [answer for _, answer in measured if not parse_answer(answer).update]
    thought = "No other description that was tried tracks the target better."
    return refusals[0] if refusals else f"<think>{thought}</think><d>no</d><answer>{own}</answer>"


def _as_text(box: Box) -> str:
    return ",".join(f"{value:g}" for value in box)


def _frame(sequence: Sequence, number: int, whole: bool) -> tuple[np.ndarray, Box]:
    """A frame reduced to at most _PIXELS unless `whole`, and its box at that size."""
    image = sequence.frames[number]
    small = image if whole else bounded(image, _PIXELS)
    scale = (small.shape[1] / image.shape[1], small.shape[0] / image.shape[0])
    x, y, w, h = (float(value) for value in sequence.groundtruth[number])
    return small, (x * scale[0], y * scale[1], w * scale[0], h * scale[1])


def _teacher_answers(teacher: Reasoner, question: Question, count: int) -> list[str]:
    """The well-formed ones among `count` answers."""
    answers = []
    for _ in range(count):
        try:
            answers.append(answer_to(teacher, question).raw)
        except Exception as error:
            log.warning("the teacher gave no answer: %s", error)
    return [answer for answer in answers if strict_reward(answer)]
