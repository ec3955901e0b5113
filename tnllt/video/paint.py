"""One frame with boxes, a legend and the description in force drawn into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tnllt.sequence import Image
from tnllt.text import one_line

#: Colour of the annotated box.
TRUTH = "#ffffff"
#: Widest video where no width is given.
_MOST_WIDTH = 1280


@dataclass(frozen=True)
class Mark:
    """One box of a frame, with its row of the legend.

    Attributes:
        label: the legend's text; "" for none.
        colour: "#rrggbb".
        box: x, y, w, h in pixels; one that is not finite or has no area is left out.
        faint: drawn thinner, as an annotation or the box of an absent target.
    """

    label: str
    colour: str
    box: ArrayLike
    faint: bool = False


def paint(
    image: Image, marks: Iterable[Mark], caption: str = "", description: str = "", width: int | None = None
) -> Image:
    """The frame with everything drawn.

    Args:
        image: RGB uint8 (H, W, 3).
        marks: boxes, the first one on top.
        caption: the last row of the legend.
        description: at the bottom, on at most three lines.
        width: pixels; None keeps the frame's own, at most 1280.

    Returns:
        RGB uint8 (h, w, 3); both sides are even, as video needs.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    marks = list(marks)
    wide = min(image.shape[1], _MOST_WIDTH) if width is None else max(64, width)
    scale = wide / image.shape[1]
    size = (max(2, wide // 2 * 2), max(2, round(image.shape[0] * scale) // 2 * 2))
    resampling = Pillow.Resampling.LANCZOS if scale < 1 else Pillow.Resampling.BICUBIC
    drawn = Pillow.fromarray(image)
    drawn = drawn if drawn.size == size else drawn.resize(size, resampling)
    canvas = ImageDraw.Draw(drawn, "RGBA")
    line = max(2, round(wide / 400))
    for mark in reversed(marks):
        _box(canvas, np.asarray(mark.box, np.float64) * scale, mark.colour, max(1, line - mark.faint))
    _legend(canvas, marks, caption, wide)
    if description:
        _description(canvas, description, size)
    return np.asarray(drawn, np.uint8)


def _box(canvas: Any, box: Any, colour: str, line: int) -> None:
    if not np.isfinite(box).all() or box[2] <= 0 or box[3] <= 0 or np.abs(box).max() > 1e6:
        return
    corners = [*box[:2], *(box[:2] + box[2:])]
    canvas.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline="#0008", width=line + 2)
    canvas.rectangle(corners, outline=colour, width=line)


def _legend(canvas: Any, marks: list[Mark], caption: str, width: int) -> None:
    size = max(11, round(width / 60))
    font, tall = _font(size), round(size * 1.5)
    rows = [(mark.colour, mark.label) for mark in marks if mark.label] + ([("", caption)] if caption else [])
    if not rows:
        return
    wide = max(canvas.textlength(text, font=font) for _, text in rows) + 2.6 * size
    canvas.rectangle([0, 0, wide, tall * len(rows) + size * 0.6], fill=(0, 0, 0, 150))
    for number, (colour, text) in enumerate(rows):
        top = size * 0.3 + tall * number
        if colour:
            swatch = [size * 0.6, top + tall * 0.25, size * 1.4, top + tall * 0.75]
            canvas.rectangle(swatch, outline=colour, width=max(2, size // 6))
        canvas.text((size * (1.9 if colour else 0.6), top + tall * 0.15), text, font=font, fill="white")


def _description(canvas: Any, text: str, size: tuple[int, int]) -> None:
    points = max(11, round(size[0] / 52))
    font, tall = _font(points), round(points * 1.4)
    lines = _wrapped(text, lambda t: canvas.textlength(t, font=font), size[0] - 2 * points)
    top = size[1] - tall * len(lines) - points * 0.7
    canvas.rectangle([0, top, size[0], size[1]], fill=(0, 0, 0, 150))
    for number, line in enumerate(lines):
        canvas.text((points, top + points * 0.3 + tall * number), line, font=font, fill="white")


@cache
def _font(size: int) -> Any:
    """DejaVu, which comes with matplotlib and has most alphabets."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _wrapped(text: str, measure: Callable[[str], float], width: float, most: int = 3) -> list[str]:
    lines = [""]
    for word in one_line(text)[:600].split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and measure(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + " …"]
