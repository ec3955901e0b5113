"""Pairs of frames out of any dataset, written as folders of samples.

A pair is any two annotated frames, or what a reasoner is asked while a tracker runs. The sample of the second kind has
the frames of its window and the tracker's state, so that tracking gain is measured from its folder alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tnllt.datasets.frames import prefetch
from tnllt.errors import DataError
from tnllt.eval.longterm import in_view
from tnllt.reasoningtrack.reasoners import Look, Question, answer_to, parse_answer
from tnllt.reasoningtrack.reasoners.views import bounded
from tnllt.sequence import Sequence
from tnllt.training.gain import Window
from tnllt.training.rewards import strict_reward
from tnllt.training.vlm.frozen import FrozenTracker, write_window
from tnllt.training.vlm.records import Box, write_sample

if TYPE_CHECKING:
    from tnllt.reasoningtrack.reasoners import Reasoner
    from tnllt.reasoningtrack.tracker import Snapshot


#: A word for each third of the image's width.
_SIDES = ("left", "middle", "right")
_SIDE_WORD = re.compile(r"\b(?:on|in|at|to) the (left|right|middle|center|centre)(?: side)?\b", re.IGNORECASE)


def side(box: Box, width: int) -> str:
    """The third of the image that the box's centre lies in."""
    return _SIDES[min(2, max(0, int(3 * (box[0] + box[2] / 2) / width)))]


def true_description(description: str, box: Box, width: int) -> str:
    """The description with a wrong side of the image corrected ("on the left" -> "on the right").

    A description that names sides more than once is unchanged: which of them concerns the target is unknown.
    """
    found = _SIDE_WORD.findall(description)
    if len(found) != 1:
        return description
    named = "middle" if found[0].lower() in ("center", "centre") else found[0].lower()
    now = side(box, width)
    # A target near the middle is called left or right by many: only the opposite side is wrong for certain.
    if {named, now} != {"left", "right"}:
        return description
    return re.sub(rf"\b{found[0]}\b", now, description, count=1, flags=re.IGNORECASE)


def write_answer(description: str, now: str, boxes: tuple[Box, Box], widths: tuple[int, int]) -> str:
    """The tagged answer: a thought from what the boxes show, the decision, and the description that is true now."""
    update = now != description
    before, after = (side(box, width) for box, width in zip(boxes, widths, strict=True))
    moved = f"from the {before} to the {after}" if before != after else f"within the {after} of the picture"
    ratio = (boxes[1][2] * boxes[1][3]) / (boxes[0][2] * boxes[0][3])
    size = "looks larger" if ratio > 1.5 else "looks smaller" if ratio < 1 / 1.5 else "keeps its size"
    verdict = "The description is not true any more." if update else "The description is still true."
    thought = f"The target moved {moved} and {size}. {verdict}"
    return f"<think>{thought}</think><d>{'yes' if update else 'no'}</d><answer>{now}</answer>"


log = logging.getLogger(__name__)

#: Frames are reduced to so many pixels: reasoners get fewer, and trackers crop.
_PIXELS = 1920 * 1080


class Moment(NamedTuple):
    """Numbers of the earlier and of the current frame; where a tracker runs, its box and its state before the current
    frame."""

    first: int
    second: int
    box: Box | None = None
    snapshot: Snapshot | None = None


def choose(sequence: Sequence, count: int, gap: tuple[int, int], seed: int = 0) -> list[Moment]:
    """At most `count` pairs of frames with the target annotated and in view, the same for the same seed.

    Args:
        gap: frames between the two, least and most.
    """
    frames = np.flatnonzero(in_view(sequence))
    rng = np.random.default_rng([seed, *sequence.name.encode()])
    pairs: set[Moment] = set()
    for _ in range(20 * count):
        if len(pairs) == count or len(frames) < 2:
            break
        first = int(rng.choice(frames))
        later = frames[(frames >= first + gap[0]) & (frames <= first + gap[1])]
        if len(later):
            pairs.add(Moment(first, int(rng.choice(later))))
    return sorted(pairs)


def refreshes(sequence: Sequence, frozen: FrozenTracker, count: int, seed: int) -> list[Moment]:
    """At most `count` moments at which the tracker would ask, drawn at random among those with the target in view.

    The tracker starts on the first frame and keeps the sequence's own description. None where it fails.
    """
    seen, usable, tracker = 0, in_view(sequence), frozen.tracker
    kept: list[Moment] = []
    if not usable[0]:
        return kept
    rng = np.random.default_rng([seed, *sequence.name.encode()])
    state = tracker.start(sequence.frames[0], sequence.groundtruth[0].tolist(), sequence.language)
    try:
        for number, image in enumerate(prefetch(sequence, 1, len(sequence)), 1):
            if state.due and usable[number]:
                place = len(kept) if len(kept) < count else int(rng.integers(seen + 1))
                seen += 1
                if place < count:
                    x, y, w, h = state.box.tolist()
                    kept[place : place + 1] = [Moment(0, number, (x, y, w, h), tracker.snapshot(state, frozen.window))]
            tracker.step([state], [image])
    except Exception as error:
        log.warning("the tracker failed on %s: %s; no samples of it", sequence.name, error)
        return []
    finally:
        tracker.end(state)
    return sorted(kept, key=lambda moment: moment.second)


def write_pairs(
    sequences: Iterable[Sequence],
    folder: Path,
    count: int = 4,
    gap: tuple[int, int] = (10, 400),
    seed: int = 0,
    teacher: Reasoner | None = None,
    tracker: FrozenTracker | None = None,
    candidates: int = 0,
    least_gain: float = 0.02,
) -> int:
    """Writes `sample00001/`, ... and returns their number.

    The answer to learn comes from the teacher where there is one (answers that are not well formed are left out),
    else from the annotation: the description of the second frame where the dataset has one per frame, else the
    sequence's own with a wrong side of the image corrected.

    Args:
        count: pairs per sequence.
        gap: frames between the two of a pair, least and most.
        tracker: runs on each sequence, and the moments are its refreshes, with window and state for tracking gain;
            None draws pairs of annotated frames.
        candidates: answers of the teacher, among which the tracker's gain selects the best where it reaches
            `least_gain`; 0 takes the first answer.

    Raises:
        DataError: not one pair could be made.
    """
    number = 0
    undescribed: list[str] = []
    for sequence in sequences:
        if not sequence.language:
            undescribed.append(sequence.name)
            continue
        moments = choose(sequence, count, gap, seed) if tracker is None else refreshes(sequence, tracker, count, seed)
        for moment in moments:
            images, boxes = zip(*(_frame(sequence, i, tracker is not None) for i in moment[:2]), strict=True)
            window = None if tracker is None else Window.of(sequence, moment.second, tracker.window)
            if teacher is None:
                output: str | None = _annotated_answer(sequence, moment.second, images, boxes)
            else:
                looks = Look(images[0], boxes[0], moment.first), Look(images[1], moment.box or boxes[1], moment.second)
                answers = _teacher_answers(teacher, Question.of_pair(*looks, sequence.language), max(1, candidates))
                output = answers[0] if answers else None
                if candidates and tracker is not None and window is not None:
                    gains = tracker.gains_of(moment.snapshot, window, sequence.language, answers)
                    output = _best(answers, sequence.language, gains, least_gain)
            if output is None:
                continue
            number += 1
            sample = folder / f"sample{number:05d}"
            own = {} if moment.box is None else {"tracker_box": _as_text(moment.box)}
            write_sample(sample, images, {**_facts(sequence, moment, boxes), "output": output, **own})
            if tracker is not None and window is not None and moment.snapshot is not None:
                write_window(sample, window, moment.snapshot, tracker.tracker.info().get("weights_sha256"))
    if undescribed:
        log.warning("%d sequences without a description give no pairs (%s, ...)", len(undescribed), undescribed[0])
    if not number:
        raise DataError("no pair of frames could be made: descriptions, boxes or enough frames are missing", folder)
    return number


def _facts(sequence: Sequence, moment: Moment, boxes: tuple[Box, ...]) -> dict[str, object]:
    return {
        "language_description": sequence.language,
        "img1_groundtruth": _as_text(boxes[0]),
        "img2_groundtruth": _as_text(boxes[1]),
        "source_folder": sequence.name,
        "frames": [moment.first, moment.second],
    }


def _annotated_answer(sequence: Sequence, second: int, images: tuple[np.ndarray, ...], boxes: tuple[Box, ...]) -> str:
    own, widths = str(sequence.language), (images[0].shape[1], images[1].shape[1])
    current = sequence.descriptions[second] if sequence.descriptions else None
    now = current or true_description(own, boxes[1], widths[1])
    return write_answer(own, now, (boxes[0], boxes[1]), widths)


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
