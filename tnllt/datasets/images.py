"""Image files as files: their size from the header, and whether they are whole."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from tnllt.datasets.frames import read_image
from tnllt.errors import DataError

_PNG = b"\x89PNG\r\n\x1a\n"
# JPEG segments that hold the picture's size (start of frame), of all coding kinds.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, from its header where the format is PNG or JPEG. Raises DataError."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except OSError as error:
        raise DataError(f"frame cannot be read ({error.strerror})", path) from error
    size = _png_size(head) or _jpeg_size(head)
    if size is None:
        height, width, _ = read_image(path).shape
        return height, width
    return size


def _png_size(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(_PNG) or len(head) < 24:
        return None
    width, height = struct.unpack(">II", head[16:24])
    return height, width


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    # A picture that is turned by its EXIF orientation has another size when decoded.
    if not head.startswith(b"\xff\xd8") or b"Exif\x00" in head[:4096]:
        return None
    at = 2
    while at + 9 < len(head) and head[at] == 0xFF:
        kind, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4], "big")
        if kind in _SOF:
            height, width = struct.unpack(">HH", head[at + 5 : at + 9])
            return height, width
        at += 2 + length
    return None


def is_truncated(data: bytes) -> bool:
    """Whether a PNG or JPEG file ends before its picture does, or a PNG's checksums fail."""
    if data.startswith(_PNG):
        return not _whole_png(data)
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-65536:]
    return False


def _whole_png(data: bytes) -> bool:
    at = len(_PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, body_end = data[at + 4 : at + 8], at + 8 + length
        if body_end + 4 > len(data):
            return False
        if zlib.crc32(data[at + 4 : body_end]) != int.from_bytes(data[body_end : body_end + 4], "big"):
            return False
        if kind == b"IEND":
            return True
        at = body_end + 4
    return False


def examine(path: Path) -> tuple[str | None, tuple[int, int] | None]:
    """Decodes one image: (`image-undecodable`, `image-truncated` or None; its (height, width) or None)."""
    import cv2

    try:
        data = path.read_bytes()
    except OSError:
        return "image-undecodable", None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if data and is_truncated(data):
        return "image-truncated", None if image is None else (image.shape[0], image.shape[1])
    if image is None:
        return "image-undecodable", None
    return None, (image.shape[0], image.shape[1])
