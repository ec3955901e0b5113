"""How multimodal language models write boxes: conventions are data, so that a mistake of scale or order cannot hide."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tnllt.boxes import from_corners, to_corners
from tnllt.errors import DataError, UsageError, did_you_mean
from tnllt.files import read_toml, user_path
from tnllt.records import from_table

_PACKAGED = Path(__file__).with_name("conventions.toml")
#: Of an answer, beyond this many boxes nothing is read.
_MOST_BOXES = 100


@dataclass(frozen=True)
class Convention:
    """One model family's way to write a box.

    Attributes:
        title: which models.
        frame: "sent": pixels of the image that the model is sent; "relative": `scale` times the fraction of its side.
        order: of the four numbers: corners, corners with y first, or corner and size.
        ground, track: what the model is asked, in our words: where `{text}` is in one image; where the target of the
            first image, with `{text}` and its `{box}` there, is in the second one.
        answer: a regular expression with four groups, one a number.
        absent: a regular expression that says that the target is not in the image.
        written: how the model writes a box, with {a} to {d}; the template's box is written so, too.
        scale: of relative coordinates.
        digits: behind the decimal point.
        multiple: the sides of an image that is sent are multiples of this, so that the model's own processor does not
            resize it: pixels of another size would be another frame.
        max_pixels: of an image that is sent.
    """

    title: str
    frame: Literal["sent", "relative"]
    order: Literal["xyxy", "yxyx", "xywh"]
    ground: str
    track: str
    answer: str
    absent: str
    written: str
    scale: float = 1.0
    digits: int = 0
    multiple: int = 1
    max_pixels: int = 1_003_520

    def __post_init__(self) -> None:
        for name in ("answer", "absent"):
            try:
                groups = re.compile(getattr(self, name)).groups
            except re.error as error:
                raise ValueError(f"`{name}` is not a regular expression: {error}") from error
            if name == "answer" and groups != 4:
                raise ValueError(f"`answer` has {groups} groups; give it four, one for each number")
        if self.scale <= 0 or self.multiple < 1 or self.max_pixels < self.multiple**2 or self.digits < 0:
            raise ValueError("`scale`, `multiple` and `max_pixels` must be positive, `digits` not negative")
        for text, fields in ((self.ground, ("text",)), (self.track, ("text", "box")), (self.written, "abcd")):
            try:
                text.format(**dict.fromkeys(fields, "0"))
            except (KeyError, IndexError, ValueError) as error:
                raise ValueError(f"{text!r} may hold {', '.join('{' + f + '}' for f in fields)} alone") from error

    def sent_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in which an image is sent."""
        scale = min(1.0, math.sqrt(self.max_pixels / (height * width)))
        step = self.multiple
        sides = [max(step, round(side * scale / step) * step) for side in (height, width)]
        while sides[0] * sides[1] > self.max_pixels and max(sides) > step:
            longest = sides.index(max(sides))
            sides[longest] -= step
        return sides[0], sides[1]

    def write(self, box: Sequence[float], size: tuple[int, int]) -> str:
        """A box (x, y, w, h in pixels) of an image of this size (height, width) as the model writes it."""
        x1, y1, x2, y2 = to_corners(box) * self._factors(size)
        found = {"xyxy": (x1, y1, x2, y2), "yxyx": (y1, x1, y2, x2), "xywh": (x1, y1, x2 - x1, y2 - y1)}
        numbers = (f"{value:.{self.digits}f}" for value in found[self.order])
        return self.written.format(**dict(zip("abcd", numbers, strict=True)))

    def read(self, text: str, size: tuple[int, int]) -> list[list[float]]:
        """The boxes (x, y, w, h in pixels) of an answer about an image of this size (height, width).

        What lies outside of the image is cut off; a box without area, or with corners in the wrong order, is none.
        """
        found = []
        for match in list(re.finditer(self.answer, text))[:_MOST_BOXES]:
            try:
                a, b, c, d = (float(number) for number in match.groups())
            except (TypeError, ValueError):
                continue
            corners = {"xyxy": (a, b, c, d), "yxyx": (b, a, d, c), "xywh": (a, b, a + c, b + d)}[self.order]
            scaled = np.array(corners) / self._factors(size)
            inside = np.clip(scaled, 0, [size[1], size[0], size[1], size[0]])
            box = from_corners(inside)
            if np.isfinite(scaled).all() and (box[2:] > 0).all():
                found.append([float(v) for v in box])
        return found

    def says_absent(self, text: str) -> bool:
        return re.search(self.absent, text) is not None

    def _factors(self, size: tuple[int, int]) -> Any:
        """What pixels x1, y1, x2, y2 of the image are multiplied by to become the model's numbers."""
        height, width = size
        sent = self.sent_size(height, width)
        x, y = (
            (sent[1] / width, sent[0] / height) if self.frame == "sent" else (self.scale / width, self.scale / height)
        )
        return np.array([x, y, x, y])


def load_convention(name: str | Path) -> Convention:
    """A packaged convention by its name, or one of your own by its TOML file.

    Raises:
        UsageError: no such name or file. DataError: the file does not state a convention.
    """
    packaged = read_toml(_PACKAGED)
    if str(name) in packaged:
        return from_table(packaged[str(name)], Convention, _PACKAGED)
    place = user_path(name)
    if not place.is_file():
        known = ", ".join(packaged)
        raise UsageError(f"no convention {name}; {did_you_mean(str(name), packaged, f'known are {known}')}")
    try:
        return from_table(read_toml(place), Convention, place)
    except (TypeError, ValueError) as error:
        raise DataError(str(error), place) from error
