"""What passes in front of the target, and how much of it is left to see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from tnllt.datasets.synth.appearance import SpriteLook, random_look
from tnllt.datasets.synth.config import SynthConfig
from tnllt.datasets.synth.motion import affine, placed, unwarped
from tnllt.datasets.synth.scene import Layer
from tnllt.datasets.synth.sources import Library
from tnllt.datasets.synth.sprites import SIDE, Sprite
from tnllt.datasets.synth.target_motion import Timetable, Window

Curve = NDArray[np.float64]


def make_occluders(
    rng: np.random.Generator, config: SynthConfig, library: Library, table: Timetable, full: NDArray[np.float64]
) -> list[Layer]:
    """Panels that hide the target wholly, and poles and low walls that hide a part of it.

    Args:
        full: (T, 4) the target's whole extent.
    """
    frames = len(full)
    path = gaussian_filter1d(full[:, :2] + full[:, 2:] / 2, 1.0, axis=0)
    layers = []
    for window, whole in [*((w, True) for w in table.hide), *((w, False) for w in table.half_hide)]:
        if window[1] < window[0]:  # a sequence too short for the event
            continue
        look = _panel(rng, library)
        sprite = library.sprite(look)
        need = full[max(window[0], 0) : window[1] + 1, 2:].max(axis=0)
        extent, offset = _measures(rng, need, whole)
        angle = rng.uniform(0, 2 * np.pi) if whole else rng.choice([0.0, np.pi])
        way = np.array([np.cos(angle), np.sin(angle)])
        along = _passing(frames, config, window, way, (extent + need) / 2, slow=whole)
        scale = np.broadcast_to(extent / sprite.extent, (frames, 2))
        matrix = affine(path + offset + along, scale, np.zeros(frames), sprite)
        layers.append(Layer("occluder", ((0, look),), matrix))
    return layers


def _measures(
    rng: np.random.Generator, need: NDArray[np.float64], whole: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height of an occluder for a target of `need` (2,) pixels, and its offset from it."""
    if whole:
        return need * rng.uniform(1.3, 1.7, 2) + 6, np.zeros(2)
    if rng.random() < 0.6:  # a pole
        return np.array([max(need[0] * rng.uniform(0.3, 0.5), 3), need[1] * rng.uniform(1.6, 3)]), np.zeros(2)
    low_wall = np.array([need[0] * rng.uniform(1.4, 2.5), need[1]])
    return low_wall, np.array([0, need[1] * rng.uniform(0.45, 0.6)])


def _panel(rng: np.random.Generator, library: Library) -> SpriteLook:
    look = random_look(rng, "patch", library.backgrounds, [], 1.0)
    main = look.main if rng.random() < 0.3 else ""
    return SpriteLook("patch", "panel", main, "", "plain", look.material, False, look.seed)


def _passing(
    frames: int, config: SynthConfig, window: Window, way: NDArray[np.float64], reach: NDArray[np.float64], slow: bool
) -> NDArray[np.float64]:
    """Offsets (T, 2) of an occluder from the target: far, over it in the middle of the window, far."""
    first, last = window
    u = (np.arange(frames) - (first + last) / 2) / max((last - first) / 2, 1.0)
    # Just clear of the target at the window's ends: the nearer of the two sides decides.
    clear = float(np.min(reach / np.maximum(np.abs(way), 1e-6))) * 1.08
    inner = np.sign(u) * np.abs(u) ** (3.0 if slow else 1.2)
    beyond = 1 + 4 * np.maximum(np.abs(u) - 1, 0) ** 1.3
    away = np.where(np.abs(u) <= 1, inner, np.sign(u) * beyond)
    # Beyond the frame it goes no farther, so that numbers stay small.
    far = (config.width + config.height) * 2 / clear
    return np.asarray(np.clip(away, -far, far)[:, None] * clear * way)


def visible_fractions(
    sprite: Sprite,
    wave: NDArray[np.float64] | None,
    matrix: NDArray[np.float64],
    front: list[Layer],
    library: Library,
    config: SynthConfig,
) -> tuple[Curve, Curve]:
    """Fractions (T,) of the target within the frame, and showing: counted on points spread over it.

    Args:
        wave, matrix: the target's.
        front: layers drawn over it.
    """
    frames = len(matrix)
    inside, visible = np.empty(frames), np.empty(frames)
    for start in range(0, frames, 512):
        part = slice(start, min(start + 512, frames))
        x, y = placed(sprite.points, wave[part] if wave is not None else None, matrix[part])
        within = (x >= 0) & (x < config.width) & (y >= 0) & (y < config.height)
        shown = within.copy()
        for layer in front:
            shown &= ~_covers(layer, library, x, y, part)
        inside[part], visible[part] = within.mean(axis=1), shown.mean(axis=1)
    return inside, visible


def _covers(layer: Layer, library: Library, x: Curve, y: Curve, part: slice) -> NDArray[np.bool_]:
    """Which points of the frame, x and y (T, P), lie under the layer: (T, P) bool."""
    matrix = layer.matrix[part]
    a, b, c, d = (matrix[:, i, j, None] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    dx, dy = x - matrix[:, 0, 2:], y - matrix[:, 1, 2:]
    det = a * d - b * c
    wave = layer.wave[part] if layer.wave is not None else None
    u, v = unwarped((d * dx - b * dy) / det, (a * dy - c * dx) / det, wave)
    within = (u >= 0) & (u < SIDE) & (v >= 0) & (v < SIDE)
    solid = library.sprite(layer.looks[0][1]).solid
    columns, rows = np.clip(u, 0, SIDE - 1).astype(np.intp), np.clip(v, 0, SIDE - 1).astype(np.intp)
    return np.asarray(within & solid[rows, columns])
