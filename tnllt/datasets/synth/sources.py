"""What sequences are made of: procedural pictures always, and photographs, emoji and files where there are some."""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.appearance import Look
from tnllt.datasets.synth.sprites import SIDE, Sprite, make_sprite
from tnllt.datasets.synth.textures import make_texture
from tnllt.datasets.synth.tracks import Track, read_tracks
from tnllt.errors import DataError, UsageError

Picture = NDArray[np.uint8]
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_EMOJI_FONTS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",
)
#: Calibration targets, masks, plots: pictures that are no scene.
_NO_SCENE = (
    *("chess", "board", "calib", "left0", "left1", "right0", "right1", "aruco", "marker", "qr", "sudoku", "digits"),
    *(
        "logo",
        "text",
        "letter",
        "page",
        "multipage",
        "notes",
        "cards",
        "phantom",
        "mask",
        "pattern",
        "gradient",
        "blank",
    ),
    *("noise", "disp", "depth", "gt.", "suzanne", "detect_blob", "elipses", "pca_", "ml.", "smarties", "pic", "stuff"),
    *("horse", "microaneurysm", "color.png", "cell", "clock_motion"),
)
#: Unicode names that do not say what the picture shows (colours of old typography), and signs.
_BAD_NAMES = (
    "BLACK",
    "WHITE",
    "HEAVY",
    "NEGATIVE",
    "SQUARED",
    "CIRCLED",
    "SIGN",
    "SYMBOL",
    "BUTTON",
    "ARROW",
    "CLOCK FACE",
    "MARK",
    "EMOJI",
    "INPUT",
    "FITZPATRICK",
    "ZODIAC",
    "NO ",
    "IDEOGRAPH",
    "DINGBAT",
    "RATED",
    "REGIONAL",
    "KEYCAP",
    "LARGE",
    "MEDIUM",
    "SMALL",
    "SUIT",
    "DRAUGHTS",
    "CHESS",
    "MAHJONG",
    "PLAYING",
    "CURLY",
    "DIVISION",
    *(
        "BREAST-FEEDING",
        "JUGGLING",
        "MASSAGE",
        "HAIRCUT",
        "DEPARTURE",
        "ARRIVING",
        "WARDS",
        " OFF",
        "FLAG IN",
        "CHARACTER",
    ),
)


@dataclass(frozen=True)
class SynthSources:
    """Which pictures may be used. Hashable: one `Library` is kept per process for each.

    Attributes:
        procedural: how many procedural backgrounds are in the pool (0: none, if there are photographs).
        photographs: "auto" (those that installed packages bring), "none".
        backgrounds: a folder of the user's own pictures, or None.
        sprites: a folder of PNG files with opacity, named by what they show, or None.
        emoji: "auto" (the Noto colour font, where it is installed), "none", or a font file.
        motion_from: a folder of box tracks (text files of x,y,w,h rows), or None.
        first: number of the first procedural background; another one gives other pictures.
    """

    procedural: int = 64
    photographs: str = "auto"
    backgrounds: str | None = None
    sprites: str | None = None
    emoji: str = "auto"
    motion_from: str | None = None
    first: int = 0

    @classmethod
    def only_procedural(cls, count: int = 64) -> SynthSources:
        """Nothing that depends on the machine: the same sequences everywhere."""
        return cls(procedural=count, photographs="none", emoji="none")


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


class Library:
    """Pictures, sprites and tracks of some sources, drawn when needed and kept within a bound of memory.

    Args:
        megabytes: bound of the picture cache; sprites have a quarter of it more.
    """

    def __init__(self, sources: SynthSources | None = None, megabytes: int = 600) -> None:
        self.sources = sources = sources or SynthSources()
        self.photographs = _photographs(sources)
        self.pictures = len(self.photographs) + sources.procedural
        if self.pictures == 0:
            raise UsageError("no backgrounds: allow procedural ones, or give --backgrounds DIR with pictures in it")
        self.emoji = emoji_characters(sources.emoji)
        self.files = {p.stem: p for p in _images(sources.sprites)} if sources.sprites else {}
        if sources.sprites and not self.files:
            raise UsageError(f"{sources.sprites}: no sprites here; PNG files with opacity are looked for")
        self.tracks: list[Track] = read_tracks(Path(sources.motion_from)) if sources.motion_from else []
        self._pictures = _Cache(megabytes << 20)
        self._sprites = _Cache(megabytes << 18)

    def describe(self) -> dict[str, Any]:
        """What a record says of the sources: enough to see whether two machines have the same."""
        names = [p.name for p in self.photographs]
        digest = hashlib.sha256("\n".join([*names, "".join(self.emoji), *sorted(self.files)]).encode()).hexdigest()[:16]
        return {
            "procedural": self.sources.procedural,
            "photographs": len(names),
            "emoji": len(self.emoji),
            "sprites": len(self.files),
            "tracks": len(self.tracks),
            "digest": digest,
        }

    def picture_name(self, index: int) -> str:
        """A photograph's file name, or `procedural N`."""
        if index < len(self.photographs):
            return self.photographs[index].name
        return f"procedural {self.sources.first + index - len(self.photographs)}"

    def picture(self, index: int) -> tuple[Picture, ...]:
        """Background number `index`, RGB uint8, with its halvings (for drawing it small without aliasing)."""

        def make() -> tuple[tuple[Picture, ...], int]:
            if index < len(self.photographs):
                first = read_photograph(self.photographs[index])
            else:
                first = make_texture(self.sources.first + index - len(self.photographs), 720, 960)
            levels = [first]
            while min(levels[-1].shape[:2]) > 90:
                h, w = levels[-1].shape[:2]
                levels.append(
                    np.asarray(cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA), np.uint8)
                )
            return tuple(levels), sum(level.nbytes for level in levels)

        return self._pictures.get(index, make)  # type: ignore[no-any-return]

    def preload(self) -> None:
        """Draws every picture now, so that forked workers share them."""
        for index in range(self.pictures):
            self.picture(index)

    def sprite(self, look: Look) -> Sprite:
        """The raster of a look."""

        def make() -> tuple[Sprite, int]:
            sprite = make_sprite(look, self)
            return sprite, int(sum(level.nbytes for level in sprite.levels)) + 24_000

        return self._sprites.get(look, make)  # type: ignore[no-any-return]

    def piece(self, index: int, side: int, rng: np.random.Generator) -> Picture:
        """A random square of picture `index`, RGB uint8 (side, side, 3)."""
        levels = self.picture(index)
        level = levels[min(int(rng.integers(0, 3)), len(levels) - 1)]
        h, w = level.shape[:2]
        size = min(h, w, int(side * rng.uniform(0.6, 1.5)))
        y, x = int(rng.integers(0, h - size + 1)), int(rng.integers(0, w - size + 1))
        piece = cv2.resize(level[y : y + size, x : x + size], (side, side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(np.rot90(piece, int(rng.integers(4))), np.uint8)

    def grain(self, index: int, side: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Light and shade of a random square of a picture, (side, side) float32 about 1."""
        grey = self.piece(index, side, rng).mean(axis=2, dtype=np.float32)
        strength = rng.uniform(0.08, 0.3)
        return np.asarray(1 + strength * np.clip((grey - grey.mean()) / (grey.std() + 6), -2, 1.5), np.float32)

    def picture_sprite(self, look: Look) -> NDArray[np.uint8]:
        """Premultiplied RGBA (SIDE, SIDE, 4) of an emoji or of a user's file."""
        if look.family == "emoji":
            straight = _emoji_raster(look.kind, _font_file(self.sources.emoji))
        else:
            straight = _read_sprite(self.files[look.kind])
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


@lru_cache(maxsize=4)
def library(sources: SynthSources, megabytes: int = 600) -> Library:
    """The process's library for these sources."""
    return Library(sources, megabytes)


def read_photograph(path: Path) -> Picture:
    """A photograph, RGB uint8, brought to between 480 and 1024 pixels. Raises DataError."""
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is None:
        raise DataError("not a picture that can be decoded; remove it from the backgrounds folder", path)
    h, w = read.shape[:2]
    scale = max(min(1.0, 1024 / max(h, w)), 480 / min(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    read = cv2.resize(read, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


def _read_sprite(path: Path) -> Picture:
    """A user's sprite, RGBA uint8. Raises DataError."""
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None:
        raise DataError("not a picture that can be decoded; remove it from the sprites folder", path)
    if read.ndim != 3 or read.shape[2] != 4:
        raise DataError("a sprite needs an opacity channel (PNG, RGBA)", path)
    if read.dtype == np.uint16:
        read = (np.asarray(read, np.uint16) >> 8).astype(np.uint8)
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGRA2RGBA), np.uint8)


def _images(folder: str | Path) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def _photographs(sources: SynthSources) -> list[Path]:
    if sources.backgrounds:
        own = _images(sources.backgrounds)
        if not own:
            raise UsageError(
                f"{sources.backgrounds}: no pictures here ({', '.join(sorted(IMAGE_SUFFIXES))} are looked for)"
            )
        return own
    return list(installed_photographs()) if sources.photographs == "auto" else []


@lru_cache(maxsize=1)
def installed_photographs() -> tuple[Path, ...]:
    """Photographs that scikit-image, scikit-learn, opencv-doc and mate-backgrounds bring, where installed."""
    folders = [Path("/usr/share/doc/opencv-doc/examples/data"), Path("/usr/share/backgrounds/mate/nature")]
    for package, inside in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            folders.insert(0, Path(spec.origin).parent / inside)
    found = [p for f in folders if f.is_dir() for p in sorted(f.glob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    return tuple(
        p for p in found if not any(word in p.name.lower() for word in _NO_SCENE) and p.stat().st_size > 15_000
    )


def _font_file(setting: str) -> Path | None:
    if setting == "none":
        return None
    if setting != "auto":
        if not Path(setting).is_file():
            raise UsageError(f"{setting}: no such font file")
        return Path(setting)
    return next((Path(p) for p in _EMOJI_FONTS if Path(p).is_file()), None)


@lru_cache(maxsize=4)
def emoji_characters(setting: str) -> tuple[str, ...]:
    """The single characters of the emoji font whose Unicode name says what one sees."""
    import unicodedata

    path = _font_file(setting)
    if path is None:
        return ()
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # a dependency of matplotlib

    with TTFont(str(path), lazy=True) as font:
        codes = sorted(font.getBestCmap())
    names = {chr(c): unicodedata.name(chr(c), "") for c in codes if 0x231A <= c <= 0x27BF or 0x1F300 <= c <= 0x1FAFF}
    return tuple(c for c, name in names.items() if name and not any(bad in name for bad in _BAD_NAMES))


def _emoji_raster(character: str, path: Path | None) -> NDArray[np.uint8]:
    from PIL import Image, ImageDraw, ImageFont  # a dependency of matplotlib

    if path is None:
        raise UsageError("a sequence with emoji needs the colour emoji font (Debian: fonts-noto-color-emoji)")
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((12, 12), character, font=ImageFont.truetype(str(path), 109), embedded_color=True)
    bounds = canvas.getbbox() or (0, 0, 160, 160)
    return np.asarray(canvas.crop(bounds), np.uint8)
