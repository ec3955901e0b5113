"""The images, sprites and box tracks of some sources, made when needed and kept within a bound of memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.datasets.synth.config import SynthSources
from tnllt.datasets.synth.sources import ImagePool
from tnllt.datasets.synth.sprites import Sprite, make_sprite
from tnllt.datasets.synth.tracks import Track, read_tracks
from tnllt.sequence import Image

if TYPE_CHECKING:
    from tnllt.datasets.synth.appearance import Look


class _Cache:
    """Least recently used values, bounded by their bytes."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self._items: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], tuple[Any, int]]) -> Any:
        if key in self._items:
            self._items.move_to_end(key)
            return self._items[key][0]
        value, size = make()
        self._items[key] = (value, size)
        self.used += size
        while self.used > self.limit and len(self._items) > 1:
            self.used -= self._items.popitem(last=False)[1][1]
        return value


class Library(ImagePool):
    """An `ImagePool` that keeps backgrounds and sprites, with the box tracks of the sources.

    Args:
        megabytes: bound of the kept backgrounds; sprites have a quarter of it more.
    """

    def __init__(self, sources: SynthSources | None = None, megabytes: int = 600) -> None:
        sources = sources or SynthSources()
        super().__init__(sources)
        self.tracks: list[Track] = read_tracks(Path(sources.motion_from)) if sources.motion_from else []
        self._backgrounds = _Cache(megabytes << 20)
        self._sprites = _Cache(megabytes << 18)

    def describe(self) -> dict[str, Any]:
        described = super().describe()
        digest = described.pop("digest")
        return {**described, "tracks": len(self.tracks), "digest": digest}

    def background(self, index: int) -> tuple[Image, ...]:
        def make() -> tuple[tuple[Image, ...], int]:
            levels = super(Library, self).background(index)
            return levels, sum(level.nbytes for level in levels)

        return self._backgrounds.get(index, make)  # type: ignore[no-any-return]

    def preload(self) -> None:
        """Draws every background now, so that forked workers share them."""
        for index in range(self.backgrounds):
            self.background(index)

    def sprite(self, look: Look) -> Sprite:
        """The raster of a look."""

        def make() -> tuple[Sprite, int]:
            sprite = make_sprite(look, self)
            return sprite, int(sum(level.nbytes for level in sprite.levels)) + 24_000

        return self._sprites.get(look, make)  # type: ignore[no-any-return]


@lru_cache(maxsize=4)
def library(sources: SynthSources, megabytes: int = 600) -> Library:
    """The process's library for these sources."""
    return Library(sources, megabytes)
