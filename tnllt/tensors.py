"""Reads tensors from files: safetensors, and the zip archive that `torch.save` writes.

What is checked is what is loaded: there is no other parser of these bytes. Every offset is checked against the file, no
byte belongs to two tensors, and memory grows with the file's size, not with what the file claims. `tnllt.stored_zip`
reads the archive's directory, and `tnllt.pickles` the pickle, of which it runs nothing.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from tnllt.errors import DataError
from tnllt.files import user_path
from tnllt.pickles import Unpickler
from tnllt.stored_zip import Refused, read_directory

#: Bytes of a safetensors header (40,000 tensors take about 5 MB) and of a checkpoint's pickle.
MOST_HEADER, MOST_PICKLE = 16 << 20, 64 << 20
_MOST_AXES, _LARGE = 64, 1 << 48

_SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
_STORAGES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}  # fmt: skip


@dataclass(frozen=True)
class TensorFile:
    """What a file of tensors holds.

    Attributes:
        content: a dict of tensors (safetensors), or whatever was saved; objects of other classes are inert
            `tnllt.pickles.Record`s, parameters are plain tensors. Everything is on the CPU.
        metadata: texts of a safetensors header; {} of other formats.
    """

    content: Any
    metadata: Mapping[str, str]


def read(path: str | Path) -> TensorFile:
    """Reads a file whose format its first bytes tell.

    Raises:
        DataError: no such file, another format, damaged, or one that claims more than it holds.
    """
    path = user_path(path)
    if not path.is_file():
        raise DataError("no such file; check the path", path)
    try:
        with path.open("rb") as file:
            return _read(_Source(file, path.stat().st_size))
    except Refused as error:
        raise DataError(f"not a file of tensors that can be read, or damaged: {error}", path) from error
    except (OSError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot be read ({error or type(error).__name__})", path) from error


def _read(source: _Source) -> TensorFile:
    if sys.byteorder != "little":
        raise Refused("this processor is big-endian, and the numbers of these files are little-endian")
    head = source.take(0, min(512, source.size))
    if head[8:9] == b"{":
        return _read_safetensors(source)
    if head.startswith(b"PK"):
        return TensorFile(_read_archive(source), {})
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        raise Refused("a tar or gzip archive; unpack it and give the file inside")
    if head.startswith(b"\x80"):
        raise Refused("a pickle, or of torch before version 1.6; load it in Python and torch.save it again")
    raise Refused("neither safetensors nor a file of torch.save")


class _Source:
    """An open file. Every byte can be read as part of a tensor once: tensors cannot claim more than the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size, self.left = file, size, size

    def take(self, start: int, count: int) -> bytes:
        if start < 0 or count < 0 or start + count > self.size:
            raise Refused("damaged or cut short: it refers to bytes behind its end")
        self.file.seek(start)
        data = self.file.read(count)
        if len(data) != count:
            raise Refused("it became shorter while it was read")
        return data

    def tensor(self, start: int, count: int) -> Tensor:
        """`count` bytes of the file, as long as its tensors have not taken more than it has."""
        self.left -= count
        if count < 0 or self.left < 0:
            raise Refused("its tensors claim more bytes than it has")
        if start < 0 or start + count > self.size:
            raise Refused("damaged or cut short: a tensor ends behind the file's end")
        found = torch.empty(count, dtype=torch.uint8)
        self.file.seek(start)
        if count and self.file.readinto(found.numpy()) != count:  # type: ignore[attr-defined]
            raise Refused("it became shorter while it was read")
        return found


# --- safetensors ------------------------------------------------------------------------------------------------------


def _read_safetensors(source: _Source) -> TensorFile:
    length = int.from_bytes(source.take(0, 8), "little")
    if length > MOST_HEADER:
        raise Refused(f"a safetensors header of {length:,} bytes; at most {MOST_HEADER:,} are read")
    try:
        header = json.loads(source.take(8, length).decode("utf-8"), object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise Refused("a safetensors header that is nested too deeply") from None
    except ValueError as error:
        raise Refused(f"a safetensors header that is not JSON ({error})") from error
    metadata = header.pop("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise Refused("a safetensors header that is not an object, or with metadata that are not texts")
    entries = sorted(((*_entry(name, about), name) for name, about in header.items()), key=lambda e: e[:2])
    start, end = 8 + length, 0
    tensors: dict[str, Tensor] = {}
    for begin, stop, dtype, shape, name in entries:
        if begin != end:
            raise Refused(f"tensor {name!r} does not begin where the one before it ends")
        end = stop
        tensors[name] = source.tensor(start + begin, stop - begin).view(dtype).view(shape)
    if start + end != source.size:
        raise Refused("damaged or cut short: its tensors do not end where the file ends")
    return TensorFile({name: tensors[name] for name in header}, metadata)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name appears twice")
    return table


def _entry(name: str, about: Any) -> tuple[int, int, torch.dtype, tuple[int, ...]]:
    """Begin, end, dtype and shape of one tensor, which fit each other."""
    if not isinstance(about, dict) or about.keys() != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"tensor {name!r} lacks dtype, shape or data_offsets in the header")
    dtype = getattr(torch, _SAFETENSORS.get(str(about["dtype"]), ""), None)
    if not isinstance(dtype, torch.dtype):
        raise Refused(f"tensor {name!r} has the dtype {str(about['dtype'])[:20]!r}, which is not read")
    shape, offsets = _shape(about["shape"]), _integers(about["data_offsets"], 2)
    if shape is None or offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise Refused(f"tensor {name!r} has a shape or offsets that are not numbers of elements and bytes")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise Refused(f"tensor {name!r} has another number of bytes than its shape and dtype take")
    return offsets[0], offsets[1], dtype, shape


def _integers(values: Any, most: int) -> tuple[int, ...] | None:
    """The list or tuple as numbers of 0 to 2^48, or None."""
    if not isinstance(values, list | tuple) or len(values) > most:
        return None
    return tuple(values) if all(type(v) is int and 0 <= v < _LARGE for v in values) else None


def _shape(values: Any) -> tuple[int, ...] | None:
    """The list or tuple as a tensor's shape, or None; of no element, torch multiplies the other sides all the same."""
    sides = _integers(values, _MOST_AXES)
    return None if sides is None or math.prod(side or 1 for side in sides) >= _LARGE else sides


# --- torch.save -------------------------------------------------------------------------------------------------------


@dataclass
class _Storage:
    data: Tensor
    dtype: torch.dtype

    def view(self, dtype: torch.dtype, offset: Any, size: Any, stride: Any) -> Tensor:
        shape, steps, first = _shape(size), _integers(stride, _MOST_AXES), _integers([offset], 1)
        if shape is None or steps is None or first is None or len(shape) != len(steps):
            raise Refused("a tensor whose size, stride or offset are not numbers of elements")
        count = math.prod(shape)
        last = first[0] + sum((n - 1) * step for n, step in zip(shape, steps, strict=True)) if count else first[0] - 1
        numbers = len(self.data) // dtype.itemsize
        if last >= numbers:
            raise Refused("a tensor that reaches behind the end of its storage")
        if count > numbers:
            raise Refused("a tensor that shows numbers of its storage more than once; save `tensor.contiguous()`")
        return self.data[: numbers * dtype.itemsize].view(dtype).as_strided(shape, steps, first[0])


def _known() -> dict[str, Any]:
    names = {*_STORAGES.values(), *_SAFETENSORS.values()}
    dtypes = {f"torch.{name}": getattr(torch, name) for name in names if hasattr(torch, name)}
    storages = {f"torch.{kind}Storage": getattr(torch, name) for kind, name in _STORAGES.items()}
    cuda = {f"torch.cuda.{kind}Storage": getattr(torch, name) for kind, name in _STORAGES.items()}
    untyped = {"torch.storage.UntypedStorage": torch.uint8, "torch.UntypedStorage": torch.uint8}
    rebuilt = {
        "torch.Size": _size,
        "torch._utils._rebuild_tensor": _rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
        "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
        "torch._utils._rebuild_parameter": _rebuild_parameter,
        "torch._utils._rebuild_parameter_with_state": _rebuild_parameter,
    }
    return {**dtypes, **storages, **cuda, **untyped, **rebuilt}


def _size(values: Any = ()) -> tuple[int, ...]:
    size = _shape(values)
    if size is None:
        raise Refused("a torch.Size that is not one")
    return size


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Tensor:
    if not isinstance(storage, _Storage):
        raise Refused("a tensor without a storage")
    return storage.view(storage.dtype, offset, size, stride)


def _rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Tensor:
    if metadata:
        raise Refused("a tensor that is a conjugate or negative view; save `tensor.resolve_conj().resolve_neg()`")
    return _rebuild_tensor(storage, offset, size, stride)


def _rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Tensor:
    if not isinstance(storage, _Storage) or not isinstance(dtype, torch.dtype) or metadata:
        raise Refused("a tensor without a storage or a dtype that is read")
    return storage.view(dtype, offset, size, stride)


def _rebuild_parameter(data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise Refused("a parameter that is not a tensor")
    return data


class _Storages:
    """Storages by key, each loaded once, so that tensors which share one do so afterwards."""

    def __init__(self, load: Callable[[str, int], Tensor]) -> None:
        self._load = load
        self.found: dict[str, _Storage] = {}

    def __call__(self, identifier: Any) -> Any:
        if not isinstance(identifier, tuple) or len(identifier) != 5 or identifier[0] != "storage":
            raise Refused("it refers to what is not a storage (a whole module?); save `module.state_dict()`")
        _, dtype, key, _, count = identifier
        if not isinstance(dtype, torch.dtype) or not isinstance(key, str) or _integers([count], 1) is None:
            raise Refused("a storage of a kind that is not read")
        known = self.found.get(key)
        if known is None:
            known = self.found[key] = _Storage(self._load(key, count * dtype.itemsize), dtype)
        if known.dtype != dtype or len(known.data) != count * dtype.itemsize:
            raise Refused("a storage with two types or sizes")
        return known


def _read_archive(source: _Source) -> Any:
    members = read_directory(source.take, source.size)
    folder, slash, _ = next(iter(members)).partition("/")
    if not slash or any(not name.startswith(folder + "/") for name in members):
        raise Refused("a zip archive without one folder for all its members, as torch.save writes it")
    if any(name.endswith("/constants.pkl") or name.startswith(f"{folder}/code/") for name in members):
        raise Refused("a TorchScript archive, which holds code; give a checkpoint of tensors")
    if f"{folder}/data.pkl" not in members:
        raise Refused("a zip archive without data.pkl: not one of torch.save")
    order = members.get(f"{folder}/byteorder")
    if order is not None and (order[1] > 16 or source.take(*order) != b"little"):
        raise Refused("its numbers are big-endian; save it on a little-endian machine")

    def load(key: str, count: int) -> Tensor:
        start, size = members.get(f"{folder}/data/{key}", (0, -1))
        if size != count:
            raise Refused(f"the storage {key[:40]!r} is missing or not of the size that its tensors say")
        return source.tensor(start, size)

    start, size = members[f"{folder}/data.pkl"]
    if size > MOST_PICKLE:
        raise Refused(f"a pickle of {size:,} bytes; at most {MOST_PICKLE:,} are read")
    stream = BytesIO(source.take(start, size))
    content = Unpickler(_known(), _Storages(load)).load(stream)
    if stream.tell() != size:
        raise Refused("its pickle ends before data.pkl does")
    return content
