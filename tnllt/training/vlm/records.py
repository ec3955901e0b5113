"""Pairs of frames with a language description: the published files and folders of samples.

Published fine-tuning files are JSON lists of `{"instruction", "input", "output", "images"}`; published samples for
GRPO are folders `sample0001/` with `img1.jpg`, `img2.jpg` and `data.json` (description and two boxes).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tnllt.datasets.frames import read_image
from tnllt.errors import DataError
from tnllt.files import parse_json, read_bytes, to_json, write_atomic
from tnllt.reasoningtrack.reasoners import Look, Question, load_prompt
from tnllt.records import from_table

#: Root of published paths; the user's own folder replaces it.
PLACEHOLDER = "/your_root_path"
_IMAGE = "<image>"
#: File of a tracker's state in a sample's folder.
STATE = "state.safetensors"

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PairRecord:
    """One question, and where there is one its answer.

    Attributes:
        images: files of the two frames, the earlier first.
        description: the sequence's own language description.
        instruction: the system prompt.
        output: the tagged answer to learn, or None.
        boxes: x, y, w, h of the target in both frames, or None.
        source: where the record comes from, for messages.
        tracker_box: the tracker's own box in the second frame, where a tracker ran; it may be wrong.
        folder: of a sample that has a window of frames and the tracker's state before it, for tracking gain; or None.
        shown: files of the images that the model is shown, where these are not the whole frames.
    """

    images: tuple[Path, Path]
    description: str
    instruction: str
    output: str | None = None
    boxes: tuple[Box, Box] | None = None
    source: str = ""
    tracker_box: Box | None = None
    folder: Path | None = None
    shown: tuple[Path, Path] | None = None

    @property
    def model_images(self) -> list[str]:
        """Files of the two images that the model is shown."""
        return [str(path) for path in self.shown or self.images]

    def question(self) -> Question:
        """What a reasoner would be asked. Raises DataError for a record without boxes, or whose images are not read."""
        if self.boxes is None:
            raise DataError("no boxes, which this view needs; use --samples or --dataset", self.source)
        first, current = (read_image(path) for path in self.images)
        box = self.tracker_box or self.boxes[1]
        return Question.of_pair(Look(first, self.boxes[0], 0), Look(current, box, 1), self.description)

    def as_published(self) -> dict[str, Any]:
        """The record under the published files' keys, with absolute paths."""
        return {
            "instruction": self.instruction,
            "input": _IMAGE * 2 + self.description,
            "output": self.output or "",
            "images": [str(Path(path).resolve()) for path in self.model_images],
        }


@dataclass(frozen=True)
class _PublishedRow:
    instruction: str
    input: str
    output: str
    images: tuple[str, str]


@dataclass(frozen=True)
class _SampleFile:
    language_description: str
    img1_groundtruth: str
    img2_groundtruth: str
    instruction: str | None = None
    output: str | None = None
    tracker_box: str | None = None


def read_published(path: Path, images: Path | None, prompt: str | None = None) -> list[PairRecord]:
    """Records of one published JSON file.

    Args:
        images: folder that replaces `/your_root_path` and that relative paths start from.
        prompt: system prompt used instead of the records' own.

    Raises:
        DataError: not such a file, with the number of the record (from 1).
    """
    rows = parse_json(read_bytes(path), path)
    if not isinstance(rows, list):
        raise DataError("is not a JSON list of records; give a file with one", path)
    records = []
    for number, table in enumerate(rows, 1):
        row = from_table(table, _PublishedRow, path, row=number, unknown="ignore")
        if row.input.count(_IMAGE) != 2:
            raise DataError(f"`input` must have {_IMAGE} twice, once per image", path, number)
        first, second = (_locate_image(file, images, path, number) for file in row.images)
        description = row.input.replace(_IMAGE, "").strip()
        instruction = prompt or row.instruction.strip()
        records.append(PairRecord((first, second), description, instruction, row.output, None, f"{path}, row {number}"))
    return records


def _locate_image(file: str, images: Path | None, path: Path, number: int) -> Path:
    """An image's file: below `images` where the path is relative or has the placeholder."""
    parts = PurePosixPath(file.replace("\\", "/"))
    if ".." in parts.parts:
        raise DataError(f"{file!r}: an image's path must not have .. in it; write it without", path, number)
    if file.startswith(PLACEHOLDER + "/"):
        if images is None:
            raise DataError(f"images are below {PLACEHOLDER}; give that folder with --images DIR", path, number)
        return images.joinpath(*parts.parts[2:])
    return Path(file) if parts.is_absolute() else (images or path.parent) / parts


def read_samples(folder: Path, prompt: str | None = None) -> list[PairRecord]:
    """Records of a folder of `sample*/` (or of one such folder), with boxes; `output` where `data.json` has one."""
    files = sorted(folder.glob("*/data.json")) or sorted(folder.glob("data.json"))
    if not files:
        raise DataError("has no samples: neither data.json nor */data.json; give a folder of sample*/", folder)
    return [_sample(file, prompt or load_prompt()) for file in files]


def _sample(file: Path, prompt: str) -> PairRecord:
    facts = from_table(parse_json(read_bytes(file), file), _SampleFile, file, unknown="ignore")
    first, second = (_box(text, file) for text in (facts.img1_groundtruth, facts.img2_groundtruth))
    images = tuple(next(iter(sorted(file.parent.glob(f"{n}.*"))), file.parent / f"{n}.jpg") for n in ("img1", "img2"))
    description, instruction = facts.language_description.strip(), facts.instruction or prompt
    own = None if facts.tracker_box is None else _box(facts.tracker_box, file)
    folder = file.parent if (file.parent / STATE).is_file() else None
    pair, boxes = (images[0], images[1]), (first, second)
    return PairRecord(pair, description, instruction, facts.output, boxes, str(file), own, folder)


def _box(text: str, file: Path) -> Box:
    try:
        x, y, w, h = (float(part) for part in text.split(","))
    except ValueError:
        x = y = w = h = math.nan
    if not all(map(math.isfinite, (x, y, w, h))) or min(w, h) <= 0:
        raise DataError(f"box {text[:60]!r} must be x,y,w,h, finite and with a positive size", file)
    return x, y, w, h


def write_sample(folder: Path, images: Iterable[Any], facts: Mapping[str, Any]) -> None:
    """One `sample*/` folder as published: two RGB images as JPEG (quality 95) and `data.json`."""
    for number, image in enumerate(images, 1):
        write_jpeg(folder / f"img{number}.jpg", image)
    write_atomic(folder / "data.json", to_json(facts), durable=False)


def write_jpeg(path: Path, image: Any) -> None:
    """An RGB image (H, W, 3) as JPEG of quality 95."""
    import cv2
    import numpy as np

    done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not done:
        raise DataError("an image cannot be encoded as JPEG", path)
    write_atomic(path, data.tobytes(), durable=False)
