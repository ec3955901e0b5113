"""Procedural backgrounds: what stands behind the sprites where there are no photographs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Picture = NDArray[np.uint8]


def octaves(
    rng: np.random.Generator, height: int, width: int, base: int = 3, count: int = 6, keep: float = 0.55
) -> Field:
    """Value noise of several octaves, (height, width) float32 in 0..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(count):
        cells = base * 2**octave
        if cells > height // 2:
            break
        grid = rng.random((cells + 1, cells * width // height + 1), np.float32) - np.float32(0.5)
        total += np.float32(keep**octave) * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    low, high = float(total.min()), float(total.max())
    return np.asarray((total - low) / (high - low + 1e-6), np.float32)


def _palette(rng: np.random.Generator, count: int, vivid: float = 1.0) -> Field:
    """Colours that could hang together: one hue with neighbours, some grey, (count, 3) in 0..255."""
    hue = (rng.uniform(0, 180) + rng.normal(0, 22, count)) % 180
    saturation = np.clip(rng.normal(80, 45, count) * vivid, 0, 235)
    hsv = np.stack([hue, saturation, rng.uniform(40, 240, count)], 1).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0], np.float32)


def _ramp(field: Field, colours: Field) -> Field:
    """A field in 0..1 through a row of colours, (H, W, 3)."""
    table = np.stack(
        [np.interp(np.linspace(0, 1, 256), np.linspace(0, 1, len(colours)), colours[:, c]) for c in range(3)], 1
    )
    return np.asarray(table.astype(np.float32)[(np.clip(field, 0, 1) * 255).astype(np.uint8)])


def clouds(rng: np.random.Generator, h: int, w: int) -> Field:
    """Fractal noise through a palette."""
    return _ramp(
        octaves(rng, h, w, int(rng.integers(2, 7)), 7, rng.uniform(0.45, 0.8)), _palette(rng, int(rng.integers(2, 5)))
    )


def stones(rng: np.random.Generator, h: int, w: int) -> Field:
    """Voronoi cells with dark joints."""
    count = int(rng.integers(40, 260))
    seeds = np.zeros((h, w), np.uint8)
    ys, xs = rng.integers(0, h, count), rng.integers(0, w, count)
    seeds[ys, xs] = 1
    distance, labels = cv2.distanceTransformWithLabels(1 - seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    tones = _palette(rng, 4)[rng.integers(0, 4, count + 1)] * rng.uniform(0.7, 1.2, (count + 1, 1)).astype(np.float32)
    image = tones[labels]
    edges = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    joint = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), rng.uniform(0.8, 2.5))
    rise = 1.15 - 0.35 * distance / (float(distance.max()) + 1)
    return np.asarray(image * (rise * (1 - rng.uniform(0.3, 0.9) * np.minimum(joint, 1)))[..., None], np.float32)


def bricks(rng: np.random.Generator, h: int, w: int) -> Field:
    """A wall or a paved floor of staggered rectangles."""
    bh = int(rng.integers(18, 60))
    bw = int(bh * rng.uniform(1.0, 3.0))
    ys, xs = np.mgrid[0:h, 0:w]
    row = ys // bh
    shifted = xs + (row % 2) * (bw // 2)
    column = shifted // bw
    tone = rng.uniform(0.72, 1.15, (row.max() + 1, column.max() + 1)).astype(np.float32)[row, column]
    gap = ((ys % bh) < max(2, bh // 12)) | ((shifted % bw) < max(2, bh // 12))
    colours = _palette(rng, 2)
    image = np.where(gap[..., None], colours[1] * 0.7, colours[0] * tone[..., None])
    return np.asarray(image, np.float32)


def leaves(rng: np.random.Generator, h: int, w: int) -> Field:
    """Dead leaves: shapes of all sizes over one another, with the edges and spectrum of natural images."""
    image = clouds(rng, h, w)
    colours = _palette(rng, 10, 1.1)
    for _ in range(int(rng.integers(150, 420))):
        radius = min(6.0 / rng.random() ** 0.5, h / 3)
        centre = (int(rng.integers(0, w)), int(rng.integers(0, h)))
        colour = np.clip(colours[rng.integers(10)] * rng.uniform(0.6, 1.3), 0, 255).tolist()
        axes = (int(radius) + 1, int(radius * rng.uniform(0.3, 1)) + 1)
        if rng.random() < 0.5:
            cv2.ellipse(image, centre, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((centre, (2.0 * axes[0], 2.0 * axes[1]), float(rng.uniform(0, 180))))
            cv2.fillPoly(image, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return image


def landscape(rng: np.random.Generator, h: int, w: int) -> Field:
    """A sky, ranges of hills one behind the other, and ground with furrows that run to the horizon."""
    sky = _palette(rng, 2, 0.6)
    horizon = int(h * rng.uniform(0.3, 0.55))
    ramp: Field = (np.linspace(0, 1, h)[:, None] + 0.35 * octaves(rng, h, w, 2, 5)).astype(np.float32) / np.float32(
        1.35
    )
    image = _ramp(ramp, np.clip(sky * 0.6 + 95, 0, 255))
    ys = np.arange(h)[:, None]
    for depth in range(int(rng.integers(1, 4))):
        ridge = (
            horizon
            - h * 0.18 * (1 - depth / 3)
            + h * 0.22 * (octaves(rng, int(rng.choice([8, 200])), w, 2, 4)[:1] - 0.5)
        )
        inside = ys > ridge
        tone = _palette(rng, 1)[0] * (0.45 + 0.2 * depth)
        image = np.where(inside[..., None], tone * (0.7 + 0.6 * octaves(rng, h, w, 12, 5)[..., None]), image)
    depth_rows = 1.0 / np.maximum((ys - horizon) / h, 0.01)
    lanes = (np.arange(w)[None] - w * rng.uniform(0.2, 0.8)) * depth_rows / w
    stripes = (np.sin(lanes * rng.uniform(2, 9)) > rng.uniform(0.2, 0.9)) | (
        np.sin(depth_rows * rng.uniform(2, 6)) > 0.93
    )
    ground = _palette(rng, 2, 0.8)
    grain = 0.7 + 0.6 * octaves(rng, h, w, 16, 6, 0.75)[..., None]
    floor = np.where(stripes[..., None], ground[0], ground[1]) * grain
    return np.asarray(np.where((ys > horizon)[..., None], floor, image), np.float32)


def street(rng: np.random.Generator, h: int, w: int) -> Field:
    """House fronts with windows, a pavement and a road with marks."""
    image = _ramp(np.broadcast_to(np.linspace(0, 1, h, dtype=np.float32)[:, None], (h, w)), _palette(rng, 2, 0.5))
    foot = int(h * rng.uniform(0.5, 0.7))
    x = 0
    while x < w:
        width, top = int(rng.integers(60, 220)), int(foot * rng.uniform(0.05, 0.6))
        wall = _palette(rng, 2, 0.7)
        image[top:foot, x : x + width] = wall[0] * (
            0.8 + 0.4 * octaves(rng, foot - top, width, 6, 4)[:, : min(width, w - x), None]
        )
        step, size = int(rng.integers(18, 40)), rng.uniform(0.4, 0.7)
        lit = np.clip(wall[1] * rng.uniform(0.3, 1.2), 0, 255).tolist()
        for wy in range(top + 8, foot - step // 2, step):
            for wx in range(x + 6, min(x + width, w) - step // 2, step):
                if rng.random() < 0.85:
                    cv2.rectangle(image, (wx, wy), (wx + int(step * size), wy + int(step * size)), lit, -1)
        x += width
    kerb = foot + int(h * 0.06)
    image[foot:kerb] = 150 + 40 * octaves(rng, kerb - foot, w, 4, 3)[..., None]
    image[kerb:] = (60 + rng.uniform(0, 60)) * (0.8 + 0.4 * octaves(rng, h, w, 24, 5, 0.8)[kerb:, :, None])
    for stripe in range(0, w, 90):
        y = int((kerb + h) / 2)
        cv2.fillPoly(
            image,
            [np.array([(stripe, y), (stripe + 50, y), (stripe + 42, y + 10), (stripe - 10, y + 10)])],
            (215, 210, 200),
        )
    return image


def grass(rng: np.random.Generator, h: int, w: int) -> Field:
    """Meadow, fur, straw: many short strokes."""
    image = clouds(rng, h, w) * 0.7
    colours = _palette(rng, 6)
    count = int(rng.integers(1500, 4000))
    start = np.stack([rng.integers(0, w, count), rng.integers(0, h, count)], 1)
    lean = rng.uniform(0, np.pi)
    angle, length = rng.normal(lean, 0.35, count), rng.uniform(5, 26, count)
    end = start + (np.stack([np.cos(angle), np.sin(angle)], 1) * length[:, None]).astype(int)
    tones, light = rng.integers(0, 6, count), rng.uniform(0.6, 1.3, count)
    for a, b, tone, bright in zip(start.tolist(), end.tolist(), tones, light, strict=True):
        cv2.line(image, a, b, np.clip(colours[tone] * bright, 0, 255).tolist(), 1 + int(bright > 1.1), cv2.LINE_AA)
    return image


def wood(rng: np.random.Generator, h: int, w: int) -> Field:
    """Bent stripes: wood, water, dunes."""
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    bend = octaves(rng, h, w, 2, 4) * rng.uniform(1, 5)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(12, 60)
    wave = np.sin((xs * np.cos(angle) + ys * np.sin(angle)) / pitch + 3 * bend)
    field = 0.5 + 0.3 * wave + 0.25 * (octaves(rng, h, w, 24, 5, 0.8) - 0.5)
    return _ramp(np.asarray(field, np.float32), _palette(rng, 3))


KINDS = (clouds, stones, bricks, leaves, landscape, street, grass, wood, leaves, landscape, street)


def make_texture(seed: int, height: int, width: int) -> Picture:
    """The background with this number, RGB uint8 (height, width, 3)."""
    rng = np.random.default_rng([seed, 7])
    image = KINDS[seed % len(KINDS)](rng, height, width)
    fine = 1 + rng.uniform(0.05, 0.25) * (octaves(rng, height, width, 48, 4, 0.9) - 0.5)
    return np.asarray(np.clip(image * fine[..., None], 0, 255), np.uint8)
