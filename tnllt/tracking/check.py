"""A tracker tried on five synthetic sequences, which show the faults that trackers commonly have."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tnllt.boxes import overlap
from tnllt.config import DatasetConfig
from tnllt.datasets import Dataset
from tnllt.datasets.convert import annotation_files
from tnllt.datasets.dataset import open_configured
from tnllt.findings import Checker, Finding, Findings, Kind
from tnllt.results.store import ResultStore
from tnllt.sequence import Annotation, Boxes, Flags, Image, Sequence, Trajectory
from tnllt.tracking.config import Limits, RunSpec
from tnllt.tracking.pool import Pool
from tnllt.tracking.process import Job
from tnllt.tracking.registry import TrackerSpec
from tnllt.tracking.tracker import Mode

HEIGHT, WIDTH, FRAMES = 240, 320, 40
DESCRIPTION = "the red and yellow checkered square"
ABSENT, TINY, BORDER, TEXT, ONE = "absent target", "tiny box", "box at the border", "text only", "one frame"

CHECKER = Checker("tracker-check", (
    Kind("failure", "error", "the tracker fails"),
    Kind("no-area", "error", "boxes without area"),
    Kind("outside", "error", "boxes wholly outside the image"),
    Kind("normalized", "error", "boxes between 0 and 1", "answer pixels"),
    Kind("corners", "error", "boxes that look like corners x1, y1, x2, y2", "answer x, y, width, height"),
    Kind("order", "error", "boxes that depend on the sequences before",
         "reset everything in initialize, and do not seed random numbers"),
    Kind("never-moves", "warning", "a box that never moves"),
    Kind("lost", "warning", "the target is lost"),
    Kind("no-absence", "warning", "an absent target is never reported absent"),
    Kind("false-absence", "warning", "a visible target is reported absent"),
    Kind("not-tried", "note", "a sequence that was not tried"),
    Kind("passed", "ok", "nothing wrong in a sequence"),
), subject="tracker")  # fmt: skip


def check_tracker(spec: TrackerSpec, limits: Limits) -> Findings:
    """Tracks the five sequences in a process of its own, twice in different order, and judges the answers.

    Raises UsageError where the tracker cannot be loaded.
    """
    modes = spec.tracker_class.modes
    with tempfile.TemporaryDirectory(prefix="tnllt-check-") as folder:
        names = write_sequences(Path(folder) / "data")
        data = DatasetConfig("tnllt", root=str(Path(folder) / "data"), split=None)
        ordinary = [name for name in names if name != TEXT]
        first = _track(spec, data, Path(folder) / "first", ordinary, None, limits)
        again = _track(spec, data, Path(folder) / "again", ordinary[::-1], None, limits)
        text = {}
        if Mode.NL in modes:
            text = _track(spec, data, Path(folder) / "text", [TEXT], Mode.NL.value, limits)
        dataset = open_configured(data)
        found = [f for name in names for f in _judge(name, dataset, {**first, **text}, modes)]
        found += _compare_orders(first, again)
    found = [Finding(**{**vars(f), "subject": spec.name}) for f in found]
    return Findings(CHECKER, found, f"{spec.name} on {len(names)} sequences", {"tracker": spec.name}, checklist=True)


def write_sequences(folder: Path) -> list[str]:
    """Writes the five sequences in TNLLT's layout; their names, which say what each is about."""
    start, step = np.array([60.0, 90.0]), np.array([3.0, 1.0])
    middle = start + np.arange(FRAMES)[:, None] * step
    hidden = (np.arange(FRAMES) >= 15) & (np.arange(FRAMES) < 25)
    out = np.array([WIDTH - 60.0, 100.0]) + np.minimum(np.arange(FRAMES), 12)[:, None] * np.array([4.0, 0.0])
    seen = np.ones(FRAMES, bool)
    plans = {
        ABSENT: (_boxes(middle, 40), ~hidden),
        TINY: (_boxes(middle, 6), seen),
        BORDER: (_boxes(out, 40), seen),
        TEXT: (_boxes(middle, 40), seen),
        ONE: (_boxes(middle[:1], 40), seen[:1]),
    }
    for number, (name, (boxes, present)) in enumerate(plans.items()):
        _write_sequence(folder / name, boxes, present, number)
    return list(plans)


def _boxes(corners: Boxes, side: float) -> Boxes:
    return np.concatenate([corners, np.full((len(corners), 2), side)], axis=1)


def _write_sequence(folder: Path, boxes: Boxes, present: Flags, seed: int) -> None:
    (folder / "imgs").mkdir(parents=True)
    background = _background(np.random.default_rng(seed))
    for index, box in enumerate(boxes):
        image = background.copy()
        if present[index]:
            _paste(image, box)
        cv2.imwrite(str(folder / "imgs" / f"{index + 1:05d}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    for name, text in annotation_files(Annotation(boxes, present, DESCRIPTION)):
        (folder / name).write_text(text)


def _background(random: np.random.Generator) -> Image:
    """Soft grey-green texture, with no red in it."""
    noise = random.integers(40, 140, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    noise[..., 0] //= 3
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _paste(image: Image, box: Boxes) -> None:
    x, y, w, h = (round(float(v)) for v in box)
    rows, columns = np.mgrid[0:h, 0:w]
    cell = max(2, w // 4)
    checkers = ((rows // cell + columns // cell) % 2 == 0)[..., None]
    target = np.where(checkers, np.array([220, 30, 30]), np.array([240, 220, 40])).astype(np.uint8)
    left, right = max(0, x), min(WIDTH, x + w)
    top, bottom = max(0, y), min(HEIGHT, y + h)
    image[top:bottom, left:right] = target[top - y : bottom - y, left - x : right - x]


def _track(
    tracker: TrackerSpec, data: DatasetConfig, results: Path, names: list[str], mode: str | None, limits: Limits
) -> dict[str, Trajectory | str]:
    """{sequence: the tracker's answers, or why it failed}."""
    spec = RunSpec(tracker=tracker, dataset=data, results=str(results), mode=mode, threads=1)
    store = ResultStore(results)
    answers: dict[str, Trajectory | str] = {}
    with Pool(spec, limits=limits) as pool:
        for outcome in pool.run([Job(name, FRAMES) for name in names]):
            failed = outcome.how == "failed"
            answers[outcome.name] = outcome.message if failed else store.read(tracker.name, outcome.name)
    return answers


def _judge(
    name: str, dataset: Dataset, answers: dict[str, Trajectory | str], modes: tuple[Mode, ...]
) -> Iterator[Finding]:
    if name not in answers:
        takes = ", ".join(mode.value for mode in modes)
        text = f"cannot be started from a language description alone (it takes {takes}): not tried"
        yield CHECKER.finding("not-tried", text, sequence=name)
        return
    answer = answers[name]
    if isinstance(answer, str):
        yield CHECKER.finding("failure", f"fails: {answer}", sequence=name)
        return
    sequence = dataset[name]
    found = [*_unusable(answer), *(() if name == ONE else _judge_overlap(sequence, answer))]
    if name == ABSENT:
        found.append(_judge_absence(sequence, answer))
    elif answer.absent is not None and answer.absent[1:].any():
        count = int(answer.absent[1:].sum())
        found.append(("false-absence", f"reports the target absent in {count} frames although it is in view in all"))
    for code, text in found or [("passed", "answers")]:
        yield CHECKER.finding(code, text, sequence=name)


def _unusable(answer: Trajectory) -> Iterator[tuple[str, str]]:
    boxes = answer.boxes
    flat = np.flatnonzero((boxes[:, 2] <= 0) | (boxes[:, 3] <= 0))
    if len(flat):
        first = f"the first in frame {flat[0] + 1}: {_text(boxes[flat[0]])}"
        yield "no-area", f"answers boxes without area in {len(flat)} frames, {first}"
    outside = (boxes[:, 0] >= WIDTH) | (boxes[:, 1] >= HEIGHT)
    outside |= (boxes[:, 0] + boxes[:, 2] <= 0) | (boxes[:, 1] + boxes[:, 3] <= 0)
    beyond = np.flatnonzero(outside)
    if len(beyond):
        first = f"the first in frame {beyond[0] + 1}: {_text(boxes[beyond[0]])}"
        yield "outside", f"answers boxes wholly outside the {WIDTH} x {HEIGHT} image in {len(beyond)} frames, {first}"
    if np.nanmax(boxes[:, :4]) <= 1.0 and len(boxes) > 1:
        yield "normalized", "answers boxes between 0 and 1; they must be pixels"
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    truth = boxes[0]
    if len(boxes) > 2 and overlap(corners[1], truth) > 0.7 and overlap(boxes[1], truth) < 0.5:
        yield "corners", "seems to answer corners x1, y1, x2, y2; they must be x, y, width, height"


def _judge_overlap(sequence: Sequence, answer: Trajectory) -> Iterator[tuple[str, str]]:
    seen = np.ones(len(answer), bool) if sequence.present is None else sequence.present.copy()
    seen[0] = False
    truth = sequence.groundtruth[seen]
    mean = float(overlap(answer.boxes[seen], truth).mean())
    floor = float(overlap(np.broadcast_to(sequence.groundtruth[0], truth.shape), truth).mean())
    text = f"mean overlap {mean:.2f} (the initial box, never moved: {floor:.2f})"
    if np.ptp(answer.boxes[1:], axis=0).max(initial=0.0) == 0:
        yield "never-moves", f"its box never moves; {text}"
    elif mean < max(0.3, floor):
        yield "lost", f"loses the target; {text}"
    else:
        yield "passed", f"tracks the target, {text}"


def _judge_absence(sequence: Sequence, answer: Trajectory) -> tuple[str, str]:
    assert sequence.present is not None
    gone = ~sequence.present
    frames = np.flatnonzero(gone)
    reported = answer.absent if answer.absent is not None else np.zeros(len(answer), bool)
    if reported[gone].any():
        right, false = int(reported[gone].sum()), int(reported[~gone].sum())
        return "passed", f"reports absence in {right} of the {gone.sum()} frames without target, wrongly in {false}"
    text = f"never reports the target absent, though it is absent in frames {frames[0] + 1} to {frames[-1] + 1}"
    if answer.confidence is None:
        return "no-absence", f"{text}, and gives no confidence either: long-term measures then lack their input"
    inside, outside = (float(np.nanmean(answer.confidence[flags])) for flags in (sequence.present, gone))
    fell = "its confidence falls" if outside < inside - 0.05 else "its confidence hardly changes"
    return "no-absence", f"{text}; {fell} (mean {inside:.2f} in view, {outside:.2f} without target)"


def _compare_orders(first: dict[str, Trajectory | str], again: dict[str, Trajectory | str]) -> Iterator[Finding]:
    for name, one in first.items():
        other = again.get(name)
        if not isinstance(one, Trajectory) or not isinstance(other, Trajectory):
            continue
        differ = np.flatnonzero((one.boxes != other.boxes).any(axis=1))
        if len(differ):
            text = (
                f"answers differently when the sequences come in another order (from frame {differ[0] + 1} on): it "
                "carries something over from the sequence before, or seeds random numbers by itself"
            )
            yield CHECKER.finding("order", text, sequence=name)


def _text(box: Boxes) -> str:
    return ",".join(f"{v:g}" for v in box)
