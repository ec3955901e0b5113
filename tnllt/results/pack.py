"""Results of one tracker as one archive: with a manifest that proves them whole, or as the test servers want them."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import zipfile
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tnllt import __version__
from tnllt.errors import DataError, IncompleteError
from tnllt.files import MOST_BYTES, check_schema, parse_json, write_atomic
from tnllt.results.layouts import SUFFIX, ResultFile
from tnllt.results.reading import read_many
from tnllt.sequence import Sequence, Trajectory

SCHEMA = "tnllt.pack/1"
MANIFEST = "manifest.json"
#: No archive of results holds more: a guard against archives that claim to.
MOST_FILES, MOST_TOTAL = 100_000, 8 << 30
#: Zip keeps times; a fixed one makes equal results equal archives.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        tracker: its name.
        dataset: {"name", "sequences", "frames", "sha256": of all annotations, see `dataset_digest`}.
        protocol: {"name", "digest"} of the rules that `scores` were computed by.
        scores: {metric: score}, or empty.
        versions: of tnllt, Python and NumPy that packed it.
        files: {name in the archive: {"sha256", "bytes"}}.
    """

    tracker: str
    dataset: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    protocol: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: str = SCHEMA

    def to_json(self) -> bytes:
        return (
            json.dumps({**vars(self)}, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"
        ).encode()


def dataset_digest(sequences: Iterable[Sequence]) -> str:
    """SHA-256 over names, boxes, presence and sentences of all sequences, in the order of their names."""
    digest = hashlib.sha256()
    for sequence in sorted(sequences, key=lambda s: s.name):
        present = b"" if sequence.present is None else np.packbits(sequence.present).tobytes()
        boxes = np.ascontiguousarray(sequence.groundtruth, "<f8").tobytes()
        for part in (
            sequence.name.encode(),
            boxes,
            present,
            (sequence.language or "").encode("utf-8", "surrogatepass"),
        ):
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def check_complete(
    sequences: Seq[Sequence], files: Mapping[str, ResultFile], results: Mapping[str, Trajectory]
) -> None:
    """Raises IncompleteError that names what is missing, too short, too long or not a number.

    A sequence of which only the first box is annotated (server test sets) takes any number of rows.
    """
    faults = [f"{s.name}: no result" for s in sequences if s.name not in files]
    for sequence in sequences:
        if sequence.name not in results:
            continue
        boxes, length = results[sequence.name].boxes, len(sequence)
        if length > 1 and len(boxes) != length:
            faults.append(f"{sequence.name}: {len(boxes)} rows for {length} frames")
        elif not np.isfinite(boxes).all():
            row = int(np.argmin(np.isfinite(boxes).all(axis=1))) + 1
            faults.append(f"{sequence.name}: row {row} is not four finite numbers")
    if faults:
        more = f"\nand {len(faults) - 8} more" if len(faults) > 8 else ""
        raise IncompleteError("not packed, because these results are incomplete:\n" + "\n".join(faults[:8]) + more)


def pack(
    path: Path, tracker: str, sequences: Seq[Sequence], files: Mapping[str, ResultFile], *,
    protocol: Mapping[str, Any] | None = None, scores: Mapping[str, float | None] | None = None,
) -> Manifest:  # fmt: skip
    """Writes the archive: `<tracker>_tracking_result/<sequence>.txt` byte for byte, records and traces, the manifest.

    Raises:
        IncompleteError: a sequence is missing, or rows are; nothing is written then.
        DataError: a result cannot be read, or the archive not be written.
    """
    results = _read(sequences, files)
    check_complete(sequences, files, results)
    members: dict[str, bytes] = {}
    for sequence in sorted(sequences, key=lambda s: s.name):
        stem = f"{tracker}{SUFFIX}/{sequence.name}"
        members[f"{stem}.txt"] = files[sequence.name].read()
        if "record" in files[sequence.name].beside:
            members[f"{stem}.run.json"] = files[sequence.name].beside["record"]()
        trace = Path(files[sequence.name].place).with_name(f"{sequence.name}.trace.jsonl")
        if trace.is_file():
            members[f"{stem}.trace.jsonl"] = trace.read_bytes()
    dataset = {
        "name": next((s.dataset for s in sequences if s.dataset), ""),
        "sequences": len(sequences),
        "frames": sum(len(s) for s in sequences),
        "sha256": dataset_digest(sequences),
    }
    versions = {"tnllt": __version__, "python": platform.python_version(), "numpy": np.__version__}
    listed = {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in members.items()}
    manifest = Manifest(tracker, dataset, listed, protocol or {}, scores or {}, versions)
    _write_zip(path, {MANIFEST: manifest.to_json(), **members})
    return manifest


def pack_got10k(path: Path, sequences: Seq[Sequence], runs: Seq[Mapping[str, ResultFile]]) -> int:
    """For GOT-10k's server: `<sequence>/<sequence>_001.txt`, one file per run, and `<sequence>_time.txt`.

    Returns the number of files.

    Raises:
        IncompleteError: as `pack`, or a sequence without times, which the server wants.
    """
    read = [_read(sequences, files) for files in runs]
    for files, results in zip(runs, read, strict=True):
        check_complete(sequences, files, results)
    members = {}
    for sequence in sequences:
        stem = f"{sequence.name}/{sequence.name}"
        own = [results[sequence.name] for results in read]
        times = [t.seconds for t in own if t.seconds is not None]
        if len(times) < len(own) or len({len(t) for t in times}) != 1:
            raise IncompleteError(
                f"{sequence.name}: no times per frame, which GOT-10k's server wants; "
                f"run it with tnllt-run, or put {sequence.name}_time.txt beside the result"
            )
        for number, trajectory in enumerate(own, 1):
            members[f"{stem}_{number:03d}.txt"] = _rows(trajectory.boxes, "%.3f")
        members[f"{stem}_time.txt"] = _rows(np.nan_to_num(np.stack(times, axis=1)), "%.8f")
    _write_zip(path, members)
    return len(members)


def pack_trackingnet(path: Path, sequences: Seq[Sequence], files: Mapping[str, ResultFile]) -> int:
    """For TrackingNet's server: `<sequence>.txt` at the top, two decimals. Returns the number of files.

    Raises:
        IncompleteError: as `pack`.
    """
    results = _read(sequences, files)
    check_complete(sequences, files, results)
    _write_zip(path, {f"{s.name}.txt": _rows(results[s.name].boxes, "%.2f") for s in sequences})
    return len(sequences)


def open_pack(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Reads an archive and checks every file in it against the manifest; nothing is written anywhere.

    Raises:
        DataError: not an archive of `pack`, broken, a file missing, changed, not listed or with a name that could lead
            out of a folder; each is named.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {info.filename: info for info in archive.infolist() if info.filename and not info.is_dir()}
            if len(infos) > MOST_FILES or len(archive.infolist()) != len(set(archive.namelist())):
                raise DataError("too many files, or one name twice", path)
            manifest = read_manifest(_member(archive, infos, MANIFEST, 64 << 20, path), path)
            extra = sorted(set(infos) - set(manifest.files) - {MANIFEST})
            if extra:
                raise DataError(f"holds {extra[0]!r}, which its manifest does not list", path)
            members = {
                name: _member(archive, infos, name, int(entry["bytes"]), path) for name, entry in manifest.files.items()
            }
    except DataError:
        raise
    except Exception as error:  # zip and what it packs with share no base class
        raise DataError(f"cannot be read as an archive of results ({error})", path) from error
    for name, data in members.items():
        if hashlib.sha256(data).hexdigest() != manifest.files[name]["sha256"]:
            raise DataError(f"{name!r} is not what was packed: its SHA-256 differs", path)
    return manifest, members


def read_manifest(data: bytes, path: Path) -> Manifest:
    """Raises DataError where it is none of `pack`'s, or names a file that could lead out of a folder."""
    try:
        table = check_schema(parse_json(data, f"{path}/{MANIFEST}"), SCHEMA, f"{path}/{MANIFEST}")
        manifest = Manifest(**{k: table[k] for k in Manifest.__dataclass_fields__ if k in table})
        sizes = [int(entry["bytes"]) for entry in manifest.files.values()]
        sound = all(isinstance(entry["sha256"], str) for entry in manifest.files.values())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"its manifest cannot be read ({error})", path) from error
    if not sound or sum(sizes) > MOST_TOTAL or any(not 0 <= s <= MOST_BYTES for s in sizes):
        raise DataError("its manifest claims files that no results are", path)
    for name in manifest.files:
        parts = PurePosixPath(name).parts
        if len(parts) != 2 or "/".join(parts) != name or any(p.startswith(".") or "\\" in p or ":" in p for p in parts):
            raise DataError(f"{name!r} would not be unpacked into its own folder", path)
    return manifest


def unpack(members: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Writes the files of `open_pack` below a folder. Raises DataError where one is there with other content."""
    places = {folder / name: data for name, data in members.items()}
    for place, data in places.items():
        if place.is_file() and place.read_bytes() != data:
            raise DataError("is there already, with other content; unpack into another --out", place)
    for place, data in places.items():
        write_atomic(place, data)
    return list(places)


def _read(sequences: Seq[Sequence], files: Mapping[str, ResultFile]) -> dict[str, Trajectory]:
    there = [files[s.name] for s in sequences if s.name in files]
    return dict(zip((f.sequence for f in there), read_many(there), strict=True))


def _rows(values: np.ndarray[Any, Any], form: str) -> bytes:
    stream = io.BytesIO()
    np.savetxt(stream, values, fmt=form, delimiter=",")
    return stream.getvalue()


def _member(archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], name: str, most: int, path: Path) -> bytes:
    """A member's bytes, never more than it may have: a small archive can claim to hold terabytes."""
    if name not in infos:
        raise DataError(f"{name!r} is missing from it", path)
    with archive.open(infos[name]) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise DataError(f"{name!r} is larger than its manifest says", path)
    return data


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    write_atomic(path, stream.getvalue())
