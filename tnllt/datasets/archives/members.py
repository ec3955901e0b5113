"""Downloads: which archives lie in a folder, and their members, checked before anything is written: untrusted input."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tnllt.datasets.frames import OnProgress
from tnllt.errors import DataError
from tnllt.files import read_bytes

_PART = re.compile(r"(?P<stem>.+?)[_.]part[_.]?(?P<index>[a-z]{1,3}|\d+)$", re.IGNORECASE)
_MOST_SUMS = 1 << 20
_ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True)
class Archive:
    """One archive, in one or several files.

    Attributes:
        name: its name in messages, such as `TNLLT` or `annos.zip`.
        parts: its files in order.
        kind: "sequences", "annos" or "tracking_results": where its content belongs.
    """

    name: str
    parts: tuple[Path, ...]
    kind: str

    @property
    def size(self) -> int:
        return sum(part.stat().st_size for part in self.parts)

    def fingerprint(self) -> list[list[Any]]:
        """Name, size and time of every file: they differ where a download has changed."""
        return [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in self.parts]

    def part_at(self, offset: int) -> Path:
        """The file that holds a byte of the joined archive."""
        for part in self.parts:
            if offset < part.stat().st_size:
                return part
            offset -= part.stat().st_size
        return self.parts[-1]


def find_archives(folder: Path) -> list[Archive]:
    """The archives in a folder, sequences first.

    Raises:
        DataError: a part is missing or too short, there is no archive, or the folder cannot be listed.
    """
    groups: dict[str, list[tuple[str, Path]]] = {}
    whole: list[Path] = []
    try:
        found = sorted(p for p in folder.iterdir() if p.name[0] != "." and p.is_file())
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", folder) from error
    for path in found:
        match = _PART.fullmatch(path.name)
        if match:
            groups.setdefault(match["stem"], []).append((match["index"].lower(), path))
        elif path.name.lower().endswith(_ENDINGS):
            whole.append(path)
    archives = [Archive(stem, _in_order(stem, parts), _kind(stem)) for stem, parts in groups.items()]
    # `cat TNLLT_part_* > TNLLT_restored.tar.gz` may have been done, or begun: the parts hold the same.
    joined = {f"{stem}_restored" for stem in groups}
    apart = [path for path in whole if path.name.split(".")[0] not in joined]
    archives += [Archive(path.name, (path,), _kind(path.name)) for path in apart]
    if not archives:
        raise DataError("holds no archive (TNLLT_part_*, annos.zip, *.tar.gz, *.zip)", folder)
    return sorted(archives, key=lambda archive: (archive.kind != "sequences", archive.name))


def _kind(name: str) -> str:
    lower = name.lower()
    if lower.startswith("anno"):
        return "annos"
    return "tracking_results" if lower.startswith(("tracking_result", "results")) else "sequences"


def _in_order(stem: str, parts: list[tuple[str, Path]]) -> tuple[Path, ...]:
    """Parts in order, after checking that none is missing between others and none is shorter than it should be."""
    parts = sorted(parts, key=lambda part: (len(part[0]), part[0]))
    indices = [_number(index) for index, _ in parts]
    gap = next((i for i, (a, b) in enumerate(itertools.pairwise(indices)) if b != a + 1), None)
    if indices[0] > 1 or gap is not None:
        beside = parts[0][1] if gap is None else parts[gap + 1][1]
        raise DataError(f"the part before it is missing; download all parts of {stem} again that are not here", beside)
    sizes = [path.stat().st_size for _, path in parts]
    for (_, path), size in zip(parts[:-1], sizes[:-1], strict=True):
        if size != max(sizes):
            raise DataError(
                f"has {size:,} bytes, other parts have {max(sizes):,}: it broke off; download this part again", path
            )
    return tuple(path for _, path in parts)


def _number(index: str) -> int:
    """Place of a part in its row: `aa`, `ab`, ... as `split` names them, or digits."""
    if index.isdigit():
        return int(index)
    number = 0
    for letter in index:
        number = number * 26 + ord(letter) - ord("a")
    return number


class Joined(io.RawIOBase):
    """The parts of an archive as one stream, read in order; counts and hashes what goes through.

    Attributes:
        offset: bytes read.
    """

    def __init__(self, archive: Archive, hashed: bool = False, progress: OnProgress | None = None) -> None:
        self._archive, self._progress = archive, progress
        self._total = archive.size
        self._left = list(archive.parts)
        self._file: Any = None
        self.offset = 0
        self.digest = hashlib.md5(usedforsecurity=False) if hashed else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                if not self._left:
                    return 0
                self._file = self._left.pop(0).open("rb", buffering=0)
            count = self._file.readinto(buffer)
            if count:
                break
            self._file.close()
            self._file = None
        self.offset += count
        if self.digest is not None:
            self.digest.update(memoryview(buffer)[:count])
        if self._progress is not None:
            self._progress(self.offset, self._total)
        return int(count)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


def expected_md5(archive: Archive, folder: Path) -> tuple[Path, str] | None:
    """The `.md5` file that belongs to an archive and the sum in it, or None.

    Raises DataError where the file holds no md5 sum.
    """
    names = [f"{archive.name}.md5", f"{archive.name}.tar.gz.md5", f"{archive.name.replace('_restored', '')}.md5"]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        return None
    match = re.search(r"\b[0-9a-fA-F]{32}\b", read_bytes(path, _MOST_SUMS).decode("utf-8", errors="replace"))
    if match is None:
        raise DataError("holds no md5 sum (32 hexadecimal digits); download it again or remove it", path)
    return path, match[0].lower()


_CHUNK = 1 << 20
#: Limits that no release comes near and a disk-filling archive must break.
MOST_MEMBERS = 20_000_000
MOST_RATIO = 200  # times the archive's own size; images hardly shrink at all
_FREE_OF_RATIO = 64 << 20  # bytes that any archive may unpack to
_MOST_HEADER = 1 << 20  # bytes of a name, or of other facts of a member: tarfile would read any number
_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, b"X")
_LONGEST = 1024  # bytes of a path below the root
#: Names that Windows gives to devices and drives.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|[a-z]:.*", re.IGNORECASE)
#: Names of our own records and drafts, in whatever folder: an archive's outer folder may be left away.
_OURS = re.compile(r"\.tnllt-.*|.*\.tnllt-draft$", re.IGNORECASE)


@dataclass(frozen=True)
class Member:
    """A regular file in an archive: its path there, its size, and its content as chunks."""

    path: PurePosixPath
    size: int
    chunks: Callable[[], Iterator[bytes]]


class Unsafe(DataError):
    """An archive that could write outside its folder, or fill the disk. Nothing of it has been unpacked."""


def members(archive: Archive, stream: Joined) -> Iterator[Member]:
    """The regular files of an archive, in order; each must be read before the next is asked for.

    Raises:
        Unsafe: a member's path leaves the folder, a link, a device, or more content than any release has.
        DataError: an archive that is damaged or ends early, naming the part at fault.
    """
    with archive.parts[0].open("rb") as file:
        head = file.read(4)
    reader = _zip_members if head[:2] == b"PK" else _tar_members
    most = max(_FREE_OF_RATIO, archive.size * MOST_RATIO)
    count = size = 0
    with _damage_named(archive, stream):
        for member in reader(archive, stream, packed=head[:2] == b"\x1f\x8b"):
            count, size = count + 1, size + member.size
            if count > MOST_MEMBERS or size > most:
                sizes = f"more than {most / 1e9:,.1f} GB from {archive.size / 1e9:,.3f} GB"
                raise Unsafe(f"unpacks to {sizes}: a disk-filling archive, refused", archive.parts[0])
            yield replace(member, chunks=partial(_named, archive, stream, member.chunks))


@contextmanager
def _damage_named(archive: Archive, stream: Joined) -> Iterator[None]:
    """What reading an archive raises, as a DataError that names the part at fault."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # zip, tar, zlib, bz2 and lzma share no base class
        at = archive.part_at(max(stream.offset - 1, 0))
        where = f"is damaged or broke off, at byte {stream.offset:,} of {archive.size:,}"
        raise DataError(f"{archive.name} {where} ({error}); download this file again", at) from error


def _named(archive: Archive, stream: Joined, chunks: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
    with _damage_named(archive, stream):
        yield from chunks()


def safe_path(name: str, archive: Archive) -> PurePosixPath:
    """A member's path below the target folder. Raises Unsafe for any that could lead elsewhere."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    reason = None
    if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        reason = "an absolute path"
    elif ".." in parts or "\\" in name:
        reason = "a path that leads outside"
    elif any(not c.isprintable() for c in name) or not parts:
        reason = "a path that no file can have"
    elif any(_OURS.match(part) for part in parts):
        reason = "a name that tnllt keeps for its own records"
    elif len(name.encode()) > _LONGEST or any(len(part.encode()) > 255 or _DEVICE.fullmatch(part) for part in parts):
        reason = "a path that not every system can write"
    if reason is not None:
        raise Unsafe(f"member {name[:120]!r} has {reason}; nothing of this archive was unpacked", archive.parts[0])
    return PurePosixPath(*parts)


class _BoundedInfo(tarfile.TarInfo):
    """A member's header, refused where it claims that a name or comment of more than a megabyte follows."""

    def _proc_member(self, tarfile_: tarfile.TarFile) -> Any:
        if self.type in _HEADERS and self.size > _MOST_HEADER:
            raise tarfile.ReadError(f"a member's header claims {self.size:,} bytes")
        return super()._proc_member(tarfile_)  # type: ignore[misc]


def _tar_members(archive: Archive, stream: Joined, packed: bool) -> Iterator[Member]:
    buffered = io.BufferedReader(stream, _CHUNK)
    source: IO[bytes] = gzip.GzipFile(fileobj=buffered) if packed else buffered  # type: ignore[assignment]
    with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK, tarinfo=_BoundedInfo) as tar:
        for info in tar:
            if info.isdir() and info.name.strip("/") in ("", "."):
                continue
            path = safe_path(info.name, archive)
            if info.issym() or info.islnk():
                raise Unsafe(
                    f"member {info.name[:120]!r} is a link to {info.linkname[:120]!r}; "
                    "links are not unpacked, and no release has any",
                    archive.parts[0],
                )
            if info.isdir():
                continue
            if not info.isreg() or info.sparse is not None:
                raise Unsafe(f"member {info.name[:120]!r} is neither a file nor a folder", archive.parts[0])
            yield Member(path, info.size, partial(_chunks, partial(tar.extractfile, info), info.size))
            tar.members = []  # type: ignore[attr-defined]  # a release has a million members: keep none
        # gzip's own checksum lies behind tar's last block and its padding.
        padding = 0
        while chunk := source.read(_CHUNK):
            padding += len(chunk)
            if padding > _FREE_OF_RATIO:
                raise Unsafe("goes on behind its last member: no release does", archive.parts[0])


def _zip_members(archive: Archive, stream: Joined, packed: bool) -> Iterator[Member]:
    if len(archive.parts) > 1:
        raise DataError("a zip file in parts cannot be read; join it first", archive.parts[0])
    with zipfile.ZipFile(archive.parts[0]) as file:
        for info in file.infolist():
            path = safe_path(info.filename, archive)
            mode = info.external_attr >> 16
            if stat.S_ISLNK(mode):
                raise Unsafe(f"member {info.filename[:120]!r} is a link; links are not unpacked", archive.parts[0])
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Unsafe(f"member {info.filename[:120]!r} is neither a file nor a folder", archive.parts[0])
            if info.flag_bits & 1:
                raise DataError(f"member {info.filename[:120]!r} is encrypted", archive.parts[0])
            if not info.is_dir():
                yield Member(path, info.file_size, partial(_chunks, partial(file.open, info), info.file_size))


def _chunks(opened: Callable[[], Any], size: int) -> Iterator[bytes]:
    with opened() as file:
        left = size
        while left:
            chunk = file.read(min(_CHUNK, left))
            if not chunk:
                raise EOFError("a member ends early")
            left -= len(chunk)
            yield chunk
        if file.read(1):
            raise zlib.error("a member is longer than its header says")
