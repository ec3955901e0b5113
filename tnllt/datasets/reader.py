"""The one reader: makes a `Sequence` of a `Place`, with presence, language and attributes in one meaning everywhere."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets import text
from tnllt.datasets.frames import ImageFrames, VideoFrames
from tnllt.datasets.index import Place
from tnllt.datasets.published import make_published, published_annotation
from tnllt.errors import DataError, DataWarning
from tnllt.sequence import Annotation, Boxes, Flags, Frames, Sequence


def make_sequence(place: Place, presence_required: bool = False) -> Sequence:
    """The sequence that lies at a place; nothing is parsed or decoded yet.

    Args:
        presence_required: whether the annotation notes that a presence file is missing.
    """
    if place.base and place.boxes is not None:
        return make_published(place.boxes, place.name, place.base, place.layout.name)
    reader = partial(read_annotation, place, presence_required)
    return Sequence(place.name, reader, make_frames(place), place.layout.name)


def make_frames(place: Place) -> Frames | None:
    """The images of a place, cut to its annotated frames; None where there are none."""
    count = partial(_annotated_frames, place) if place.box_file is not None and not place.first_box_only else None
    if place.is_video and place.folder is not None:
        return VideoFrames(place.folder, count)
    if place.image_folder is None:
        return None
    if place.part is None:
        return ImageFrames(place.image_folder, count)
    return ImageFrames(place.image_folder, count, place.part.first, place.part.last)


def _annotated_frames(place: Place) -> int:
    return len(read_groundtruth(place))


def read_annotation(place: Place, presence_required: bool = False) -> Annotation:
    """The annotation of one sequence. Raises DataError where there is no box file, or files contradict it."""
    boxes = read_groundtruth(place)
    return Annotation(
        groundtruth=boxes,
        present=read_presence(place, boxes),
        language=read_language(place),
        attributes=read_attributes(place),
        descriptions=read_descriptions(place, len(boxes)),
        size=read_size(place),
        missing_presence=place.missing_presence() if presence_required else None,
    )


def read_groundtruth(place: Place) -> Boxes:
    """Boxes (T, 4). Where a split publishes the first box alone, T is the number of frames and the rest is NaN."""
    if place.box_file is None:
        looked = ", ".join(str(path) for path in place.files(place.layout.boxes)) or "no annotation folder is known"
        raise DataError(f"sequence {place.name!r} has no box file (looked for: {looked})", place.folder or place.annos)
    boxes = text.read_boxes(place.box_file, place.layout.box_format)
    if not len(boxes):
        raise DataError("is empty; a box file has a row for every frame", place.box_file)
    if place.part is not None:
        boxes = boxes[place.part.skip :]
    stride = place.layout.box_stride
    if stride > 1 and place.image_folder is not None:
        total = len(ImageFrames(place.image_folder).found())
        return boxes[::stride] if round(len(boxes) / total) == stride else boxes
    if place.first_box_only and len(boxes) == 1 and place.image_folder is not None:
        total = len(ImageFrames(place.image_folder).found())
        return np.concatenate([boxes, np.full((total - 1, 4), np.nan)])
    return boxes


def read_presence(place: Place, boxes: Boxes) -> Flags | None:
    """True where the target is in view (T,), or None where there is no presence file."""
    present: Flags | None = None
    for path, flag in place.flag_files:
        values = text.read_flags(path)
        meaning = flag.present if flag.present is not None else present_value([(boxes, values)])
        if meaning is None:
            raise DataError(
                "it is not stated whether 1 means present or absent, and boxes of zero area do not show it; "
                "state `present = 0` or `present = 1` in dataset.toml",
                path,
            )
        # Levels (GOT-10k's visible eighths) count as 1: only 0 means absent.
        here = (_fit(values, len(boxes), path) != 0) == bool(meaning)
        present = here if present is None else present & here
    return present


def _fit(values: NDArray[np.int64], length: int, path: Path) -> NDArray[np.int64]:
    """Flags for `length` frames. Raises DataError where there are too few."""
    if len(values) < length:
        raise DataError(f"has {len(values)} flags for {length} boxes; every frame needs one", path)
    if len(values) > length:
        note = f"{path}: {len(values)} flags for {length} boxes; the flags behind the last box are not used"
        warnings.warn(note, DataWarning, stacklevel=2)
    return values[:length]


def present_value(pairs: Iterable[tuple[Boxes, NDArray[np.int64]]]) -> int | None:
    """Which flag means "in view", 0 or 1, by `flags_of_empty_boxes`; None where less than 9 in 10 of them agree."""
    zeros, ones = flags_of_empty_boxes(pairs)
    if max(zeros, ones) < max(0.9 * (zeros + ones), 1):
        return None
    return 1 if zeros > ones else 0


def flags_of_empty_boxes(pairs: Iterable[tuple[Boxes, NDArray[np.int64]]]) -> tuple[int, int]:
    """How many boxes of zero area (or NaN) have a flag of 0, and how many another: they belong to absent targets."""
    zeros = ones = 0
    for boxes, flags in pairs:
        n = min(len(boxes), len(flags))
        empty = ~((boxes[:n, 2] > 0) & (boxes[:n, 3] > 0))
        ones += int(np.count_nonzero(flags[:n][empty]))
        zeros += int(np.count_nonzero(flags[:n][empty] == 0))
    return zeros, ones


def read_language(place: Place) -> str | None:
    path = place.language_file
    if path is None:
        return None
    return text.read_story(path) if path.suffix == ".xlsx" else text.read_first_line(path)


def read_attributes(place: Place) -> dict[str, bool] | None:
    """{name: flag} in the benchmark's order; a file may hold the flags, or the names of those that hold."""
    if place.base and place.boxes is not None:
        found = published_annotation(place.boxes, place.name).attributes
        return None if found is None else dict(found)
    path = place.attribute_file
    names = place.layout.attribute_names
    if path is None:
        return None
    words = text.read_text(path).replace(",", " ").split()
    if words and all(word.isalpha() for word in words):
        strange = [word for word in words if names and word not in names]
        if strange:
            raise DataError(f"{strange[0]!r} is not an attribute; known are {' '.join(names)}", path)
        return {name: name in words for name in names or words}
    flags = text.read_flags(path)
    names = names or tuple(f"attribute{i}" for i in range(1, len(flags) + 1))
    if len(flags) != len(names):
        hint = f"{place.layout.title or place.layout.name} has {len(names)}: {' '.join(names)}"
        raise DataError(f"has {len(flags)} attribute flags; {hint}. Is this another benchmark's file?", path)
    return {name: bool(flag) for name, flag in zip(names, flags, strict=True)}


def read_descriptions(place: Place, length: int) -> tuple[str, ...] | None:
    """The description that is true at each frame, or None. Raises DataError where their number is wrong."""
    path = place.first(place.layout.descriptions)
    if path is None:
        return None
    if path.suffix == ".xlsx":
        return text.read_descriptions(path, length)
    whole = text.read_text(path).replace("\r\n", "\n").replace("\r", "\n")
    lines = whole.removesuffix("\n").split("\n")
    while len(lines) > length and not lines[-1]:  # blank lines behind the last description; others are empty ones
        lines.pop()
    if len(lines) != length:
        raise DataError(f"has {len(lines)} descriptions for {length} frames; it needs one per frame", path)
    return tuple(line.strip() for line in lines)


def read_size(place: Place) -> tuple[int, int] | None:
    """Width and height from the metadata's `resolution: (1920, 1080)`, or None where nothing is stated."""
    stated = read_metadata(place).get("resolution")
    if stated is None:
        return None
    found = re.fullmatch(r"\(?\s*(\d{1,6})\s*[,x]\s*(\d{1,6})\s*\)?", stated)
    if found is None:
        raise DataError(
            f"`resolution` is {stated!r}; width and height are expected: (1920, 1080)",
            place.first(place.layout.metadata),
        )
    return int(found[1]), int(found[2])


def read_metadata(place: Place) -> dict[str, str]:
    """`key: value` lines that a release keeps about a sequence (GOT-10k's `meta_info.ini`); empty where none."""
    path = place.first(place.layout.metadata)
    if path is None:
        return {}
    pairs = (line.partition(":") for line in text.read_text(path).splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}
