"""The template history: one crop per frame, kept on disk, because any of them may become a template again."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tnllt.errors import DataError
from tnllt.sequence import Image


def template_indices(frame: int, count: int = 3) -> tuple[int, ...]:
    """Which of the crops 0 .. frame - 1 are this frame's templates.

    All of them up to frame `count`; then the first, and the middles of `count` equal spans of the past.
    """
    if frame <= count:
        return tuple(range(frame))
    span = frame // count
    return tuple(sorted({0} | {i * span + span // 2 for i in range(count)}))


class TemplateHistory:
    """Crops by frame number, in an unnamed temporary file.

    The file has no name from the start (POSIX) or is deleted when closed (Windows), so it never outlives the process.
    It is read and written, not mapped, so that its pages do not count as the process's memory.

    Args:
        size: side of a crop, pixels.
        folder: where the file is; a disk with 3 size^2 bytes a frame to spare (0.98 GB for 20,000 frames at 128).
    """

    def __init__(self, size: int, folder: str | Path | None = None) -> None:
        self._shape = (size, size, 3)
        self._bytes = size * size * 3
        self._count = 0
        self._folder = Path(folder) if folder is not None else _default_folder()
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix="tnllt-templates-")  # noqa: SIM115 (closed with the sequence)
        except OSError as error:
            raise self._error(error) from error

    def __len__(self) -> int:
        return self._count

    def append(self, crop: Image) -> None:
        """Keeps the next frame's crop, uint8 (size, size, 3). Raises DataError where the disk is full."""
        if crop.shape != self._shape or crop.dtype != np.uint8:
            raise ValueError(f"a crop must be uint8 {self._shape}, not {crop.dtype} {crop.shape}")
        try:
            self._file.seek(self._count * self._bytes)
            self._file.write(crop.tobytes())
            self._file.flush()
        except OSError as error:
            raise self._error(error) from error
        self._count += 1

    def __getitem__(self, frame: int) -> Image:
        if not 0 <= frame < self._count:
            raise IndexError(f"no template of frame {frame}; there are {self._count}")
        self._file.seek(frame * self._bytes)
        return np.frombuffer(self._file.read(self._bytes), np.uint8).reshape(self._shape)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the sequence is over
            self._file.close()

    def _error(self, error: OSError) -> DataError:
        return DataError(
            f"the template history cannot be kept here: {error.strerror}; --set history=FOLDER names another disk",
            self._folder,
        )


class FewCrops:
    """A history in memory of the few crops that some frames ahead need.

    Args:
        crops: {frame: uint8 (size, size, 3)}. count: frames of the whole history.
    """

    def __init__(self, crops: Mapping[int, Image], count: int) -> None:
        self._crops, self._count = dict(crops), count

    def append(self, crop: Image) -> None:
        self._crops[self._count] = crop
        self._count += 1

    def __getitem__(self, frame: int) -> Image:
        return self._crops[frame]

    def close(self) -> None:
        self._crops.clear()


def _default_folder() -> Path:
    """`$TMPDIR`, else /var/tmp (a disk where /tmp often is memory), else the system's temporary folder."""
    disk = Path("/var/tmp")
    if not os.environ.get("TMPDIR") and os.access(disk, os.W_OK):
        return disk
    return Path(tempfile.gettempdir())
