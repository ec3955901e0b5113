"""Checks of one sequence: frames against boxes against flags, the description, the attributes."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets import reader, text
from tnllt.datasets.check.findings import about
from tnllt.datasets.frames import ImageFrames, VideoFrames, frame_number, image_size, is_frame, is_preview
from tnllt.datasets.index import Place
from tnllt.errors import DataError, DataWarning, TnlltError
from tnllt.findings import Finding
from tnllt.sequence import Boxes, Flags, Frames

# A description that stops at one of these was cut off.
_OPEN_ENDS = re.compile(",|an?|the|of|on|in|at|with|and|or|to|by|for|from|near|behind|whose|which|that|is|are")


@dataclass
class Checked:
    """What the checks of one sequence leave for those of the whole dataset.

    Attributes:
        boxes: its boxes, or None where they cannot be read.
        images: paths of all its frames on disk.
        findings: what is wrong with it.
    """

    place: Place
    boxes: Boxes | None
    images: list[Path]
    findings: list[Finding]


def check_sequence(place: Place) -> Checked:
    """Every check of one sequence that needs no decoding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # what readers warn of is found here with a code
        boxes, findings = _read_boxes(place)
        frames = reader.make_frames(place)
        images = [frames.folder / name for name in frames.found()] if isinstance(frames, ImageFrames) else []
        size = _size(frames, images)
        findings += [*_counts(place, boxes, frames, images), *_previews(place), *_gaps(place, images)]
        if boxes is not None:
            present, faults = _flags(place, boxes)
            findings += [*faults, *_boxes(place, boxes, present, size), *_differing_annos(place, boxes)]
        findings += [*_language(place), *_attributes(place)]
    return Checked(place, boxes, images, findings)


def _at_frames(place: Place, code: str, which: NDArray[np.bool_] | np.bool_, message: str) -> Iterator[Finding]:
    """A finding about the frames where `which` (T,) holds, if there are any."""
    frames = np.flatnonzero(which) + 1
    if len(frames):
        plural = f"{len(frames):,} frame{'s' * (len(frames) > 1)}"
        note = f"{plural} {message} ({_ranges(frames[:100].tolist())})"
        yield about(place, code, note, place.box_file, frames.tolist())


def _ranges(frames: list[int], most: int = 6) -> str:
    """`3, 7-9` for (3, 7, 8, 9)."""
    parts: list[list[int]] = []
    for frame in frames:
        if parts and frame == parts[-1][1] + 1:
            parts[-1][1] = frame
        else:
            parts.append([frame, frame])
    text_ = [str(a) if a == b else f"{a}-{b}" for a, b in parts]
    return ", ".join(text_[:most]) + (", ..." if len(text_) > most else "")


def _read_boxes(place: Place) -> tuple[Boxes | None, list[Finding]]:
    if place.box_file is None:
        return None, [about(place, "boxes-missing", "has no box file", place.folder)]
    try:
        return reader.read_groundtruth(place), []
    except DataError as error:
        return None, [about(place, "boxes-unreadable", str(error), place.box_file)]


def _size(frames: Frames | None, images: list[Path]) -> tuple[int, int] | None:
    """(height, width) of the first frame, None where it is unknown."""
    try:
        if images:
            return image_size(images[0])
        return None if frames is None else (frames[0].shape[0], frames[0].shape[1])
    except TnlltError:
        return None


def _counts(place: Place, boxes: Boxes | None, frames: Frames | None, images: list[Path]) -> Iterator[Finding]:
    if frames is None:
        if place.folder is not None:
            yield about(place, "frames-missing", "its folder holds no images", place.folder)
        return
    if boxes is None or place.first_box_only:
        return
    try:
        found = frames.found() if isinstance(frames, VideoFrames) else len(images)
    except DataError as error:
        yield about(place, "frames-missing", str(error), place.folder)
        return
    if found > len(boxes):
        yield about(place, "frames-more", f"{found} frames, {len(boxes)} boxes", place.image_folder)
    elif found < len(boxes):
        yield about(place, "boxes-more", f"{len(boxes)} boxes, {found} frames", place.box_file)


def _previews(place: Place) -> Iterator[Finding]:
    if place.folder is None or place.is_video:
        return
    names = {path.name for folder in {place.folder, place.image_folder or place.folder} for path in folder.iterdir()}
    previews = sorted(name for name in names if is_preview(name))
    if place.image_folder is None:
        previews += sorted(name for name in names if is_frame(name))  # a lone image beside the boxes
    if previews:
        shown = ", ".join(previews[:3]) + (", ..." if len(previews) > 3 else "")
        yield about(place, "image-preview", shown, place.folder)


def _gaps(place: Place, images: list[Path]) -> Iterator[Finding]:
    numbers = [number for number in (frame_number(path.name) for path in images) if number is not None]
    if len(numbers) != len(images) or len(numbers) < 2:
        return
    lost = [(a, b) for a, b in pairwise(numbers) if b != a + 1]
    if lost:
        shown = ", ".join(f"{a} -> {b}" for a, b in lost[:4]) + (", ..." if len(lost) > 4 else "")
        yield about(place, "frames-gap", f"file numbers jump {len(lost)} times: {shown}", place.image_folder)


def _flags(place: Place, boxes: Boxes) -> tuple[Flags | None, list[Finding]]:
    """(present or None, findings)."""
    findings: list[Finding] = []
    for path, flag in place.flag_files:
        try:
            values = text.read_flags(path)
        except DataError as error:
            return None, [about(place, "flags-unreadable", str(error), path)]
        strange = sorted({int(v) for v in values} - set(range(flag.highest + 1)))
        if strange:
            known = "a flag is 0 or 1" if flag.highest == 1 else f"a level is 0 to {flag.highest}"
            message = f"{path.name} holds {', '.join(map(str, strange[:5]))}; {known}"
            return None, [about(place, "flags-unreadable", message, path)]
        if len(values) != len(boxes):
            code = "flags-more" if len(values) > len(boxes) else "flags-fewer"
            findings.append(about(place, code, f"{len(values)} flags, {len(boxes)} boxes", path))
    if any(finding.code == "flags-fewer" for finding in findings):
        return None, findings
    try:
        return reader.read_presence(place, boxes), findings
    except DataError as error:
        return None, [*findings, about(place, "flags-polarity", str(error))]


def _boxes(place: Place, boxes: Boxes, present: Flags | None, size: tuple[int, int] | None) -> Iterator[Finding]:
    missing = np.isnan(boxes).any(axis=1)
    area = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    if not area[0]:
        yield about(place, "first-box", f"row 1 is {boxes[0].tolist()}", place.box_file)
    # Without flags a box of zero area is the only way to say "absent", as OTB and UAV123 do.
    seen = present if present is not None else area
    yield from _at_frames(place, "box-empty", seen & ~area & ~missing, "flagged present with a box of no area")
    if not place.first_box_only:
        unsaid = missing if present is None else missing & present
        yield from _at_frames(place, "box-unannotated", unsaid, "without a box")
    judged = seen & area
    corner = judged & ((boxes[:, 0] <= 0) | (boxes[:, 1] <= 0))
    yield from _at_frames(place, "box-corner", corner, "with x or y not above 0")
    if size is None:
        return
    height, width = size
    right, bottom = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    outside = judged & ((right <= 0) | (bottom <= 0) | (boxes[:, 0] >= width) | (boxes[:, 1] >= height))
    yield from _at_frames(place, "box-outside", outside, f"with their box outside the {width}x{height} image")
    # Releases count pixels from 0 or from 1: a box may end one pixel behind the last.
    over = judged & ~outside
    over &= (boxes[:, 0] < 0) | (boxes[:, 1] < 0) | (right > width + 1) | (bottom > height + 1)
    yield from _at_frames(place, "box-overhang", over, f"with their box over the border of {width}x{height}")


def _differing_annos(place: Place, boxes: Boxes) -> Iterator[Finding]:
    """Whether annos/ and the sequence's own folder agree, where both are there."""
    others = [path for path in place.files(place.layout.boxes) if path.is_file() and path != place.box_file]
    for path in others:
        try:
            other = text.read_boxes(path, place.layout.box_format)
        except DataError as error:
            yield about(place, "boxes-unreadable", str(error), path)
            continue
        if other.shape != boxes.shape:
            yield about(place, "annos-differ", f"{len(boxes)} boxes here, {len(other)} in {path}", place.box_file)
            continue
        same = np.asarray((other == boxes) | (np.isnan(other) & np.isnan(boxes)))
        differ = np.logical_not(same.all(axis=1))
        yield from _at_frames(place, "annos-differ", differ, f"differ from {path}")


def _language(place: Place) -> Iterator[Finding]:
    path = place.language_file
    if path is None:
        return
    try:
        description = reader.read_language(place)
    except TnlltError as error:
        yield about(place, "language-odd", str(error), path)
        return
    if description is None:
        yield about(place, "language-empty", f"{path.name} is empty", path)
        return
    faults = odd_description(description)
    if path.suffix == ".txt" and sum(bool(line.strip()) for line in text.read_text(path).splitlines()) > 1:
        faults.append("more than one line (the first is used)")
    if faults:
        yield about(place, "language-odd", f"{description[:80]!r}: {'; '.join(faults)}", path)


def odd_description(description: str) -> list[str]:
    """What looks wrong about a description that names a target."""
    faults = []
    if "  " in description:
        faults.append("two spaces")
    if any(unicodedata.category(c) in ("Cc", "Cf", "Co", "Cn") or c == "\ufffd" for c in description):
        faults.append("control or undecodable characters")
    if not any(c.isalpha() for c in description):
        faults.append("no letter in it")
    words = re.findall(r"[\w']+|,", description.lower())
    if words and _OPEN_ENDS.fullmatch(words[-1]) and not description.rstrip().endswith("."):
        faults.append(f"cut off? it ends with {words[-1]!r}")
    if len(words) == 1 and len(description) <= 2:
        faults.append("too short to name anything")
    if len(description) > 500:
        faults.append(f"{len(description)} characters")
    if re.search(r"\b(\w+) \1\b", description.lower()):
        faults.append("a word twice in a row")
    return faults


def _attributes(place: Place) -> Iterator[Finding]:
    try:
        reader.read_attributes(place)
    except DataError as error:
        yield about(place, "attributes-unreadable", str(error), place.attribute_file)
