"""The one reader of tensors: equal to torch and safetensors on honest files, and refusals of dishonest ones."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors.torch import load_file, save, save_file  # noqa: E402

from tnllt.errors import DataError  # noqa: E402
from tnllt.pickles import Record, Unpickler  # noqa: E402
from tnllt.stored_zip import Refused  # noqa: E402
from tnllt.tensors import read  # noqa: E402

DTYPES = [
    "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2",
]  # fmt: skip


def tensor(dtype: str, *shape: int) -> torch.Tensor:
    kind = getattr(torch, dtype)
    count = 1
    for side in shape:
        count *= side
    if kind == torch.bool:
        return torch.arange(count).remainder(2).bool().view(shape)
    raw = torch.arange(1, count * kind.itemsize + 1).remainder(250).to(torch.uint8)
    return raw.view(kind).view(shape) if count else torch.empty(shape, dtype=kind)


def raw(value: torch.Tensor) -> bytes:
    return bytes(value.detach().contiguous().flatten().view(torch.uint8).tolist()) if value.numel() else b""


def equal(mine: torch.Tensor, theirs: torch.Tensor) -> bool:
    same = (mine.dtype, mine.shape, mine.stride()) == (theirs.dtype, theirs.shape, theirs.stride())
    return same and raw(mine) == raw(theirs)


def honest() -> dict[str, torch.Tensor]:
    """Every dtype; views with holes, transposed, shared, of no axis, of no element; parameters."""
    shared = tensor("float32", 6, 4)
    found = {dtype: tensor(dtype, 3, 2) for dtype in DTYPES if hasattr(torch, dtype)}
    found |= {"scalar": tensor("float32"), "empty": torch.empty(0), "empty rows": torch.empty(3, 0, 2)}
    found |= {"shared": shared, "transposed": shared.t(), "part": shared[1::2, 1:3], "last": shared[5]}
    found["parameter"] = torch.nn.Parameter(tensor("float32", 4))
    return found


def test_what_torch_saved_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    path, content = tmp_path / "a.pth", honest()
    torch.save({"net": OrderedDict(content), "list": [1, 2.5, None, True, "x", (b"ab", b"")]}, path)
    mine, theirs = read(path).content, torch.load(path, weights_only=False)
    assert list(mine) == list(theirs) and mine["list"] == theirs["list"]
    assert list(mine["net"]) == list(theirs["net"])
    for name, value in theirs["net"].items():
        assert equal(mine["net"][name], value), name
    mine["net"]["shared"][5, 0] = 77
    assert mine["net"]["last"][0] == 77 and mine["net"]["transposed"][0, 5] == 77, "one storage"


def test_what_safetensors_saved_is_read_as_safetensors_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    content = {k: v.detach().clone().contiguous() for k, v in honest().items() if k != "complex128"}
    save_file(content, path, metadata={"format": "pt", "config": "{}"})
    mine, theirs = read(path), load_file(path)
    assert mine.content.keys() == theirs.keys() and mine.metadata == {"format": "pt", "config": "{}"}
    for name, value in theirs.items():
        assert equal(mine.content[name], value), name


def test_other_protocols_and_a_rezipped_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    for protocol in range(2, 6):
        torch.save({"net": {"a": tensor("float32", 2)}}, path, pickle_protocol=protocol)
        assert equal(read(path).content["net"]["a"], tensor("float32", 2))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert equal(read(tmp_path / "b.pth").content["net"]["a"], tensor("float32", 2))


# --- archives that two readers read in two ways -----------------------------------------------------------------------


def archive(**content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content or {"net": {"a": tensor("float32", 2)}}, stream)
    return stream.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return stream.getvalue()


def script() -> bytes:
    """A TorchScript archive, small; enough of one to tell which directory was read."""
    return zipped({"archive/constants.pkl": pickle.dumps((), 2), "archive/data.pkl": pickle.dumps({}, 2)})


def two_directories() -> bytes:
    """The attack that was: two directories of equal length in one file.

    The end record gives the place of the first one. Python takes the one right before the end record, and moves every
    offset in it by the difference; torch takes the place literally, and finds TorchScript.
    """
    rest = {"archive/data.pkl": pickle.dumps({}, 2), "archive/version": b"3\n"}
    evil = zipped({"archive/constants.pkl": pickle.dumps((), 2) + bytes(500), **rest})
    good = zipped({"archive/data/00000001": b"1234", **rest})
    (start, length), (place, same) = end_of(evil), end_of(good)
    assert length == same and start > place
    directory = bytearray(good[place:-22])
    for at in (i for i in range(len(directory)) if directory.startswith(CENTRAL, i)):
        (offset,) = struct.unpack_from("<I", directory, at + 42)
        struct.pack_into("<I", directory, at + 42, offset + start - place)
    return evil[: start + length] + good[:place] + bytes(directory) + evil[-22:]


def end_of(data: bytes) -> tuple[int, int]:
    """Start and length of the directory, of an archive without 64-bit records."""
    length, start = struct.unpack("<II", data[-10:-2])
    return start, length


def replaced(data: bytes, old: bytes, new: bytes, at: int = 0, shift: int = 0) -> bytes:
    place = data.index(old, at) if at >= 0 else data.rindex(old)
    return data[: place + shift] + new + data[place + shift + len(new) :]


def duplicate() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return zipped_list([("m/data.pkl", pickle.dumps({}, 2)), ("m/data.pkl", pickle.dumps({}, 2))])


def zipped_list(members: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in members:
            file.writestr(name, data)
    return stream.getvalue()


CENTRAL, LOCAL, END, WIDE_END, LOCATOR = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"

TWISTED: dict[str, Callable[[], bytes]] = {
    "two directories": two_directories,
    "another archive before it": lambda: script() + archive(),
    "another archive behind it": lambda: archive() + script(),
    "bytes before it": lambda: b"PK\x03\x04" + bytes(60) + archive(),
    "bytes behind it": lambda: archive() + b"\0",
    "a comment": lambda: zipped({"m/data.pkl": pickle.dumps({}, 2)})[:-2] + b"\x03\0abc",
    "bytes before the directory": lambda: (lambda d, s: d[:s] + bytes(4) + d[s:-6] + struct.pack("<I", s + 4) + d[-2:])(
        script(), end_of(script())[0]
    ),
    "two members of one name": duplicate,
    "a packed member": lambda: zipped({"m/data.pkl": pickle.dumps({}, 2)}, zipfile.ZIP_DEFLATED),
    "another name in the member's header": lambda: replaced(archive(), b"data.pkl", b"data.pkx"),
    "another size in the directory": lambda: replaced(archive(), CENTRAL, b"\x07\0\0\0\x07\0\0\0", shift=20),
    "another checksum in the directory": lambda: replaced(archive(), CENTRAL, b"\x07\0\0\0", shift=16),
    "another place in the directory": lambda: replaced(archive(), CENTRAL, b"\x01\0\0\0", shift=42),
    "an encrypted member": lambda: replaced(archive(), CENTRAL, b"\x09", shift=8),
    "fewer entries than said": lambda: replaced(archive(), END, b"\x08\0\x08\0", shift=8),
    "a 64-bit end elsewhere": lambda: replaced(archive(), LOCATOR, b"\x01\0\0\0\0\0\0\0", shift=8),
    "a 64-bit end that contradicts": lambda: replaced(archive(), WIDE_END, b"\x01\0\0\0\0\0\0\0", shift=40),
    "a 64-bit end of another size": lambda: replaced(archive(), WIDE_END, b"\x00\0\0\0\0\0\0\0", shift=48),
    "a 64-bit size that is not there": lambda: replaced(archive(), CENTRAL, b"\xff\xff\xff\xff", shift=24),
    "a second disk": lambda: replaced(archive(), END, b"\x01\0", shift=4),
    "big-endian": lambda: replaced(archive(), b"little", b"bigbig"),
    "two folders": lambda: zipped({"m/data.pkl": pickle.dumps({}, 2), "n/data/0": b"1234"}),
    "TorchScript": script,
}


@pytest.mark.parametrize("name", TWISTED)
def test_archives_with_two_meanings_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(TWISTED[name]())
    with pytest.raises(DataError, match=r"weights\.pth: not a file of tensors"):
        read(path)


def test_any_changed_byte_of_an_archive_is_harmless(tmp_path: Path) -> None:
    """Refused with the file's name, or read; never another exception."""
    path, whole = tmp_path / "weights.pth", archive()
    for at in range(len(whole)):
        for value in (0, 0xFF, whole[at] ^ 1):
            path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read(path)
            except DataError as error:
                assert "weights.pth" in str(error)


def test_two_readers_disagree_about_two_directories(tmp_path: Path) -> None:
    """The file is the attack: Python's zipfile sees no TorchScript in it, and torch does."""
    path = tmp_path / "weights.pth"
    path.write_bytes(two_directories())
    with zipfile.ZipFile(path) as file:
        assert "archive/constants.pkl" not in file.namelist() and file.testzip() is None
    assert torch._C.PyTorchFileReader(str(path)).has_record("constants.pkl")


# --- pickles ----------------------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    """A tuple of a tuple of ..., each twice the one inside it: its hash takes 2^levels steps."""
    return b"\x80\x02}" + b")" + b"2\x86" * levels + b"K\x01s."


PICKLES = {
    "a tuple that hashes for ever": nested(60),
    "an index of the memo": b"\x80\x02}r" + struct.pack("<I", 1 << 28) + b".",
    "a text of four gigabytes": b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b"a.",
    "bytes of many terabytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"a.",
    "an integer of gigabytes": b"\x80\x02\x8b" + struct.pack("<I", 0x7FFFFFF0) + b"a.",
    "a long integer": b"\x80\x02\x8a\x20" + b"\x01" * 32 + b".",
    "ten million lists": b"\x80\x02" + b"](" * 5_000_000 + b".",
    "ten million values": b"\x80\x02" + b"}" * 10_000_000 + b".",
    "bytes again and again": b"\x80\x02c_codecs\nencode\nX" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20)
    + b"\x85q\x00" + b"c_codecs\nencode\nh\x00R" * 1000 + b".",
    "nothing to take": b"\x80\x020.",
    "no end": b"\x80\x02}",
    "a dict of dicts": b"\x80\x02}}K\x01s.",
    "data elsewhere": b"\x80\x02K\x01Q.",
    "an extension": b"\x80\x02\x82\x01.",
}  # fmt: skip


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_that_claim_or_cost_much(name: str) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        Unpickler().load(io.BytesIO(PICKLES[name]))
    except Refused:
        pass
    else:
        assert name == "an index of the memo"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600 << 10
    assert time.monotonic() - started < 60


def test_colliding_keys_are_few() -> None:
    data = b"\x80\x02}(" + b"".join(b"M" + struct.pack("<H", i) + b"\x85N" for i in range(5000)) + b"u."
    with pytest.raises(Refused, match="keys"):
        Unpickler().load(io.BytesIO(data))


def test_deep_nesting_does_not_end_the_process(tmp_path: Path) -> None:
    """Without a mark a list in a list in a list ... can be a million deep; letting go of it must not recurse."""
    (tmp_path / "deep").write_bytes(b"\x80\x02" + b"]" * 900_000 + b"a" * 899_999 + b".")
    code = (
        "import io, sys; from tnllt.pickles import Unpickler as U; U().load(io.BytesIO(open(sys.argv[1], 'rb').read()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "deep")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


class Settings:
    def __init__(self) -> None:
        self.rate = 1e-4


@pytest.mark.parametrize("protocol", range(2, 6))
def test_plain_values_are_read_as_pickle_reads_them(protocol: int) -> None:
    value = {"a": [1, -1, 1 << 40, 2.5, True, None, "é", b"\x00\xff", b"", ()], "b": {3: (1, (2, 3, 4, 5))}, "c": {}}
    value["d"] = OrderedDict([("x", 1), ("y", [])])
    assert Unpickler().load(io.BytesIO(pickle.dumps(value, protocol))) == value


@pytest.mark.parametrize("protocol", range(2, 6))
def test_other_objects_are_records(protocol: int) -> None:
    content = {"settings": Settings(), "kind": Settings, "set": {1, 2}, "frozen": frozenset([3]), "path": Path("x")}
    found = Unpickler().load(io.BytesIO(pickle.dumps(content, protocol)))
    assert found.keys() == content.keys() and all(isinstance(v, Record) for v in found.values())
    assert found["kind"].name == f"{__name__}.Settings" and found["settings"].state == {"rate": 1e-4}


def test_nothing_is_imported_or_called(tmp_path: Path) -> None:
    mark = tmp_path / "executed"

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {mark}",)

    path = tmp_path / "a.pth"
    torch.save({"net": {"a": torch.ones(1)}, "x": Attack()}, path)
    assert isinstance(read(path).content["x"], Record)
    assert not mark.exists()


# --- tensors that claim -----------------------------------------------------------------------------------------------


def safetensors(header: dict[str, Any] | str, data: bytes = bytes(16)) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, shape: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {
    "behind the end": {"a": entry(0, 32, [8])},
    "a hole": {"a": entry(0, 4, [1]), "b": entry(8, 16, [2])},
    "bytes left over": {"a": entry(0, 8, [2])},
    "an overlap": {"a": entry(0, 16, [4]), "b": entry(8, 16, [2])},
    "the same bytes twice": {"a": entry(0, 16, [4]), "b": entry(0, 16, [4])},
    "another product": {"a": entry(0, 16, [5])},
    "a product beyond 64 bits": {"a": entry(0, 16, [1 << 40] * 40)},
    "a product beyond 64 bits, of nothing": {
        "a": entry(0, 0, [(1 << 48) - 1, (1 << 48) - 1, 0]),
        "b": entry(0, 16, [4]),
    },
    "a negative side": {"a": entry(0, 16, [-4])},
    "a side that is true": {"a": entry(0, 16, [True, 4])},
    "backwards": {"a": entry(16, 0, [4])},
    "an unknown dtype": {"a": entry(0, 16, [4], "F128")},
    "a list": "[]",
    "a text": {"a": "x"},
    "a name twice": '{"a": %s, "a": %s}' % ((json.dumps(entry(0, 16, [4])),) * 2),
    "metadata of numbers": {"__metadata__": {"a": 1}},
    "nested": '{"a":' * 100_000,
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_safetensors_that_lie_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(safetensors(HEADERS[name]))
    with pytest.raises(DataError, match=r"weights\.pth: not a file of tensors"):
        read(path)


def test_the_unchanged_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(safetensors({"a": entry(0, 16, [4])}))
    assert read(tmp_path / "a").content["a"].tolist() == [0, 0, 0, 0]


def test_a_view_that_repeats_its_storage_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "a")
    with pytest.raises(DataError, match=r"save `tensor\.contiguous\(\)`"):
        read(tmp_path / "a")


def test_files_of_torch_before_1_6_are_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(4.0)}, tmp_path / "a", _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"before version 1\.6.*torch\.save it again"):
        read(tmp_path / "a")


def test_safetensors_bytes_from_its_own_writer(tmp_path: Path) -> None:
    data = save({"b": torch.ones(2), "a": torch.zeros(3, dtype=torch.int8)})
    (tmp_path / "a").write_bytes(data)
    assert read(tmp_path / "a").content["b"].tolist() == [1, 1]
    (tmp_path / "a").write_bytes(data[:-1])
    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "a")
