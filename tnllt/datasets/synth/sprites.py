"""A look as an image: colour with opacity, its outline, and points spread over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.appearance import SpriteLook
from tnllt.datasets.synth.colours import COLOURS, FIXED
from tnllt.datasets.synth.shapes import DRAWINGS, SHAPES

if TYPE_CHECKING:
    from tnllt.datasets.synth.sources import Library

SIDE = 144  #: pixels of a sprite's raster
REACH = 0.84  #: part of the raster that the drawing's -1..1 fills; the rest is room for deformation
_FINE = 3  #: supersampling


@dataclass(frozen=True, eq=False)
class Sprite:
    """A raster with what planning needs to know of it.

    Attributes:
        levels: premultiplied RGBA uint8 (SIDE, SIDE, 4), and the same halved again and again.
        outline: (P, 2) points of the visible edge (opacity one half), in raster pixels.
        hull: (P, 2) those of them that can be extreme where nothing is deformed.
        points: (Q, 2) points spread evenly over the visible part, in raster pixels.
        solid: bool (SIDE, SIDE), opacity above one half.
        center: (2,) and `extent`: (2,) of the visible part's box, in raster pixels.
    """

    levels: tuple[NDArray[np.uint8], ...]
    outline: NDArray[np.float64]
    hull: NDArray[np.float64]
    points: NDArray[np.float64]
    solid: NDArray[np.bool_]
    center: NDArray[np.float64]
    extent: NDArray[np.float64]

    def edge(self, deformed: bool) -> NDArray[np.float64]:
        return self.outline if deformed else self.hull


def make_sprite(look: SpriteLook, pool: Library) -> Sprite:
    """Draws a look. The same look and the same sources give the same bytes."""
    rng = np.random.default_rng(look.seed)
    if look.family == "shade":
        return from_rgba(_shade(look.kind))
    if look.family in ("emoji", "file"):
        return from_rgba(_fitted(pool.sprite_image(look.family, look.kind)))
    rgba = _patch(look, pool, rng) if look.family == "patch" else _painted(look, pool, rng)
    return from_rgba(rgba)


def from_rgba(premultiplied: NDArray[np.uint8]) -> Sprite:
    """Measures a premultiplied RGBA raster (SIDE, SIDE, 4)."""
    solid = premultiplied[..., 3] > 127
    contours, _ = cv2.findContours(solid.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = (
        np.concatenate([c[:, 0] for c in contours]).astype(np.float64) if contours else np.array([[SIDE / 2] * 2] * 2)
    )
    low, high = edge.min(axis=0), edge.max(axis=0) + 1
    # Pixel centres lie at +0.5; edge pixels reach half a pixel further out.
    outline = edge + 0.5 + 0.5 * np.sign(edge + 0.5 - (low + high) / 2)
    if len(outline) > 160:
        keep = np.linspace(0, len(outline) - 1, 140).astype(int)
        ends = [int(f) for axis in (0, 1) for f in (outline[:, axis].argmin(), outline[:, axis].argmax())]
        outline = outline[np.unique(np.concatenate([keep, ends]))]
    hull = cv2.convexHull(outline.astype(np.float32))[:, 0].astype(np.float64)
    grid = np.arange(0, SIDE, max(1.0, np.sqrt(solid.sum() / 220))).astype(int)
    rows, columns = np.nonzero(solid[np.ix_(grid, grid)])
    points = np.stack([grid[columns], grid[rows]], axis=1) + 0.5
    levels = [np.ascontiguousarray(premultiplied)]
    while levels[-1].shape[0] > 12:
        half = levels[-1].shape[0] // 2
        levels.append(np.asarray(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA), np.uint8))
    return Sprite(tuple(levels), outline, hull, points, solid, (low + high) / 2, np.maximum(high - low, 1.0))


def _fitted(straight: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An RGBA image of any size as a premultiplied raster (SIDE, SIDE, 4)."""
    rgba = straight.astype(np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    h, w = rgba.shape[:2]
    scale = 0.94 * SIDE / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    small = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas = np.zeros((SIDE, SIDE, 4), np.float32)
    y, x = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    canvas[y : y + size[1], x : x + size[0]] = small
    return np.asarray(np.clip(canvas, 0, 255), np.uint8)


def _painted(look: SpriteLook, pool: Library, rng: np.random.Generator) -> NDArray[np.uint8]:
    side = SIDE * _FINE
    drawing = [("main", SHAPES[look.kind])] if look.family == "shape" else DRAWINGS[look.kind]
    roles = ["", "main", "second", *FIXED]
    label = np.zeros((side, side), np.uint8)
    ends = np.concatenate([o for _, o in drawing])
    middle, half = (ends.min(0) + ends.max(0)) / 2, (ends.max(0) - ends.min(0)).max() / 2
    scaled = [(role, np.round(((o - middle) / half * REACH + 1) * side / 2).astype(np.int32)) for role, o in drawing]
    if look.outlined:
        for _, outline in scaled:
            cv2.polylines(label, [outline], True, roles.index("outline"), 7 * _FINE // 2)
    for role, outline in scaled:
        cv2.fillPoly(label, [outline], roles.index(role))
    if look.pattern != "plain":
        _paint_pattern(label, look.pattern, scaled[0][1], rng)
    palette = np.zeros((256, 4), np.uint8)
    for index, role in enumerate(roles):
        if role:
            rgb = (
                COLOURS[getattr(look, role)]
                if role in ("main", "second") and getattr(look, role)
                else FIXED.get(role, (128,) * 3)
            )
            shift = rng.uniform(-9, 9, 3) if role in ("main", "second") else np.zeros(3)
            palette[index] = (*np.clip(np.array(rgb) + shift, 0, 255).astype(int), 255)
    rgba = cv2.resize(cv2.LUT(cv2.merge([label] * 4), palette[None]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    light = _shading(rng)
    if look.material >= 0:
        light = light * pool.grain(look.material, SIDE, rng)
    return _lit(np.asarray(rgba, np.uint8), light)


def _paint_pattern(
    label: NDArray[np.uint8], pattern: str, outline: NDArray[np.int32], rng: np.random.Generator
) -> None:
    """Paints the second colour over parts of the first."""
    side = label.shape[0]
    low, high = outline.min(0), outline.max(0)
    xs = np.arange(side, dtype=np.float32)[None]
    ys = xs.T
    if pattern == "bordered":
        inner = cv2.erode(
            (label == 1).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=side // 22, borderValue=0
        )
        where = (label == 1) & (inner == 0)
    elif pattern == "halved":
        sideways = rng.random() < 0.5
        where = np.broadcast_to(xs > (low[0] + high[0]) / 2 if sideways else ys > (low[1] + high[1]) / 2, label.shape)
    else:
        period = side / rng.uniform(6.0, 7.5)
        angle = rng.uniform(0, np.pi) if pattern == "striped" else 0.0
        u = (xs * np.cos(angle) + ys * np.sin(angle)) / period
        v = (ys * np.cos(angle) - xs * np.sin(angle)) / period
        if pattern == "striped":
            where = (u % 1) < 0.45
        elif pattern == "checkered":
            where = (np.floor(u) + np.floor(v)) % 2 == 0
        else:
            where = np.hypot(u % 1 - 0.5, v % 1 - 0.5) < 0.32
    label[where & (label == 1)] = 2


def _shading(rng: np.random.Generator) -> NDArray[np.float32]:
    """A soft light from one side, (SIDE, SIDE), about 1."""
    xs = np.linspace(-1, 1, SIDE, dtype=np.float32)[None]
    ys = xs.T
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.28)
    field = 1 + strength * (xs * np.cos(angle) + ys * np.sin(angle))
    return np.asarray(field - rng.uniform(0, 0.25) * (xs * xs + ys * ys), np.float32)


def _lit(rgba: NDArray[np.uint8], light: NDArray[np.float32]) -> NDArray[np.uint8]:
    lit = rgba.astype(np.float32)
    lit[..., :3] *= light[..., None]
    # Premultiplied: no colour may exceed its opacity.
    lit[..., :3] = np.minimum(lit[..., :3], lit[..., 3:])
    return np.asarray(lit, np.uint8)


def _shade(kind: str) -> NDArray[np.uint8]:
    """Darkness alone: a soft ellipse, or a soft band from top to bottom."""
    ys, xs = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    distance = np.abs(xs) if kind == "band" else np.hypot(xs, ys)
    alpha = np.clip((0.95 - distance) / 0.5, 0, 1)
    out = np.zeros((SIDE, SIDE, 4), np.uint8)
    out[..., 3] = 255 * alpha * alpha * (3 - 2 * alpha)
    return out


def _patch(look: SpriteLook, pool: Library, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A piece of an image cut out along a smooth random line, tinted if the look names a colour."""
    piece = pool.piece(look.material, SIDE, rng).astype(np.float32)
    if look.main:
        # The image's light and shade, in the named colour.
        grey = piece.mean(axis=2, keepdims=True)
        grey = 1 + 0.55 * np.clip((grey - grey.mean()) / (grey.std() + 8), -1.6, 1.6)
        tint = np.array(COLOURS[look.main], np.float32)
        piece = 0.18 * piece + 0.82 * np.clip(tint * grey + 16 * (grey - 1), 0, 255)
    outline = _cut(look.kind, rng)
    outline *= REACH / np.abs(outline).max()
    side = SIDE * _FINE
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round((outline + 1) * side / 2).astype(np.int32)], 255)
    alpha = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 1.6))
    rgb = piece * _shading(rng)[..., None] * (alpha[..., None] / np.float32(255))
    return np.dstack([np.minimum(rgb, alpha[..., None]), alpha]).astype(np.uint8)


def _cut(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """The line along which a patch is cut out, (P, 2) about the origin."""
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    if kind == "angular":
        corners = np.sort(
            rng.uniform(0, 2 * np.pi, 3) * 0.25 + np.arange(3) * 2 * np.pi / 3 + rng.uniform(0, 2 * np.pi)
        )
        if rng.random() < 0.6:
            corners = np.arange(4) * np.pi / 2 + rng.uniform(-0.3, 0.3, 4) + np.pi / 4
        return np.stack([np.cos(corners), np.sin(corners)], axis=1)
    if kind == "panel":  # nearly a rectangle
        radius = 1 / np.maximum(np.abs(np.cos(angle)) ** 8 + np.abs(np.sin(angle)) ** 8, 1e-9) ** 0.125
    else:
        radius = np.full_like(angle, 0.78)
        rough = 0.16 if kind == "ragged" else 0.07
        for wave in range(2, 9 if kind == "ragged" else 5):
            radius += rough / np.sqrt(wave) * rng.normal() * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    stretch = (1.0, 1.0)
    if kind == "long":  # lying or standing
        stretch = (1.0, rng.uniform(0.4, 0.55)) if rng.random() < 0.4 else (rng.uniform(0.35, 0.5), 1.0)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(unit * np.clip(radius, 0.3, 1.45)[:, None] * stretch)
