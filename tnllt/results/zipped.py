"""Results in a zip file: the file is opened once, and refused before it is unpacked to much more than it is."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tnllt.errors import DataError
from tnllt.files import MOST_BYTES

#: What a zip file may unpack to: so many times its size (text of boxes: about four times), and in any case so much.
MOST_TIMES, ALWAYS_BYTES = 20, 64 << 20
MOST_MEMBERS = 1_000_000


class ZippedFiles:
    """The files in a zip file; only their names and sizes are read before one is asked for.

    Raises:
        DataError: the file is damaged, holds a name twice, or would unpack to much more than its size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            size = path.stat().st_size
            self._archive = zipfile.ZipFile(path)
            infos = [info for info in self._archive.infolist() if info.filename and not info.is_dir()]
        except Exception as error:  # a damaged directory can raise anything
            raise DataError(f"is a damaged zip file ({error}); download or pack it again", path) from error
        self._infos = {info.filename: info for info in infos}
        if len(infos) != len(self._infos):
            raise DataError("holds two files of one name; pack it again", path)
        unpacked = sum(info.file_size for info in infos)
        if unpacked > max(ALWAYS_BYTES, MOST_TIMES * size) or len(infos) > MOST_MEMBERS:
            text = f"would unpack from {size / 1e6:,.1f} MB to {unpacked / 1e6:,.0f} MB in {len(infos):,} files"
            raise DataError(f"{text}, far more than results do; unpack it yourself if you trust it", path)

    @property
    def sizes(self) -> dict[str, int]:
        """{name: bytes}, in the order of the archive's directory."""
        return {name: info.file_size for name, info in self._infos.items()}

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises DataError where it is damaged, or larger than any result."""
        info, place = self._infos[name], f"{self.path}/{name}"
        if info.file_size > MOST_BYTES:
            raise DataError(f"is larger than {MOST_BYTES >> 20} MB; no result file is", place)
        if info.compress_type == zipfile.ZIP_LZMA:  # its decoder reserves what the archive claims
            raise DataError("is packed with LZMA, which is not read here; pack it as usual (deflate)", place)
        try:
            return self._archive.read(info)
        except Exception as error:  # zlib.error and its kin share no base class
            raise DataError(f"cannot be unpacked ({error})", place) from error
