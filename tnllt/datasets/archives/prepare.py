"""From a folder of downloads to a dataset: join, verify, unpack, put in place; run again after any interruption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tnllt.datasets.archives.members import find_archives
from tnllt.datasets.archives.plan import load_plan, make_plan, save_plan, unpack, verify
from tnllt.datasets.progress import OnProgress
from tnllt.errors import DataError
from tnllt.locks import sole_writer

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
