"""Writing a file whole or not at all: a temporary name, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tnllt.errors import DataError

#: Temporary files begin so; a killed process may leave some, and `sweep` removes them.
TEMPORARY = ".tnllt-"


def write_atomic(path: Path, data: bytes) -> None:
    """Writes `data` to `path`: afterwards the file is there whole, or as it was before.

    The folder is made where it is missing. Raises DataError where the disk is full or the place cannot be written.
    """
    with temporary_beside(path) as temporary, temporary.open("xb") as stream:
        stream.write(data)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A free temporary name with the suffix of `path`; when the block ends well the file there becomes `path`.

    Raises DataError where the disk is full or the place cannot be written.
    """
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise DataError(_reason(error), path) from error
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sweep(folder: Path, older_than: float = 3600.0) -> None:
    """Removes temporary files that killed processes left in `folder`, once they are `older_than` seconds old.

    A younger one may belong to a run on another machine.
    """
    import time

    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """The rename itself must reach the disk too; some file systems know no fsync of a folder."""
    with suppress(OSError):
        _flush(folder)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; nothing was written. Free some space and run again: what is there is kept"
    return f"cannot be written: {error.strerror or error}"
