"""Downloads: which archives lie in a folder, and how the parts of one are read as if they were joined."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tnllt.datasets.progress import OnProgress
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
