"""An MP4 of one sequence: the tracker's box, the annotated box, the language description, the frame's number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tnllt.errors import DataError
from tnllt.files import temporary_beside
from tnllt.sequence import Image, Sequence, Trajectory

_TRACKER, _TRUTH, _ABSENT, _TEXT = (60, 60, 235), (80, 200, 80), (0, 190, 255), (255, 255, 255)  # BGR
#: H.264 and MPEG-4 want even sides, and no screen shows more than this.
_MOST_WIDTH = 1280


def write_video(path: Path, sequence: Sequence, trajectory: Trajectory, tracker: str, fps: float = 30.0) -> None:
    """Writes the MP4; the file at `path` is there whole or not at all. Raises DataError where it cannot be written."""
    descriptions = _descriptions(sequence, trajectory)
    with temporary_beside(path) as temporary:
        writer: Any = None
        try:
            for index in range(len(trajectory)):
                image = draw_frame(sequence, trajectory, index, tracker, descriptions[index])
                if writer is None:
                    size = image.shape[1], image.shape[0]
                    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
                    if not writer.isOpened():
                        raise DataError("OpenCV cannot write MP4 files here", path)
                writer.write(image)
        finally:
            if writer is not None:
                writer.release()
        if not temporary.is_file() or temporary.stat().st_size == 0:
            raise DataError("the video could not be written (is the disk full?)", path)


def draw_frame(sequence: Sequence, trajectory: Trajectory, index: int, tracker: str, description: str) -> Image:
    """One frame with everything drawn, BGR uint8, its sides even and at most 1280 wide."""
    image = cv2.cvtColor(sequence.frames[index], cv2.COLOR_RGB2BGR)
    scale = min(1.0, _MOST_WIDTH / image.shape[1])
    width, height = (max(2, int(side * scale) // 2 * 2) for side in (image.shape[1], image.shape[0]))
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    thickness = 1 if height < 360 else 2
    absent = trajectory.absent is not None and bool(trajectory.absent[index])
    if index < len(sequence):
        _box(image, sequence.groundtruth[index] * scale, _TRUTH, 1)
    _box(image, trajectory.boxes[index] * scale, _ABSENT if absent else _TRACKER, thickness)
    confidence = None if trajectory.confidence is None else float(trajectory.confidence[index])
    score = "" if confidence is None or np.isnan(confidence) else f"  {confidence:.2f}"
    head = f"#{index + 1}  {tracker}{score}{'  absent' if absent else ''}"
    _caption(image, [head], top=True)
    if description:
        _caption(image, _wrapped(description, width, height), top=False)
    return image  # type: ignore[return-value]


def _box(image: Any, box: Any, colour: tuple[int, int, int], thickness: int) -> None:
    if not np.isfinite(box).all() or box[2] <= 0 or box[3] <= 0:
        return
    limit = 4 * max(image.shape)  # far outside OpenCV's integers overflow
    x1, y1, x2, y2 = (round(float(np.clip(v, -limit, limit))) for v in (*box[:2], box[0] + box[2], box[1] + box[3]))
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thickness, cv2.LINE_AA)


def _caption(image: Any, lines: list[str], top: bool) -> None:
    height = image.shape[0]
    size, line = _font(height)
    tall = line * len(lines) + line // 3
    first = 0 if top else height - tall
    image[first : first + tall] = image[first : first + tall] // 3
    for number, text in enumerate(lines):
        place = (line // 3, first + line * (number + 1) - line // 4)
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _TEXT, 1, cv2.LINE_AA)


def _font(height: int) -> tuple[float, int]:
    """Scale of the font and height of a line, in pixels, for a image of this height."""
    size = float(np.clip(height / 900, 0.35, 0.9))
    return size, round(34 * size)


def _wrapped(text: str, width: int, height: int) -> list[str]:
    """The text in lines that fit; at most three, the last ending in dots where more would follow."""
    size, line = _font(height)
    # OpenCV's font has ASCII only; anything else becomes a question mark in the image, not in any file.
    words = text.encode("ascii", "replace").decode().split()
    lines: list[str] = [""]
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if cv2.getTextSize(longer, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0] > width - line and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines if len(lines) <= 3 else [*lines[:2], lines[2].rstrip(".") + " ..."]


def _descriptions(sequence: Sequence, trajectory: Trajectory) -> list[str]:
    """The description in force at every frame: the sequence's own, or what the tracker changed it to."""
    current = sequence.language or ""
    changes = {c["frame"]: c["description"] for c in trajectory.record.get("description_changes", ())}
    found = []
    for index in range(len(trajectory)):
        current = changes.get(index, current)
        found.append(current)
    return found
