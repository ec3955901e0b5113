"""What the scenes of some sources are made of: procedural images always; images, emoji, sprites, tracks on demand."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.frames import read_image
from tnllt.datasets.synth.config import SynthSources
from tnllt.datasets.synth.sprites import make_sprite
from tnllt.datasets.synth.textures import make_texture
from tnllt.datasets.text import read_boxes
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
EMOJI_FONTS = tuple(
    Path("/usr/share/fonts", folder, "NotoColorEmoji.ttf") for folder in ("truetype/noto", "noto", "google-noto-emoji")
)
#: Parts of Unicode names that do not say what the image shows (colours of old typography), and of signs.
_BAD_NAMES = re.compile(
    "BLACK|WHITE|HEAVY|NEGATIVE|SQUARED|CIRCLED|SIGN|SYMBOL|BUTTON|ARROW|CLOCK FACE|MARK|EMOJI|INPUT|FITZPATRICK|ZODIAC"
    "|NO |IDEOGRAPH|DINGBAT|RATED|REGIONAL|KEYCAP|LARGE|MEDIUM|SMALL|SUIT|DRAUGHTS|CHESS|MAHJONG|PLAYING|CURLY|DIVISION"
    "|BREAST-FEEDING|JUGGLING|MASSAGE|HAIRCUT|DEPARTURE|ARRIVING|WARDS| OFF|FLAG IN|CHARACTER"
)


def read_photograph(path: Path) -> Image:
    """A photograph, RGB uint8, brought to between 480 and 1024 pixels. Raises DataError."""
    read = read_image(path)
    h, w = read.shape[:2]
    scale = max(min(1.0, 1024 / max(h, w)), 480 / min(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return np.asarray(cv2.resize(read, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8)


def read_sprite(path: Path) -> Image:
    """A user's sprite, RGBA uint8. Raises DataError."""
    read = read_image(path, cv2.IMREAD_UNCHANGED)
    if read.ndim != 3 or read.shape[2] != 4:
        raise DataError("a sprite needs an opacity channel (PNG, RGBA)", path)
    if read.dtype == np.uint16:
        read = (np.asarray(read, np.uint16) >> 8).astype(np.uint8)
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGRA2RGBA), np.uint8)


def images_below(folder: str | Path | None) -> list[Path]:
    """The images of a folder and those below it; none for None. Raises UsageError where there are none."""
    if folder is None:
        return []
    if not Path(folder).is_dir():
        raise UsageError(f"{folder}: no such folder")
    found = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise UsageError(f"{folder}: no images here ({', '.join(sorted(IMAGE_SUFFIXES))} are looked for)")
    return found


def _font_file(setting: str) -> Path:
    path = Path(setting) if setting != "auto" else next((p for p in EMOJI_FONTS if p.is_file()), None)
    if path is None:
        raise UsageError("the colour emoji font is not installed (Debian: fonts-noto-color-emoji); or give a font file")
    if not path.is_file():
        raise UsageError(f"{path}: no such font file")
    return path


@lru_cache(maxsize=4)
def emoji_characters(setting: str) -> tuple[str, ...]:
    """The single characters of the emoji font whose Unicode name tells what one sees; none for "none"."""
    if setting == "none":
        return ()
    path = _font_file(setting)
    from fontTools.ttLib import TTFont, TTLibError  # type: ignore[import-untyped]  # a dependency of matplotlib

    try:
        with TTFont(str(path), lazy=True) as font:
            codes = sorted(font.getBestCmap())
    except (TTLibError, OSError, TypeError) as error:
        raise DataError(f"is not a font that can be read ({error})", path) from error
    names = {chr(c): unicodedata.name(chr(c), "") for c in codes if 0x231A <= c <= 0x27BF or 0x1F300 <= c <= 0x1FAFF}
    return tuple(c for c, name in names.items() if name and not _BAD_NAMES.search(name))


def emoji_raster(character: str, setting: str) -> NDArray[np.uint8]:
    """An emoji as RGBA uint8."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont  # a dependency of matplotlib

    font = ImageFont.truetype(str(_font_file(setting)), 109)
    canvas = PillowImage.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((12, 12), character, font=font, embedded_color=True)
    bounds = canvas.getbbox() or (0, 0, 160, 160)
    return np.asarray(canvas.crop(bounds), np.uint8)


_SKIP = {"absent", "att", "full_occlusion", "out_of_view", "attributes", "language", "nlp", "absent_label", "cover"}


@dataclass(frozen=True, eq=False)
class Track:
    """One target's boxes.

    Attributes:
        name: the sequence it was taken from.
        boxes: (T, 4) float64 x, y, w, h; gaps (no box, zero area) bridged by straight lines.
        frame: (width, height) that the boxes lie in, at least.
    """

    name: str
    boxes: NDArray[np.float64]
    frame: tuple[float, float]


def read_tracks(folder: Path, least: int = 20) -> list[Track]:
    """Every box file under a folder: `<seq>.txt`, or `<seq>/groundtruth*.txt`; others are passed over.

    Raises:
        UsageError: the folder is not there, or holds no track of `least` frames.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of box tracks")
    tracks = []
    for path in sorted(folder.rglob("*.txt")):
        if path.stem in _SKIP or _SKIP & set(path.relative_to(folder).parts[:-1]):
            continue
        boxes = _boxes(path)
        if boxes is not None and len(boxes) >= least:
            name = path.parent.name if path.stem.startswith("groundtruth") else path.stem
            reach = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
            tracks.append(Track(name, boxes, (float(reach[0]), float(reach[1]))))
    if not tracks:
        raise UsageError(f"{folder}: no box tracks here (text files with rows x,y,w,h, at least {least} of them)")
    return tracks


def _boxes(path: Path) -> NDArray[np.float64] | None:
    try:
        boxes = read_boxes(path)
    except DataError:
        return None
    good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 1).all(axis=1)
    if good.sum() < 2:
        return None
    index = np.arange(len(boxes))
    return np.stack([np.interp(index, index[good], boxes[good, c]) for c in range(4)], axis=1)


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
