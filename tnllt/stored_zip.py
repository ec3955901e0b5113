"""The directory of a zip archive whose members are stored as they are, read so that every byte has one meaning.

Readers of zip archives disagree about bytes before the first member, several directories, and headers that contradict
each other, so that one can check what another one does not load. Here the file must be members, directory and end of
the directory, each where the one before it ends, and nothing else. What is written twice must be equal.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

#: Bytes of a directory; one of 40,000 members takes about 3 MB.
MOST_DIRECTORY = 16 << 20

_WIDE = 0xFFFFFFFF  # stands for "see the 64-bit field"
_DESCRIPTOR = 8  # flag: checksum and sizes are behind the member
_TAKEN_FLAGS = _DESCRIPTOR | 0x800  # and: the name is UTF-8


class Refused(ValueError):
    """What is wrong with a file; its reader adds which file."""


class _Entry(NamedTuple):
    offset: int
    name: bytes
    size: int
    checksum: int
    flags: int


#: Start and length to bytes; raises Refused where the file has not so many.
Take = Callable[[int, int], bytes]


def read_directory(take: Take, size: int) -> dict[str, tuple[int, int]]:
    """Start and size of every member's bytes, by name.

    Args:
        take: reads a part of the file. size: the file's.

    Raises:
        Refused: not such an archive, damaged, or one that can be read in two ways.
    """
    start, length, count = _find_directory(take, size)
    entries = sorted(_entries(take(start, length), count))
    ends = [entry.offset for entry in entries[1:]] + [start]
    if not entries or entries[0].offset:
        raise Refused("a zip archive without members, or with bytes before the first one")
    members = {
        entry.name.decode("utf-8", "replace"): (_member(take, entry, end), entry.size)
        for entry, end in zip(entries, ends, strict=True)
    }
    if len(members) != len(entries):
        raise Refused("a zip archive with two members of one name")
    return members


def _find_directory(take: Take, size: int) -> tuple[int, int, int]:
    """Start, length and number of entries of the directory, from the record at the very end of the file."""
    at = size - 22
    magic, disk, first, here, count, length, start, comment = struct.unpack("<IHHHHIIH", take(at, 22))
    if magic != 0x06054B50 or disk or first or here != count or comment:
        raise Refused("a zip archive that does not end with its directory: cut short, or with something behind it")
    if at >= 76 and take(at - 20, 4) == b"PK\x06\x07":
        narrow = zip((count, length, start), (0xFFFF, _WIDE, _WIDE), strict=True)
        *locator, total = struct.unpack("<IIQI", take(at - 20, 20))
        at -= 76
        magic, room, _, _, disk, first, here, count, length, start = struct.unpack("<IQHHIIQQQQ", take(at, 56))
        fits = [a in (b, most) for (a, most), b in zip(narrow, (count, length, start), strict=True)]
        own = (magic, room, disk, first, here) == (0x06064B50, 44, 0, 0, count)
        if locator[1:] != [0, at] or total != 1 or not own or not all(fits):
            raise Refused("a zip archive whose two ends of the directory contradict each other")
    if start + length != at:
        raise Refused("a zip archive whose directory is not at the place in its end record")
    if length > MOST_DIRECTORY:
        raise Refused(f"a zip archive with a directory of {length:,} bytes; at most {MOST_DIRECTORY:,} are read")
    return start, length, count


def _entries(directory: bytes, count: int) -> list[_Entry]:
    found, at = [], 0
    while at + 46 <= len(directory):
        fields = struct.unpack_from("<IHHHHHHIIIHHHHHII", directory, at)
        magic, _, _, flags, method, _, _, checksum, packed, size, names, extras, comment, disk, _, _, offset = fields
        extra = at + 46 + names
        if magic != 0x02014B50 or extra + extras > len(directory) or comment or disk:
            raise Refused("a zip archive with a damaged directory")
        if method or flags & ~_TAKEN_FLAGS:
            raise Refused("a zip archive with compressed or encrypted members; torch.save stores them as they are")
        size, packed, offset = _widened(directory[extra : extra + extras], size, packed, offset)
        if size != packed:
            raise Refused("a zip archive with a stored member of two sizes")
        found.append(_Entry(offset, directory[at + 46 : extra], size, checksum, flags))
        at = extra + extras
    if at != len(directory) or len(found) != count:
        raise Refused("a zip archive with a damaged directory")
    return found


def _widened(extra: bytes, *values: int) -> list[int]:
    """The values; those that do not fit into 32 bits are in the extra field of kind 1, which holds just these."""
    wide = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        part, extra = extra[4 : 4 + length], extra[4 + length :]
        if len(part) != length or (kind == 1 and wide):
            raise Refused("a zip archive with a damaged directory")
        wide = part if kind == 1 else wide
    missing = values.count(_WIDE)
    if extra or len(wide) != 8 * missing:
        raise Refused("a zip archive whose 64-bit sizes are not where they belong")
    numbers = iter(struct.unpack(f"<{missing}Q", wide))
    return [next(numbers) if value == _WIDE else value for value in values]


def _member(take: Take, entry: _Entry, end: int) -> int:
    """Where the member's bytes begin. Its header, its bytes and what follows them must fill the place up to `end`."""
    magic, _, flags, method, _, _, checksum, packed, size, names, extras = struct.unpack(
        "<IHHHHHIIIHH", take(entry.offset, 30)
    )
    begin: int = entry.offset + 30 + names + extras
    narrow = min(entry.size, _WIDE)
    facts = [(entry.checksum, narrow, narrow)] + [(0, 0, 0)] * (flags & _DESCRIPTOR > 0)
    if (
        (magic, method, flags) != (0x04034B50, 0, entry.flags)
        or take(entry.offset + 30, names) != entry.name
        or (checksum, packed, size) not in facts
    ):
        raise Refused("a zip archive whose members contradict its directory")
    if not _fills(take, entry, begin + entry.size, end):
        raise Refused("a zip archive with bytes that belong to no member, or to two")
    return begin


def _fills(take: Take, entry: _Entry, at: int, end: int) -> bool:
    """Whether a member's bytes end where the next one begins, or its descriptor lies between and agrees."""
    form = {16: "<IIII", 24: "<IIQQ"}.get(end - at) if entry.flags & _DESCRIPTOR else None
    if form is None:
        return at == end
    return struct.unpack(form, take(at, end - at)) == (0x08074B50, entry.checksum, entry.size, entry.size)
