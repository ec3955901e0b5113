"""From a folder of downloads to a dataset: join, verify, unpack, put in place; run again after any interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnllt.datasets.archives.plan import PLAN_SUFFIX, UnpackPlan, load_plan, make_plan, save_plan
from tnllt.datasets.archives.sources import Archive, find_archives
from tnllt.datasets.archives.unpack import differing, flatten, remove_drafts, unpack, verify
from tnllt.datasets.progress import OnProgress
from tnllt.errors import DataError
from tnllt.files import read_bytes, write_atomic
from tnllt.locks import sole_writer

#: Called with what begins; returns what is called with bytes done and in all.
Reporter = Callable[[str], OnProgress | None]


@dataclass
class PrepareResult:
    """What `prepare` did.

    Attributes:
        root: the dataset's folder.
        archives: {name: files written in this run}.
        md5: {name: sum} of archives whose sum was there and right.
        removed: nested folders that are gone.
        deleted: downloads that are gone, after verification.
        left: parts of archives whose deletion was interrupted; `delete` removes them.
    """

    root: Path
    archives: dict[str, int] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def prepare(
    downloads: Path,
    root: Path,
    *,
    delete: bool = False,
    overwrite: bool = False,
    report: Reporter = lambda label: None,
) -> PrepareResult:
    """Makes a dataset of the archives in a folder. Every interruption is recovered by running it again.

    Each archive is read through first (md5 sum, checksums, every path), then unpacked file by file, each under a
    draft's name until it is whole, then read back.

    Args:
        downloads: folder of `TNLLT_part_*`, `annos.zip`, `tracking_results.zip`, or other tar and zip files.
        root: where the dataset goes.
        delete: remove the archives, after every file of all of them has been read back from the tree in this run.
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
        return _Preparation(downloads, root, desk, report).run(delete, overwrite)


class _Preparation:
    """One run of `prepare`, the only one in the dataset's folder."""

    def __init__(self, downloads: Path, root: Path, desk: Path, report: Reporter) -> None:
        self.downloads, self.root, self.desk, self.report = downloads, root, desk, report
        self.result = PrepareResult(root)
        self.record = _read_record(desk)

    def run(self, delete: bool, overwrite: bool) -> PrepareResult:
        self.result.removed = flatten(self.root)
        parts_left = self._interrupted_deletions()
        left = [part.name for plan in parts_left for part in plan.archive.parts]
        archives = find_archives(self.downloads, without=left)
        if not archives and not self.record and not _unpacked(self.root):
            raise DataError("holds no archive (TNLLT_part_*, annos.zip, *.tar.gz, *.zip)", self.downloads)
        # Every archive is read before any is unpacked: a bad one is known while nothing has been written.
        plans = [self._plan(archive) for archive in archives]
        protected = {_identity(part) for archive in archives for part in archive.parts}
        for plan in plans:
            self._unpack(plan, protected, overwrite)
        for plan in plans:
            if delete or overwrite or self.result.archives[plan.archive.name] or not self._is_done(plan.archive):
                verify(plan, self.root, self.report(f"verifying {plan.archive.name}"))
                self._note(plan)
            else:
                del self.result.archives[plan.archive.name]
        _write_record(self.desk, self.record)
        if delete:
            self._delete([*parts_left, *plans])
        else:
            self.result.left = left
        return self.result

    def _plan(self, archive: Archive) -> UnpackPlan:
        path = self.desk / f"{archive.name}{PLAN_SUFFIX}"
        plan = load_plan(archive, path)
        if plan is None:
            plan = make_plan(archive, self.downloads, self.report(f"reading {archive.name}"))
            save_plan(plan, path)
        return plan

    def _unpack(self, plan: UnpackPlan, protected: set[tuple[int, int]], overwrite: bool) -> None:
        """Writes what is missing and, where `overwrite`, what differs."""
        name = plan.archive.name
        remove_drafts(plan, self.root)
        replaced = differing(plan, self.root, protected) if overwrite else set()
        progress = self.report(f"unpacking {name}")
        self.result.archives[name] = unpack(plan, self.root, protected, replaced, progress)

    def _is_done(self, archive: Archive) -> bool:
        return bool(self.record.get(archive.name, {}).get("files") == archive.fingerprint())

    def _note(self, plan: UnpackPlan) -> None:
        self.record[plan.archive.name] = {"files": plan.archive.fingerprint(), "count": len(plan.files)}
        if plan.md5 is not None:
            self.result.md5[plan.archive.name] = plan.md5

    # --- deletion -----------------------------------------------------------------------------------------------------

    def _delete(self, plans: list[UnpackPlan]) -> None:
        """Deletes archives whose files were all read back in this run.

        A mark in the record notes that a deletion is under way. It is never a reason to delete: a run that finds it
        reads the tree back again.
        """
        os.sync()  # what was read back may still be in memory alone
        fingerprints = {plan.archive.name: plan.archive.fingerprint() for plan in plans}
        for name in fingerprints:
            self.record[name]["deleting"] = True
        _write_record(self.desk, self.record)
        for plan in plans:
            for part, (_, size, time) in zip(plan.archive.parts, fingerprints[plan.archive.name], strict=True):
                about = part.stat()
                if (about.st_size, about.st_mtime_ns) == (size, time):
                    part.unlink()
                    self.result.deleted.append(part.name)
            del self.record[plan.archive.name]["deleting"]
        _write_record(self.desk, self.record)

    def _interrupted_deletions(self) -> list[UnpackPlan]:
        """Plans of archives of which a killed run has deleted some parts, with the parts that are left.

        Their trees are read back here. An archive all of whose parts are there is like any other.

        Raises:
            DataError: a file of the tree is missing or differs; nothing is deleted.
        """
        plans = []
        for name, done in self.record.items():
            if not done.get("deleting"):
                continue
            parts = [self.downloads / part for part, size, time in done["files"] if self._is(part, size, time)]
            if len(parts) == len(done["files"]):
                continue
            plan = load_plan(Archive(name, tuple(parts), ""), self.desk / f"{name}{PLAN_SUFFIX}", done["files"])
            if plan is None:
                what = f"{name} has been deleted in part, and its record is missing or damaged; download it again"
                raise DataError(what, self.desk)
            verify(plan, self.root, self.report(f"verifying {name}"))
            plans.append(plan)
        return plans

    def _is(self, part: str, size: int, time: int) -> bool:
        path = self.downloads / part
        return path.is_file() and (path.stat().st_size, path.stat().st_mtime_ns) == (size, time)


def _identity(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_dev, about.st_ino


def _unpacked(root: Path) -> bool:
    return any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir())


def _read_record(desk: Path) -> dict[str, Any]:
    """What earlier runs noted of each archive; nothing where there is no record, or it is not one of ours."""
    try:
        record = json.loads(read_bytes(desk / "done.json"))  # times need integers of all 64 bits
    except (DataError, ValueError, RecursionError):
        return {}
    sound = isinstance(record, dict) and all(isinstance(done, dict) and _sound(done) for done in record.values())
    return dict(record) if sound and all(_plain(name) for name in record) else {}


def _sound(done: dict[str, Any]) -> bool:
    """Whether an entry names plain files beside each other: what it names may be deleted."""
    files = done.get("files")
    if not isinstance(files, list) or not all(isinstance(file, list) and len(file) == 3 for file in files):
        return False
    return all(isinstance(name, str) and _plain(name) for name, _, _ in files)


def _plain(name: str) -> bool:
    return name not in ("", ".", "..") and not {*"/\\\0"} & {*name}


def _write_record(desk: Path, record: dict[str, Any]) -> None:
    write_atomic(desk / "done.json", json.dumps(record, indent=1))
