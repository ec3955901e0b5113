"""`publish`: a dataset laid out for a hub, as `tnllt.datasets.published` reads it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tnllt.datasets.card import format_card, make_card
from tnllt.datasets.croissant import About, croissant
from tnllt.datasets.dataset import Dataset
from tnllt.datasets.progress import OnProgress
from tnllt.datasets.published import COLUMNS, FILE, image_files
from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.files import file_name, sha256_of, temporary_beside, to_json, write_atomic
from tnllt.sequence import Sequence

SUMS = "SHA256SUMS"


def publish(
    dataset: Dataset, out: Path, about: About, split: str = "test", progress: OnProgress | None = None
) -> list[Path]:
    """Writes annotations, frames, card, Croissant and checksums; returns the files, each relative to `out`.

    Raises:
        UsageError: the folder is not empty.
        DataError: a frame or annotation that cannot be read, a folder that cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow.parquet import write_table
    except ImportError as error:
        raise MissingExtraError("publishing a dataset", "hub", error) from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is there already, and not empty; give a new folder")
    total, done, rows = sum(len(sequence) for sequence in dataset), 0, []
    for sequence in dataset:
        rows.append(_row(sequence, out))
        done += len(sequence)
        if progress is not None:
            progress(done, total)
    number, text = pyarrow.float64(), pyarrow.string()
    kinds = {
        "frames": pyarrow.int64(), "groundtruth": pyarrow.list_(number), "present": pyarrow.list_(pyarrow.bool_()),
        "descriptions": pyarrow.list_(text), "attributes": pyarrow.list_(text),
        "attribute_names": pyarrow.list_(text), "size": pyarrow.list_(pyarrow.int64()),
        "lacks_presence": pyarrow.bool_(), "frame_offsets": pyarrow.list_(pyarrow.int64()),
        "frame_bytes": pyarrow.list_(pyarrow.int64()),
    }  # fmt: skip
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in COLUMNS])
    with temporary_beside(out / FILE) as temporary:
        write_table(pyarrow.Table.from_pylist(rows, schema), temporary, compression="zstd")
    write_atomic(out / "splits" / f"{split}.txt", "".join(f"{name}\n" for name in dataset.names))
    files = [Path(FILE), *(Path(row["frames_file"]) for row in rows if row["frames_file"])]
    sums = {path.as_posix(): (sha256_of(out / path), (out / path).stat().st_size) for path in files}
    write_atomic(out / "croissant.json", to_json(croissant(dataset, about, sums), 2) + "\n")
    write_atomic(out / "README.md", _card(dataset, about, split))
    listed = [*files, Path("splits") / f"{split}.txt", Path("croissant.json"), Path("README.md")]
    write_atomic(out / SUMS, "".join(f"{sha256_of(out / path)}  {path.as_posix()}\n" for path in listed))
    return [*listed, Path(SUMS)]


def _row(sequence: Sequence, out: Path) -> dict[str, Any]:
    annotation, names = sequence.annotation, list(sequence.attributes or ()) or None
    spans: list[tuple[int, int]] = []
    file = None
    if sequence.has_frames:
        file = f"frames/{file_name(sequence.name, 'sequence')}.tar"
        spans = _write_tar(out / file, sequence)
    return {
        "sequence": sequence.name, "dataset": sequence.dataset, "frames": len(sequence),
        "groundtruth": annotation.groundtruth.ravel(), "present": annotation.present, "prompt": annotation.language,
        "descriptions": annotation.descriptions, "attribute_names": names,
        "attributes": None if names is None else [name for name, holds in (sequence.attributes or {}).items() if holds],
        "size": annotation.size, "lacks_presence": annotation.missing_presence is not None, "frames_file": file,
        "frame_offsets": [start for start, _ in spans], "frame_bytes": [size for _, size in spans],
    }  # fmt: skip


def _write_tar(path: Path, sequence: Sequence) -> list[tuple[int, int]]:
    """Writes a sequence's tar file; equal frames give equal files. Returns start and size of each frame in it."""
    spans = []
    try:
        with temporary_beside(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in image_files(sequence.frames, min(len(sequence), len(sequence.frames))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                spans.append((tar.offset + tarfile.BLOCKSIZE, len(data)))  # behind the header of one block
                tar.addfile(member, io.BytesIO(data))
    except (tarfile.TarError, ValueError) as error:
        raise DataError(f"cannot be written ({error})", path) from error
    return spans


def _card(dataset: Dataset, about: About, split: str) -> str:
    """The hub's card: YAML in front, which names the data's files, then text."""
    front: Mapping[str, object] = {
        "license": about.license or "other", "pretty_name": about.name or dataset.layout.title or dataset.name,
        "tags": ["visual object tracking", "vision-language tracking", "croissant"],
        "configs": [{"config_name": "default", "data_files": [{"split": split, "path": FILE}]}],
    }  # fmt: skip
    lines = ["---", *(f"{key}: {to_json(value, None)}" for key, value in front.items()), "---", ""]
    lines += [f"# {front['pretty_name']}", "", about.description, "", "```", format_card(make_card(dataset)), "```", ""]
    lines += ["| column | what a row holds |", "|---|---|", *(f"| {n} | {what} |" for n, what in COLUMNS.items()), ""]
    lines += [
        "Each file `frames/NAME.tar` holds the image files of one sequence, stored one behind the other.", "",
        "    tnllt-data info --dataset .              # pip install \"tnllt[hub]\"", "    sha256sum -c SHA256SUMS", "",
    ]  # fmt: skip
    lines += ["## Citation", "", about.citation, ""] if about.citation else []
    return "\n".join(lines)
