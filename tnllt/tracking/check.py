"""Trying a tracker on five synthetic sequences that catch what trackers get wrong, and saying so in words."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from tnllt.boxes import overlap
from tnllt.datasets import Dataset
from tnllt.results.store import ResultStore
from tnllt.sequence import Boxes, Flags, Image, Sequence, Trajectory
from tnllt.tracking.pool import Limits, Pool
from tnllt.tracking.process import Job
from tnllt.tracking.registry import TrackerSpec
from tnllt.tracking.setup import DatasetSpec, Setup
from tnllt.tracking.tracker import Mode

HEIGHT, WIDTH, FRAMES = 240, 320, 40
SENTENCE = "the red and yellow checkered square"
ABSENT, TINY, BORDER, TEXT, ONE = "absent target", "tiny box", "box at the border", "text only", "one frame"


@dataclass
class SequenceVerdict:
    """What one sequence showed.

    Attributes:
        name: of the sequence.
        wrong: faults: results that no benchmark can use, or that are not the tracker's to give.
        remarks: weaknesses, and things worth knowing.
        good: what went well.
    """

    name: str
    wrong: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    good: list[str] = field(default_factory=list)


def check_tracker(
    spec: TrackerSpec, frame_timeout: float = 60.0, start_timeout: float = 300.0
) -> list[SequenceVerdict]:
    """Tracks the five sequences in a process of their own, twice in different order, and judges what came.

    Raises UsageError where the tracker cannot be loaded.
    """
    modes = spec.tracker_class.modes
    with tempfile.TemporaryDirectory(prefix="tnllt-check-") as folder:
        names = write_sequences(Path(folder) / "data")
        data = DatasetSpec("tnllt", str(Path(folder) / "data"), None, None)
        limits = Limits(start_timeout, frame_timeout)
        ordinary = [name for name in names if name != TEXT]
        first = _track(spec, data, Path(folder) / "first", ordinary, None, limits)
        again = _track(spec, data, Path(folder) / "again", ordinary[::-1], None, limits)
        text = {}
        if Mode.NL in modes:
            text = _track(spec, data, Path(folder) / "text", [TEXT], Mode.NL.value, limits)
        dataset = data.open()
        findings = [_judge(name, dataset, {**first, **text}, modes) for name in names]
        _compare_orders(findings, first, again)
    return findings


def write_sequences(folder: Path) -> list[str]:
    """Writes the five sequences in TNLLT's layout; their names, which say what each is about."""
    start, step = np.array([60.0, 90.0]), np.array([3.0, 1.0])
    middle = start + np.arange(FRAMES)[:, None] * step
    hidden = (np.arange(FRAMES) >= 15) & (np.arange(FRAMES) < 25)
    out = np.array([WIDTH - 60.0, 100.0]) + np.minimum(np.arange(FRAMES), 12)[:, None] * np.array([4.0, 0.0])
    plans = {
        ABSENT: (_boxes(middle, 40), ~hidden),
        TINY: (_boxes(middle, 6), None),
        BORDER: (_boxes(out, 40), None),
        TEXT: (_boxes(middle, 40), None),
        ONE: (_boxes(middle[:1], 40), None),
    }
    for number, (name, (boxes, present)) in enumerate(plans.items()):
        _write_sequence(folder / name, boxes, present, number)
    return list(plans)


def _boxes(corners: Boxes, side: float) -> Boxes:
    return np.concatenate([corners, np.full((len(corners), 2), side)], axis=1)


def _write_sequence(folder: Path, boxes: Boxes, present: Flags | None, seed: int) -> None:
    (folder / "imgs").mkdir(parents=True)
    background = _background(np.random.default_rng(seed))
    for index, box in enumerate(boxes):
        picture = background.copy()
        if present is None or present[index]:
            _paste(picture, box)
        cv2.imwrite(str(folder / "imgs" / f"{index + 1:05d}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    rows = "\n".join(",".join(f"{v:g}" for v in box) for box in boxes)
    (folder / "groundtruth.txt").write_text(rows + "\n")
    (folder / "language.txt").write_text(SENTENCE + "\n")
    flags = np.ones(len(boxes), bool) if present is None else present
    (folder / "absent_label.txt").write_text("\n".join("1" if flag else "0" for flag in flags) + "\n")


def _background(random: np.random.Generator) -> Image:
    """Soft grey-green texture, with no red in it."""
    noise = random.integers(40, 140, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
    noise[..., 0] //= 3
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)  # type: ignore[return-value]


def _paste(picture: Image, box: Boxes) -> None:
    x, y, w, h = (round(float(v)) for v in box)
    rows, columns = np.mgrid[0:h, 0:w]
    cell = max(2, w // 4)
    checkers = ((rows // cell + columns // cell) % 2 == 0)[..., None]
    target = np.where(checkers, np.array([220, 30, 30]), np.array([240, 220, 40])).astype(np.uint8)
    left, right = max(0, x), min(WIDTH, x + w)
    top, bottom = max(0, y), min(HEIGHT, y + h)
    picture[top:bottom, left:right] = target[top - y : bottom - y, left - x : right - x]


def _track(
    spec: TrackerSpec, data: DatasetSpec, results: Path, names: list[str], mode: str | None, limits: Limits
) -> dict[str, Trajectory | str]:
    """{sequence: what the tracker answered, or why it failed}."""
    setup = Setup(spec, data, str(results), mode)
    store = ResultStore(results)
    answers: dict[str, Trajectory | str] = {}
    with Pool(setup, 1, (), limits) as pool:
        for outcome in pool.run([Job(name, FRAMES) for name in names]):
            failed = outcome.how == "failed"
            answers[outcome.name] = outcome.message if failed else store.read(spec.name, outcome.name)
    return answers


def _judge(
    name: str, dataset: Dataset, answers: dict[str, Trajectory | str], modes: tuple[Mode, ...]
) -> SequenceVerdict:
    finding = SequenceVerdict(name)
    if name not in answers:
        takes = ", ".join(mode.value for mode in modes)
        finding.remarks.append(f"cannot be started from a sentence alone (it takes {takes}): not tried")
        return finding
    answer = answers[name]
    if isinstance(answer, str):
        finding.wrong.append(f"fails: {answer}")
        return finding
    sequence = dataset[name]
    finding.wrong.extend(_unusable(answer))
    if name != ONE:
        _judge_overlap(finding, sequence, answer)
    if name == ABSENT:
        _judge_absence(finding, sequence, answer)
    elif answer.absent is not None and answer.absent[1:].any():
        count = int(answer.absent[1:].sum())
        finding.remarks.append(f"calls the target absent in {count} frames although it is in view in all")
    if not finding.wrong and not finding.remarks and not finding.good:
        finding.good.append("answers")
    return finding


def _unusable(answer: Trajectory) -> Iterator[str]:
    boxes = answer.boxes
    flat = np.flatnonzero((boxes[:, 2] <= 0) | (boxes[:, 3] <= 0))
    if len(flat):
        first = f"the first in frame {flat[0] + 1}: {_text(boxes[flat[0]])}"
        yield f"answers boxes without area in {len(flat)} frames, {first}"
    outside = (boxes[:, 0] >= WIDTH) | (boxes[:, 1] >= HEIGHT)
    outside |= (boxes[:, 0] + boxes[:, 2] <= 0) | (boxes[:, 1] + boxes[:, 3] <= 0)
    beyond = np.flatnonzero(outside)
    if len(beyond):
        first = f"the first in frame {beyond[0] + 1}: {_text(boxes[beyond[0]])}"
        yield f"answers boxes wholly outside the {WIDTH} x {HEIGHT} image in {len(beyond)} frames, {first}"
    if np.nanmax(boxes[:, :4]) <= 1.0 and len(boxes) > 1:
        yield "answers boxes between 0 and 1; they must be pixels"
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    truth = boxes[0]
    if len(boxes) > 2 and overlap(corners[1], truth) > 0.7 and overlap(boxes[1], truth) < 0.5:
        yield "seems to answer corners x1, y1, x2, y2; they must be x, y, width, height"


def _judge_overlap(finding: SequenceVerdict, sequence: Sequence, answer: Trajectory) -> None:
    seen = np.ones(len(answer), bool) if sequence.present is None else sequence.present
    seen = seen.copy()
    seen[0] = False
    truth = sequence.groundtruth[seen]
    mean = float(overlap(answer.boxes[seen], truth).mean())
    floor = float(overlap(np.broadcast_to(sequence.groundtruth[0], truth.shape), truth).mean())
    text = f"mean overlap {mean:.2f} (the first box forever: {floor:.2f})"
    if np.ptp(answer.boxes[1:], axis=0).max(initial=0.0) == 0:
        finding.remarks.append(f"its box never moves; {text}")
    elif mean < max(0.3, floor):
        finding.remarks.append(f"loses the target; {text}")
    else:
        finding.good.append(f"tracks the target, {text}")


def _judge_absence(finding: SequenceVerdict, sequence: Sequence, answer: Trajectory) -> None:
    assert sequence.present is not None
    gone = ~sequence.present
    frames = np.flatnonzero(gone)
    where = f"frames {frames[0] + 1} to {frames[-1] + 1}"
    called = answer.absent if answer.absent is not None else np.zeros(len(answer), bool)
    if called[gone].any():
        right, false = int(called[gone].sum()), int(called[~gone].sum())
        finding.good.append(f"reports absence in {right} of the {gone.sum()} frames without target, wrongly in {false}")
        return
    said = f"never says that the target is absent, though it is gone in {where}"
    if answer.confidence is None:
        finding.remarks.append(f"{said}, and gives no confidence either: long-term measures cannot see what it knows")
        return
    inside, outside = (float(np.nanmean(answer.confidence[flags])) for flags in (sequence.present, gone))
    fell = "its confidence falls" if outside < inside - 0.05 else "its confidence hardly changes"
    finding.remarks.append(f"{said}; {fell} (mean {inside:.2f} in view, {outside:.2f} without target)")


def _compare_orders(
    findings: list[SequenceVerdict], first: dict[str, Trajectory | str], again: dict[str, Trajectory | str]
) -> None:
    for finding in findings:
        one, other = first.get(finding.name), again.get(finding.name)
        if not isinstance(one, Trajectory) or not isinstance(other, Trajectory):
            continue
        differ = np.flatnonzero((one.boxes != other.boxes).any(axis=1))
        if len(differ):
            finding.wrong.append(
                f"answers differently when the sequences come in another order (from frame {differ[0] + 1} on): it "
                "carries something over from the sequence before, or seeds random numbers by itself"
            )


def _text(box: Boxes) -> str:
    return ",".join(f"{v:g}" for v in box)
