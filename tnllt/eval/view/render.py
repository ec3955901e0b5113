"""A scene as a video or GIF for slides: boxes of truth and trackers, a legend, the description in force."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.datasets.frames import prefetch
from tnllt.errors import DataError, UsageError
from tnllt.eval.longterm import fitted
from tnllt.eval.tables import name_cell
from tnllt.eval.view.scene import Scene
from tnllt.files import temporary_beside
from tnllt.sequence import Image

#: Hues that colour-blind readers can tell apart, the order of the local page.
COLOURS = ("#4aa8e8", "#ff8a3d", "#2fc79a", "#e79cc8", "#f0b429", "#b59cf0", "#8fd3ff")
TRUTH = "#ffffff"
SUFFIXES = (".mp4", ".webm", ".gif")


def render(
    scene: Scene, path: Path, frames: range, *, fps: float = 30.0, width: int | None = None, truth: bool = True
) -> None:
    """Writes frames of the scene, counted from 0.

    MP4 is H.264 where an `ffmpeg` with libx264 is on the PATH, which browsers and slides both play, else MPEG-4 part 2,
    which slides play; WebM is VP9; a GIF keeps at most 256 colours. The file is there whole or not at all.

    Args:
        width: pixels; None keeps the frames' own, at most 1280 (640 for a GIF).

    Raises:
        UsageError: another suffix.
        DataError: a frame or the file cannot be read or written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path.name}: the suffix must be one of {', '.join(SUFFIXES)}")
    most = 640 if path.suffix.lower() == ".gif" else 1280
    images = _images(scene, frames, width, most, truth)
    with temporary_beside(path) as temporary:
        if path.suffix.lower() == ".gif":
            _write_gif(temporary, images, fps)
        elif path.suffix.lower() == ".mp4" and shutil.which("ffmpeg"):
            _write_ffmpeg(temporary, images, fps)
        else:
            _write_opencv(temporary, images, fps)


def _images(scene: Scene, indices: range, width: int | None, most: int, truth: bool) -> Iterator[Image]:
    painter = Painter(scene, width, most, truth)
    if indices.step == 1:
        frames: Iterable[Image] = prefetch(scene.sequence, indices.start, indices.stop)
    else:
        frames = (scene.sequence.frames[i] for i in indices)
    for index, image in zip(indices, frames, strict=False):
        yield painter.draw(image, index)


class Painter:
    """Draws one frame of a scene after another."""

    def __init__(self, scene: Scene, width: int | None = None, most: int = 1280, truth: bool = True) -> None:
        self.scene, self.truth = scene, truth
        own = scene.size()[0]
        self.width = min(own, most) if width is None else max(64, width)
        self.boxes = [fitted(t.boxes, len(scene)) for t in scene.trajectories.values()]
        self.names = list(scene.trajectories)

    def draw(self, image: Image, index: int) -> Image:
        """RGB uint8 with everything drawn; sides are even, as video needs."""
        from PIL import Image as Pillow
        from PIL import ImageDraw

        scale = self.width / image.shape[1]
        size = (self.width // 2 * 2, max(2, round(image.shape[0] * scale) // 2 * 2))
        drawn = Pillow.fromarray(image).resize(
            size, Pillow.Resampling.LANCZOS if scale < 1 else Pillow.Resampling.BICUBIC
        )
        canvas = ImageDraw.Draw(drawn, "RGBA")
        line = max(2, round(self.width / 400))
        for k in reversed(range(len(self.names))):
            self._box(canvas, self.boxes[k][index] * scale, COLOURS[k % len(COLOURS)], line)
        if self.truth:
            self._box(canvas, self.scene.sequence.groundtruth[index] * scale, TRUTH, max(1, line - 1))
        self._legend(canvas, index)
        self._description(canvas, index, size)
        return np.asarray(drawn, np.uint8)

    def _box(self, canvas: Any, box: Any, colour: str, line: int) -> None:
        if not np.isfinite(box).all() or box[2] <= 0 or box[3] <= 0 or np.abs(box).max() > 1e6:
            return
        corners = [*box[:2], *(box[:2] + box[2:])]
        dark = [corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1]
        canvas.rectangle(dark, outline=(0, 0, 0, 140), width=line + 2)
        canvas.rectangle(corners, outline=colour, width=line)

    def _legend(self, canvas: Any, index: int) -> None:
        size = max(11, round(self.width / 60))
        font, tall = _font(size), round(size * 1.5)
        rows = [(TRUTH, "ground truth")] if self.truth else []
        for k, name in enumerate(self.names):
            value = self.scene.overlaps[name][index]
            score = f"  {value:.2f}" if np.isfinite(value) else ""
            rows.append((COLOURS[k % len(COLOURS)], name_cell(name, 28) + score))
        rows.append(("", f"frame {index + 1}"))
        wide = max(canvas.textlength(text, font=font) for _, text in rows) + 2.6 * size
        canvas.rectangle([0, 0, wide, tall * len(rows) + size * 0.6], fill=(0, 0, 0, 150))
        for number, (colour, text) in enumerate(rows):
            top = size * 0.3 + tall * number
            if colour:
                canvas.rectangle(
                    [size * 0.6, top + tall * 0.25, size * 1.4, top + tall * 0.75],
                    outline=colour,
                    width=max(2, size // 6),
                )
            canvas.text((size * (1.9 if colour else 0.6), top + tall * 0.15), text, font=font, fill="white")

    def _description(self, canvas: Any, index: int, size: tuple[int, int]) -> None:
        text = self.description(index)
        if not text:
            return
        points = max(11, round(self.width / 52))
        font, tall = _font(points), round(points * 1.4)
        lines = _wrapped(text, lambda t: canvas.textlength(t, font=font), size[0] - 2 * points)
        top = size[1] - tall * len(lines) - points * 0.7
        canvas.rectangle([0, top, size[0], size[1]], fill=(0, 0, 0, 150))
        for number, text in enumerate(lines):
            canvas.text((points, top + points * 0.3 + tall * number), text, font=font, fill="white")

    def description(self, index: int) -> str:
        """The description in force, and the decision behind it: the first tracker's latest answer, else the sequence's
        language description."""
        for name in self.names:
            past = [answer for answer in self.scene.answers[name] if answer.frame - 1 <= index]
            if past:
                decision = f"[{past[-1].decision}] " if past[-1].decision else ""
                return f"{decision}{past[-1].description}"
        return self.scene.sequence.language or ""


@cache
def _font(size: int) -> Any:
    """DejaVu, which comes with matplotlib and has most alphabets."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _wrapped(text: str, measure: Any, width: float, most: int = 3) -> list[str]:
    words = name_cell(text, 600).split()
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and measure(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1] + " …"]


def _write_gif(path: Path, images: Iterator[Image], fps: float) -> None:
    from PIL import Image as Pillow

    # The boxes' own colours have a place in every palette: a quantiser of whole images would merge thin lines away.
    drawn = [int(c[i : i + 2], 16) for c in (*COLOURS, TRUTH, "#000000") for i in (1, 3, 5)]

    def reduced(image: Image) -> Any:
        whole = Pillow.fromarray(image)
        palette = Pillow.new("P", (1, 1))
        found = whole.quantize(256 - len(drawn) // 3, dither=Pillow.Dither.NONE).getpalette() or []
        palette.putpalette([*drawn, *found][:768])
        return whole.quantize(palette=palette, dither=Pillow.Dither.NONE)

    frames = (reduced(p) for p in images)
    first = next(frames)
    # GIF counts in hundredths of a second, and viewers slow down what claims to be faster than 50 fps.
    delay = max(20, round(100 / fps) * 10)
    first.save(path, format="GIF", save_all=True, append_images=frames, duration=delay, loop=0, optimize=False)


def _write_opencv(path: Path, images: Iterator[Image], fps: float) -> None:
    import cv2

    first = next(images)
    code = cv2.VideoWriter.fourcc(*("mp4v" if path.suffix.lower() == ".mp4" else "VP90"))
    writer = cv2.VideoWriter(str(path), code, fps, (first.shape[1], first.shape[0]))
    try:
        if not writer.isOpened():
            raise DataError(f"OpenCV cannot write {path.suffix} files here; try another suffix", path)
        writer.write(cv2.cvtColor(first, cv2.COLOR_RGB2BGR))
        for image in images:
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
    if not path.is_file() or path.stat().st_size == 0:
        raise DataError("the video could not be written (is the disk full?)", path)


def _write_ffmpeg(path: Path, images: Iterator[Image], fps: float) -> None:
    first = next(images)
    height, width = first.shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{fps:g}", "-i", "-"]
    target = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
    command = ["ffmpeg", "-v", "error", "-y", *source, *target]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        try:
            process.stdin.write(first.tobytes())
            for image in images:
                process.stdin.write(image.tobytes())
        except BrokenPipeError:
            pass  # its error output, read below, has the reason
        _, errors = process.communicate()
    if process.returncode != 0:
        raise DataError(f"ffmpeg failed: {errors.decode(errors='replace').strip()[:300]}", path)
