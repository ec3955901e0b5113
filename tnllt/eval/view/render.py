"""A scene as a video or GIF for slides: boxes of truth and trackers, a legend, the description in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tnllt.datasets.frames import prefetch
from tnllt.eval.score_table import name_cell
from tnllt.eval.view.scene import Scene
from tnllt.sequence import Image
from tnllt.video import TRUTH, Mark, check_suffix, frame_rate, paint, write_video


def render(
    scene: Scene, path: Path, frames: range, *, fps: float | None = None, width: int | None = None, truth: bool = True
) -> None:
    """Writes frames of the scene, counted from 0, as `tnllt.video.write_video` does.

    Args:
        fps: frames per second; None takes the source's.
        width: pixels; None keeps the frames' own, at most 1280 (640 for a GIF).

    Raises:
        UsageError: another suffix.
        DataError: a frame or the file cannot be read or written.
    """
    check_suffix(path)
    rate = frame_rate(scene.sequence.frames) if fps is None else fps
    if width is None and path.suffix.lower() == ".gif":
        width = min(640, scene.size()[0])
    colours = sorted({look.bright for look in scene.looks.values()})
    write_video(path, _images(scene, frames, width, truth), rate, colours)


def _images(scene: Scene, indices: range, width: int | None, truth: bool) -> Iterator[Image]:
    if indices.step == 1:
        frames: Iterable[Image] = prefetch(scene.sequence, indices.start, indices.stop)
    else:
        frames = (scene.sequence.frames[i] for i in indices)
    for index, image in zip(indices, frames, strict=False):
        marks = marks_at(scene, index)
        yield paint(image, marks if truth else marks[1:], f"frame {index + 1}", description_at(scene, index), width)


def marks_at(scene: Scene, index: int) -> list[Mark]:
    """The annotated box of a frame, then the trackers', with their overlaps."""
    marks = [Mark("ground truth", TRUTH, scene.sequence.groundtruth[index], faint=True)]
    for name, look in scene.looks.items():
        value, boxes = scene.overlaps[name][index], scene.trajectories[name].boxes
        score = f"  {value:.2f}" if np.isfinite(value) else ""
        box = boxes[index] if index < len(boxes) else np.full(4, np.nan)
        marks.append(Mark(name_cell(look.label, 28) + score, look.bright, box))
    return marks


def description_at(scene: Scene, index: int) -> str:
    """The description in force, and the decision behind it: the first tracker's latest answer, else the sequence's
    language description."""
    for answers in scene.answers.values():
        past = [answer for answer in answers if answer.frame - 1 <= index]
        if past:
            decision = f"[{past[-1].decision}] " if past[-1].decision else ""
            return f"{decision}{past[-1].description}"
    return scene.sequence.language or ""
