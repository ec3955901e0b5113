"""Writes a plan's files, so that whatever is there is whole and a killed run goes on where it was."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from tnllt.datasets.archives.members import Unsafe, members
from tnllt.datasets.archives.plan import PlannedFile, UnpackPlan
from tnllt.datasets.archives.sources import Joined
from tnllt.datasets.progress import OnProgress
from tnllt.errors import DataError

#: What a file is called while it is being written.
DRAFT = ".tnllt-draft"


def unpack(
    plan: UnpackPlan,
    root: Path,
    protected: Container[tuple[int, int]] = (),
    overwrite: bool = False,
    progress: OnProgress | None = None,
) -> int:
    """Writes every file of the plan that is not there yet, each under a draft's name first.

    Files that are there with the size of the plan are left; `verify` reads them.

    Args:
        protected: (device, inode) of files that no member may stand for: the downloads themselves.
        overwrite: also write files that are there with another content.

    Returns:
        how many files were written.

    Raises:
        DataError: no room on the disk, or a file of another size is in the way.
        Unsafe: a folder of the tree is a link that leads outside, or a file of the tree is a link.
    """
    missing = {
        name: file for name, file in plan.files.items() if not _in_place(root / file.path, file, protected, overwrite)
    }
    if not missing:
        return 0
    needed, free = sum(file.size for file in missing.values()), shutil.disk_usage(root).free
    if needed > free:
        raise DataError(f"needs {needed / 1e9:,.2f} GB but {free / 1e9:,.2f} GB are free; nothing was unpacked", root)
    _make_folders(root, missing.values())
    stream = Joined(plan.archive, progress=progress)
    written = 0
    try:
        for member in members(plan.archive, stream):
            file = missing.get(str(member.path))
            if file is not None:
                _write(root / file.path, member.chunks(), file)
                written += 1
                if written == len(missing):
                    break
    finally:
        stream.close()
    return written


def _in_place(path: Path, file: PlannedFile, protected: Container[tuple[int, int]], overwrite: bool) -> bool:
    """Whether a planned file is there, by its size; where `overwrite`, by its content.

    Raises:
        Unsafe: a link or a download is there.
        DataError: something else is there that must not be overwritten.
    """
    if path.is_symlink():
        raise Unsafe("is a link where a file of the archive belongs; remove it", path)
    if not path.exists():
        return False
    about = path.stat()
    if (about.st_dev, about.st_ino) in protected:
        raise Unsafe("is a download, and an archive holds a file of this name; unpack into another folder", path)
    if path.is_file() and overwrite:
        return about.st_size == file.size and _read_back(path) == (file.size, file.crc)
    if path.is_file() and about.st_size == file.size:
        return True
    remedy = "move it away, or use --overwrite" if path.is_file() else "move it away"
    raise DataError(f"is in the way: another file of this name belongs here; {remedy}", path)


def _make_folders(root: Path, files: Iterable[PlannedFile]) -> None:
    """The folders of the files, none of which may be a link out of the root."""
    top = root.resolve()
    for folder in sorted({file.path.parent for file in files}):
        path = root / folder
        # Links among the parents must be seen before anything is made below them.
        existing = next(p for p in (path, *path.parents) if p.exists() or p.is_symlink())
        if not existing.resolve().is_relative_to(top) and existing != root:
            raise Unsafe("is a link that leads out of the folder; remove it", existing)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"folder cannot be made ({error.strerror})", path) from error


def _write(path: Path, chunks: Iterator[bytes], planned: PlannedFile) -> None:
    draft = path.with_name(f"{zlib.crc32(path.name.encode()):08x}{DRAFT}")  # never longer than a name may be
    crc = 0
    try:
        with draft.open("wb") as file:
            for chunk in chunks:
                crc = zlib.crc32(chunk, crc)
                file.write(chunk)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror}); make room and run the command again", path) from error
    if crc != planned.crc:
        draft.unlink()
        raise DataError("the archive has changed while it was unpacked; run the command again", path)
    draft.replace(path)


def verify(plan: UnpackPlan, root: Path, progress: OnProgress | None = None) -> None:
    """Reads every file of the plan back and compares it with the archive's content.

    Raises:
        DataError: names the first file that is missing or differs.
    """
    total, done = plan.size, 0
    for file in plan.files.values():
        path = root / file.path
        if _read_back(path) != (file.size, file.crc):
            raise DataError(
                "differs from the archive's; if it was changed on purpose keep the archive, else use --overwrite", path
            )
        done += file.size
        if progress is not None:
            progress(done, total)


def _read_back(path: Path) -> tuple[int, int]:
    """Size and checksum of a file of the tree."""
    crc = size = 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                crc = zlib.crc32(chunk, crc)
                size += len(chunk)
    except OSError as error:
        raise DataError(f"cannot be read back ({error.strerror}); run the command again", path) from error
    return size, crc
