"""Pictures of scenes: a video or GIF for slides, and a contact sheet of failures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tnllt.datasets.frames import prefetch
from tnllt.errors import DataError, UsageError
from tnllt.eval.score_table import name_cell
from tnllt.eval.view.scene import Scene
from tnllt.files import temporary_beside
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
    for index, image in zip(indices, frames, strict=True):
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


_WIDTH, _COLUMNS = 420, 4
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_TRUTH = Mark("ground truth", TRUTH, (0, 0, 0, 0))


def check_sheet_path(path: Path) -> None:
    """Raises UsageError where no sheet can be written under this name."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path}: a sheet of failures is an image; name a file that ends in {', '.join(_SUFFIXES)}")


def failure_sheet(scenes: Iterable[Scene], path: Path, most: int = 24) -> int:
    """Writes an image (PNG, JPEG, WebP) of the longest failures (`failure_spans`) of all trackers.

    Scenes are read one after the other; those without frames are passed over.

    Returns:
        how many failures there are, shown or not.

    Raises:
        DataError: no sequence has frames, there is no failure, or the file cannot be written.
    """
    from PIL import Image as Pillow

    found: list[tuple[int, str, Image]] = []
    count, pictures = 0, False
    legend: dict[str, Mark] = {}
    for scene in scenes:
        legend |= {name: Mark(look.label, look.bright, (0, 0, 0, 0)) for name, look in scene.looks.items()}
        pictures |= scene.sequence.has_frames
        longest = sorted((a - b, a, b, name) for name, spans in scene.failures.items() for a, b in spans)
        count += len(longest)
        for length, start, end, name in longest[:most] if scene.sequence.has_frames else ():
            if len(found) < most or length < found[-1][0]:
                caption = f"{scene.sequence.name}: {scene.looks[name].label} fails in {start + 1}–{end}"
                found = sorted([*found, (length, caption, _tile(scene, start, caption))], key=lambda t: t[:2])[:most]
    if not found:
        raise DataError("no tracker fails for ten frames" if pictures else "a sheet of failures needs frames (--root)")
    columns = min(_COLUMNS, len(found))
    tall = max(tile.shape[0] for _, _, tile in found)
    rows = -(-len(found) // columns)
    wide = columns * _WIDTH
    blank = np.full((round(wide / 40 * (len(legend) + 2)), wide, 3), 24, np.uint8)  # a row of the legend is wide / 40
    head = paint(blank, [_TRUTH, *legend.values()], width=wide)
    sheet = np.full((rows * tall, wide, 3), 24, np.uint8)
    for place, (_, _, tile) in enumerate(found):
        top, left = place // columns * tall, place % columns * _WIDTH
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    with temporary_beside(path) as temporary:
        Pillow.fromarray(np.concatenate([head, sheet])).save(temporary)
    return count


def _tile(scene: Scene, index: int, caption: str) -> Image:
    """The frame with its boxes, the caption below it."""
    image = scene.sequence.frames[index]
    below = np.zeros((round(0.08 * image.shape[1]), image.shape[1], 3), np.uint8)
    marks = [replace(mark, label="") for mark in marks_at(scene, index)]
    return paint(np.concatenate([image, below]), marks, description=caption, width=_WIDTH)
