"""What image files claim in their headers, and which claims are refused before OpenCV reserves memory for them.

Only formats that this module reads reach the decoder: PNG, JPEG, BMP, TIFF, WebP and PNM.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
#: No frame has more pixels; a small file may claim fewer: bytes of memory that any file may take, and per byte of it.
MOST_PIXELS = 1 << 28
_FREE, _RATIO = 3 << 25, 200
# JPEG segments that hold the image's size (start of frame), of all coding kinds; segments without a length.
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})
_PNM = re.compile(rb"P[1-6](?:\s+|#[^\n]*\n)+(\d{1,9})(?:\s+|#[^\n]*\n)+(\d{1,9})\s")


class Header(NamedTuple):
    """What a file claims: height and width in pixels, and bytes of memory that decoding takes."""

    height: int
    width: int
    memory: int


def read_header(data: bytes) -> Header | None:
    """The claims of an image file that begins so; None where it is of no known format, or makes no claim."""
    try:
        return _png(data) or _jpeg(data) or _bmp(data) or _tiff(data) or _webp(data) or _pnm(data)
    except (struct.error, OverflowError):  # the file ends in its header
        return None


def oriented_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) after decoding; None where the header does not determine it, as in a JPEG that EXIF may turn."""
    if data.startswith(b"\xff\xd8") and b"Exif\x00" in data[:4096]:
        return None
    header = read_header(data)
    return None if header is None else (header.height, header.width)


def refusal(data: bytes) -> str | None:
    """Why a file is not to be decoded, or None."""
    header = read_header(data)
    if not data:
        return "frame cannot be decoded: the file is empty"
    if header is None:
        return "frame cannot be decoded: not a PNG, JPEG, BMP, TIFF, WebP or PNM file"
    size = f"frame claims {header.width} x {header.height} pixels"
    if header.height * header.width > MOST_PIXELS or header.memory > 3 * MOST_PIXELS:
        return f"{size}, more than any camera's"
    if header.memory > max(_FREE, _RATIO * len(data)):
        return f"{size} and {header.memory / 1e6:,.0f} MB of memory in a file of {len(data):,} bytes"
    # A part of a PNG file that claims to be longer than the file by far: OpenCV makes room before it reads.
    most = max(64 << 20, len(data))
    if data.startswith(PNG) and any(length > most for _, length in png_chunks(data)):
        return "frame cannot be decoded: a part of it claims to be longer than the file"
    return None


def png_chunks(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each part of a PNG file begins, and the length of its content as the file claims it."""
    at = len(PNG)
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        yield at, length
        at += length + 12


def _plain(height: int, width: int) -> Header:
    return Header(height, width, 3 * height * width)


def _png(data: bytes) -> Header | None:
    if not data.startswith(PNG):
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return _plain(height, width)


def _jpeg(data: bytes) -> Header | None:
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 9 < len(data):
        kind = data[at + 1]
        if kind in (0x00, 0xFF):  # no segment: libjpeg goes on to the next mark
            at += 1
        elif kind in _BARE:
            at += 2
        elif kind in _SOF:
            return _plain(*struct.unpack_from(">HH", data, at + 5))
        elif kind in (0xD8, 0xD9, 0xDA):
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _bmp(data: bytes) -> Header | None:
    if not data.startswith(b"BM"):
        return None
    width, height = struct.unpack_from("<HH" if data[14:18] == b"\x0c\0\0\0" else "<ii", data, 18)
    return _plain(abs(height), abs(width))


def _tiff(data: bytes) -> Header | None:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or struct.unpack_from(f"{order}H", data, 2)[0] not in (42, 43):
        return None
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    (at,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)
    (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)
    at, step, value = (at + 8, 20, 12) if big else (at + 2, 12, 8)
    tags: dict[int, int] = {}
    for entry in range(at, at + step * min(count, 4096), step):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if form is not None and tag not in tags:
            (length,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, entry + 4)
            place = entry + value
            if length * struct.calcsize(form) > step - value:  # a list lies elsewhere; its first value counts
                (place,) = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, place)
            (tags[tag],) = struct.unpack_from(order + form, data, place)
    height, width, samples = tags.get(257, 0), tags.get(256, 0), tags.get(277, 1)
    sample_bytes = -(-tags.get(258, 1) // 8)
    pixels = max(height * width, tags.get(322, 0) * tags.get(323, 0))
    return Header(height, width, pixels * max(3, samples * sample_bytes))


def _webp(data: bytes) -> Header | None:
    if not (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    return _plain(height, width)


def _pnm(data: bytes) -> Header | None:
    found = _PNM.match(data[:65536])
    return None if found is None else _plain(int(found[2]), int(found[1]))
