"""Pairs of frames with a sentence: the published files, folders of samples, and what both are written as.

Published fine-tuning files are JSON lists of `{"instruction", "input", "output", "images"}`; published samples for
reinforcement learning are folders `sample0001/` with `img1.jpg`, `img2.jpg` and `data.json` (sentence and two boxes).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tnllt.errors import DataError
from tnllt.files import parse_json, read_bytes
from tnllt.reasoningtrack.reasoners.prompt import load_prompt

#: Root that published paths carry in place of the user's own.
PLACEHOLDER = "/your_root_path"
_IMAGE = "<image>"

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class PairRecord:
    """One question, and where there is one its answer.

    Attributes:
        images: files of the two frames, the earlier first.
        description: the sequence's own sentence.
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


def read_published(path: Path, images: Path | None, prompt: str | None = None) -> list[PairRecord]:
    """Records of one published JSON file.

    Args:
        images: folder that takes the place of `/your_root_path` and that relative paths start from.
        prompt: system prompt used instead of the records' own.

    Raises:
        DataError: not such a file, with the number of the record (from 1).
    """
    rows = parse_json(read_bytes(path), path)
    if not isinstance(rows, list):
        raise DataError("not a JSON list of records", path)
    return [_published(row, number, path, images, prompt) for number, row in enumerate(rows, 1)]


def _published(row: Any, number: int, path: Path, images: Path | None, prompt: str | None) -> PairRecord:
    if not isinstance(row, dict):
        raise DataError("a record must be an object", path, number)
    for name in ("instruction", "input", "output"):
        if not isinstance(row.get(name), str):
            raise DataError(f"`{name}` must be a text", path, number)
    files = row.get("images")
    if not isinstance(files, list) or len(files) != 2 or not all(isinstance(file, str) for file in files):
        raise DataError("`images` must be two paths", path, number)
    text = row["input"]
    if text.count(_IMAGE) != 2:
        raise DataError(f"`input` must have {_IMAGE} twice, once per picture", path, number)
    first, second = (_place(file, images, path, number) for file in files)
    description = text.replace(_IMAGE, "").strip()
    return PairRecord(
        (first, second), description, prompt or row["instruction"].strip(), row["output"], None, f"{path}, row {number}"
    )


def _place(file: str, images: Path | None, path: Path, number: int) -> Path:
    """A picture's real place: below `images` where the path is relative or carries the placeholder."""
    parts = PurePosixPath(file.replace("\\", "/"))
    if ".." in parts.parts:
        raise DataError(f"{file!r}: a picture's path must not climb with ..", path, number)
    if file.startswith(PLACEHOLDER + "/"):
        if images is None:
            raise DataError(f"pictures lie below {PLACEHOLDER}; say where that is with --images DIR", path, number)
        return images.joinpath(*parts.parts[2:])
    return Path(file) if parts.is_absolute() else (images or path.parent) / parts


def read_samples(folder: Path, prompt: str | None = None) -> list[PairRecord]:
    """Records of a folder of `sample*/` (or of one such folder), with boxes; `output` where `data.json` has one."""
    files = sorted(folder.glob("*/data.json")) or sorted(folder.glob("data.json"))
    if not files:
        raise DataError("no samples here: neither data.json nor */data.json", folder)
    return [_sample(file, prompt or load_prompt()) for file in files]


def _sample(file: Path, prompt: str) -> PairRecord:
    try:
        facts = parse_json(read_bytes(file), file)
        description = str(facts["language_description"]).strip()
        boxes = (_box(facts["img1_groundtruth"]), _box(facts["img2_groundtruth"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"not a sample's data.json ({type(error).__name__}: {error})", file) from error
    output = facts.get("output")
    return PairRecord(
        (_picture(file.parent, "img1"), _picture(file.parent, "img2")),
        description,
        str(facts.get("instruction") or prompt),
        output if isinstance(output, str) else None,
        boxes,
        str(file),
    )


def _picture(folder: Path, stem: str) -> Path:
    return next((p for p in sorted(folder.glob(f"{stem}.*"))), folder / f"{stem}.jpg")


def _box(text: Any) -> Box:
    values = tuple(float(part) for part in str(text).split(","))
    if len(values) != 4 or not all(map(math.isfinite, values)) or min(values[2:]) <= 0:
        raise ValueError(f"box {text!r} must be x,y,w,h with a positive size")
    return values


def write_sample(folder: Path, pictures: Iterable[Any], facts: Mapping[str, Any]) -> None:
    """One `sample*/` folder as published: two RGB pictures as JPEG (quality 95) and `data.json`."""
    import cv2
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, 1):
        done, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 95])
        if not done:
            raise DataError("cannot encode a frame as JPEG", folder)
        (folder / f"img{number}.jpg").write_bytes(data.tobytes())
    (folder / "data.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def present(records: Iterable[PairRecord], skip: bool = False) -> Iterator[PairRecord]:
    """The records whose pictures are there. Raises DataError at the first that is not, unless `skip`."""
    for record in records:
        missing = next((file for file in record.images if not file.is_file()), None)
        if missing is None:
            yield record
        elif not skip:
            raise DataError(
                f"no picture {missing}; give the right --images DIR, or --skip-missing to go on without such records",
                record.source,
            )
