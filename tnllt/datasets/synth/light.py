"""Light and shade over the frames, and what lens, sensor and an adversary add."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth import motion
from tnllt.datasets.synth.appearance import SpriteLook
from tnllt.datasets.synth.config import SynthConfig
from tnllt.datasets.synth.motion import affine
from tnllt.datasets.synth.scene import Layer, ScenePlan
from tnllt.datasets.synth.sources import Library
from tnllt.datasets.synth.sprites import SIDE
from tnllt.datasets.synth.target_motion import Timetable

Curve = NDArray[np.float64]


def make_light(
    rng: np.random.Generator, config: SynthConfig, wanted: frozenset[str], library: Library
) -> tuple[Curve, NDArray[np.float64], list[Layer]]:
    """Gain (T,), colour balance (T, 3), and perhaps a shadow that sweeps over everything."""
    frames = config.frames
    light = np.exp(np.clip(0.02 * motion.noise(rng, frames, 20), -0.06, 0.06))
    balance = np.broadcast_to(1 + rng.normal(0, 0.035, 3) * config.artefacts, (frames, 3))
    if "IV" not in wanted:
        return light, balance, []
    darker = rng.random() < 0.65
    change = motion.swing(rng, frames, np.log(rng.uniform(0.3, 0.5) if darker else rng.uniform(1.9, 2.4)))
    balance = balance * np.exp(change[:, None] * rng.normal(0, 0.1, 3))
    bands = [_sweeping_shadow(rng, config, library)] if rng.random() < 0.4 else []
    return light * np.exp(change), balance, bands


def _sweeping_shadow(rng: np.random.Generator, config: SynthConfig, library: Library) -> Layer:
    look = SpriteLook("shade", "band")
    frames, width, height = config.frames, config.width, config.height
    rounds = max(1.0, frames / 300)
    x = width * ((-0.4 + 1.8 * rounds * np.linspace(0, 1, frames)) % 1.8 - 0.4)
    center = np.stack([x, np.full(frames, height / 2)], axis=1)
    scale = np.broadcast_to(np.array([width * rng.uniform(0.25, 0.5), 4 * height]) / SIDE, (frames, 2))
    matrix = affine(center, scale, np.full(frames, rng.uniform(-25, 25)), library.sprite(look))
    return Layer("shade", ((0, look),), matrix, opacity=np.full(frames, rng.uniform(0.3, 0.55)))


def ground_shadow(rng: np.random.Generator, full: NDArray[np.float64], library: Library) -> Layer:
    """A soft shadow below the target whose whole extent is `full` (T, 4)."""
    look = SpriteLook("shade", "ellipse")
    center = full[:, :2] + full[:, 2:] * (0.5, 0.94)
    scale = full[:, 2:] * (1.25, 0.35) / SIDE
    opacity = np.full(len(full), rng.uniform(0.3, 0.6))
    return Layer(
        "shade", ((0, look),), affine(center, scale, np.zeros(len(full)), library.sprite(look)), opacity=opacity
    )


def make_attack(rng: np.random.Generator, table: Timetable, frames: int) -> Curve | None:
    """Bound of the perturbation in grey levels, (T,), or None."""
    if not table.attack:
        return None
    out = np.zeros(frames)
    for first, last in table.attack:
        out[first : last + 1] = rng.integers(10, 17)
    return out


def add_artefacts(rng: np.random.Generator, scene: ScenePlan) -> None:
    """Gamma, lens blur, noise, and the quality at which crops are compressed."""
    blur, noise, has_blur, has_noise = rng.random(4)
    scene.gamma = float(np.exp(rng.normal(0, 0.18)))
    scene.softness = float(blur * 1.1 if has_blur < 0.6 else 0.0)
    scene.noise = float(round(noise * 24) / 4 if has_noise < 0.6 else 0.0)
    scene.jpeg = int(rng.integers(45, 95)) if rng.random() < 0.5 else 0
