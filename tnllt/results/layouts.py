"""Finds result files in every layout that trackers' code writes, in folders and in zip files.

The names of the sequences are known: a text file named after one is a result, and the folders above it name the
tracker, without the wrappers that frameworks add::

    <tracker>_tracking_result/<sequence>.txt             the official toolkits
    <tracker>/<sequence>.txt                             plain
    <sequence>.txt                                       one tracker's folder, given itself
    <tracker>/<parameters>[_<run>]/<sequence>.txt        pytracking
    <tracker>/<parameters>/<dataset>/<sequence>.txt      OSTrack and its descendants
    <dataset>/<tracker>/<sequence>.txt                   got10k, PySOT
    <tracker>/<sequence>/<sequence>_001.txt              got10k, VOT
    tracking_results/tracking_results/...                a zip unpacked into a folder of its own name
    <tracker>.zip, tracking_results.zip                  any of these, zipped
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from tnllt.errors import DataError
from tnllt.files import MOST_BYTES, read_bytes, user_path

SUFFIX = "_tracking_result"
_DEPTH = 7
_RUN = re.compile(r"_(\d{3})$")
_WRAPPERS = {"tracking_results", "results", "test", "output", "baseline", "longterm", "unsupervised", "supervised"}
_DATASETS = {
    "tnllt", "tnl2k", "lasot", "lasot_ext", "lasotext", "lasot_extension_subset", "otb", "otb99", "otb100", "otb2013",
    "otb2015", "otb_lang", "otb99-lang", "got10k", "got-10k", "got10k_test", "got10k_val", "trackingnet", "uav",
    "uav123", "nfs", "nfs30", "nfs240", "mgit", "itb", "vot", "vot2018", "vot2019", "vot2020", "vot2018-lt",
}  # fmt: skip
#: What lies beside a result: {ending of its name without the sequence and the run's number: what it holds}.
_BESIDE = {
    ".run.json": "record",
    "_time.txt": "seconds",
    "_confidence.txt": "confidence",
    "_confidence.value": "confidence",
}


@dataclass(frozen=True)
class ResultFile:
    """One tracker's result on one sequence.

    Attributes:
        place: where it is, for messages; `archive.zip/member` in a zip file.
        read: gives its bytes.
        beside: {"record", "confidence", "seconds": reader of what lies beside it}.
        realtime: frames a second of a stream that does not wait, by which the result is read (`tnllt.realtime`).
    """

    tracker: str
    sequence: str
    place: str
    read: Callable[[], bytes] = field(repr=False)
    beside: dict[str, Callable[[], bytes]] = field(default_factory=dict, repr=False)
    realtime: float | None = None


@dataclass(frozen=True)
class FoundResults:
    """Results below one folder or zip file.

    Attributes:
        place: the folder or zip file.
        trackers: {tracker: {sequence: file}}, both sorted by name.
        unknown: text files that no sequence is named after.
    """

    place: Path
    trackers: dict[str, dict[str, ResultFile]]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Member:
    parts: tuple[str, ...]
    place: str
    read: Callable[[], bytes]


def find_results(place: str | Path, sequences: Iterable[str]) -> FoundResults:
    """Every tracker's results for the named sequences below a folder or in a zip file.

    Raises:
        DataError: there is no such place, it is not a folder or zip file, it holds no result of any tracker, or two
            files are the same tracker's result on the same sequence.
    """
    place = user_path(place)
    names = {name: name for name in sequences}
    folded = {name.casefold(): name for name in names}
    members = list(_members(place))
    trackers: dict[str, dict[str, ResultFile]] = {}
    beside: dict[tuple[tuple[str, ...], str, int], dict[str, Callable[[], bytes]]] = {}
    unknown = []

    def owner(stem: str) -> tuple[str, int] | None:
        """The sequence that a file belongs to, and the run; names that differ in case alone stay apart."""
        match = _RUN.search(stem)
        for name, run in ((stem, 1), *([] if match is None else [(stem[: match.start()], int(match.group(1)))])):
            if (sequence := names.get(name) or folded.get(name.casefold())) is not None:
                return sequence, run
        return None

    for member in members:
        name = member.parts[-1]
        ending = next((e for e in _BESIDE if name.endswith(e) and len(name) > len(e)), None)
        if ending is not None and (about := owner(name[: -len(ending)])) is not None:
            beside.setdefault((member.parts[:-1], *about), {})[_BESIDE[ending]] = member.read
            continue
        if not name.lower().endswith((".txt", ".csv")):
            continue
        if (about := owner(name[:-4])) is None:
            unknown.append(member.place)
            continue
        sequence, run = about
        tracker = _tracker_name(member.parts[:-1], sequence, place) + (f"#{run}" if run > 1 else "")
        own = trackers.setdefault(tracker, {})
        if sequence in own:
            raise DataError(
                f"two results of {tracker!r} on {sequence!r}: {own[sequence].place} too; remove one", member.place
            )
        shelf = beside.setdefault((member.parts[:-1], sequence, run), {})
        own[sequence] = ResultFile(tracker, sequence, member.place, member.read, shelf)
    if not trackers:
        raise DataError(_nothing(unknown, names), place)
    ordered = {t: {s: own[s] for s in names if s in own} for t, own in sorted(trackers.items())}
    return FoundResults(place, ordered, tuple(unknown))


def _nothing(unknown: list[str], names: dict[str, str]) -> str:
    if unknown:
        example = next(iter(names), "")
        return (
            f"no tracker in it: {len(unknown)} text files, but none is named after a sequence of the dataset "
            f"(found {Path(unknown[0]).name!r}; a result is called {example + '.txt'!r}); is --dataset right?"
        )
    return (
        "no tracker in it; a tracker's results are <tracker>_tracking_result/<sequence>.txt or <tracker>/<sequence>.txt"
    )


def _tracker_name(folders: tuple[str, ...], sequence: str, place: Path) -> str:
    """The tracker that folders stand for, without wrappers; the place's own name where none is left."""
    parts = list(folders)
    if parts and parts[-1].casefold() == sequence.casefold():
        parts.pop()
    named = [p for p in parts if p.endswith(SUFFIX) and p != SUFFIX]
    if named:
        return named[-1].removesuffix(SUFFIX)
    kept = [p for p in parts if p.casefold() not in _WRAPPERS and p.casefold() not in _DATASETS]
    if kept:
        return "_".join(kept)
    return (parts[-1] if parts else place.resolve().name.removesuffix(".zip")).removesuffix(SUFFIX)


def _members(place: Path) -> Iterator[_Member]:
    if place.is_dir():
        yield from _walk(place, (), set())
    elif not place.exists():
        raise DataError("no such results folder; --results takes the folder above the trackers' folders", place)
    elif place.is_file() and _is_zip(place):
        yield from _zip_members(place, ())
    else:
        raise DataError(
            "is neither a folder nor a zip file; --results takes the folder above the trackers' folders", place
        )


def _is_zip(path: str | Path) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile as error:  # one part of an archive that spans several files
        raise DataError(f"is a zip file that cannot be read ({error}); download or pack it again", path) from error


def _walk(folder: Path, parts: tuple[str, ...], visited: set[tuple[int, int]]) -> Iterator[_Member]:
    try:
        about = folder.stat()
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda e: e.name)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}); change its permissions or move it away", folder) from error
    if (about.st_dev, about.st_ino) in visited:  # a link to a folder that is read already, or to one above
        return
    visited.add((about.st_dev, about.st_ino))
    for entry in ordered:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        # A link in a circle makes `entry.is_dir` raise.
        if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():  # noqa: PTH112
            if len(parts) < _DEPTH:
                yield from _walk(Path(entry.path), (*parts, entry.name), visited)
        elif entry.name.lower().endswith(".zip"):
            # A zip beside its own unpacked folder is not a second tracker.
            if not os.path.isdir(entry.path[:-4]) and entry.is_file() and _is_zip(entry.path):  # noqa: PTH112
                yield from _zip_members(Path(entry.path), (*parts, entry.name[:-4]))
        else:
            yield _Member((*parts, entry.name), entry.path, partial(read_bytes, entry.path))


def _zip_members(path: Path, parts: tuple[str, ...]) -> Iterator[_Member]:
    archive = ZippedFiles(path)
    for name in archive.sizes:
        inner = tuple(p for p in PurePosixPath(name.replace("\\", "/")).parts if p not in ("/", "..", "."))
        if not inner or "__MACOSX" in inner or any(p.startswith(".") for p in inner):
            continue
        if parts and len(inner) > 1 and inner[0].removesuffix(SUFFIX) == parts[-1].removesuffix(SUFFIX):
            inner = inner[1:]
        yield _Member((*parts, *inner), f"{path}/{name}", partial(archive.read, name))


#: What a zip file may unpack to: so many times its size (text of boxes: about four times), and in any case so much.
MOST_TIMES, ALWAYS_BYTES = 20, 64 << 20
MOST_MEMBERS = 1_000_000


class ZippedFiles:
    """The files in a zip file; only their names and sizes are read before one is asked for.

    Raises:
        DataError: the file is damaged, holds a name twice, or would unpack to much more than its size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            self._archive = zipfile.ZipFile(path)
            infos = [info for info in self._archive.infolist() if info.filename and not info.is_dir()]
        except Exception as error:  # a damaged directory can raise anything
            raise DataError(f"is a damaged zip file ({error}); download or pack it again", path) from error
        self._infos = {info.filename: info for info in infos}
        if len(infos) != len(self._infos):
            raise DataError("holds two files of one name; pack it again", path)
        unpacked = sum(info.file_size for info in infos)
        if unpacked > max(ALWAYS_BYTES, MOST_TIMES * size) or len(infos) > MOST_MEMBERS:
            text = f"would unpack from {size / 1e6:,.1f} MB to {unpacked / 1e6:,.0f} MB in {len(infos):,} files"
            raise DataError(f"{text}, far more than results do; unpack it yourself if you trust it", path)

    def __reduce__(self) -> tuple[type[ZippedFiles], tuple[Path]]:
        return ZippedFiles, (self.path,)  # another process opens it anew

    @property
    def sizes(self) -> dict[str, int]:
        """{name: bytes}, in the order of the archive's directory."""
        return {name: info.file_size for name, info in self._infos.items()}

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises DataError where it is damaged, or larger than any result."""
        info, place = self._infos[name], f"{self.path}/{name}"
        if info.file_size > MOST_BYTES:
            raise DataError(f"is larger than {MOST_BYTES >> 20} MB; no result file is", place)
        if info.compress_type == zipfile.ZIP_LZMA:  # its decoder reserves what the archive claims
            raise DataError("is packed with LZMA, which is not read here; pack it as usual (deflate)", place)
        try:
            return self._archive.read(info)
        except Exception as error:  # zlib.error and its kin share no base class
            raise DataError(f"cannot be unpacked ({error})", place) from error
