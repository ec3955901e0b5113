"""Pairs of frames with a language description: the published files and folders of samples.

Published fine-tuning files are JSON lists of `{"instruction", "input", "output", "images"}`; published samples for
GRPO are folders `sample0001/` with `img1.jpg`, `img2.jpg` and `data.json` (description and two boxes).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tnllt.errors import DataError
from tnllt.files import parse_json, read_bytes, to_json, write_atomic
from tnllt.reasoningtrack.reasoners.prompt import load_prompt
from tnllt.records import from_table

#: Root of published paths; the user's own folder replaces it.
PLACEHOLDER = "/your_root_path"
_IMAGE = "<image>"

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
    """

    images: tuple[Path, Path]
    description: str
    instruction: str
    output: str | None = None
    boxes: tuple[Box, Box] | None = None
    source: str = ""

    def as_published(self) -> dict[str, Any]:
        """The record under the published files' keys, with absolute paths."""
        return {
            "instruction": self.instruction,
            "input": _IMAGE * 2 + self.description,
            "output": self.output or "",
            "images": [str(path.resolve()) for path in self.images],
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
    return PairRecord((images[0], images[1]), description, instruction, facts.output, (first, second), str(file))


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
    import cv2
    import numpy as np

    for number, image in enumerate(images, 1):
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            raise DataError("a frame cannot be encoded as JPEG", folder)
        write_atomic(folder / f"img{number}.jpg", data.tobytes(), durable=False)
    write_atomic(folder / "data.json", to_json(facts), durable=False)


def present(records: Iterable[PairRecord], skip: bool = False) -> Iterator[PairRecord]:
    """The records whose images exist. Raises DataError at the first whose do not, unless `skip`."""
    for record in records:
        missing = next((file for file in record.images if not file.is_file()), None)
        if missing is None:
            yield record
        elif not skip:
            remedy = "give the right --images DIR, or --skip-missing to leave such records out"
            raise DataError(f"the image {missing} is missing; {remedy}", record.source)
