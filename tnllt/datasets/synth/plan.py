"""Plans one sequence from its seed: appearance, motion, occluders, camera, light; and what is true of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from tnllt.datasets.synth import motion
from tnllt.datasets.synth.appearance import SceneAppearance, SpriteLook, choose_appearance, relative
from tnllt.datasets.synth.attribute_flags import IN_VIEW, FrameMeasures
from tnllt.datasets.synth.config import SynthConfig
from tnllt.datasets.synth.light import add_artefacts, ground_shadow, make_attack, make_light
from tnllt.datasets.synth.motion import affine, bounds, placed
from tnllt.datasets.synth.occlusion import make_occluders, visible_fractions
from tnllt.datasets.synth.scene import Layer, ScenePlan, clipped
from tnllt.datasets.synth.sources import Library, library
from tnllt.datasets.synth.sprites import SIDE, Sprite
from tnllt.datasets.synth.target_motion import (
    Pose,
    Timetable,
    choose_attributes,
    make_timetable,
    make_wave,
    pose_target,
)

Curve = NDArray[np.float64]


def plan(seed: int, config: SynthConfig | None = None, sources: Library | None = None) -> ScenePlan:
    """Plans the sequence with this seed: the same seed, configuration and sources give the same sequence.

    Args:
        sources: where images and sprites come from; None: the process's library for `config.sources`.

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
        self.appearance_rng, self.pose_rng, self.crowd_rng, self.camera_rng, self.light_rng = streams

    def plan(self) -> ScenePlan:
        config, frames = self.config, self.frames
        grey = bool(self.light_rng.random() < config.grey)
        appearance = choose_appearance(self.appearance_rng, config, self.library, grey)
        wanted = choose_attributes(self.pose_rng, config)
        table = make_timetable(self.pose_rng, frames, wanted)
        sprite = self.library.sprite(appearance.target[0][1])
        pose = pose_target(self.pose_rng, config, wanted, table, sprite, self.library)
        shift, zoom = motion.camera(self.camera_rng, frames, pose.home, self.diagonal, "CM" in wanted)
        camera = _Camera(shift, zoom, motion.shake(self.camera_rng, frames, list(table.shake), 0.016 * self.diagonal))
        matrix = self._target_matrix(pose, sprite, camera)
        full = bounds(*placed(sprite.edge(pose.wave is not None), pose.wave, matrix))
        own_blur, camera_blur = self._streaks(pose, table)
        target = Layer("target", appearance.target, matrix, pose.wave, own_blur)
        crowd = self._crowd(appearance, pose, camera)
        passing = crowd[1::2] if {"POC", "FOC"} & wanted else []  # in front they hide the target now and then
        occluders = make_occluders(self.crowd_rng, config, self.library, table, full)
        # Whatever hides the target in the first frame passes behind it, or (an occluder) is left out.
        for front in ([*passing, *occluders], occluders, []):
            inside, visible = visible_fractions(sprite, pose.wave, matrix, front, self.library, config)
            if visible[0] >= IN_VIEW:
                break
        light, balance, bands = make_light(self.light_rng, config, wanted, self.library)
        shades = [ground_shadow(self.light_rng, full, self.library)] if self.light_rng.random() < 0.35 else []
        behind = [layer for layer in crowd if all(layer is not other for other in front)]
        boxes, present = clipped(full, visible, config.width, config.height)
        attack = make_attack(self.light_rng, table, frames)
        number, background = self._background(appearance, camera)
        measures = FrameMeasures(
            boxes=full,
            inside=inside,
            visible=visible,
            camera_step=self._camera_step(background),
            angle=pose.angle,
            turn=pose.turn,
            bend=np.abs(pose.wave[:, :2]).max(axis=1) / SIDE if pose.wave is not None else np.zeros(frames),
            light=light,
            streak=_lengths(frames, own_blur) + _lengths(frames, camera_blur),
            attack=attack if attack is not None else np.zeros(frames),
            clutter="BC" in wanted,
            diagonal=self.diagonal,
        )
        scene = ScenePlan(
            seed=self.seed,
            config=config,
            library=self.library,
            layers=(*shades, *behind, target, *front, *bands),
            target=len(shades) + len(behind),
            background_index=number,
            background=background,
            measures=measures,
            boxes=boxes,
            present=present,
            attributes=measures.flags(),
            phrases=appearance.phrases,
            place=self._places(appearance, full, crowd),
            template=appearance.template,
            wrong=appearance.wrong,
            track=pose.track,
            clutter=self._clutter(appearance, pose, number, background, grey) if "BC" in wanted else (),
            camera_blur=camera_blur,
            attack=attack,
            balance=balance,
            grey=grey,
        )
        if config.artefacts:
            add_artefacts(self.light_rng, scene)
        return scene

    def _target_matrix(self, pose: Pose, sprite: Sprite, camera: _Camera) -> NDArray[np.float64]:
        """The target's matrices, so that the middle of its box is where the pose puts it."""
        matrix = affine(pose.center, pose.scale, pose.angle, sprite)
        box = bounds(*placed(sprite.edge(pose.wave is not None), pose.wave, matrix))
        matrix[:, :, 2] += pose.center - (box[:, :2] + box[:, 2:] / 2) + camera.jerk
        return matrix

    def _background(self, appearance: SceneAppearance, camera: _Camera) -> tuple[int, NDArray[np.float64]]:
        """Which background, and its matrices (T, 2, 3) to the frame."""
        rng = self.camera_rng
        index = int(rng.integers(self.library.backgrounds))
        if (
            index == appearance.target[0][1].material and self.library.backgrounds > 1
        ):  # a patch must not vanish in its own background
            index = (index + 1) % self.library.backgrounds
        height, width = self.library.background(index)[0].shape[:2]
        scale = max(self.config.width / width, self.config.height / height) * rng.uniform(1.0, 1.9)
        scale = scale * camera.zoom / camera.zoom[0]
        roll = np.radians(np.clip(rng.normal(0, 2) + 0.7 * motion.noise(rng, self.frames, 30), -8, 8))
        mirror = -1.0 if rng.random() < 0.5 else 1.0
        out = np.empty((self.frames, 2, 3))
        out[:, 0, 0], out[:, 0, 1] = mirror * scale * np.cos(roll), -scale * np.sin(roll)
        out[:, 1, 0], out[:, 1, 1] = mirror * scale * np.sin(roll), scale * np.cos(roll)
        middle = np.array([self.config.width, self.config.height]) / 2
        # Roll and zoom turn about the middle of the frame, wherever the camera has got to.
        steady = np.array([[mirror * scale[0], 0], [0, scale[0]]])
        at = np.array([width, height]) * rng.uniform(0.35, 0.65, 2) - camera.shift @ np.linalg.inv(steady).T
        out[:, :, 2] = middle - np.einsum("tij,tj->ti", out[:, :, :2], at) + camera.jerk
        return index, out

    def _camera_step(self, background: NDArray[np.float64]) -> Curve:
        """Pixels that the ground in the middle of the frame moved since the frame before, (T,)."""
        middle = np.array([self.config.width, self.config.height]) / 2
        ground = np.linalg.solve(background[:, :, :2], (middle - background[:, :, 2])[..., None])[..., 0]
        before = np.concatenate([ground[:1], ground[:-1]])
        moved = np.einsum("tij,tj->ti", background[:, :, :2], before) + background[:, :, 2] - middle
        return np.asarray(np.linalg.norm(moved, axis=1))

    def _streaks(self, pose: Pose, table: Timetable) -> tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]:
        """Motion blur of the target and of the whole frame, (T, 2) vectors or None."""
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

    def _crowd(self, appearance: SceneAppearance, pose: Pose, camera: _Camera) -> list[Layer]:
        """The distractors: some keep near the target, some pass by."""
        rng, config = self.crowd_rng, self.config
        size = float(pose.size.mean())
        smooth = gaussian_filter1d(pose.home, 8, axis=0)
        low = np.full(2, 0.3 * size)
        high = np.array([config.width, config.height]) - low
        layers = []
        for k, looks in enumerate(appearance.distractors):
            sprite = self.library.sprite(looks[0][1])
            if rng.random() < 0.7 or k == appearance.twin:
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

    def _places(
        self, appearance: SceneAppearance, full: NDArray[np.float64], crowd: list[Layer]
    ) -> tuple[str, ...] | None:
        """Where the target is, as seen from its twin; None where there is no twin."""
        if appearance.twin is None:
            return None
        twin = crowd[appearance.twin]
        sprite = self.library.sprite(twin.looks[0][1])
        other = twin.matrix[:, :, :2] @ sprite.center + twin.matrix[:, :, 2]
        away = full[:, :2] + full[:, 2:] / 2 - other
        sideways = np.abs(away[:, 0]) >= np.abs(away[:, 1])
        names = np.where(
            sideways,
            np.where(away[:, 0] < 0, "left", "right"),
            np.where(away[:, 1] < 0, "upper", "lower"),
        )
        return tuple(str(n) for n in names)

    def _clutter(
        self, appearance: SceneAppearance, pose: Pose, number: int, background: NDArray[np.float64], grey: bool
    ) -> tuple[Layer, ...]:
        """Sprites in the target's colours, but of other shapes, to be painted onto the background."""
        rng, look = self.crowd_rng, appearance.target[0][1]
        files = list(self.library.emoji) if look.family == "emoji" else list(self.library.files)
        looks = []
        for _ in range(6):
            other = relative(rng, look, "shape", files, not grey)
            if look.family == "patch":  # the same background's grain, another cut
                other = SpriteLook("patch", other.kind, look.main, "", "plain", look.material, False, other.seed)
            looks.append(other)
        height, width = self.library.background(number)[0].shape[:2]
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


def _lengths(frames: int, vectors: NDArray[np.float64] | None) -> Curve:
    return np.linalg.norm(vectors, axis=1) if vectors is not None else np.zeros(frames)
