"""Clips from still photographs: the target is any textured rectangle of one, seen by a camera that moves.

Cut-outs that are pasted on another image have an edge that gives them away. Here nothing tells the target from its
surroundings but its own look, as with most real targets; so a network has to match, and to go by the box it is shown.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.sampling import Region, TrainingClip
from tnllt.errors import DataError
from tnllt.sequence import Image

FRAMES = 40
#: Longer side to which photographs are reduced, pixels.
_SIDE = 900
#: Photographs in memory at a time, per process.
_HELD = 160


class PhotoSource:
    """Clips drawn from the photographs of a folder and those below it.

    Args:
        folder: with .jpg, .jpeg, .png or .webp files. name: shown in logs.

    Raises:
        DataError: the folder has none.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
        if not self._files:
            raise DataError("no photograph (.jpg, .jpeg, .png, .webp) in this folder", folder)
        self._held: dict[int, list[Image]] = {}

    def clip(self, rng: np.random.Generator, index: int) -> TrainingClip:
        """One target on one photograph; `index` is not needed, because a photograph costs little."""
        levels = self._levels(int(rng.integers(len(self._files))))
        middle, size = _target(levels[0], rng)
        walk = _Walk(rng, size)

        def cut(frame: int, region: Region, side: int) -> Image:
            return walk.view(levels, middle, frame, region, side)

        return TrainingClip(np.arange(FRAMES), walk.boxes, lambda frame: None, cut)

    def _levels(self, number: int) -> list[Image]:
        """The photograph, and halved again and again: views from afar must not flicker."""
        if number not in self._held:
            while len(self._held) >= _HELD:
                self._held.pop(next(iter(self._held)))
            image = cv2.imread(str(self._files[number]), cv2.IMREAD_COLOR)
            if image is None:
                raise DataError("not a image that OpenCV can read", self._files[number])
            scale = min(1.0, _SIDE / max(image.shape[:2]))
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            levels = [np.asarray(image[:, :, ::-1], np.uint8).copy()]
            while min(levels[-1].shape[:2]) >= 32 and len(levels) < 5:
                levels.append(np.asarray(cv2.pyrDown(levels[-1]), np.uint8))
            self._held[number] = levels
        return self._held[number]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_held": {}}


def _target(image: Image, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle and size of a rectangle with something to see in it: the best of a few draws."""
    height, width = image.shape[:2]
    best, chosen = -1.0, (np.zeros(2), np.ones(2))
    for _ in range(6):
        side = np.exp(rng.uniform(np.log(18), np.log(0.35 * min(height, width))))
        aspect = np.exp(rng.standard_normal() * 0.4)
        size = np.array([side * np.sqrt(aspect), side / np.sqrt(aspect)])
        middle = size / 2 + rng.random(2) * np.maximum(1, [width, height] - size)
        (x0, y0), (x1, y1) = (middle - size / 2).astype(int), (middle + size / 2).astype(int)
        inside = image[max(0, y0) : y1, max(0, x0) : x1]
        seen = _texture(inside)
        if seen > best:
            best, chosen = seen, (middle, size)
        if seen > 9:
            break
    return chosen


def _texture(part: Image) -> float:
    """Grey levels between neighbours of a 16 x 16 thumbnail, in the direction that has less of them."""
    if part.size == 0:
        return 0.0
    small = cv2.resize(part, (16, 16), interpolation=cv2.INTER_AREA).mean(axis=2)
    return float(min(np.abs(np.diff(small, axis=0)).mean(), np.abs(np.diff(small, axis=1)).mean()))


class _Walk:
    """How the camera sees the target over time: zoom, squeeze, tilt, light, blur; and something passing in front."""

    def __init__(self, rng: np.random.Generator, size: NDArray[np.float64]) -> None:
        pace = np.exp(rng.uniform(np.log(0.004), np.log(0.05)))
        self._zoom = np.exp(_smooth(rng, 0.8 * pace))
        self._squeeze = np.exp(_smooth(rng, 0.4 * pace))
        self._angle = _smooth(rng, 0.4 * pace)
        self._gain = np.exp(_smooth(rng, 0.5 * pace))
        self._lift = 60 * _smooth(rng, 0.5 * pace)
        self._blur = np.where(rng.random(FRAMES) < 0.25, rng.uniform(0.4, 1.6, FRAMES), 0)
        self._noise = rng.uniform(0, 9) * (rng.random() < 0.5)
        self._seed = int(rng.integers(1 << 31))
        seen = size * np.stack([self._zoom * self._squeeze, self._zoom / self._squeeze], axis=1)
        # The view's origin is arbitrary: the target stays at it, and the world moves.
        self.boxes = np.concatenate([-seen / 2, seen], axis=1)
        self._screen = _Screen(rng, size) if rng.random() < 0.3 else None

    def view(self, levels: list[Image], middle: NDArray[np.float64], frame: int, region: Region, side: int) -> Image:
        """The part `region` of the view at a frame, (side, side, 3)."""
        zoom, squeeze, angle = self._zoom[frame], self._squeeze[frame], self._angle[frame]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        to_photo = turn @ np.diag([1 / (zoom * squeeze), squeeze / zoom])
        scale = np.array([region[2], region[3]]) / side
        step = to_photo @ np.diag(scale)  # photo pixels per crop pixel
        start = middle + to_photo @ (np.array(region[:2]) + scale / 2)
        level = int(np.clip(np.floor(np.log2(max(1.0, np.sqrt(abs(np.linalg.det(step)))))), 0, len(levels) - 1))
        affine = np.column_stack([step, start]) / 2**level
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        crop = np.asarray(cv2.warpAffine(levels[level], affine, (side, side), flags=how), np.uint8)
        if self._screen is not None:
            self._screen.paint(crop, frame, region)
        if self._blur[frame]:
            crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), float(self._blur[frame])), np.uint8)
        lit = crop * np.float32(self._gain[frame]) + np.float32(self._lift[frame]) * (crop.any(axis=2, keepdims=True))
        if self._noise:
            local = np.random.default_rng((self._seed, frame, side, int(abs(region[0]) * 8), int(abs(region[1]) * 8)))
            lit = lit + local.standard_normal(lit.shape, np.float32) * self._noise
        return np.asarray(np.clip(lit, 0, 255), np.uint8)


class _Screen:
    """A plain upright bar that crosses the view in front of the target."""

    def __init__(self, rng: np.random.Generator, size: NDArray[np.float64]) -> None:
        self._width = size[0] * rng.uniform(0.15, 0.6)
        far = size[0] * rng.uniform(1.0, 2.5) * rng.choice([-1, 1])
        self._at = np.linspace(-far, far, FRAMES) + size[0] * rng.uniform(-0.5, 0.5)
        self._color = rng.integers(0, 256, 3).tolist()

    def paint(self, crop: Image, frame: int, region: Region) -> None:
        ends = (self._at[frame] + np.array([-0.5, 0.5]) * self._width - region[0]) / region[2] * len(crop)
        first, last = np.clip(np.rint(ends), 0, len(crop)).astype(int)
        crop[:, first:last] = self._color


def _smooth(rng: np.random.Generator, pace: float) -> NDArray[np.float64]:
    """A random walk about 0 that starts anywhere on it and keeps within +-0.7, (FRAMES,)."""
    walk = np.cumsum(rng.standard_normal(FRAMES)) * pace * 2.0
    walk -= walk[int(rng.integers(FRAMES))]
    return 0.7 * np.tanh(walk / 0.7)
