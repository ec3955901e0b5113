"""How the target moves and poses over the frames, and when what happens to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth import motion
from tnllt.datasets.synth.config import ATTRIBUTES, SynthConfig
from tnllt.datasets.synth.sources import Library
from tnllt.datasets.synth.sprites import SIDE, Sprite

Curve = NDArray[np.float64]
Window = tuple[int, int]
_THICK = 0.66  #: width of a sprite seen from the edge, against its width from the front


@dataclass(frozen=True)
class Timetable:
    """When events take place: windows (first frame, last frame) that do not overlap for FOC, POC and OV."""

    hide: tuple[Window, ...]
    half_hide: tuple[Window, ...]
    leave: tuple[Window, ...]
    leap: tuple[int, ...]
    shake: tuple[Window, ...]
    streak: tuple[Window, ...]
    attack: tuple[Window, ...]


@dataclass(frozen=True, eq=False)
class Pose:
    """The target over T frames: centre (T, 2) in the frame, scale (T, 2), angle and turn (T,) degrees, wave (T, 4)
    or None, size (T,) = sqrt(w h) in pixels before rotation; `home` (T, 2) is the centre before it left the view."""

    center: NDArray[np.float64]
    home: NDArray[np.float64]
    scale: NDArray[np.float64]
    angle: Curve
    turn: Curve
    wave: NDArray[np.float64] | None
    size: Curve
    track: str


def choose_attributes(rng: np.random.Generator, config: SynthConfig) -> frozenset[str]:
    draws = rng.random(len(ATTRIBUTES))
    return frozenset(a for a, draw in zip(ATTRIBUTES, draws, strict=True) if draw < config.rate(a))


def make_timetable(rng: np.random.Generator, frames: int, wanted: frozenset[str]) -> Timetable:
    """Spreads the events over the sequence; the first eighth of it stays clear."""
    count = min(1 + frames // 600, 14)
    names = [n for n in ("FOC", "POC", "OV") if n in wanted for _ in range(count)]
    names = [names[i] for i in rng.permutation(len(names))]
    weights = np.array([2.0 if n == "OV" else 1.0 for n in names])
    edges = frames * (0.12 + 0.86 * np.concatenate([[0], np.cumsum(weights)]) / max(weights.sum(), 1))
    slots: dict[str, list[Window]] = {"FOC": [], "POC": [], "OV": []}
    for name, first, last in zip(names, edges, edges[1:], strict=False):
        longest = min(last - first - 1, rng.uniform(24, 80) * (1.7 if name == "OV" else 1), 0.5 * frames)
        begin = first + rng.uniform(0, max(last - first - 1 - longest, 0))
        slots[name].append((int(begin), int(begin + longest)))

    def windows(attribute: str, length: float) -> tuple[Window, ...]:
        if attribute not in wanted:
            return ()
        starts = np.sort(rng.uniform(0.12, 0.85, count)) * frames
        return tuple((max(1, int(s)), min(frames - 1, int(s + length)) + 1) for s in starts)

    leaps: list[int] = []
    if "FM" in wanted:
        busy = np.zeros(frames, bool)
        for first, last in (w for each in slots.values() for w in each):
            busy[max(first - 2, 0) : last + 3] = True
        free = np.flatnonzero(~busy[max(2, frames // 10) : frames - 1]) + max(2, frames // 10)
        free = free if len(free) else np.arange(max(1, frames // 10), frames)
        leaps = sorted({int(k) for k in rng.choice(free, min(len(free), 2 * count + 1), replace=False)})
    return Timetable(
        tuple(slots["FOC"]),
        tuple(slots["POC"]),
        tuple(slots["OV"]),
        tuple(leaps),
        windows("CM", rng.uniform(4, 14)),
        windows("MB", rng.uniform(6, 25)),
        windows("AS", frames * 0.3),
    )


def pose_target(
    rng: np.random.Generator,
    config: SynthConfig,
    wanted: frozenset[str],
    table: Timetable,
    sprite: Sprite,
    library: Library,
) -> Pose:
    """Everything about where and how the target is, but the camera's jerks."""
    frames, width, height = config.frames, config.width, config.height
    short = min(width, height)
    size = np.full(frames, _base_size(rng, config, wanted, short))
    track_name, followed, aspect = "", None, np.ones(frames)
    if library.tracks and rng.random() < config.real_motion:
        track = library.tracks[int(rng.integers(len(library.tracks)))]
        followed, real_size, real_aspect = motion.follow(rng, track, frames, width, height)
        track_name = track.name
        if "SV" in wanted:
            size = size * real_size / real_size[0]
        if "ARC" in wanted:
            aspect = np.clip(real_aspect / real_aspect[0], 0.4, 2.5)
    size = _scale_curve(rng, size, wanted, short)
    aspect = _aspect_curve(rng, aspect, wanted)
    angle, turn = _turns(rng, frames, wanted)
    low = np.minimum(0.55 * size.max(), 0.4 * short) * np.ones(2)
    high = np.array([width, height]) - low
    longest = 0.7 * size
    if followed is not None:
        home = motion.tame(motion.fold(followed, low, high), longest, low, high)
    else:
        pace = float(size.mean()) * np.exp(rng.uniform(np.log(0.01), np.log(0.16)))
        home = motion.tame(motion.wander(rng, frames, low, high, pace), longest, low, high)
    home = motion.leap(rng, home, size, list(table.leap), low, high)
    center = home.copy()
    extent = (
        size
        * np.maximum(sprite.extent.max() / np.sqrt(sprite.extent.prod()), 1)
        * np.sqrt(np.maximum(aspect, 1 / aspect))
        * 0.9
    )
    for window in table.leave:
        center += _departure(center, extent, window, width, height)
    unit = size / np.sqrt(sprite.extent.prod())
    view = np.radians(turn)
    facing = np.where(np.cos(view) >= 0, 1.0, -1.0) * np.hypot(np.cos(view), _THICK * np.sin(view))
    scale = np.stack([unit * np.sqrt(aspect) * facing, unit / np.sqrt(aspect)], axis=1)
    return Pose(center, home, scale, angle, turn, make_wave(rng, frames) if "DEF" in wanted else None, size, track_name)


def _base_size(rng: np.random.Generator, config: SynthConfig, wanted: frozenset[str], short: int) -> float:
    size = short * np.exp(rng.uniform(np.log(config.size[0]), np.log(config.size[1])))
    if "LR" in wanted:
        return float(np.clip(size * 0.4, 14, 26))
    if "SV" in wanted:  # room to grow
        size = min(size, 0.26 * short)
    return float(max(size, min(40.0, 0.4 * short)))


def _scale_curve(rng: np.random.Generator, size: Curve, wanted: frozenset[str], short: int) -> Curve:
    frames = len(size)
    if "SV" not in wanted:
        return np.asarray(size * np.exp(np.clip(0.02 * motion.noise(rng, frames, 20), -0.06, 0.06)))
    spread = size.max() / size.min()
    if spread < 1.8:
        factor = rng.uniform(1.75, 2.4)
        grow = "LR" not in wanted and size[0] * factor < 0.75 * short and (rng.random() < 0.6 or size[0] / factor < 34)
        grow = grow or ("LR" in wanted and size[0] / factor < 9)
        size = size * np.exp(motion.swing(rng, frames, np.log(factor if grow else 1 / factor)))
    return np.clip(size, 9, 0.75 * short)


def _aspect_curve(rng: np.random.Generator, aspect: Curve, wanted: frozenset[str]) -> Curve:
    if "ARC" not in wanted or max(aspect.max(), 1 / aspect.min()) > 2.3:
        return aspect
    factor = rng.uniform(3.0, 3.8)
    return np.asarray(np.exp(motion.swing(rng, len(aspect), np.log(factor) * rng.choice([-1.0, 1.0]))))


def _turns(rng: np.random.Generator, frames: int, wanted: frozenset[str]) -> tuple[Curve, Curve]:
    """Degrees of rotation in the image and about the vertical, (T,) each."""
    lean = rng.normal(0, 4)
    angle = lean + np.clip(2.5 * motion.noise(rng, frames, 12), -7, 7)
    if "ARC" in wanted and "ROT" not in wanted:  # leaning boxes are squarer
        angle = angle * 0.3
    if "ROT" in wanted:
        way = rng.choice([-1.0, 1.0])
        if rng.random() < 0.5:  # round and round
            angle = lean + way * np.arange(frames) * max(rng.uniform(1, 5), 75 / frames)
        else:
            angle = angle + way * motion.swing(rng, frames, rng.uniform(65, 170))
    turn = np.zeros(frames)
    if "VC" in wanted:
        turn = motion.swing(rng, frames, rng.uniform(60, 180)) * rng.choice([-1.0, 1.0])
    return np.asarray(angle), np.asarray(turn)


def make_wave(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """A living outline: (T, 4) amplitudes in raster pixels and running phases."""
    strength = np.clip(0.06 + 0.03 * motion.noise(rng, frames, 15), 0.0, 0.11) * SIDE
    strength[frames // 3 : frames // 3 + max(2, frames // 8)] = np.maximum(
        strength[frames // 3 : frames // 3 + max(2, frames // 8)], 0.07 * SIDE
    )
    fraction, pace = rng.uniform(0.35, 1.0, 2), rng.uniform(0.05, 0.35, 2) * rng.choice([-1.0, 1.0], 2)
    time = np.arange(frames)
    phases = rng.uniform(0, 2 * np.pi, 2) + time[:, None] * pace
    fraction[int(rng.integers(2))] = 1.0
    return np.concatenate([strength[:, None] * fraction, phases], axis=1)


def _departure(
    center: NDArray[np.float64], extent: Curve, window: Window, width: int, height: int
) -> NDArray[np.float64]:
    """What to add to the path so that the target is wholly out of the frame in the middle of the window."""
    first, last = window
    part = slice(max(first, 0), max(last, first + 2))
    x, y = center[(first + last) // 2]
    sides = [(x, (-1, 0)), (width - x, (1, 0)), (y, (0, -1)), (height - y, (0, 1))]
    normal = np.array(min(sides, key=lambda side: side[0])[1], np.float64)
    along = center[part] @ normal
    border = {(-1, 0): 0, (1, 0): width, (0, -1): 0, (0, 1): height}[(int(normal[0]), int(normal[1]))]
    distance = (border - along.min()) if normal.sum() > 0 else -along.min()
    reach = max(float(distance), 0) + float(extent[part].max()) + 3
    return np.asarray(motion.bump(len(center), first, last, 0.25)[:, None] * reach * normal)
