"""A contact sheet of failures: for each, the frame in which it begins, with the boxes of truth and trackers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.eval.view.render import marks_at
from tnllt.eval.view.scene import Scene
from tnllt.files import temporary_beside
from tnllt.sequence import Image
from tnllt.video import TRUTH, Mark, paint

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
