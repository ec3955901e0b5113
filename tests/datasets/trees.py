"""Small releases of every benchmark, written for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SIZE = (24, 32)  # height, width


def picture(number: int) -> np.ndarray:
    """RGB picture whose first channel tells its number, whatever the compression does."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[..., 0] = number * 8 % 256
    image[..., 2] = 200
    return image


def write_images(folder: Path, numbers: range, pattern: str = "%08d.jpg") -> None:
    """Files whose picture tells the number in the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / (pattern % number)
        ok, data = cv2.imencode(path.suffix, picture(number)[..., ::-1])
        assert ok
        path.write_bytes(data.tobytes())


def number_of(image: np.ndarray) -> int:
    assert image.dtype == np.uint8 and image.shape == (*SIZE, 3)
    assert image[..., 2].mean() > 190, "not RGB"
    return round(float(image[..., 0].mean()) / 8)


def write(path: Path, *lines: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(str(line) for line in lines) + "\n", encoding="utf-8")
    return path


def rows(count: int, separator: str = ",", first: int = 1) -> list[str]:
    return [separator.join(str(v) for v in (i, 2, 5, 6)) for i in range(first, first + count)]


def tnllt_sequence(folder: Path, frames: int = 4, absent: tuple[int, ...] = (), language: str = "the red car") -> None:
    """One sequence as TNLLT's release has it; `absent` are frame numbers from 1."""
    write_images(folder / "imgs", range(1, frames + 1), "%05d.png")
    boxes = ["0,0,0,0" if i in absent else f"{i},2,5,6" for i in range(1, frames + 1)]
    write(folder / "groundtruth.txt", *boxes)
    write(folder / "absent_label.txt", *(int(i not in absent) for i in range(1, frames + 1)))
    write(folder / "language.txt", language)
    write(folder / "attributes.txt", ",".join("010000000000001"))
