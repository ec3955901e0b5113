"""Published datasets: annotations in one Parquet file, the frames of each sequence in one tar file, here or at a URL.

    annotations.parquet     a row per sequence (`COLUMNS`)
    frames/<name>.tar       its image files, stored one behind the other
    README.md, croissant.json, SHA256SUMS

A frame is read where it stands: the Parquet file holds the place and size of each in its tar file, so that nothing is
unpacked, and from a URL nothing but the frames that are asked for comes over the network.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from tnllt.datasets.frames import decode
from tnllt.errors import DataError, DataWarning, MissingExtraError
from tnllt.files import MOST_BYTES, file_name, is_url, sha256_of
from tnllt.sequence import Annotation, Image, Sequence

FILE, SUMS = "annotations.parquet", "SHA256SUMS"
#: Of each column, what a row holds of one sequence of T frames.
COLUMNS = {
    "sequence": "its name",
    "dataset": "the benchmark's short name",
    "frames": "T",
    "groundtruth": "4 T numbers x, y, w, h in pixels, row by row; NaN where not annotated",
    "present": "T flags, true where the target is in view; null where the benchmark does not say",
    "prompt": "the language description of the target, or null",
    "descriptions": "T descriptions, each true in its frame, or null",
    "attributes": "names of the attributes that hold, or null",
    "attribute_names": "every attribute of the benchmark, in its order, or null",
    "size": "width and height where the annotation states them, or null",
    "lacks_presence": "whether the benchmark should have flags of presence and has none here",
    "frames_file": "its tar file, or null where there are no frames",
    "frame_offsets": "where the bytes of each frame begin in it",
    "frame_bytes": "how many they are",
}
#: No image of a frame is larger.
_MOST_FRAME = 256 << 20
#: What one request of a remote file brings at least: some hundred small frames.
_AHEAD = 4 << 20


def fetch_annotations(url: str) -> Path:
    """The annotations of a published dataset at a URL, in the user's cache: those whose SHA-256 stands at the URL.

    Where that cannot be told, such as without a network, those that were fetched before, with a DataWarning.
    """
    from hashlib import sha256

    from tnllt.config import cache_folder
    from tnllt.download import RECORDED, download

    url = url.rstrip("/")
    path = cache_folder() / "published" / sha256(url.encode()).hexdigest()[:16] / FILE
    wanted, reason = _published_sum(f"{url}/{SUMS}")
    if path.is_file():
        if wanted == sha256_of(path):
            return path
        if wanted is None:
            note = f"{url}/{SUMS}: {reason}; the annotations fetched before are used, which may be out of date"
            warnings.warn(note, DataWarning, stacklevel=2)
            return path
    new = path.with_name(f"new-{FILE}")  # what is there stays until the other is whole
    download(f"{url}/{FILE}", new, sha256=wanted)
    new.with_name(new.name + RECORDED).unlink(missing_ok=True)  # a sum of today is not one to hold others to
    with suppress(FileNotFoundError):  # another process was as far, and faster
        new.replace(path)
    return path


def _published_sum(url: str) -> tuple[str | None, str]:
    """(SHA-256 of the annotations that `SHA256SUMS` at a URL states, or None; why it is not known)."""
    from urllib.request import urlopen

    try:
        with urlopen(quote(url, safe=":/%?&="), timeout=30) as answer:
            text = answer.read(MOST_BYTES).decode("ascii", "replace")
    except (OSError, HTTPException) as error:
        return None, f"cannot be fetched ({error})"
    found = re.search(rf"^([0-9a-f]{{64}})  {re.escape(FILE)}$", text, re.MULTILINE)
    return (found[1], "") if found else (None, f"does not name {FILE}")


@lru_cache(maxsize=4)
def _rows(path: Path, changed: float) -> dict[str, dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow.parquet import read_table
    except ImportError as error:
        raise MissingExtraError("reading a published dataset", "hub", error) from error
    try:
        table = read_table(path, columns=list(COLUMNS))
        # Names become folders and files of results and conversions.
        rows = {file_name(str(row["sequence"] or ""), "sequence", path): row for row in table.to_pylist()}
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot be read as a published dataset ({error}); publish it again", path) from error
    if not rows:
        raise DataError("holds no sequence; publish it again", path)
    return {name: rows[name] for name in sorted(rows)}


def read_rows(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """{sequence: its row}, sorted by name. Raises DataError where the file is not one of `publish`."""
    try:
        return _rows(path, path.stat().st_mtime)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", path) from error


def make_published(path: Path, name: str, base: str, dataset: str) -> Sequence:
    """The sequence of a row; its frames are those below `base`, a folder or a URL."""
    row, frames = read_rows(path)[name], None
    if row["frames_file"]:
        folder, _, file = str(row["frames_file"]).partition("/")
        if folder != "frames" or not file.endswith(".tar") or "/" in file or "\\" in file:
            raise DataError(f"frames_file {row['frames_file']!r} is not frames/NAME.tar; publish it again", path)
        frames = StoredFrames(f"{base.rstrip('/')}/frames/{file}", row)
    return Sequence(name, lambda: published_annotation(path, name), frames, dataset)


def published_annotation(path: Path, name: str) -> Annotation:
    """The annotation of a row. Raises DataError where its parts do not fit together."""
    row = read_rows(path)[name]
    names, held = row["attribute_names"], row["attributes"]
    try:
        return Annotation(
            groundtruth=np.array(row["groundtruth"], np.float64).reshape(row["frames"], 4),
            present=None if row["present"] is None else np.array(row["present"], bool),
            language=row["prompt"],
            attributes=None if names is None else {attribute: attribute in (held or ()) for attribute in names},
            descriptions=None if row["descriptions"] is None else tuple(row["descriptions"]),
            size=None if row["size"] is None else (int(row["size"][0]), int(row["size"][1])),
            missing_presence=path if row["lacks_presence"] else None,
        )
    except (TypeError, ValueError, IndexError) as error:
        raise DataError(f"sequence {name!r}: {error}; publish it again", path) from error


class StoredFrames:
    """Frames inside a tar file, a local one or one behind a URL whose server gives parts of files.

    Args:
        place: the tar file's path or URL.
        row: `frame_offsets` and `frame_bytes`.
    """

    def __init__(self, place: str, row: Mapping[str, Any]) -> None:
        self.place = place
        self._spans = list(zip(row["frame_offsets"] or (), row["frame_bytes"] or (), strict=True))
        self._start, self._block = 0, b""

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> Image:
        image = decode(self.raw(index))
        if image is None:
            raise DataError(f"frame {index + 1} cannot be decoded; is the file whole?", self.place)
        return image

    def raw(self, index: int) -> bytes:
        """The bytes of a frame's image file. Raises DataError where they are not there."""
        start, size = self._spans[index]
        if not (start >= 0 and 0 < size <= _MOST_FRAME):
            raise DataError(f"frame {index + 1} is said to have {size} bytes at {start}; publish it again", self.place)
        data = self._from_url(start, size) if is_url(self.place) else self._from_file(start, size)
        if len(data) != size:
            raise DataError(f"ends before frame {index + 1} does; fetch it again", self.place)
        return data

    def _from_file(self, start: int, size: int) -> bytes:
        try:
            with Path(self.place).open("rb") as stream:
                stream.seek(start)
                return stream.read(size)
        except OSError as error:
            raise DataError(f"cannot be read ({error.strerror})", self.place) from error

    def _from_url(self, start: int, size: int) -> bytes:
        if not self._start <= start <= start + size <= self._start + len(self._block):
            self._start, self._block = start, _get_part(self.place, start, max(size, _AHEAD))
        return self._block[start - self._start : start - self._start + size]


def _get_part(url: str, start: int, size: int) -> bytes:
    from urllib.request import Request, urlopen

    request = Request(quote(url, safe=":/%?&="), headers={"Range": f"bytes={start}-{start + size - 1}"})
    try:
        with urlopen(request, timeout=30) as answer:
            if answer.status != 206:
                raise DataError("the server does not give parts of files; download the dataset", url)
            return bytes(answer.read(size))
    except OSError as error:
        raise DataError(f"cannot be fetched ({error})", url) from error


def image_files(frames: Any, count: int) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of the first frames: image files as they are, other frames as PNG, which loses nothing."""
    import cv2

    from tnllt.datasets.frames import ImageFrames
    from tnllt.files import read_bytes

    digits = max(5, len(str(count)))
    for index in range(count):
        stem = f"{index + 1:0{digits}}"
        if isinstance(frames, ImageFrames):
            yield stem + frames.path(index).suffix.lower(), read_bytes(frames.path(index))
        elif isinstance(frames, StoredFrames):
            data = frames.raw(index)
            yield stem + (".png" if data.startswith(b"\x89PNG") else ".jpg"), data
        else:
            bgr = cv2.cvtColor(frames[index], cv2.COLOR_RGB2BGR)
            yield f"{stem}.png", cv2.imencode(".png", bgr)[1].tobytes()
