"""From a folder of downloads to a dataset: join, verify, unpack, put in place; run again after any interruption.

What an archive holds and where it goes is settled before anything is written.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tnllt.datasets.archives.members import Archive, Joined, Unsafe, expected_md5, find_archives, members, safe_path
from tnllt.datasets.frames import OnProgress
from tnllt.errors import DataError
from tnllt.files import write_atomic
from tnllt.locks import sole_writer

_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class PlannedFile:
    """A file to be: path below the root, size in bytes, crc32 of its content."""

    path: PurePosixPath
    size: int
    crc: int


@dataclass
class UnpackPlan:
    """All files of an archive, by their path in it.

    Attributes:
        md5: the archive's sum, where it was compared with a `.md5` file.
        verified: whether all files have been unpacked and read back once.
    """

    archive: Archive
    files: dict[str, PlannedFile]
    md5: str | None = None
    verified: bool = False

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files.values())


def make_plan(archive: Archive, folder: Path, progress: OnProgress | None = None) -> UnpackPlan:
    """Reads an archive through: checks its md5 sum, every checksum in it and every path, and settles where files go.

    Raises:
        Unsafe: a member that must not be unpacked.
        DataError: an archive that is damaged, or not the one that its md5 sum was made of.
    """
    wanted = expected_md5(archive, folder)
    stream = Joined(archive, hashed=wanted is not None, progress=progress)
    found: dict[str, tuple[int, int]] = {}
    try:
        for member in members(archive, stream):
            crc = 0
            for chunk in member.chunks():
                crc = zlib.crc32(chunk, crc)
            name = str(member.path)
            if name in found and found[name] != (member.size, crc):
                raise Unsafe(f"holds {name!r} twice, with different content", archive.parts[0])
            found[name] = (member.size, crc)
        md5 = _md5(stream)
    except Unsafe:
        raise
    except DataError as error:
        # A wrong sum is the plainer news, if only the rest can still be read.
        if wanted is not None and (md5 := _md5(stream)) != wanted[1]:
            raise DataError(f"md5 is {md5}, {wanted[0].name} says {wanted[1]}; {error}", error.path) from error
        raise
    finally:
        stream.close()
    if wanted is not None and md5 != wanted[1]:
        raise DataError(
            f"md5 of the {len(archive.parts)} files of {archive.name} together is {md5}, {wanted[0].name} says "
            f"{wanted[1]}: a download is damaged or not of this release; nothing was unpacked",
            archive.parts[0],
        )
    names = [name for name in found if not any(part in _JUNK for part in PurePosixPath(name).parts)]
    targets = destinations(names, archive.kind)
    taken: dict[str, str] = {}
    folders = {str(parent) for target in targets.values() for parent in target.parents}
    for name, target in targets.items():
        other = taken.setdefault(str(target), name)
        if other != name or str(target) in folders:
            raise Unsafe(f"{name!r} and {other!r} would be one file or folder", archive.parts[0])
    return UnpackPlan(archive, {name: PlannedFile(targets[name], *found[name]) for name in names}, md5)


def _md5(stream: Joined) -> str | None:
    if stream.digest is None:
        return None
    while stream.read(1 << 20):
        pass
    return stream.digest.hexdigest()


def destinations(names: list[str], kind: str) -> dict[str, PurePosixPath]:
    """Where the files of an archive go below the root, without the folders that archives wrap them in.

    `TNLLT/seq/imgs/1.png` goes to `seq/imgs/1.png`; `annos/annos/seq.txt` to `annos/seq.txt`.
    """
    parts = {name: PurePosixPath(name).parts for name in names}
    if kind == "sequences":
        while (top := _wrapping(list(parts.values()))) is not None:
            parts = {name: path[1:] for name, path in parts.items() if path[0] == top}
        return {name: PurePosixPath(*path) for name, path in parts.items()}
    targets = {}
    for name, path in parts.items():
        while len(path) > 1 and path[0] == kind:
            path = path[1:]
        targets[name] = PurePosixPath(kind, *path)
    return targets


def _wrapping(paths: list[tuple[str, ...]]) -> str | None:
    """The one folder that all files lie in, if it is not a sequence itself; else None."""
    tops = {path[0] for path in paths}
    if len(tops) != 1 or any(len(path) < 3 for path in paths if not path[-1].endswith((".txt", ".md", ".pdf"))):
        return None
    inside = {path[1].lower() for path in paths if len(path) > 1}
    is_sequence = inside & {"imgs", "img", "groundtruth.txt", "language.txt"}
    return None if is_sequence or any(len(path) < 2 for path in paths) else tops.pop()


def save_plan(plan: UnpackPlan, path: Path) -> None:
    """Writes a plan as JSON lines, whole or not at all."""
    head = {
        "version": 1,
        "files": plan.archive.fingerprint(),
        "entries": len(plan.files),
        "md5": plan.md5,
        "verified": plan.verified,
    }
    rows = ([name, str(file.path), file.size, file.crc] for name, file in plan.files.items())
    write_atomic(path, "".join(json.dumps(row) + "\n" for row in (head, *rows)))


def load_plan(archive: Archive, path: Path) -> UnpackPlan | None:
    """The saved plan of the very same download, or None."""
    try:
        head, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        if head["version"] != 1 or head["files"] != archive.fingerprint():
            return None
        files = {name: PlannedFile(safe_path(to, archive), int(size), int(crc)) for name, to, size, crc in rows}
        whole = len(files) == head["entries"] and isinstance(head["md5"], str | None)
        return UnpackPlan(archive, files, head["md5"], head["verified"] is True) if whole else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, Unsafe):
        return None


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


#: Called with what begins; returns what is called with bytes done and in all.
Reporter = Callable[[str], OnProgress | None]


@dataclass
class PrepareResult:
    """What `prepare` did.

    Attributes:
        archives: {name: files written in this run} of the archives whose files were read back in this run.
        md5: {name: sum} of those of them whose sum was there and right.
    """

    archives: dict[str, int] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)


def prepare(
    downloads: Path, root: Path, *, overwrite: bool = False, report: Reporter = lambda label: None
) -> PrepareResult:
    """Makes a dataset of the archives in a folder. Every interruption is recovered by running it again.

    Each archive is read through first (md5 sum, checksums, every path), then unpacked file by file, each under a
    draft's name until it is whole, then read back. The archives stay as they are.

    Args:
        downloads: folder of `TNLLT_part_*`, `annos.zip`, `tracking_results.zip`, or other tar and zip files.
        root: where the dataset goes.
        overwrite: replace files of the tree that differ from the archives'.

    Raises:
        Unsafe: an archive that could write outside `root` or fill the disk; nothing of it is unpacked.
        DataError: a part that is missing, short or damaged; no room; a file in the way.
        UsageError: another run is at work.
    """
    if not downloads.is_dir():
        raise DataError("no such folder of downloads", downloads)
    desk = root / ".tnllt-prepare"
    try:
        desk.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = "is not a folder" if root.is_file() else f"cannot be made ({error.strerror})"
        raise DataError(f"{what}; name a folder for the dataset", root) from error
    with sole_writer(desk):
        return _prepare(downloads, root, desk, overwrite, report)


def _prepare(downloads: Path, root: Path, desk: Path, overwrite: bool, report: Reporter) -> PrepareResult:
    archives = find_archives(downloads)
    protected = {(about.st_dev, about.st_ino) for archive in archives for about in map(Path.stat, archive.parts)}
    plans = {}
    # Every archive is read before any is unpacked: a bad one is known while nothing has been written.
    for archive in archives:
        path = desk / f"{archive.name}.plan.jsonl"
        plan = load_plan(archive, path)
        if plan is None:
            plan = make_plan(archive, downloads, report(f"reading {archive.name}"))
            save_plan(plan, path)
        plans[path] = plan
    result = PrepareResult()
    for plan in plans.values():
        name = plan.archive.name
        written = unpack(plan, root, protected, overwrite, report(f"unpacking {name}"))
        if written or overwrite or not plan.verified:
            result.archives[name] = written
    for path, plan in plans.items():
        name = plan.archive.name
        if name in result.archives:
            verify(plan, root, report(f"verifying {name}"))
            plan.verified = True
            save_plan(plan, path)
            if plan.md5 is not None:
                result.md5[name] = plan.md5
    return result
