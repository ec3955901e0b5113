"""Image files that claim more than they hold are refused by their header, before memory is reserved for them."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from tnllt.datasets.frames import examine, image_size, read_image
from tnllt.datasets.headers import oriented_size, read_header
from tnllt.errors import DataError

W = H = 44_000


def bmp(width: int = W, height: int = H) -> bytes:
    head = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(5000)


def tiff(*tags: tuple[int, int, int], order: str = "<", magic: int = 42) -> bytes:
    """Tags are (number, type, value)."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", magic)
    if magic == 43:
        body = b"".join(struct.pack(f"{order}HHQQ", tag, 16, 1, value) for tag, _, value in tags)
        return head + struct.pack(f"{order}HHQQ", 8, 0, 16, len(tags)) + body + bytes(25_000)
    body = b""
    for tag, kind, value in tags:
        held = struct.pack(f"{order}H", value) + b"\0\0" if kind == 3 else struct.pack(f"{order}I", value)
        body += struct.pack(f"{order}HHI", tag, kind, 1) + held
    return head + struct.pack(f"{order}IH", 8, len(tags)) + body + bytes(25_000)


def strips(width: int, height: int, **how: object) -> bytes:
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    return tiff(*tags, (278, 4, height), (279, 4, 20_000), **how)  # type: ignore[arg-type]


def tiled(side: int) -> bytes:
    tags = [(256, 4, 64), (257, 4, 64), (258, 3, 8), (259, 3, 1), (262, 3, 1), (277, 3, 1), (322, 4, side)]
    return tiff(*tags, (323, 4, side), (324, 4, 200), (325, 4, 20_000))


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(900))) + chunk(b"IEND", b"")


def jpeg(before: bytes = b"") -> bytes:
    data = bytearray(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 16_000, 16_000)
    return bytes(data[:at]) + before + bytes(data[at:])


def webp(kind: bytes) -> bytes:
    body = {
        b"VP8X": b"\0\0\0\0" + (16_382).to_bytes(3, "little") * 2,
        b"VP8L": b"\x2f" + (16_382 | 16_382 << 14).to_bytes(4, "little"),
        b"VP8 ": b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_383, 16_383),
    }[kind]
    inner = b"WEBP" + kind + struct.pack("<I", len(body)) + body + bytes(500)
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


CLAIMS = {
    "bmp": bmp(),
    "bmp-top-down": bmp(W, -H),
    "bmp-os2": b"BM"
    + struct.pack("<IHHI", 26, 0, 0, 26)
    + struct.pack("<IHHHH", 12, 44_000, 44_000, 1, 24)
    + bytes(50),
    "tiff": strips(40_000, 30_000),
    "tiff-motorola": strips(40_000, 30_000, order=">"),
    "tiff-big": strips(40_000, 30_000, magic=43),
    "tiff-tile": tiled(32_000),
    "tiff-samples": tiff((256, 4, 4000), (257, 4, 4000), (258, 3, 16), (277, 3, 60_000)),
    "png": png(12_000, 12_000),
    "jpeg": jpeg(),
    "jpeg-filler": jpeg(b"\xff\xff\xff\xff\x00\x12"),
    "webp-x": webp(b"VP8X"),
    "webp-l": webp(b"VP8L"),
    "webp": webp(b"VP8 "),
    "pnm": b"P6\n# a comment\n44000 44000\n255\n" + bytes(5000),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "1.png"  # whatever its suffix
    path.write_bytes(CLAIMS[name])
    with pytest.raises(DataError, match=r"1\.png: frame claims"):
        read_image(path)
    assert examine(path)[0] in ("image-undecodable", "image-truncated")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_refusal_takes_no_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / "1.png").write_bytes(CLAIMS[name])
    code = (
        "import resource, sys; from pathlib import Path; import cv2; from tnllt.datasets.frames import examine\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; examine(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "1.png")]
    assert int(subprocess.run(run, check=True, capture_output=True, text=True).stdout) < 20 << 10


@pytest.mark.parametrize(
    "data", [b"\0\0\0\x0cjP  \r\n", b"#?RADIANCE\n\n-Y 40000 +X 40000\n", b"v/1\x01", b"GIF89a", b""]
)
def test_other_formats_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "1.png").write_bytes(data + bytes(100) if data else data)
    with pytest.raises(DataError, match=r"not a PNG, JPEG|is empty"):
        read_image(tmp_path / "1.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm", ".pgm"])
@pytest.mark.parametrize("shape", [(37, 53), (1, 1), (300, 2)])
def test_whole_files_are_read(tmp_path: Path, suffix: str, shape: tuple[int, int]) -> None:
    image = np.full(shape if suffix == ".pgm" else (*shape, 3), 99, np.uint8)
    path = tmp_path / f"1{suffix}"
    path.write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    assert read_image(path).shape == (*shape, 3) and image_size(path) == shape
    assert oriented_size(path.read_bytes()) == shape


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_frames_of_one_colour_are_read(tmp_path: Path, suffix: str) -> None:
    """They compress more than any other: a black frame of 8K is in order."""
    (tmp_path / f"1{suffix}").write_bytes(cv2.imencode(suffix, np.zeros((4320, 7680, 3), np.uint8))[1].tobytes())
    assert read_image(tmp_path / f"1{suffix}").shape == (4320, 7680, 3)


@pytest.mark.parametrize("name", CLAIMS)
def test_headers_that_end_early(name: str) -> None:
    for length in range(80):
        read_header(CLAIMS[name][:length])
    for at in range(4, 80):
        for value in (0, 255):
            read_header(CLAIMS[name][:at] + bytes([value] * 8) + CLAIMS[name][at + 8 :])
