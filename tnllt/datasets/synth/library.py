"""The images, sprites and box tracks of some sources, made when needed; the latest are kept."""

from __future__ import annotations

import hashlib
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.config import SynthSources
from tnllt.datasets.synth.sources import (
    emoji_characters,
    emoji_raster,
    images_below,
    read_photograph,
    read_sprite,
)
from tnllt.datasets.synth.sprites import make_sprite
from tnllt.datasets.synth.textures import make_texture
from tnllt.datasets.synth.tracks import Track, read_tracks
from tnllt.errors import UsageError
from tnllt.sequence import Image

#: How many are kept: of backgrounds (3 MB each) and of sprites (0.1 MB each).
_BACKGROUNDS, _SPRITES = 200, 1000


class Library:
    """What the scenes of some sources are made of.

    Attributes:
        backgrounds: how many backgrounds there are: a user's first, then procedural ones.
        emoji, files: characters, and names with paths, of the sprites that are images.
        tracks: box tracks that targets move along.
        background: called with a background's number, gives it as RGB uint8, with its halvings (for drawing it small
            without aliasing).
        sprite: called with a look, gives its raster.
    """

    def __init__(self, sources: SynthSources | None = None) -> None:
        self.sources = sources = sources or SynthSources()
        self._photographs = images_below(sources.backgrounds)
        self.backgrounds = len(self._photographs) + sources.procedural
        if self.backgrounds == 0:
            raise UsageError("no backgrounds: allow procedural ones, or give a folder of backgrounds with images in it")
        self.emoji = emoji_characters(sources.emoji)
        self.files = {p.stem: p for p in images_below(sources.sprites)}
        self.tracks: list[Track] = read_tracks(Path(sources.motion_from)) if sources.motion_from else []
        self.background = lru_cache(_BACKGROUNDS)(self._background)
        self.sprite = lru_cache(_SPRITES)(partial(make_sprite, pool=self))

    def describe(self) -> dict[str, Any]:
        """What a record notes of the sources: enough to see whether two machines have the same."""
        names = [p.name for p in self._photographs]
        digest = hashlib.sha256("\n".join([*names, "".join(self.emoji), *sorted(self.files)]).encode()).hexdigest()[:16]
        return {
            "procedural": self.sources.procedural,
            "photographs": len(names),
            "emoji": len(self.emoji),
            "sprites": len(self.files),
            "tracks": len(self.tracks),
            "digest": digest,
        }

    def background_name(self, index: int) -> str:
        """A photograph's file name, or `procedural N`."""
        if index < len(self._photographs):
            return self._photographs[index].name
        return f"procedural {self._texture(index)}"

    def _texture(self, index: int) -> int:
        return self.sources.first + index - len(self._photographs)

    def _background(self, index: int) -> tuple[Image, ...]:
        photograph = index < len(self._photographs)
        levels = [
            read_photograph(self._photographs[index]) if photograph else make_texture(self._texture(index), 720, 960)
        ]
        while min(levels[-1].shape[:2]) > 90:
            h, w = levels[-1].shape[:2]
            levels.append(np.asarray(cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA), np.uint8))
        return tuple(levels)

    def preload(self) -> None:
        """Draws every background now, so that forked workers share them."""
        for index in range(self.backgrounds):
            self.background(index)

    def piece(self, index: int, side: int, rng: np.random.Generator) -> Image:
        """A random square of background `index`, RGB uint8 (side, side, 3)."""
        levels = self.background(index)
        level = levels[min(int(rng.integers(0, 3)), len(levels) - 1)]
        h, w = level.shape[:2]
        size = min(h, w, int(side * rng.uniform(0.6, 1.5)))
        y, x = int(rng.integers(0, h - size + 1)), int(rng.integers(0, w - size + 1))
        piece = cv2.resize(level[y : y + size, x : x + size], (side, side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.rot90(piece, int(rng.integers(4))), np.uint8)

    def grain(self, index: int, side: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Light and shade of a random square of a background, (side, side) float32 about 1."""
        grey = self.piece(index, side, rng).mean(axis=2, dtype=np.float32)
        strength = rng.uniform(0.08, 0.3)
        return np.asarray(1 + strength * np.clip((grey - grey.mean()) / (grey.std() + 6), -2, 1.5), np.float32)

    def sprite_image(self, family: str, kind: str) -> NDArray[np.uint8]:
        """RGBA uint8 of an emoji (family "emoji") or of a user's file."""
        return emoji_raster(kind, self.sources.emoji) if family == "emoji" else read_sprite(self.files[kind])


@lru_cache(maxsize=4)
def library(sources: SynthSources) -> Library:
    """The process's library for these sources."""
    return Library(sources)
