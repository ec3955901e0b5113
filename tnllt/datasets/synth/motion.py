"""Paths, poses and cameras over T frames, as arrays; positions are (T, 2) pixels; matrices from raster to frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from tnllt.datasets.synth.sources import Track
from tnllt.datasets.synth.sprites import SIDE, Sprite

Points = NDArray[np.float64]
WAVES = 2 * np.pi / (0.9 * SIDE)  #: wave number of deformations, per raster pixel


def affine(
    center: NDArray[np.float64], scale: NDArray[np.float64], angle: NDArray[np.float64], sprite: Sprite
) -> NDArray[np.float64]:
    """Matrices (T, 2, 3) that put the sprite's own centre at `center` (T, 2), scaled (T, 2), turned (T,) degrees."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    out = np.empty((len(center), 2, 3))
    out[:, 0, 0], out[:, 0, 1] = cos * scale[:, 0], -sin * scale[:, 1]
    out[:, 1, 0], out[:, 1, 1] = sin * scale[:, 0], cos * scale[:, 1]
    out[:, :, 2] = center - out[:, :, :2] @ sprite.center
    return out


def bounds(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (T, 4) around points, x and y (T, P)."""
    left, top = x.min(axis=1), y.min(axis=1)
    return np.stack([left, top, x.max(axis=1) - left, y.max(axis=1) - top], axis=1)


def warped(x: Points, y: Points, wave: NDArray[np.float64] | None) -> tuple[Points, Points]:
    """Raster points deformed as `wave` (T, 4) says: x' = x + a sin(k y + p), then y' = y + b sin(k x' + q)."""
    if wave is None:
        return x, y
    x = x + wave[:, :1] * np.sin(WAVES * y + wave[:, 2:3])
    return x, y + wave[:, 1:2] * np.sin(WAVES * x + wave[:, 3:4])


def unwarped(x: Points, y: Points, wave: NDArray[np.float64] | None) -> tuple[Points, Points]:
    """The inverse of `warped`."""
    if wave is None:
        return x, y
    y = y - wave[:, 1:2] * np.sin(WAVES * x + wave[:, 3:4])
    return x - wave[:, :1] * np.sin(WAVES * y + wave[:, 2:3]), y


def placed(
    points: NDArray[np.float64], wave: NDArray[np.float64] | None, matrix: NDArray[np.float64]
) -> tuple[Points, Points]:
    """Raster points (P, 2) in the frame, x and y (T, P), under matrices (T, 2, 3)."""
    u, v = warped(points[None, :, 0], points[None, :, 1], wave)
    x = matrix[:, 0, :1] * u + matrix[:, 0, 1:2] * v + matrix[:, 0, 2:]
    return x, matrix[:, 1, :1] * u + matrix[:, 1, 1:2] * v + matrix[:, 1, 2:]


Path = NDArray[np.float64]
Curve = NDArray[np.float64]


def fold(path: Path, low: Path, high: Path) -> Path:
    """Reflects a path at the walls low and high (2,), so that it stays between them."""
    span = np.maximum(high - low, 1e-6)
    phase = np.mod(path - low, 2 * span)
    return np.asarray(low + np.where(phase > span, 2 * span - phase, phase))


def wander(rng: np.random.Generator, frames: int, low: Path, high: Path, speed: float) -> Path:
    """A smooth random walk between walls with `speed` pixels a frame on average."""
    velocity = gaussian_filter1d(rng.normal(size=(frames, 2)), rng.uniform(4, 14), axis=0, mode="wrap")
    velocity *= speed / (np.linalg.norm(velocity, axis=1).mean() + 1e-9)
    velocity += rng.normal(size=2) * speed * rng.uniform(0, 0.5)
    if rng.random() < 0.25:  # stop and go
        velocity *= np.clip(0.5 + 1.2 * noise(rng, frames, 12), 0, 1.5)[:, None]
    start = rng.uniform(low, high)
    return fold(start + np.cumsum(velocity, axis=0), low, high)


def noise(rng: np.random.Generator, frames: int, sigma: float) -> Curve:
    """A smooth random curve with about unit standard deviation (over many frames), within -2.5..2.5."""
    curve = gaussian_filter1d(rng.normal(size=frames + 1), sigma, mode="wrap")[:frames]
    # What a Gaussian filter leaves of white noise's deviation.
    return np.asarray(np.clip(curve * np.sqrt(2 * np.sqrt(np.pi) * sigma), -2.5, 2.5))


def swing(rng: np.random.Generator, frames: int, reach: float) -> Curve:
    """A smooth curve that starts at 0 and gets to `reach` (at its farthest) and back, once or more often."""
    cycles = max(1.0, frames / rng.uniform(80, 260))
    phase = np.arange(frames) / max(frames - 1, 1) * cycles
    return np.asarray(reach * 0.5 * (1 - np.cos(2 * np.pi * phase)))


def follow(rng: np.random.Generator, track: Track, frames: int, width: int, height: int) -> tuple[Path, Curve, Curve]:
    """A stretch of a real track, brought to the frame.

    Returns:
        centres (T, 2); sizes sqrt(w h) (T,); w/h relative to its median (T,).
    """
    count = len(track.boxes)
    first = int(rng.integers(0, max(1, count - frames))) if count > frames else 0
    index = first + np.arange(frames)
    period = 2 * (count - 1)
    index = np.mod(index, period)
    index = np.where(index >= count, period - index, index)
    boxes = track.boxes[index]
    scale = min(width / track.frame[0], height / track.frame[1])
    centres = (boxes[:, :2] + boxes[:, 2:] / 2) * scale
    if rng.random() < 0.5:
        centres[:, 0] = width - centres[:, 0]
    sizes = np.sqrt(boxes[:, 2] * boxes[:, 3]) * scale
    aspect = boxes[:, 2] / boxes[:, 3]
    return centres, sizes, aspect / np.median(aspect)


def tame(path: Path, longest: Curve, low: Path, high: Path) -> Path:
    """The path with no step longer than `longest` (T,) pixels."""
    step = np.diff(path, axis=0)
    length = np.linalg.norm(step, axis=1)
    if not (length > longest[1:]).any():
        return path
    step *= np.minimum(1, longest[1:] / np.maximum(length, 1e-9))[:, None]
    return fold(np.concatenate([path[:1], path[:1] + np.cumsum(step, axis=0)]), low, high)


def leap(rng: np.random.Generator, path: Path, sizes: Curve, at: list[int], low: Path, high: Path) -> Path:
    """Adds a jump of more than the target's size at each of the frames `at`."""
    for k in at:
        reach = sizes[k - 1] * rng.uniform(1.2, 1.9)
        goals = rng.uniform(low, high, (40, 2))
        far = np.linalg.norm(goals - path[k - 1], axis=1)
        fit = np.where(far > reach, far, np.inf)
        goal = goals[int(np.argmin(fit) if np.isfinite(fit).any() else np.argmax(far))]
        path = np.concatenate([path[:k], fold(path[k:] + (goal - path[k]), low, high)])
    return path


def bump(frames: int, first: int, last: int, hold: float = 0.3) -> Curve:
    """0 outside first..last, 1 in the middle part `hold` of it, smooth between."""
    t = (np.arange(frames) - first) / max(last - first, 1)
    ramp = (1 - hold) / 2
    up = np.clip(np.minimum(t, 1 - t) / max(ramp, 1e-6), 0, 1)
    return np.asarray(up * up * (3 - 2 * up))


def camera(rng: np.random.Generator, frames: int, target: Path, diagonal: float, fast: bool) -> tuple[Path, Curve]:
    """Where the background goes: shift (T, 2) and zoom (T,).

    Some cameras stand, some drift, some keep the target in view, so that the ground runs the other way. Steps stay
    below the threshold of camera motion unless `fast`.
    """
    limit = diagonal * (0.02 if fast else 0.009)
    kind = rng.random()
    shift = np.zeros((frames, 2))
    if kind > 0.25:
        shift += wander(rng, frames, np.full(2, -1e6), np.full(2, 1e6), limit * rng.uniform(0.1, 0.45))
    if kind > 0.55:
        velocity = gaussian_filter1d(np.diff(target, axis=0, prepend=target[:1]), 4, axis=0)
        shift -= np.cumsum(velocity, axis=0) * rng.uniform(0.5, 1.5)
    shift = tame(shift - shift[0], np.full(frames, limit * 0.9), np.full(2, -1e9), np.full(2, 1e9))
    zoom = np.exp(0.05 * noise(rng, frames, 25)) if kind > 0.4 else np.ones(frames)
    # A change of zoom moves the image's corners: slow enough not to count.
    return shift, zoom


def shake(rng: np.random.Generator, frames: int, windows: list[tuple[int, int]], step: float) -> Path:
    """Sudden camera jerks (T, 2) of at least `step` pixels within windows."""
    offset = np.zeros((frames, 2))
    for first, last in windows:
        for k in range(first, max(last, first + 2), int(rng.integers(2, 5))):
            angle = rng.uniform(0, 2 * np.pi)
            jerk = step * rng.uniform(1.15, 2.2) * np.array([np.cos(angle), np.sin(angle)])
            settle = 0.55 ** np.arange(frames - k)
            offset[k:] += jerk * settle[:, None]
    return offset
