"""Where the images of a scene come from: procedural ones always; photographs, emoji and files where asked for."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.frames import read_image
from tnllt.datasets.synth.config import SynthSources
from tnllt.datasets.synth.textures import make_texture
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Image

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
EMOJI_FONTS = tuple(
    Path("/usr/share/fonts", folder, "NotoColorEmoji.ttf") for folder in ("truetype/noto", "noto", "google-noto-emoji")
)
#: Calibration targets, masks, plots: parts of names of images that are not a scene.
_NO_SCENE = re.compile(
    r"chess|board|calib|left0|left1|right0|right1|aruco|marker|qr|sudoku|digits|logo|text|letter|page|notes|cards|phantom"
    r"|mask|pattern|gradient|blank|noise|disp|depth|gt\.|suzanne|detect_blob|elipses|pca_|ml\.|smarties|pic|stuff|horse"
    r"|microaneurysm|color\.png|cell|clock_motion"
)
#: Parts of Unicode names that do not say what the image shows (colours of old typography), and of signs.
_BAD_NAMES = re.compile(
    "BLACK|WHITE|HEAVY|NEGATIVE|SQUARED|CIRCLED|SIGN|SYMBOL|BUTTON|ARROW|CLOCK FACE|MARK|EMOJI|INPUT|FITZPATRICK|ZODIAC"
    "|NO |IDEOGRAPH|DINGBAT|RATED|REGIONAL|KEYCAP|LARGE|MEDIUM|SMALL|SUIT|DRAUGHTS|CHESS|MAHJONG|PLAYING|CURLY|DIVISION"
    "|BREAST-FEEDING|JUGGLING|MASSAGE|HAIRCUT|DEPARTURE|ARRIVING|WARDS| OFF|FLAG IN|CHARACTER"
)


class ImagePool:
    """The images of some sources by number or name; nothing is kept.

    Attributes:
        backgrounds: how many backgrounds there are: photographs first, then procedural ones.
        emoji, files: characters, and names with paths, of the sprites that are images.
    """

    def __init__(self, sources: SynthSources) -> None:
        self.sources = sources
        self._photographs = _photographs(sources)
        self.backgrounds = len(self._photographs) + sources.procedural
        if self.backgrounds == 0:
            raise UsageError("no backgrounds: allow procedural ones, or give a folder of backgrounds with images in it")
        self.emoji = emoji_characters(sources.emoji)
        self.files = {p.stem: p for p in _images(sources.sprites)} if sources.sprites else {}
        if sources.sprites and not self.files:
            raise UsageError(f"{sources.sprites}: no sprites here; PNG files with opacity are looked for")

    def describe(self) -> dict[str, Any]:
        """What a record notes of the sources: enough to see whether two machines have the same."""
        names = [p.name for p in self._photographs]
        digest = hashlib.sha256("\n".join([*names, "".join(self.emoji), *sorted(self.files)]).encode()).hexdigest()[:16]
        return {
            "procedural": self.sources.procedural,
            "photographs": len(names),
            "emoji": len(self.emoji),
            "sprites": len(self.files),
            "digest": digest,
        }

    def background_name(self, index: int) -> str:
        """A photograph's file name, or `procedural N`."""
        if index < len(self._photographs):
            return self._photographs[index].name
        return f"procedural {self._texture(index)}"

    def _texture(self, index: int) -> int:
        return self.sources.first + index - len(self._photographs)

    def background(self, index: int) -> tuple[Image, ...]:
        """Background number `index`, RGB uint8, with its halvings (for drawing it small without aliasing)."""
        photograph = index < len(self._photographs)
        levels = [
            read_photograph(self._photographs[index]) if photograph else make_texture(self._texture(index), 720, 960)
        ]
        while min(levels[-1].shape[:2]) > 90:
            h, w = levels[-1].shape[:2]
            levels.append(np.asarray(cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA), np.uint8))
        return tuple(levels)

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
        if family == "emoji":
            return _emoji_raster(kind, _font_file(self.sources.emoji))
        return _read_sprite(self.files[kind])


def read_photograph(path: Path) -> Image:
    """A photograph, RGB uint8, brought to between 480 and 1024 pixels. Raises DataError."""
    read = read_image(path)
    h, w = read.shape[:2]
    scale = max(min(1.0, 1024 / max(h, w)), 480 / min(h, w))
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return np.asarray(cv2.resize(read, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8)


def _read_sprite(path: Path) -> Image:
    """A user's sprite, RGBA uint8. Raises DataError."""
    read = read_image(path, cv2.IMREAD_UNCHANGED)
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
            known = ", ".join(sorted(IMAGE_SUFFIXES))
            raise UsageError(f"{sources.backgrounds}: no images here ({known} are looked for)")
        return own
    if sources.photographs == "none":
        return []
    if sources.photographs != "auto":
        raise UsageError(f'photographs = {sources.photographs!r}: give "none" or "auto", or a folder of backgrounds')
    found = list(installed_photographs())
    if not found:
        raise UsageError("no photographs are installed; install scikit-image, or give a folder of backgrounds")
    return found


@lru_cache(maxsize=1)
def installed_photographs() -> tuple[Path, ...]:
    """Photographs that scikit-image, scikit-learn, opencv-doc and mate-backgrounds bring, where installed."""
    folders = [Path("/usr/share/doc/opencv-doc/examples/data"), Path("/usr/share/backgrounds/mate/nature")]
    for package, inside in (("skimage", "data"), ("sklearn", "datasets/images")):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin:
            folders.insert(0, Path(spec.origin).parent / inside)
    found = [p for f in folders if f.is_dir() for p in sorted(f.glob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    return tuple(p for p in found if not _NO_SCENE.search(p.name.lower()) and p.stat().st_size > 15_000)


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


def _emoji_raster(character: str, path: Path) -> NDArray[np.uint8]:
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont  # a dependency of matplotlib

    canvas = PillowImage.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((12, 12), character, font=ImageFont.truetype(str(path), 109), embedded_color=True)
    bounds = canvas.getbbox() or (0, 0, 160, 160)
    return np.asarray(canvas.crop(bounds), np.uint8)
