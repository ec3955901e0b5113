"""Where the images of a scene come from: procedural ones always; photographs, emoji and files where asked for."""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.frames import read_image
from tnllt.datasets.synth.config import SynthSources
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


def images_below(folder: str | Path) -> list[Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder")
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def photographs(sources: SynthSources) -> list[Path]:
    """The photographs that serve as backgrounds: the user's, or those that are installed where asked for."""
    if sources.backgrounds:
        own = images_below(sources.backgrounds)
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


def emoji_raster(character: str, setting: str) -> NDArray[np.uint8]:
    """An emoji as RGBA uint8."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw, ImageFont  # a dependency of matplotlib

    font = ImageFont.truetype(str(_font_file(setting)), 109)
    canvas = PillowImage.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((12, 12), character, font=font, embedded_color=True)
    bounds = canvas.getbbox() or (0, 0, 160, 160)
    return np.asarray(canvas.crop(bounds), np.uint8)
