"""Images as MP4, WebM or GIF. The file is there whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from tnllt.errors import DataError, UsageError
from tnllt.files import temporary_beside
from tnllt.sequence import Frames, Image
from tnllt.video.paint import TRUTH

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
