"""Training clips out of unlabelled video: an existing tracker serves as teacher.

    python recipes/label.py street.avi --teacher NanoTrack --set weights=DIR --out clips

The teacher tracks a region forward for some frames and then back; a clip is kept where it returns to where it began.
Regions are blobs that move before a still background, or textured rectangles where the camera moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import overlap
from tnllt.cli.common import run_command
from tnllt.datasets.frames import VideoFrames
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Boxes, Image
from tnllt.tracking.registry import find_tracker
from tnllt.tracking.tracker import Tracker

#: Sides of a kept image: what training never looks at is left out.
_REACH = 2.9
_LONGEST = 260


@dataclass(frozen=True)
class LabelOptions:
    """Which regions are tried, and which clips are kept.

    Attributes:
        clips: wanted from a video; at most four times as many regions are tried.
        frames: least and greatest length of a clip.
        regions: "moving": upright or lying blobs before a still background; "textured": any rectangle with texture.
        confidence: the teacher's least, where it gives one. agreement: least overlap of the ways there and back.
        seed: of the draws.
    """

    clips: int = 100
    frames: tuple[int, int] = (35, 70)
    regions: str = "moving"
    confidence: float = 0.5
    agreement: float = 0.5
    seed: int = 0


def label_video(
    frames: Sequence[Image], teacher: Tracker, options: LabelOptions, report: Callable[[str], None] = print
) -> Iterator[tuple[int, Boxes]]:
    """Yields (first frame, boxes (T, 4) x, y, w, h px) of every clip that is kept.

    Raises:
        DataError: the video is shorter than the shortest clip.
    """
    least, most = options.frames
    if len(frames) < least:
        raise DataError(f"a video of {len(frames)} frames gives no clip of {least}")
    rng = np.random.default_rng(options.seed)
    blobs = _moving(frames) if options.regions == "moving" else None
    starts = [i for i in range(len(frames) - least + 1) if blobs is None or blobs[i]]
    kept = tried = 0
    while starts and kept < options.clips and tried < 4 * options.clips:
        tried += 1
        first = starts[int(rng.integers(len(starts)))]
        part = frames[first : first + int(rng.integers(least, most + 1))]
        box = _textured(part, rng) if blobs is None else _one_of(blobs[first], rng)
        if box is None:
            continue
        boxes = _there_and_back(part, box, teacher, options)
        if boxes is not None:
            kept += 1
            yield first, boxes
    report(f"{kept} clips of {tried} regions tried")


def _there_and_back(part: Sequence[Image], box: list[float], teacher: Tracker, options: LabelOptions) -> Boxes | None:
    there, sure = _tracked(part, box, teacher)
    back, _ = _tracked(part[::-1], there[-1].tolist(), teacher)
    agreement = np.asarray(overlap(there, back[::-1]))
    height, width = part[0].shape[:2]
    inside = (there[:, :2] > -5).all(axis=1) & (there[:, :2] + there[:, 2:] < (width + 5, height + 5)).all(axis=1)
    if agreement.min() < options.agreement or sure < options.confidence or inside.mean() < 0.95:
        return None
    boxes = (there + back[::-1]) / 2  # errors of size that one direction makes, the other need not
    boxes[0] = box
    return np.asarray(boxes)


def _tracked(frames: Sequence[Image], box: list[float], teacher: Tracker) -> tuple[Boxes, float]:
    """Boxes (T, 4), and the least confidence (1 where the teacher gives none)."""
    boxes, least = [np.array(box, float)], 1.0
    teacher.initialize(frames[0], box, None)
    try:
        for frame in frames[1:]:
            answer = teacher.track(frame)
            boxes.append(np.asarray(getattr(answer, "box", answer), float))
            confidence = getattr(answer, "confidence", None)
            least = min(least, 1.0 if confidence is None else float(confidence))
    finally:
        teacher.finish()
    return np.stack(boxes), least


def _moving(frames: Sequence[Image]) -> list[list[list[float]]]:
    """Boxes of what moves before the background, by frame; none in the first thirty, which teach the background."""
    model = cv2.createBackgroundSubtractorMOG2(history=200, varThreshold=25, detectShadows=True)
    area = frames[0].shape[0] * frames[0].shape[1]
    found: list[list[list[float]]] = []
    for number, frame in enumerate(frames):
        mask = np.asarray(model.apply(frame) == 255, np.uint8)  # 127 marks shadows
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((9, 5), np.uint8)), np.uint8)
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8)
        _, _, rows, _ = cv2.connectedComponentsWithStats(mask)
        good = [
            r for r in rows[1:] if 8e-4 * area < r[4] < 0.05 * area and 1 / 6 < r[2] / r[3] < 6 and min(r[2:4]) > 10
        ]
        found.append([[float(v) for v in r[:4]] for r in good] if number >= 30 else [])
    return found


def _one_of(boxes: list[list[float]], rng: np.random.Generator) -> list[float] | None:
    return boxes[int(rng.integers(len(boxes)))] if boxes else None


def _textured(part: Sequence[Image], rng: np.random.Generator) -> list[float] | None:
    """Of some rectangles the one with most texture and most change within ten frames."""
    height, width = part[0].shape[:2]
    best, chosen = -1.0, None
    for _ in range(5):
        side = np.exp(rng.uniform(np.log(22), np.log(0.4 * height)))
        aspect = np.exp(rng.standard_normal() * 0.45)
        w, h = side * np.sqrt(aspect), side / np.sqrt(aspect)
        if w > 0.6 * width or h > 0.8 * height:
            continue
        x, y = rng.uniform(2, width - w - 2), rng.uniform(2, height - h - 2)
        where = slice(int(y), int(y + h)), slice(int(x), int(x + w))
        now, later = part[0][where], part[min(10, len(part) - 1)][where]
        small = cv2.resize(now, (16, 16), interpolation=cv2.INTER_AREA).mean(axis=2)
        texture = min(np.abs(np.diff(small, axis=0)).mean(), np.abs(np.diff(small, axis=1)).mean())
        worth = float(texture + 0.5 * np.abs(later.astype(float) - now).mean())
        if worth > best:
            best, chosen = worth, [x, y, w, h]
    return chosen


def write_clip(folder: Path, frames: Sequence[Image], boxes: Boxes) -> None:
    """A sequence's folder: img/0001.jpg, ... cut around the target, and groundtruth_rect.txt."""
    (folder / "img").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (frame, box) in enumerate(zip(frames, boxes, strict=True), start=1):
        image, row = _around(frame, box)
        cv2.imwrite(str(folder / "img" / f"{number:04d}.jpg"), image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 94])
        rows.append(",".join(f"{v:.2f}" for v in row))
    (folder / "groundtruth_rect.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _around(frame: Image, box: NDArray[np.float64]) -> tuple[Image, NDArray[np.float64]]:
    x, y, w, h = box
    reach = np.sqrt(w * h) * _REACH + 20
    left, top = int(max(0, x + w / 2 - reach)), int(max(0, y + h / 2 - reach))
    cut = frame[top : int(y + h / 2 + reach), left : int(x + w / 2 + reach)]
    scale = min(1.0, _LONGEST / max(cut.shape[:2]))
    small = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else cut
    fx, fy = small.shape[1] / cut.shape[1], small.shape[0] / cut.shape[0]
    return np.asarray(small, np.uint8), np.array([(x - left) * fx, (y - top) * fy, w * fx, h * fy])


@click.command()
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Folder that gets the clips.")
@click.option("--teacher", default="NanoTrack", show_default=True, help="The tracker whose boxes are taken.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="The teacher's option, e.g. weights=DIR.")
@click.option("--clips", default=100, show_default=True, type=click.IntRange(1), help="Wanted from each video.")
@click.option(
    "--regions",
    type=click.Choice(["moving", "textured"]),
    default="moving",
    show_default=True,
    help="What to track: what moves before a still background, or any textured rectangle.",
)
@click.option("--longest", default=800, show_default=True, type=click.IntRange(64), help="Frames are reduced to this.")
@click.option("--seed", default=0, show_default=True)
def label(
    videos: tuple[Path, ...],
    out: Path,
    teacher: str,
    settings: tuple[str, ...],
    clips: int,
    regions: str,
    longest: int,
    seed: int,
) -> None:
    """Let a tracker label VIDEOS, for `tnllt-train tracker --data OUT`.

    A region is tracked forward and back, and kept where the teacher returns to where it began.
    """
    if any("=" not in item for item in settings):
        raise UsageError("--set takes KEY=VALUE")
    tracker = find_tracker(teacher, dict(item.split("=", 1) for item in settings)).create()
    for video in videos:
        frames = []
        source = VideoFrames(video)
        for i in range(len(source)):
            frame = source[i]
            scale = min(1.0, longest / max(frame.shape[:2]))
            small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            frames.append(np.asarray(small, np.uint8))
        options = LabelOptions(clips=clips, regions=regions, seed=seed)
        found = label_video(frames, tracker, options, lambda line, name=video.name: click.echo(f"{name}: {line}"))  # type: ignore[misc]
        for number, (first, boxes) in enumerate(found):
            write_clip(out / f"{video.stem}-{number:03d}", frames[first : first + len(boxes)], boxes)
    click.echo(f"clips: {out}")


if __name__ == "__main__":
    run_command(label, "recipes/label.py")
