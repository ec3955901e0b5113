"""Image files as files: their size from the header, and whether they are whole."""

from __future__ import annotations

import zlib
from pathlib import Path

from tnllt.datasets.frames import decode, read_image
from tnllt.datasets.headers import PNG, oriented_size, png_chunks
from tnllt.errors import DataError
from tnllt.files import read_bytes


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, from its header where that is enough. Raises DataError."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise DataError(f"frame cannot be read ({error.strerror})", path) from error
    size = oriented_size(head)
    if size is None:
        height, width, _ = read_image(path).shape
        return height, width
    return size


def is_truncated(data: bytes) -> bool:
    """Whether a PNG or JPEG file ends before its image does, or a PNG's checksums fail."""
    if data.startswith(PNG):
        return not _whole_png(data)
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-65536:]
    return False


def _whole_png(data: bytes) -> bool:
    for at, length in png_chunks(data):
        end = at + 8 + length
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big") or end + 4 > len(data):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
    return False


def examine(path: Path) -> tuple[str | None, tuple[int, int] | None]:
    """Decodes one image: (`image-undecodable`, `image-truncated` or None; its (height, width) or None)."""
    try:
        data = read_bytes(path)
    except DataError:
        return "image-undecodable", None
    image = decode(data)
    if data and is_truncated(data):
        return "image-truncated", None if image is None else (image.shape[0], image.shape[1])
    if image is None:
        return "image-undecodable", None
    return None, (image.shape[0], image.shape[1])
