"""Any dataset in TNLLT's layout; PNG frames as JPEG, with what that saves and loses."""

from __future__ import annotations

import math
import shutil
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from tnllt.datasets.benchmarks import TNLLT_ATTRIBUTES
from tnllt.datasets.dataset import Dataset
from tnllt.datasets.frames import ImageFrames, OnProgress, prefetch, read_image
from tnllt.errors import DataError, UsageError
from tnllt.processes import processors
from tnllt.sequence import Annotation, Boxes, Image, Sequence
from tnllt.text import toml_text

_DRAFT = ".tnllt-draft"
#: File beside the frames -> folder of the evaluation toolkit that holds the same.
_TOOLKIT = {"groundtruth.txt": "annos", "absent_label.txt": "annos/absent", "attributes.txt": "annos/att"}
#: Bytes before, bytes after, PSNR in dB (None: copied, or a lossless format).
_Cost = tuple[int, int, float | None]


@dataclass
class Conversion:
    """What was written, and what it cost.

    Attributes:
        sequences, frames: how many were written; `skipped` sequences were there already.
        bytes_before, bytes_after: size of the image files; 0 before for a video.
        psnr: peak signal-to-noise ratio in dB of every re-encoded frame, infinite where nothing was lost.
        worst: (dB, sequence, frame from 1) of the frame that lost most.
        dropped: attributes that TNLLT's file has no column for.
    """

    sequences: int = 0
    skipped: int = 0
    frames: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    psnr: list[float] = field(default_factory=list)
    worst: tuple[float, str, int] | None = None
    dropped: tuple[str, ...] = ()

    @property
    def mean_psnr(self) -> float | None:
        """Mean over the frames that lost something; None where none did."""
        lossy = [value for value in self.psnr if math.isfinite(value)]
        return sum(lossy) / len(lossy) if lossy else None


def convert(
    dataset: Dataset,
    out: Path,
    *,
    split: str | None = None,
    images: str = "keep",
    quality: int = 95,
    workers: int | None = None,
    progress: OnProgress | None = None,
) -> Conversion:
    """Writes a dataset as TNLLT's release and toolkit have it: sequence folders, `annos/`, `splits/`.

    A sequence is written under a draft's name and renamed when it is whole, so that a killed run goes on where it
    was. What the dataset does not have (presence, language, attributes) is not written.

    Args:
        dataset: the sequences; those without frames get annotations alone.
        out: folder to write into.
        split: name of the list to write, None for none.
        images: "keep" copies the files as they are; "jpeg" and "png" encode those of another format anew.
        quality: of JPEG, 1 to 100.
        workers: encoding threads, by default one per processor.
        progress: called with frames done and in all.

    Raises:
        UsageError: a value that means nothing.
        DataError: a frame or annotation that cannot be read, a folder that cannot be written.
    """
    if images not in ("keep", "jpeg", "png"):
        raise UsageError(f"images = {images!r}; known are keep, jpeg, png")
    result = Conversion()
    names = next((tuple(sequence.attributes) for sequence in dataset if sequence.attributes), None)
    if names is not None and set(names) > set(TNLLT_ATTRIBUTES):
        result.dropped, names = tuple(name for name in names if name not in TNLLT_ATTRIBUTES), TNLLT_ATTRIBUTES
    total = sum(len(sequence) for sequence in dataset)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(workers or processors()) as pool:
            for sequence in dataset:
                if (out / sequence.name).is_dir():
                    result.skipped += 1
                    continue
                _write_sequence(sequence, out, images, quality, names, pool, result)
                if progress is not None:
                    progress(result.frames, total)
        _write_lists(dataset, out, split, names)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror}); run the command again to go on", out) from error
    return result


def _write_sequence(
    sequence: Sequence,
    out: Path,
    images: str,
    quality: int,
    names: tuple[str, ...] | None,
    pool: ThreadPoolExecutor,
    result: Conversion,
) -> None:
    # Hidden, so that it is not taken for a sequence, and never longer than the sequence's own name.
    draft = out / f".{zlib.crc32(sequence.name.encode('utf-8', 'surrogateescape')):08x}{_DRAFT}"
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir()
    annotation = sequence.annotation
    files = dict(annotation_files(annotation, names))
    for name, text in files.items():
        (draft / name).write_text(text, encoding="utf-8")
    if sequence.has_frames:
        _write_frames(sequence, draft / "imgs", images, quality, pool, result)
    # The toolkit's copy first: under its new name the folder is complete.
    for name, place in _TOOLKIT.items():
        if name in files:
            (out / place).mkdir(parents=True, exist_ok=True)
            (out / place / f"{sequence.name}.txt").write_text(files[name], encoding="utf-8")
    draft.rename(out / sequence.name)
    result.sequences += 1


def annotation_files(
    annotation: Annotation, names: Iterable[str] | None = TNLLT_ATTRIBUTES
) -> Iterator[tuple[str, str]]:
    """(file name, content) of the annotation files that TNLLT keeps beside a sequence's frames.

    Numbers are written in the fewest digits that read back as the same float64. Flags: 1 = present. A line break in a
    description (published tables may hold some) becomes a blank, as it does in MGIT's tables: a line holds one.
    """
    yield "groundtruth.txt", format_boxes(annotation.groundtruth)
    if annotation.present is not None:
        yield "absent_label.txt", "".join(f"{int(flag)}\n" for flag in annotation.present)
    if annotation.language is not None:
        yield "language.txt", _on_one_line(annotation.language) + "\n"
    if annotation.attributes is not None and names is not None:
        yield "attributes.txt", ",".join(str(int(annotation.attributes[name])) for name in names) + "\n"
    if annotation.descriptions is not None:
        yield "descriptions.txt", "".join(_on_one_line(words) + "\n" for words in annotation.descriptions)


def _on_one_line(words: str) -> str:
    return " ".join(words.splitlines())


def format_boxes(boxes: Boxes) -> str:
    """Rows `x,y,w,h`, exact, whole numbers without a point, NaN as such."""
    return "".join(",".join(_shortest(value) for value in row) + "\n" for row in boxes.tolist())


def _shortest(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _write_frames(
    sequence: Sequence, folder: Path, images: str, quality: int, pool: ThreadPoolExecutor, result: Conversion
) -> None:
    folder.mkdir()
    frames = sequence.frames
    count = min(len(sequence), len(frames))
    digits = max(5, len(str(count)))
    stems = [folder / f"{number:0{digits}}" for number in range(1, count + 1)]
    costs: Iterator[_Cost]
    if isinstance(frames, ImageFrames):
        costs = pool.map(partial(_convert_image, images=images, quality=quality), map(frames.path, range(count)), stems)
    else:
        images = "jpeg" if images == "keep" else images
        decoded = prefetch(sequence, stop=count)
        costs = (_encode(image, 0, stem, images, quality) for image, stem in zip(decoded, stems, strict=True))
    for number, (before, after, psnr) in enumerate(costs, start=1):
        result.frames += 1
        result.bytes_before += before
        result.bytes_after += after
        if psnr is not None:
            result.psnr.append(psnr)
            if math.isfinite(psnr) and (result.worst is None or psnr < result.worst[0]):
                result.worst = (psnr, sequence.name, number)


def _convert_image(source: Path, stem: Path, images: str, quality: int) -> _Cost:
    size = source.stat().st_size
    with source.open("rb") as file:
        is_jpeg = file.read(2) == b"\xff\xd8"
    if images == "png" or (images == "jpeg" and not is_jpeg):
        return _encode(read_image(source), size, stem, images, quality)
    suffix = ".jpg" if images == "jpeg" or source.suffix.lower() == ".jpeg" else source.suffix.lower()
    shutil.copyfile(source, stem.with_suffix(suffix))
    return size, size, None


def _encode(image: Image, before: int, stem: Path, images: str, quality: int) -> _Cost:
    """Writes one frame as JPEG or PNG."""
    import cv2

    path = stem.with_suffix(".png" if images == "png" else ".jpg")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if images == "jpeg" else []
    done, data = cv2.imencode(path.suffix, bgr, options)
    if not done:
        raise DataError("frame cannot be encoded", path)
    path.write_bytes(data.tobytes())
    if images == "png":
        return before, len(data), None
    again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)
    error = float(np.mean(np.square(again - bgr)))
    return before, len(data), 10 * math.log10(255**2 / error) if error > 0 else math.inf


def _write_lists(dataset: Dataset, out: Path, split: str | None, names: tuple[str, ...] | None) -> None:
    if split is not None:
        (out / "splits").mkdir(exist_ok=True)
        (out / "splits" / f"{split}.txt").write_text("".join(f"{name}\n" for name in dataset.names), encoding="utf-8")
    if names is not None and names != TNLLT_ATTRIBUTES:
        # Other attributes than TNLLT's: readers must know what the columns are.
        listed, name = ", ".join(map(toml_text, names)), toml_text(dataset.name)
        text = f'# Columns of attributes.txt, which are not those of TNLLT.\nbase = "tnllt"\nname = {name}\n'
        (out / "dataset.toml").write_text(f"{text}attribute_names = [{listed}]\n", encoding="utf-8")


def format_conversion(result: Conversion) -> str:
    """What was saved and what was lost, in words."""
    lines = [f"{result.sequences:,} sequences, {result.frames:,} frames written"]
    if result.skipped:
        lines[0] += f"; {result.skipped:,} were there already"
    if result.bytes_before and result.bytes_after:
        fraction = 1 - result.bytes_after / result.bytes_before
        change = f"{fraction:.1%} saved" if fraction >= 0 else f"{-fraction:.1%} more"
        lines.append(f"images: {result.bytes_before / 1e6:,.1f} MB -> {result.bytes_after / 1e6:,.1f} MB, {change}")
    if result.psnr:
        if result.mean_psnr is None or result.worst is None:
            lines.append("loss: none")
        else:
            db, name, frame = result.worst
            lines.append(f"loss: PSNR {result.mean_psnr:.1f} dB on average, worst {db:.1f} dB ({name}, frame {frame})")
    if result.dropped:
        lines.append(f"attributes that TNLLT's file has no column for, left out: {' '.join(result.dropped)}")
    return "\n".join(lines)
