"""Annotated video: one painter of boxes, legend and description, and one writer, for every command that makes one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tnllt.errors import DataError, UsageError
from tnllt.files import temporary_beside
from tnllt.masks import Mask
from tnllt.sequence import Frames, Image
from tnllt.text import one_line

#: Colour of the annotated box.
TRUTH = "#ffffff"
#: Widest video where no width is given.
_MOST_WIDTH = 1280


@dataclass(frozen=True)
class Mark:
    """One box of a frame, with its row of the legend.

    Attributes:
        label: the legend's text; "" for none.
        colour: "#rrggbb".
        box: x, y, w, h in pixels; one that is not finite or has no area is left out.
        faint: drawn thinner, as an annotation or the box of an absent target.
        mask: (H, W) bool, pixels of the frame that are tinted.
    """

    label: str
    colour: str
    box: ArrayLike
    faint: bool = False
    mask: Mask | None = None


def paint(
    image: Image, marks: Iterable[Mark], caption: str = "", description: str = "", width: int | None = None
) -> Image:
    """The frame with everything drawn.

    Args:
        image: RGB uint8 (H, W, 3).
        marks: boxes, the first one on top.
        caption: the last row of the legend.
        description: at the bottom, on at most three lines.
        width: pixels; None keeps the frame's own, at most 1280.

    Returns:
        RGB uint8 (h, w, 3); both sides are even, as video needs.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    marks = list(marks)
    wide = min(image.shape[1], _MOST_WIDTH) if width is None else max(64, width)
    scale = wide / image.shape[1]
    size = (max(2, wide // 2 * 2), max(2, round(image.shape[0] * scale) // 2 * 2))
    resampling = Pillow.Resampling.LANCZOS if scale < 1 else Pillow.Resampling.BICUBIC
    drawn = Pillow.fromarray(image)
    drawn = drawn if drawn.size == size else drawn.resize(size, resampling)
    canvas = ImageDraw.Draw(drawn, "RGBA")
    line = max(2, round(wide / 400))
    for mark in reversed(marks):
        if mark.mask is not None:
            tint = Pillow.fromarray(mark.mask.astype(np.uint8) * 110).resize(size)
            canvas.bitmap((0, 0), tint, fill=mark.colour)
        _box(canvas, np.asarray(mark.box, np.float64) * scale, mark.colour, max(1, line - mark.faint))
    _legend(canvas, marks, caption, wide)
    if description:
        _description(canvas, description, size)
    return np.asarray(drawn, np.uint8)


def _box(canvas: Any, box: Any, colour: str, line: int) -> None:
    if not np.isfinite(box).all() or box[2] <= 0 or box[3] <= 0 or np.abs(box).max() > 1e6:
        return
    corners = [*box[:2], *(box[:2] + box[2:])]
    canvas.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline="#0008", width=line + 2)
    canvas.rectangle(corners, outline=colour, width=line)


def _legend(canvas: Any, marks: list[Mark], caption: str, width: int) -> None:
    size = max(11, round(width / 60))
    font, tall = _font(size), round(size * 1.5)
    rows = [(mark.colour, mark.label) for mark in marks if mark.label] + ([("", caption)] if caption else [])
    if not rows:
        return
    wide = max(canvas.textlength(text, font=font) for _, text in rows) + 2.6 * size
    canvas.rectangle([0, 0, wide, tall * len(rows) + size * 0.6], fill=(0, 0, 0, 150))
    for number, (colour, text) in enumerate(rows):
        top = size * 0.3 + tall * number
        if colour:
            swatch = [size * 0.6, top + tall * 0.25, size * 1.4, top + tall * 0.75]
            canvas.rectangle(swatch, outline=colour, width=max(2, size // 6))
        canvas.text((size * (1.9 if colour else 0.6), top + tall * 0.15), text, font=font, fill="white")


def _description(canvas: Any, text: str, size: tuple[int, int]) -> None:
    points = max(11, round(size[0] / 52))
    font, tall = _font(points), round(points * 1.4)
    lines = _wrapped(text, lambda t: canvas.textlength(t, font=font), size[0] - 2 * points)
    top = size[1] - tall * len(lines) - points * 0.7
    canvas.rectangle([0, top, size[0], size[1]], fill=(0, 0, 0, 150))
    for number, line in enumerate(lines):
        canvas.text((points, top + points * 0.3 + tall * number), line, font=font, fill="white")


@cache
def _font(size: int) -> Any:
    """DejaVu, which comes with matplotlib and has most alphabets."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _wrapped(text: str, measure: Callable[[str], float], width: float, most: int = 3) -> list[str]:
    lines = [""]
    for word in one_line(text)[:600].split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and measure(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + " …"]


SUFFIXES = (".mp4", ".webm", ".gif")
#: Frames per second of what states none: folders of images.
_USUAL_RATE = 30.0


def frame_rate(frames: Frames) -> float:
    """Frames per second that a video file states; 30 for images, which state none."""
    return float(getattr(frames, "fps", 0) or _USUAL_RATE)


def check_suffix(path: Path) -> None:
    """Raises UsageError where no video can be written under this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path.name}: the suffix must be one of {', '.join(SUFFIXES)}")


def write_video(path: Path, images: Iterable[Image], fps: float, colours: Iterable[str] = ()) -> None:
    """Writes images, as they come, at `fps` frames per second.

    MP4 is H.264 where there is an ffmpeg with libx264 (on the PATH, or of the package imageio-ffmpeg), which browsers
    and slides both play, else MPEG-4 part 2, which slides play; WebM is VP9; a GIF keeps at most 256 colours.

    Args:
        images: RGB uint8 (H, W, 3), all of one size with even sides.
        colours: "#rrggbb" of thin lines, which a GIF's palette must have.

    Raises:
        UsageError: another suffix. DataError: the file cannot be written, or there is no image.
    """
    check_suffix(path)
    images = iter(images)
    with temporary_beside(path) as temporary:
        first = next(images, None)
        if first is None:
            raise DataError("there is no frame to write", path)
        images = chain([first], images)
        if path.suffix.lower() == ".gif":
            _write_gif(temporary, images, fps, [*colours, TRUTH, "#000000"])
        elif path.suffix.lower() == ".mp4" and _h264() is not None:
            _write_ffmpeg(temporary, images, fps, first.shape)
        else:
            _write_opencv(temporary, images, fps, first.shape)


@cache
def _h264() -> str | None:
    """The ffmpeg that can write H.264, or None."""
    places = [shutil.which("ffmpeg")]
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        places.append(get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # not installed, or without its program
        pass
    for place in filter(None, places):
        asked = subprocess.run([place, "-v", "error", "-encoders"], capture_output=True, check=False)
        if b"libx264" in asked.stdout:
            return place
    return None


def _write_gif(path: Path, images: Iterator[Image], fps: float, colours: list[str]) -> None:
    from PIL import Image as Pillow

    # The boxes' own colours have a place in every palette: a quantiser of whole images would merge thin lines away.
    kept = [int(c[i : i + 2], 16) for c in colours for i in (1, 3, 5)][:384]

    def reduced(image: Image) -> Any:
        whole = Pillow.fromarray(image)
        palette = Pillow.new("P", (1, 1))
        found = whole.quantize(256 - len(kept) // 3, dither=Pillow.Dither.NONE).getpalette() or []
        palette.putpalette([*kept, *found][:768])
        return whole.quantize(palette=palette, dither=Pillow.Dither.NONE)

    frames = map(reduced, images)
    first = next(frames)
    # GIF counts in hundredths of a second, and viewers slow down what claims to be faster than 50 fps.
    delay = max(20, round(100 / fps) * 10)
    first.save(path, format="GIF", save_all=True, append_images=frames, duration=delay, loop=0, optimize=False)


def _write_opencv(path: Path, images: Iterator[Image], fps: float, shape: tuple[int, ...]) -> None:
    import cv2

    code = cv2.VideoWriter.fourcc(*("mp4v" if path.suffix.lower() == ".mp4" else "VP90"))
    writer = cv2.VideoWriter(str(path), code, fps, (shape[1], shape[0]))
    try:
        if not writer.isOpened():
            raise DataError(f"OpenCV cannot write {path.suffix} files here; try another suffix", path)
        for image in images:
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    if not path.is_file() or path.stat().st_size == 0:
        raise DataError("the video could not be written (is the disk full?)", path)


def _write_ffmpeg(path: Path, images: Iterator[Image], fps: float, shape: tuple[int, ...]) -> None:
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{shape[1]}x{shape[0]}", "-r", f"{fps:g}", "-i", "-"]
    target = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    command = [str(_h264()), "-v", "error", "-y", *source, *target]
    # In a session of its own: Ctrl-C ends a live source, and what was filmed up to it is kept.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        try:
            for image in images:
                process.stdin.write(image.tobytes())
        except BrokenPipeError:
            pass  # its error output, read below, has the reason
        except BaseException:
            process.kill()
            raise
        _, errors = process.communicate()
    if process.returncode != 0:
        raise DataError(f"ffmpeg failed: {errors.decode(errors='replace').strip()[:300]}", path)
