"""Archive members, checked before anything of them is written: an archive is untrusted input."""

from __future__ import annotations

import gzip
import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any

from tnllt.datasets.archives.sources import Archive, Joined
from tnllt.errors import DataError

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
