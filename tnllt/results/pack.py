"""Results of one tracker as one archive: with a manifest that proves them whole, or as the test servers expect them."""

from __future__ import annotations

import hashlib
import io
import platform
import zipfile
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tnllt import __version__
from tnllt.errors import DataError, IncompleteError
from tnllt.files import check_schema, file_name, parse_json, read_bytes, to_json, write_atomic
from tnllt.records import from_table
from tnllt.results.blind import blinded
from tnllt.results.layouts import SUFFIX, ResultFile, ZippedFiles
from tnllt.results.reading import read_results
from tnllt.sequence import Sequence, Trajectory

SCHEMA = "tnllt.pack/1"
MANIFEST = "manifest.json"
#: What lies in an archive beside the manifest: `<tracker>_tracking_result/<sequence>` and one of these.
ENDINGS = (".txt", ".run.json", ".trace.jsonl")
#: Zip keeps times; a fixed one makes equal results equal archives.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class PackedFile:
    """A file in an archive, as the manifest lists it."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    Attributes:
        tracker: its name.
        dataset: {"name", "sequences", "frames", "sha256" of all annotations, "boxes_sha256" without descriptions}; see
            `dataset_digest`.
        files: {name in the archive: its hash and size}.
        protocol: {"name", "digest"} of the rules that `scores` were computed by.
        scores: {metric: score}, or empty.
        versions: of tnllt, Python and NumPy that packed it.
    """

    tracker: str
    dataset: Mapping[str, Any]
    files: Mapping[str, PackedFile]
    protocol: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    schema: str = SCHEMA

    def to_json(self) -> bytes:
        return (to_json(asdict(self), sort_keys=True) + "\n").encode()


def dataset_digest(sequences: Iterable[Sequence], language: bool = True) -> str:
    """SHA-256 over names, boxes, presence and descriptions of all sequences, in the order of their names.

    Args:
        language: whether descriptions count; no score depends on them.
    """
    digest = hashlib.sha256()
    for sequence in sorted(sequences, key=lambda s: s.name):
        present = b"" if sequence.present is None else np.packbits(sequence.present).tobytes()
        boxes = np.ascontiguousarray(sequence.groundtruth, "<f8").tobytes()
        for part in (
            sequence.name.encode(),
            boxes,
            present,
            (sequence.language or "" if language else "").encode("utf-8", "surrogatepass"),
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
    protocol: Mapping[str, Any] | None = None, scores: Mapping[str, float | None] | None = None, blind: bool = False,
) -> Manifest:  # fmt: skip
    """Writes the archive: `<tracker>_tracking_result/<sequence>.txt` byte for byte, records and traces, the manifest.

    Args:
        blind: leave hosts, users, absolute paths, addresses and printed output out of records and traces.

    Raises:
        IncompleteError: a sequence is missing, or rows are; nothing is written then.
        DataError: a result cannot be read, or the archive not be written.
    """
    results = read_results(files)
    check_complete(sequences, files, results)
    members: dict[str, bytes] = {}
    for sequence in sorted(sequences, key=lambda s: s.name):
        stem = f"{tracker}{SUFFIX}/{sequence.name}"
        members[f"{stem}.txt"] = files[sequence.name].read()
        if "record" in files[sequence.name].beside:
            members[f"{stem}.run.json"] = files[sequence.name].beside["record"]()
        trace = Path(files[sequence.name].place).with_name(f"{sequence.name}.trace.jsonl")
        if trace.is_file():
            members[f"{stem}.trace.jsonl"] = read_bytes(trace)
    if blind:
        members = {n: data if n.endswith(".txt") else blinded(data, n) for n, data in members.items()}
    dataset = {
        "name": next((s.dataset for s in sequences if s.dataset), ""),
        "sequences": len(sequences),
        "frames": sum(len(s) for s in sequences),
        "sha256": dataset_digest(sequences),
        "boxes_sha256": dataset_digest(sequences, language=False),
    }
    versions = {"tnllt": __version__, "python": platform.python_version(), "numpy": np.__version__}
    listed = {name: PackedFile(hashlib.sha256(data).hexdigest(), len(data)) for name, data in members.items()}
    manifest = Manifest(tracker, dataset, listed, protocol or {}, scores or {}, versions)
    _write_zip(path, {MANIFEST: manifest.to_json(), **members})
    return manifest


def pack_got10k(path: Path, sequences: Seq[Sequence], runs: Seq[Mapping[str, ResultFile]]) -> int:
    """For GOT-10k's server: `<sequence>/<sequence>_001.txt`, one file per run, and `<sequence>_time.txt`.

    Returns the number of files.

    Raises:
        IncompleteError: as `pack`, or a sequence without times, which the server requires.
    """
    read = [read_results(files) for files in runs]
    for files, results in zip(runs, read, strict=True):
        check_complete(sequences, files, results)
    members = {}
    for sequence in sequences:
        stem = f"{sequence.name}/{sequence.name}"
        own = [results[sequence.name] for results in read]
        times = [t.seconds for t in own if t.seconds is not None]
        if len(times) < len(own) or len({len(t) for t in times}) != 1:
            raise IncompleteError(
                f"{sequence.name}: no times per frame, which GOT-10k's server requires; "
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
    results = read_results(files)
    check_complete(sequences, files, results)
    _write_zip(path, {f"{s.name}.txt": _rows(results[s.name].boxes, "%.2f") for s in sequences})
    return len(sequences)


def open_pack(path: Path) -> tuple[Manifest, dict[str, bytes]]:
    """Reads an archive and checks every file in it against the manifest; nothing is written anywhere.

    Raises:
        DataError: not an archive of `pack`, broken, a file missing, changed, not listed, or not one that `pack` writes;
            each is named.
    """
    archive = ZippedFiles(path)
    if MANIFEST not in archive.sizes:
        raise DataError(f"{MANIFEST!r} is missing from it", path)
    manifest = read_manifest(archive.read(MANIFEST), path)
    for name, size in archive.sizes.items():
        if name != MANIFEST and name not in manifest.files:
            raise DataError(f"holds {name!r}, which its manifest does not list", path)
        if name != MANIFEST and size > manifest.files[name].bytes:
            raise DataError(f"{name!r} is larger than its manifest says", path)
    members = {}
    for name, listed in manifest.files.items():
        if name not in archive.sizes:
            raise DataError(f"{name!r} is missing from it", path)
        members[name] = archive.read(name)
        if hashlib.sha256(members[name]).hexdigest() != listed.sha256:
            raise DataError(f"{name!r} is not what was packed: its SHA-256 differs", path)
    return manifest, members


def packed_results(path: Path, manifest: Manifest, members: Mapping[str, bytes]) -> dict[str, ResultFile]:
    """{sequence: its result} among what `open_pack` gave."""
    found = {}
    for name, data in members.items():
        if name.endswith(".txt"):
            record = members.get(f"{name.removesuffix('.txt')}.run.json")
            beside: dict[str, Callable[[], bytes]] = {} if record is None else {"record": partial(bytes, record)}
            sequence, place = Path(name).name.removesuffix(".txt"), f"{path.name}/{name}"
            found[sequence] = ResultFile(manifest.tracker, sequence, place, partial(bytes, data), beside)
    return found


def read_manifest(data: bytes, path: Path) -> Manifest:
    """Raises DataError where it is not one of `pack`'s, or lists a file that `pack` does not write."""
    place = f"{path}/{MANIFEST}"
    manifest = from_table(check_schema(parse_json(data, place), SCHEMA, place), Manifest, place, unknown="ignore")
    folder = f"{file_name(manifest.tracker, 'tracker', path)}{SUFFIX}/"
    for name in manifest.files:
        ending = next((e for e in ENDINGS if name.endswith(e)), None)
        if ending is None or not name.startswith(folder) or not name.isprintable():
            raise DataError(f"{name!r} is not a result of {manifest.tracker!r}; nothing is unpacked", path)
        file_name(name.removeprefix(folder).removesuffix(ending), "sequence", path)
    return manifest


def unpack(members: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Writes the files of `open_pack` below a folder. Raises DataError where one is there with other content."""
    places = {folder / name: data for name, data in members.items()}
    for place, data in places.items():
        if place.exists() and (not place.is_file() or read_bytes(place) != data):
            raise DataError("is there already, with other content; unpack into another --out", place)
    for place, data in places.items():
        write_atomic(place, data)
    return list(places)


def _rows(values: np.ndarray[Any, Any], form: str) -> bytes:
    stream = io.BytesIO()
    np.savetxt(stream, values, fmt=form, delimiter=",")
    return stream.getvalue()


def _write_zip(path: Path, members: Mapping[str, bytes]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, data)
    write_atomic(path, stream.getvalue())
