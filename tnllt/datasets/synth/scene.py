"""A planned scene: everything that is known of a sequence before a pixel is drawn, and drawing any frame of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.appearance import SpriteLook, fill_template
from tnllt.datasets.synth.attribute_flags import IN_VIEW, FrameMeasures
from tnllt.datasets.synth.config import SynthConfig
from tnllt.datasets.synth.drawing import (
    Canvas,
    add_noise,
    blacken_outside,
    compress,
    draw_sprite,
    lay_background,
    perturb,
    smear,
)
from tnllt.datasets.synth.sources import Library
from tnllt.errors import UsageError
from tnllt.sequence import Image

Region = tuple[float, float, float, float]
_RAMP = np.linspace(0, 1, 256)[:, None]
FADE = 8  #: frames in which one look gives way to the next


class Rendered(NamedTuple):
    """A drawn frame or region.

    Attributes:
        image: RGB uint8 (H, W, 3).
        box: (4,) float64 x, y, w, h of the target in pixels of this image; zeros where it is absent.
        present: whether the target is in view in the frame.
        mask: bool (H, W), the target's visible pixels, where asked for.
    """

    image: Image
    box: NDArray[np.float64]
    present: bool
    mask: NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Layer:
    """One sprite over T frames, drawn in the order of `ScenePlan.layers`.

    Attributes:
        role: "target", "distractor", "occluder" or "shade" (darkens, hides nothing).
        looks: (first frame, look), in order.
        matrix: (T, 2, 3), raster pixels -> frame pixels.
        wave: (T, 4) deformation: amplitudes in raster pixels along x and y, their phases; None: rigid.
        blur: (T, 2) vector of motion blur in frame pixels; None: sharp.
        opacity: (T,) 0..1; None: solid.
    """

    role: str
    looks: tuple[tuple[int, SpriteLook], ...]
    matrix: NDArray[np.float64]
    wave: NDArray[np.float64] | None = None
    blur: NDArray[np.float64] | None = None
    opacity: NDArray[np.float64] | None = None

    def look(self, index: int) -> SpriteLook:
        """The look in frame `index`; in the middle of a change, the one that prevails."""
        return [look for first, look in self.looks if index >= first][-1]

    def rasters(self, library: Library, index: int) -> tuple[Image, ...]:
        """Premultiplied RGBA rasters of frame `index`, halved again and again."""
        if len(self.looks) == 1:
            return library.sprite(self.looks[0][1]).levels
        for (_, before), (first, after) in zip(self.looks, self.looks[1:], strict=False):
            fraction = (index - first) / FADE + 0.5
            if 0 < fraction < 1:
                pairs = zip(library.sprite(before).levels, library.sprite(after).levels, strict=True)
                return tuple(np.asarray(cv2.addWeighted(a, 1 - fraction, b, fraction, 0), np.uint8) for a, b in pairs)
        return library.sprite(self.look(index)).levels

    def draw(self, canvas: Canvas, library: Library, index: int) -> None:
        """Draws the sprite as it is in frame `index`."""
        wave, blur = (None if curve is None else curve[index] for curve in (self.wave, self.blur))
        opacity = 1.0 if self.opacity is None else float(self.opacity[index])
        draw_sprite(canvas, self.rasters(library, index), self.matrix[index], self.role, wave, blur, opacity)


@dataclass(eq=False)
class ScenePlan:
    """One sequence of T frames, planned; `render` draws any frame of it, in any order.

    Attributes:
        seed, config: what it was made from (with the library's sources).
        layers: back to front.
        target: index of the target's layer.
        background_index: number of the background in the library.
        background: (T, 2, 3), background pixels -> frame pixels.
        measures: what the flags follow from.
        boxes: (T, 4) float64 x, y, w, h of the target's whole extent within the frame (what an occluder hides
            included); zeros where it is absent.
        present: (T,) bool, at least a twentieth of the target shows.
        attributes: {name: bool}, TNLLT's 15.
        phrases: (first frame, noun phrase that is true from there on).
        place: per frame "left", "right", "upper" or "lower", as seen from a distractor that looks exactly alike; None
            where there is none.
        template: description around the phrase (`appearance.fill_template`).
        wrong: a description that is true of a distractor (or of nothing) and never of the target.
    """

    seed: int
    config: SynthConfig
    library: Library = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)
    target: int
    background_index: int
    background: NDArray[np.float64] = field(repr=False)
    measures: FrameMeasures = field(repr=False)
    boxes: NDArray[np.float64] = field(repr=False)
    present: NDArray[np.bool_] = field(repr=False)
    attributes: dict[str, bool]
    phrases: tuple[tuple[int, str], ...]
    place: tuple[str, ...] | None
    template: str
    wrong: str
    track: str = ""
    clutter: tuple[Layer, ...] = field(default=(), repr=False)
    camera_blur: NDArray[np.float64] | None = field(default=None, repr=False)
    attack: NDArray[np.float64] | None = field(default=None, repr=False)
    balance: NDArray[np.float64] = field(default_factory=lambda: np.ones((1, 3)), repr=False)
    gamma: float = 1.0
    softness: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    grey: bool = False

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def width(self) -> int:
        return self.config.width

    @property
    def height(self) -> int:
        return self.config.height

    @property
    def visible(self) -> NDArray[np.float64]:
        """(T,) fraction of the target that shows."""
        return self.measures.visible

    @property
    def language(self) -> str:
        """The sequence's description: true in the first frame, and as long as `language_true` says."""
        return self.description(0)

    def alike(self, index: int) -> NDArray[np.float64]:
        """(N, 2) x, y px of the middles of the sprites of the target's kind; none where one looks exactly alike."""
        others = [layer for layer in self.layers if layer.role == "distractor" and self.place is None]
        middles = [layer.matrix[index] @ [*self.library.sprite(layer.looks[0][1]).center, 1] for layer in others]
        return np.array(middles, float).reshape(-1, 2)

    def description(self, index: int) -> str:
        """The description that is true of the target in frame `index`, in the words of `language`."""
        phrase = [p for first, p in self.phrases if index >= first][-1]
        place = self.place[index] if self.place is not None else ""
        return fill_template(self.template, f"{place} {phrase}".strip())

    @cached_property
    def descriptions(self) -> tuple[str, ...]:
        """`description` of every frame."""
        return tuple(self.description(i) for i in range(len(self)))

    @cached_property
    def language_true(self) -> NDArray[np.bool_]:
        """(T,) whether the first description is still true."""
        return np.array([d == self.language for d in self.descriptions], bool)

    def tone(self, index: int) -> NDArray[np.uint8]:
        """Light of frame `index` as a table (1, 256, 3)."""
        gain = self.measures.light[index] * self.balance[min(index, len(self.balance) - 1)]
        curve = _RAMP**self.gamma * 255 * gain
        return np.asarray(np.clip(curve, 0, 255)[None], np.uint8)

    def backdrop(self) -> tuple[Image, ...]:
        """The background and its halvings; with clutter, a copy that is strewn with it."""
        return self._strewn if self.clutter else self.library.background(self.background_index)

    @cached_property
    def _strewn(self) -> tuple[Image, ...]:
        levels = self.library.background(self.background_index)
        canvas = Canvas(levels[0].copy(), None, np.eye(2, 3), 1.0)
        for layer in self.clutter:
            layer.draw(canvas, self.library, 0)
        out = [canvas.image]
        for below in levels[1:]:
            out.append(np.asarray(cv2.resize(out[-1], below.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8))
        return tuple(out)

    def render(
        self, index: int, region: Region | None = None, size: int | tuple[int, int] | None = None, mask: bool = False
    ) -> Rendered:
        """Draws frame `index`.

        Args:
            region: x, y, w, h in frame pixels; None: the whole frame. What lies outside the frame is black.
            size: output side, or (width, height); None: the region's own size.
            mask: also give the target's visible pixels.

        Raises:
            IndexError: there is no such frame.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        index %= len(self)
        x, y, w, h = region if region is not None else (0, 0, self.width, self.height)
        width, height = (size, size) if isinstance(size, int) else size or (max(1, round(w)), max(1, round(h)))
        view = np.array([[width / w, 0, -x * width / w], [0, height / h, -y * height / h]])
        scale = float(np.sqrt(width * height / (w * h)))
        behind = lay_background(self.backdrop(), self.background[index], view, width, height)
        canvas = Canvas(behind, np.zeros((height, width), bool) if mask else None, view, scale)
        for layer in self.layers:
            layer.draw(canvas, self.library, index)
        image = self._photograph(canvas, index)
        if region is not None:
            image = compress(image, self.jpeg) if self.jpeg else image  # a crop that no file has gone through
            blacken_outside(image, view, self.width, self.height)
        box = self.boxes[index] * (width / w, height / h, width / w, height / h)
        if self.present[index]:
            box[:2] += view[:, 2]
        return Rendered(image, box, bool(self.present[index]), canvas.mask)

    def _photograph(self, canvas: Canvas, index: int) -> Image:
        """What lens, light, adversary and sensor make of the drawn image."""
        image = canvas.image
        if self.camera_blur is not None:
            image = smear(image, self.camera_blur[index] * canvas.scale)
        if self.softness * canvas.scale > 0.3:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.softness * canvas.scale), np.uint8)
        image = np.asarray(cv2.LUT(image, self.tone(index)), np.uint8)
        if self.attack is not None and self.attack[index] > 0:
            image = perturb(image, self.seed, float(self.attack[index]), canvas.view)
        if self.noise > 0:
            image = add_noise(image, self.noise, self.seed, index)
        if self.grey:
            image = np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
        return image


def clipped(
    boxes: NDArray[np.float64], visible: NDArray[np.float64], width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Ground truth from whole extents: cut at the frame's border, zeros where too little shows. Also the presence."""
    low = np.clip(boxes[:, :2], 0, (width, height))
    high = np.clip(boxes[:, :2] + boxes[:, 2:], 0, (width, height))
    out = np.concatenate([low, high - low], axis=1)
    present = (visible >= IN_VIEW) & (out[:, 2:] >= 1).all(axis=1)
    out[~present] = 0
    if not present[0]:
        raise UsageError("the target is not in view in the first frame")  # pragma: no cover - `plan` rules it out
    return out, np.asarray(present, bool)
