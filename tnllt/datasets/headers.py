"""Sizes of pictures from the first bytes of their files, without decoding."""

from __future__ import annotations

import struct

PNG = b"\x89PNG\r\n\x1a\n"
# JPEG segments that hold the picture's size (start of frame), of all coding kinds.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def header_size(head: bytes) -> tuple[int, int] | None:
    """(height, width) of a PNG or JPEG file that begins so; None where it is neither, or does not say."""
    return _png_size(head) or _jpeg_size(head)


def claims_memory(data: memoryview, most: int = 64 << 20) -> bool:
    """Whether a part of a PNG file claims to be longer than the file by far: OpenCV makes room before it reads."""
    if data[: len(PNG)] != PNG:
        return False
    at = len(PNG)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if length > max(most, len(data)):
            return True
        at += length + 12
    return False


def _png_size(head: bytes) -> tuple[int, int] | None:
    if not head.startswith(PNG) or len(head) < 24:
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
