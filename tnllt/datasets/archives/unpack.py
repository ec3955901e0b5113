"""Writes a plan's files, so that whatever is there is whole and a killed run goes on where it was."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from tnllt.datasets.archives.members import Unsafe, members
from tnllt.datasets.archives.plan import PlannedFile, Progress, UnpackPlan
from tnllt.datasets.archives.sources import Joined
from tnllt.errors import DataError

#: What a file is called while it is being written.
DRAFT = ".tnllt-draft"


def unpack(plan: UnpackPlan, root: Path, *, overwrite: bool = False, progress: Progress | None = None) -> int:
    """Writes every file of the plan that is not there yet, each under a draft's name first.

    Files that are there with the size of the plan are left; `verify` reads them.

    Returns:
        how many files were written.

    Raises:
        DataError: no room on the disk, or a file of another size is in the way (`overwrite` replaces it).
        Unsafe: a folder of the tree is a link that leads outside.
    """
    missing = {name: entry for name, entry in plan.entries.items() if not _there(root, entry, overwrite)}
    if not missing:
        return 0
    _need_room(root, sum(entry.size for entry in missing.values()))
    _make_folders(root, missing.values())
    stream = Joined(plan.archive, progress=progress)
    written = 0
    try:
        for member in members(plan.archive, stream):
            entry = missing.get(str(member.path))
            if entry is not None:
                _write(root / entry.path, member.chunks(), entry)
                written += 1
                if written == len(missing):
                    break
    finally:
        stream.close()
    return written


def _there(root: Path, entry: PlannedFile, overwrite: bool) -> bool:
    path = root / entry.path
    if path.is_symlink():
        raise Unsafe("is a link where a file of the archive belongs; remove it", path)
    if not path.exists():
        return False
    if path.is_file() and path.stat().st_size == entry.size:
        return True
    if overwrite and path.is_file():
        return False
    raise DataError("is in the way: another file of this name belongs here; move it away, or use --overwrite", path)


def _need_room(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if needed > free:
        raise DataError(f"needs {needed / 1e9:,.2f} GB but {free / 1e9:,.2f} GB are free; nothing was unpacked", root)


def _make_folders(root: Path, entries: Iterable[PlannedFile]) -> None:
    """The folders of the files, none of which may be a link out of the root."""
    top = root.resolve()
    for folder in sorted({entry.path.parent for entry in entries}):
        path = root / folder
        # Links among the parents must be seen before anything is made below them.
        existing = next(p for p in (path, *path.parents) if p.exists() or p.is_symlink())
        if not existing.resolve().is_relative_to(top) and existing != root:
            raise Unsafe("is a link that leads out of the folder; remove it", existing)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"folder cannot be made ({error.strerror})", path) from error


def _write(path: Path, chunks: Iterator[bytes], entry: PlannedFile) -> None:
    draft = path.with_name(path.name + DRAFT)
    crc = 0
    try:
        with draft.open("wb") as file:
            for chunk in chunks:
                crc = zlib.crc32(chunk, crc)
                file.write(chunk)
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror}); make room and run the command again", path) from error
    if crc != entry.crc:
        draft.unlink()
        raise DataError("the archive has changed while it was unpacked; run the command again", path)
    draft.replace(path)


def verify(plan: UnpackPlan, root: Path, progress: Progress | None = None) -> None:
    """Reads every file of the plan back and compares it with the archive's content.

    Raises:
        DataError: names the first file that is missing or differs.
    """
    total, done = plan.size, 0
    for entry in plan.entries.values():
        path = root / entry.path
        crc = size = 0
        try:
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    crc = zlib.crc32(chunk, crc)
                    size += len(chunk)
        except OSError as error:
            raise DataError(f"cannot be read back ({error.strerror}); run the command again", path) from error
        if (size, crc) != (entry.size, entry.crc):
            raise DataError(
                "differs from the archive's; if it was changed on purpose keep the archive, else use --overwrite", path
            )
        done += size
        if progress is not None:
            progress(done, total)


def remove_drafts(plan: UnpackPlan, root: Path) -> None:
    """Removes what a killed run left half written."""
    for folder in {root / entry.path.parent for entry in plan.entries.values()}:
        for draft in folder.glob(f"*{DRAFT}"):
            draft.unlink()


def flatten(root: Path) -> list[str]:
    """Moves the content of `annos/annos` and `tracking_results/tracking_results` one level up.

    Every step is one rename, so a killed run goes on where it was. A file that is in both is kept once where the two
    are equal.

    Returns:
        the folders that were removed.

    Raises:
        DataError: two different files of one name; both stay.
    """
    removed = []
    for name in ("annos", "tracking_results"):
        inner, aside = root / name / name, root / name / f"{name}{DRAFT}"
        while aside.is_dir() or (inner.is_dir() and not inner.is_symlink()):
            if not aside.is_dir():
                inner.rename(aside)  # its content may hold a folder of its own name
            _merge(aside, root / name)
            removed.append(f"{name}/{name}")
    return removed


def _merge(source: Path, target: Path) -> None:
    for path in sorted(source.iterdir()):
        goal = target / path.name
        if path.is_dir() and goal.is_dir():
            _merge(path, goal)
        elif not goal.exists():
            path.rename(goal)
        elif path.is_file() and goal.is_file() and path.read_bytes() == goal.read_bytes():
            path.unlink()
        else:
            raise DataError(f"differs from {goal}; keep one of the two and run the command again", path)
    source.rmdir()
