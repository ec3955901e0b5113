"""From a folder of downloads to a dataset: join, verify, unpack, put in place; run again after any interruption."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnllt.datasets.archives.plan import UnpackPlan, load_plan, make_plan, save_plan
from tnllt.datasets.archives.sources import Archive, find_archives
from tnllt.datasets.archives.unpack import flatten, remove_drafts, unpack, verify
from tnllt.errors import DataError

#: Told what begins: returns what is told of bytes done and in all.
Reporter = Callable[[str], Callable[[int, int], None] | None]


@dataclass
class PrepareResult:
    """What `prepare` did.

    Attributes:
        root: the dataset's folder.
        archives: {name: files written in this run}.
        md5: {name: sum} of archives whose sum was there and right.
        removed: nested folders that are gone.
        deleted: downloads that are gone, after verification.
    """

    root: Path
    archives: dict[str, int] = field(default_factory=dict)
    md5: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


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
    draft's name until it is whole, then read back. Nothing is deleted before that, and only with `delete`.

    Args:
        downloads: folder of `TNLLT_part_*`, `annos.zip`, `tracking_results.zip`, or other tar and zip files.
        root: where the dataset goes.
        delete: remove the archives once every file in them has been read back from the tree.
        overwrite: replace files of the tree that differ from the archives'.

    Raises:
        Unsafe: an archive that could write outside `root` or fill the disk; nothing of it is unpacked.
        DataError: a part that is missing, short or damaged; no room; a file in the way; another run at work.
    """
    if not downloads.is_dir():
        raise DataError("no such folder of downloads", downloads)
    root.mkdir(parents=True, exist_ok=True)
    result = PrepareResult(root)
    with _alone(root) as desk:
        record = _read_record(desk)
        _finish_deleting(downloads, record, result)
        archives = find_archives(downloads)
        if not archives and not record and not _unpacked(root):
            raise DataError("holds no archive (TNLLT_part_*, annos.zip, *.tar.gz, *.zip)", downloads)
        # Every archive is read before any is unpacked: a bad one is known while nothing has been written.
        plans = [_plan(archive, downloads, desk, report) for archive in archives]
        for plan in plans:
            done = _is_done(plan.archive, record) and not (delete or overwrite)
            _carry_out(plan, root, overwrite, done, report, result)
            record[plan.archive.name] = {"files": plan.archive.fingerprint(), "count": len(plan.entries)}
            _write_record(desk, record)
        result.removed = flatten(root)
        if delete and plans:
            os.sync()  # what was read back may still be in memory alone
            _mark_for_deletion(desk, record, plans)
            _finish_deleting(downloads, record, result)
            _write_record(desk, record)
    return result


def _plan(archive: Archive, downloads: Path, desk: Path, report: Reporter) -> UnpackPlan:
    path = desk / f"{archive.name}.plan.jsonl"
    plan = load_plan(archive, path)
    if plan is None:
        plan = make_plan(archive, downloads, report(f"reading {archive.name}"))
        save_plan(plan, path)
    return plan


def _carry_out(
    plan: UnpackPlan, root: Path, overwrite: bool, done: bool, report: Reporter, result: PrepareResult
) -> None:
    """Unpacks what is missing and reads all back; the latter is left out where it was done and nothing was missing."""
    name = plan.archive.name
    written = unpack(plan, root, overwrite=overwrite, progress=report(f"unpacking {name}"))
    if done and not written:
        return
    result.archives[name] = written
    remove_drafts(plan, root)
    if overwrite:
        _rewrite_differing(plan, root, report, result)
    verify(plan, root, report(f"verifying {name}"))
    if plan.md5 is not None:
        result.md5[name] = plan.md5


def _rewrite_differing(plan: UnpackPlan, root: Path, report: Reporter, result: PrepareResult) -> None:
    """Files of the right size but other content, which `unpack` takes for its own."""
    for entry in plan.entries.values():
        single = UnpackPlan(plan.archive, {"": entry})
        try:
            verify(single, root)
        except DataError:
            (root / entry.path).unlink()
    name = plan.archive.name
    result.archives[name] += unpack(plan, root, overwrite=True, progress=report(f"unpacking {name}"))


def _unpacked(root: Path) -> bool:
    return any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir())


# --- what has been done, on disk --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[Path]:
    """The folder for plans and records; locked, so that two runs do not write one tree."""
    desk = root / ".tnllt-prepare"
    desk.mkdir(exist_ok=True)
    with (desk / "lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows has no such lock; drafts and renames keep single files whole there too
        except OSError:
            raise DataError("another `tnllt-data prepare` is at work here", root) from None
        yield desk


def _read_record(desk: Path) -> dict[str, Any]:
    """What earlier runs noted of each archive; nothing where there is no record, or it is not one of ours."""
    try:
        record = json.loads((desk / "done.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    sound = isinstance(record, dict) and all(isinstance(done, dict) and _sound(done) for done in record.values())
    return dict(record) if sound else {}


def _sound(done: dict[str, Any]) -> bool:
    """Whether an entry names plain files beside each other: what it names may be deleted."""
    files = done.get("files")
    if not isinstance(files, list) or not all(isinstance(file, list) and len(file) == 3 for file in files):
        return False
    names = [name for name, _, _ in files]
    return all(isinstance(name, str) and name not in ("", ".", "..") and not {*"/\\\0"} & {*name} for name in names)


def _write_record(desk: Path, record: dict[str, Any]) -> None:
    draft = desk / "done.json.tmp"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(record, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(desk / "done.json")


def _is_done(archive: Archive, record: dict[str, Any]) -> bool:
    return bool(record.get(archive.name, {}).get("files") == archive.fingerprint())


def _mark_for_deletion(desk: Path, record: dict[str, Any], plans: list[UnpackPlan]) -> None:
    for plan in plans:
        record[plan.archive.name]["verified"] = True
    _write_record(desk, record)


def _finish_deleting(downloads: Path, record: dict[str, Any], result: PrepareResult) -> None:
    """Deletes verified archives; a run killed while it did has left some parts of one, which are no broken download."""
    for done in record.values():
        if not done.get("verified"):
            continue
        for name, size, time in done["files"]:
            path = downloads / name
            if path.is_file() and (path.stat().st_size, path.stat().st_mtime_ns) == (size, time):
                path.unlink()
                result.deleted.append(name)
