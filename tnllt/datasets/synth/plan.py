"""Plans one sequence from its seed: cast, motion, occluders, camera, light; and what is true of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from tnllt.datasets.synth import motion
from tnllt.datasets.synth.cast import Cast, choose_cast
from tnllt.datasets.synth.config import SynthConfig
from tnllt.datasets.synth.facts import Facts
from tnllt.datasets.synth.looks import Look, random_look, relative
from tnllt.datasets.synth.render import placed, unwarped
from tnllt.datasets.synth.scene import Layer, ScenePlan, affine, bounds, clipped
from tnllt.datasets.synth.sources import Library, library
from tnllt.datasets.synth.sprites import SIDE, Sprite
from tnllt.datasets.synth.stage import (
    Pose,
    Timetable,
    Window,
    choose_attributes,
    make_timetable,
    make_wave,
    pose_target,
)

Curve = NDArray[np.float64]


def plan(seed: int, config: SynthConfig | None = None, sources: Library | None = None) -> ScenePlan:
    """Plans the sequence with this seed: the same seed, configuration and sources give the same sequence.

    Args:
        sources: where pictures and sprites come from; None: the process's library for `config.sources`.

    Example:
        >>> scene = plan(7, SynthConfig(frames=100))
        >>> image, box, present, _ = scene.render(42, region=(100, 60, 128, 128), size=128)
    """
    config = config or SynthConfig()
    return _Planner(seed, config, sources or library(config.sources)).plan()


@dataclass
class _Camera:
    shift: NDArray[np.float64]
    zoom: Curve
    jerk: NDArray[np.float64]


class _Planner:
    """Holds what the steps of planning share."""

    def __init__(self, seed: int, config: SynthConfig, sources: Library) -> None:
        self.seed, self.config, self.library = seed, config, sources
        self.frames = config.frames
        self.diagonal = float(np.hypot(config.width, config.height))
        streams = [np.random.default_rng([seed, k]) for k in range(5)]
        self.cast_rng, self.pose_rng, self.crowd_rng, self.camera_rng, self.light_rng = streams

    def plan(self) -> ScenePlan:
        config, frames = self.config, self.frames
        grey = bool(self.light_rng.random() < config.grey)
        cast = choose_cast(self.cast_rng, config, self.library, grey)
        wanted = choose_attributes(self.pose_rng, config)
        table = make_timetable(self.pose_rng, frames, wanted)
        sprite = self.library.sprite(cast.target[0][1])
        pose = pose_target(self.pose_rng, config, wanted, table, sprite, self.library)
        camera = self._camera(pose, wanted, table)
        matrix = self._target_matrix(pose, sprite, camera)
        full = bounds(*placed(sprite.edge(pose.wave is not None), pose.wave, matrix))
        streak, camera_blur = self._streaks(pose, table, camera)
        target = Layer("target", cast.target, matrix, pose.wave, streak)
        crowd = self._crowd(cast, pose, camera)
        front = crowd if {"POC", "FOC"} & wanted else []
        in_front = [layer for k, layer in enumerate(front) if k % 2]
        behind = [layer for layer in crowd if all(layer is not other for other in in_front)]
        occluders = self._occluders(table, pose, full, camera)
        inside, visible = self._visible(sprite, pose, matrix, [*in_front, *occluders], full)
        light, balance, band = self._light(wanted, pose)
        shades = self._shadow(pose, camera, full) if self.light_rng.random() < 0.35 else []
        layers = [*shades, *behind, target, *in_front, *occluders, *band]
        boxes, present = clipped(full, visible, config.width, config.height)
        attack = self._attack(table)
        picture, background = self._background(cast, camera)
        streaks = np.linalg.norm(
            (streak if streak is not None else 0) + (camera_blur if camera_blur is not None else np.zeros((frames, 2))),
            axis=1,
        )
        facts = Facts(
            full,
            inside,
            visible,
            self._camera_step(background),
            pose.angle,
            pose.turn,
            np.abs(pose.wave[:, :2]).max(axis=1) / SIDE if pose.wave is not None else np.zeros(frames),
            light,
            streaks,
            attack if attack is not None else np.zeros(frames),
            "BC" in wanted,
            self.diagonal,
        )
        scene = ScenePlan(
            self.seed,
            config,
            self.library,
            tuple(layers),
            layers.index(target),
            picture,
            background,
            facts,
            boxes,
            present,
            facts.flags(),
            cast.phrases,
            self._places(cast, full, crowd),
            cast.template,
            cast.wrong,
            pose.track,
            self._clutter(cast, pose, picture, background, grey) if "BC" in wanted else (),
            camera_blur,
            attack,
            balance,
            grey=grey,
        )
        self._artefacts(scene)
        return scene

    def _target_matrix(self, pose: Pose, sprite: Sprite, camera: _Camera) -> NDArray[np.float64]:
        """The target's matrices, so that the middle of its box is where the pose says."""
        matrix = affine(pose.center, pose.scale, pose.angle, sprite)
        box = bounds(*placed(sprite.edge(pose.wave is not None), pose.wave, matrix))
        matrix[:, :, 2] += pose.center - (box[:, :2] + box[:, 2:] / 2) + camera.jerk
        return matrix

    def _camera(self, pose: Pose, wanted: frozenset[str], table: Timetable) -> _Camera:
        rng = self.camera_rng
        shift, zoom = motion.camera(rng, self.frames, pose.home, self.diagonal, "CM" in wanted)
        jerk = motion.shake(rng, self.frames, list(table.shake), 0.016 * self.diagonal)
        return _Camera(shift, zoom, jerk)

    def _background(self, cast: Cast, camera: _Camera) -> tuple[int, NDArray[np.float64]]:
        """Which picture, and its matrices (T, 2, 3) to the frame."""
        rng = self.camera_rng
        index = int(rng.integers(self.library.pictures))
        if (
            index == cast.target[0][1].material and self.library.pictures > 1
        ):  # a patch must not vanish in its own picture
            index = (index + 1) % self.library.pictures
        height, width = self.library.picture(index)[0].shape[:2]
        scale = max(self.config.width / width, self.config.height / height) * rng.uniform(1.0, 1.9)
        scale = scale * camera.zoom
        roll = np.radians(np.clip(rng.normal(0, 2) + 0.7 * motion.noise(rng, self.frames, 30), -8, 8))
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        out = np.empty((self.frames, 2, 3))
        out[:, 0, 0], out[:, 0, 1] = mirror * scale * np.cos(roll), -scale * np.sin(roll)
        out[:, 1, 0], out[:, 1, 1] = mirror * scale * np.sin(roll), scale * np.cos(roll)
        middle = np.array([self.config.width, self.config.height]) / 2
        at = np.array([width, height]) * rng.uniform(0.35, 0.65, 2)
        out[:, :, 2] = middle - out[:, :, :2] @ at + camera.shift + camera.jerk
        return index, out

    def _camera_step(self, background: NDArray[np.float64]) -> Curve:
        """Pixels that the ground in the middle of the frame moved since the frame before, (T,)."""
        middle = np.array([self.config.width, self.config.height]) / 2
        ground = np.linalg.solve(background[:, :, :2], (middle - background[:, :, 2])[..., None])[..., 0]
        before = np.concatenate([ground[:1], ground[:-1]])
        moved = np.einsum("tij,tj->ti", background[:, :, :2], before) + background[:, :, 2] - middle
        return np.asarray(np.linalg.norm(moved, axis=1))

    def _streaks(
        self, pose: Pose, table: Timetable, camera: _Camera
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Motion blur of the target and of the whole picture, (T, 2) vectors or None."""
        rng, frames = self.camera_rng, self.frames
        own = whole = None
        for first, last in table.streak:
            length = np.clip(pose.size * rng.uniform(0.28, 0.55), 7, 40)
            velocity = gaussian_filter1d(np.gradient(pose.home, axis=0), 2, axis=0) + rng.normal(0, 0.3, 2)
            vector = velocity / (np.linalg.norm(velocity, axis=1, keepdims=True) + 1e-6) * length[:, None]
            when = np.zeros((frames, 1))
            when[first : last + 1] = 1.0
            if rng.random() < 0.6:
                own = vector * when + (own if own is not None else 0)
            else:
                whole = vector * when + (whole if whole is not None else 0)
        if own is not None and whole is not None:
            whole[np.linalg.norm(own, axis=1) > 0] = 0
        return own, whole

    def _crowd(self, cast: Cast, pose: Pose, camera: _Camera) -> list[Layer]:
        """The distractors: some keep near the target, some pass by."""
        rng, config = self.crowd_rng, self.config
        size = float(pose.size.mean())
        smooth = gaussian_filter1d(pose.home, 8, axis=0)
        low = np.full(2, 0.3 * size)
        high = np.array([config.width, config.height]) - low
        layers = []
        for k, looks in enumerate(cast.distractors):
            sprite = self.library.sprite(looks[0][1])
            if rng.random() < 0.7 or k == cast.twin:
                radius = pose.size * (rng.uniform(1.15, 2.8) + 0.25 * motion.noise(rng, self.frames, 25))
                bearing = rng.uniform(0, 2 * np.pi) + np.cumsum(motion.noise(rng, self.frames, 20)) * rng.uniform(
                    0, 0.04
                )
                path = smooth + np.maximum(radius, pose.size)[:, None] * np.stack(
                    [np.cos(bearing), np.sin(bearing)], axis=1
                )
                path = motion.fold(path, low, high)
            else:
                path = motion.wander(rng, self.frames, low, high, size * rng.uniform(0.01, 0.12))
            factor = pose.size / np.sqrt(sprite.extent.prod()) * rng.uniform(0.8, 1.2)
            mirror = rng.choice([-1.0, 1.0]) if looks[0][1].family != "file" else 1.0
            scale = np.stack([mirror * factor, factor], axis=1)
            angle = np.clip(rng.normal(0, 4) + 2.5 * motion.noise(rng, self.frames, 12), -12, 12)
            wave = make_wave(rng, self.frames) if pose.wave is not None else None
            layers.append(Layer("distractor", looks, affine(path + camera.jerk, scale, angle, sprite), wave))
        return layers

    def _occluders(self, table: Timetable, pose: Pose, full: NDArray[np.float64], camera: _Camera) -> list[Layer]:
        """Panels that hide the target wholly, and poles and low walls that hide a part of it."""
        rng = self.crowd_rng
        path = gaussian_filter1d(full[:, :2] + full[:, 2:] / 2, 1.0, axis=0)
        layers = []
        for window, whole in [*((w, True) for w in table.hide), *((w, False) for w in table.half_hide)]:
            look = self._occluder_look(rng)
            sprite = self.library.sprite(look)
            part = slice(max(window[0], 0), window[1] + 1)
            need = full[part, 2:].max(axis=0)
            if whole:
                extent, offset = need * rng.uniform(1.3, 1.7, 2) + 6, np.zeros(2)
            elif rng.random() < 0.6:  # a pole
                extent, offset = (
                    np.array([max(need[0] * rng.uniform(0.35, 0.55), 3), need[1] * rng.uniform(1.6, 3)]),
                    np.zeros(2),
                )
            else:  # a low wall
                extent = np.array([need[0] * rng.uniform(1.4, 2.5), need[1]])
                offset = np.array([0, need[1] * rng.uniform(0.45, 0.6)])
            angle = rng.uniform(0, 2 * np.pi) if whole else rng.choice([0.0, np.pi])
            way = np.array([np.cos(angle), np.sin(angle)])
            along = self._passing(window, way, (extent + need) / 2, slow=whole)
            scale = np.broadcast_to(extent / sprite.extent, (self.frames, 2))
            center = path + offset + along
            layers.append(Layer("occluder", ((0, look),), affine(center, scale, np.zeros(self.frames), sprite)))
        return layers

    def _occluder_look(self, rng: np.random.Generator) -> Look:
        look = random_look(rng, "patch", self.library.pictures, [], 1.0)
        return Look(
            "patch", "panel", look.main if rng.random() < 0.3 else "", "", "plain", look.material, False, look.seed
        )

    def _passing(
        self, window: Window, way: NDArray[np.float64], reach: NDArray[np.float64], slow: bool
    ) -> NDArray[np.float64]:
        """Offsets (T, 2) of an occluder from the target: far, over it in the middle of the window, far."""
        first, last = window
        u = (np.arange(self.frames) - (first + last) / 2) / max((last - first) / 2, 1.0)
        # Just clear of the target at the window's ends: the nearer of the two sides decides.
        clear = float(np.min(reach / np.maximum(np.abs(way), 1e-6))) * 1.08
        inner = np.sign(u) * np.abs(u) ** (3.0 if slow else 1.2)
        away = np.where(np.abs(u) <= 1, inner, np.sign(u) * (1 + 4 * np.maximum(np.abs(u) - 1, 0) ** 1.3))
        # Beyond the frame it goes no farther, so that numbers stay small.
        far = (self.config.width + self.config.height) * 2 / clear
        return np.asarray(np.clip(away, -far, far)[:, None] * clear * way)

    def _visible(
        self, sprite: Sprite, pose: Pose, matrix: NDArray[np.float64], front: list[Layer], full: NDArray[np.float64]
    ) -> tuple[Curve, Curve]:
        """Shares (T,) of the target within the frame, and showing: counted on points spread over it."""
        inside, visible = np.empty(self.frames), np.empty(self.frames)
        for start in range(0, self.frames, 512):
            part = slice(start, min(start + 512, self.frames))
            wave = pose.wave[part] if pose.wave is not None else None
            x, y = placed(sprite.points, wave, matrix[part])
            within = (x >= 0) & (x < self.config.width) & (y >= 0) & (y < self.config.height)
            shown = within.copy()
            for layer in front:
                shown &= ~_covers(layer, self.library, x, y, part)
            inside[part], visible[part] = within.mean(axis=1), shown.mean(axis=1)
        return inside, visible

    def _places(self, cast: Cast, full: NDArray[np.float64], crowd: list[Layer]) -> tuple[str, ...] | None:
        """Where the target is, as seen from its twin; None where there is no twin."""
        if cast.twin is None:
            return None
        twin = crowd[cast.twin]
        sprite = self.library.sprite(twin.looks[0][1])
        other = twin.matrix[:, :, :2] @ sprite.center + twin.matrix[:, :, 2]
        away = full[:, :2] + full[:, 2:] / 2 - other
        sideways = np.abs(away[:, 0]) >= np.abs(away[:, 1])
        names = np.where(
            sideways,
            np.where(away[:, 0] < 0, "on the left", "on the right"),
            np.where(away[:, 1] < 0, "at the top", "at the bottom"),
        )
        return tuple(str(n) for n in names)

    def _light(self, wanted: frozenset[str], pose: Pose) -> tuple[Curve, NDArray[np.float64], list[Layer]]:
        """Gain (T,), colour balance (T, 3) and perhaps a shadow that sweeps over everything."""
        rng, frames = self.light_rng, self.frames
        light = np.exp(np.clip(0.02 * motion.noise(rng, frames, 20), -0.06, 0.06))
        base = 1 + rng.normal(0, 0.035, 3) * self.config.artefacts
        balance = np.broadcast_to(base, (frames, 3))
        band: list[Layer] = []
        if "IV" in wanted:
            darker = rng.random() < 0.65
            change = motion.swing(rng, frames, np.log(rng.uniform(0.3, 0.5) if darker else rng.uniform(1.8, 2.3)))
            light = light * np.exp(change)
            balance = balance * np.exp(change[:, None] * rng.normal(0, 0.1, 3))
            if rng.random() < 0.4:
                band = [self._sweeping_shadow(rng)]
        return light, balance, band

    def _sweeping_shadow(self, rng: np.random.Generator) -> Layer:
        look = Look("shade", "band")
        sprite = self.library.sprite(look)
        frames, width, height = self.frames, self.config.width, self.config.height
        x = width * (-0.4 + 1.8 * np.linspace(0, 1, frames) * max(1.0, frames / 300) % 1.8)
        center = np.stack([x, np.full(frames, height / 2)], axis=1)
        scale = np.broadcast_to(np.array([width * rng.uniform(0.25, 0.5), 4 * height]) / SIDE, (frames, 2))
        opacity = np.full(frames, rng.uniform(0.3, 0.55))
        return Layer(
            "shade", ((0, look),), affine(center, scale, np.full(frames, rng.uniform(-25, 25)), sprite), opacity=opacity
        )

    def _shadow(self, pose: Pose, camera: _Camera, full: NDArray[np.float64]) -> list[Layer]:
        """A soft shadow on the ground below the target."""
        look = Look("shade", "ellipse")
        sprite = self.library.sprite(look)
        center = full[:, :2] + full[:, 2:] * (0.5, 0.94)
        scale = full[:, 2:] * (1.25, 0.35) / SIDE
        opacity = np.full(self.frames, self.light_rng.uniform(0.3, 0.6))
        return [Layer("shade", ((0, look),), affine(center, scale, np.zeros(self.frames), sprite), opacity=opacity)]

    def _clutter(
        self, cast: Cast, pose: Pose, picture: int, background: NDArray[np.float64], grey: bool
    ) -> tuple[Layer, ...]:
        """Sprites in the target's colours, but of other shapes, to be painted onto the background."""
        rng, look = self.crowd_rng, cast.target[0][1]
        files = list(self.library.emoji) if look.family == "emoji" else list(self.library.files)
        looks = []
        for _ in range(8):
            other = relative(rng, look, "shape", files, not grey)
            if look.family == "patch":  # the same picture's grain, another cut
                other = Look("patch", other.kind, look.main, "", "plain", look.material, False, other.seed)
            looks.append(other)
        height, width = self.library.picture(picture)[0].shape[:2]
        unit = float(pose.size[0]) / float(np.sqrt(abs(np.linalg.det(background[0, :, :2]))))
        count = int(np.clip(0.5 * width * height / max(unit, 8) ** 2, 12, 110))
        layers = []
        for k in range(count):
            sprite = self.library.sprite(looks[k % len(looks)])
            scale = np.full((1, 2), unit * rng.uniform(0.5, 1.1) / np.sqrt(sprite.extent.prod()))
            center = rng.uniform(0, 1, (1, 2)) * (width, height)
            layers.append(
                Layer("clutter", ((0, looks[k % len(looks)]),), affine(center, scale, rng.uniform(-40, 40, 1), sprite))
            )
        return tuple(layers)

    def _attack(self, table: Timetable) -> Curve | None:
        if not table.attack:
            return None
        out = np.zeros(self.frames)
        for first, last in table.attack:
            out[first : last + 1] = self.light_rng.integers(10, 17)
        return out

    def _artefacts(self, scene: ScenePlan) -> None:
        rng = self.light_rng
        draws = rng.random(4)
        if not self.config.artefacts:
            return
        scene.gamma = float(np.exp(rng.normal(0, 0.18)))
        scene.softness = float(draws[0] * 1.1 if draws[1] < 0.6 else 0.0)
        scene.noise = float(round(draws[2] * 6 * 4) / 4 if draws[3] < 0.6 else 0.0)
        scene.jpeg = int(rng.integers(45, 95)) if rng.random() < 0.5 else 0


def _covers(layer: Layer, sources: Library, x: Curve, y: Curve, part: slice) -> NDArray[np.bool_]:
    """Which points of the frame, x and y (T, P), lie under the layer: (T, P) bool."""
    matrix = layer.matrix[part]
    a, b, c, d = (matrix[:, i, j, None] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
    dx, dy = x - matrix[:, 0, 2:], y - matrix[:, 1, 2:]
    det = a * d - b * c
    wave = layer.wave[part] if layer.wave is not None else None
    u, v = unwarped((d * dx - b * dy) / det, (a * dy - c * dx) / det, wave)
    within = (u >= 0) & (u < SIDE) & (v >= 0) & (v < SIDE)
    solid = sources.sprite(layer.looks[0][1]).solid
    columns, rows = np.clip(u, 0, SIDE - 1).astype(np.intp), np.clip(v, 0, SIDE - 1).astype(np.intp)
    return np.asarray(within & solid[rows, columns])
