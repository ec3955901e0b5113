"""Where the images of a scene come from: procedural ones always; images, emoji and sprites where asked for."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.frames import read_image
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
