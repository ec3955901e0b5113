"""Reading weights: published DUTrack checkpoints (`.pth.tar`, key `net`) and safetensors, strictly.

A torch checkpoint is a pickle, and published ones hold objects of the authors' own classes next to the tensors.
Here every class and function that a pickle names, except the few that make tensors, becomes an inert placeholder:
nothing of it is imported or called.
"""

from __future__ import annotations

import collections
import json
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import torch
import torch._utils
from torch import Tensor, nn

from tnllt.errors import DataError
from tnllt.files import user_path

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")

#: What a pickle may name. (torch itself resolves the names of storage classes.)
_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    **{("torch", f"{kind}Storage"): getattr(torch, f"{kind}Storage") for kind in _STORAGES},
}


class Placeholder:
    """Stands for an object whose class is not trusted. Takes whatever a pickle does to it, and does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __new__(cls, *args: object, **kwargs: object) -> Placeholder:
        return super().__new__(cls)

    def __call__(self, *args: object, **kwargs: object) -> Placeholder:
        return self

    def __setstate__(self, state: object) -> None: ...

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None: ...

    def extend(self, items: object) -> None: ...

    def add(self, item: object) -> None: ...


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler written in Python: the one in C lets a pickle of a few bytes claim all memory."""

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), Placeholder)


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


#: What `torch.load` asks of a pickle module.
_INERT_PICKLE = SimpleNamespace(__name__="inert pickle", Unpickler=_Unpickler, load=_load)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file by name, on the CPU, and its config where it has one ({} otherwise).

    The format is told by the content: safetensors, torch's zip format, torch's older format. Of a torch checkpoint
    the dict under `net` is taken (published checkpoints), or the file's own where it is a plain dict of tensors.

    Raises:
        DataError: no such file, neither format, damaged, or no dict of tensors in it.
    """
    path = user_path(path)
    if not path.is_file():
        raise DataError("no such file; give the weights with --set weights=FILE", path)
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if head.startswith(b"\x1f\x8b") or (not head.startswith(b"PK") and _is_tar(path)):
        raise DataError("a tar archive, not a checkpoint; unpack it and give the file inside", path)
    if head.startswith(b"PK"):
        _check_zip(path)
    try:
        content = torch.load(path, map_location="cpu", pickle_module=_INERT_PICKLE, weights_only=False)
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"not a checkpoint of torch or safetensors, or damaged: {_first_line(error)}", path) from error
    state = content.get("net", content) if isinstance(content, Mapping) else None
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors or not all(isinstance(k, str) for k in tensors):
        raise DataError('no tensors under the key "net", and not itself a dict of tensors', path)
    config = content.get("config") if isinstance(content, Mapping) else None
    return {k: v.detach() for k, v in tensors.items()}, dict(config) if isinstance(config, Mapping) else {}


def _is_tar(path: Path) -> bool:
    """Whether it is a plain tar archive. `tarfile.is_tarfile` would unpack, and xz may claim any memory for that."""
    try:
        tarfile.open(path, "r:").close()
    except Exception:  # a damaged header can raise anything
        return False
    return True


def _check_zip(path: Path) -> None:
    """Raises DataError for TorchScript, which is code and which torch would run, and for what unpacks to more than
    the file holds: torch stores tensors as they are."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except Exception as error:  # a damaged directory can raise anything
        raise DataError(f"not a checkpoint of torch, or damaged: {_first_line(error)}", path) from error
    if any(PurePosixPath(info.filename).name == "constants.pkl" for info in infos):
        raise DataError("a TorchScript archive, which holds code; give a checkpoint of tensors", path)
    if sum(info.file_size for info in infos) > path.stat().st_size:
        raise DataError("unpacks to more than its own size; no checkpoint of torch does", path)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        config = json.loads(metadata.get("config", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise DataError(f"not a safetensors file, or damaged: {_first_line(error)}", path) from error
    return tensors, config if isinstance(config, dict) else {}


def save_safetensors(network: nn.Module, path: str | Path, config: Mapping[str, Any], half: bool = False) -> None:
    """Writes the network's tensors and its config; `half` stores parameters as float16 (read back as float32).

    Running statistics stay float32: a variance can exceed float16's range.
    """
    from safetensors.torch import save_file

    learnt = {name for name, _ in network.named_parameters()}

    def stored(name: str, tensor: Tensor) -> Tensor:
        tensor = tensor.detach().cpu().contiguous()
        return tensor.half() if half and name in learnt else tensor

    tensors = {name: stored(name, tensor) for name, tensor in network.state_dict().items()}
    save_file(tensors, str(path), metadata={"format": "pt", "config": json.dumps(dict(config))})


def load_strictly(network: nn.Module, tensors: Mapping[str, Tensor], source: str | Path | None = None) -> None:
    """Puts the tensors into the network, all of them, in the network's own precision.

    Raises:
        DataError: a tensor is missing, unexpected, of another shape or kind, or not finite; all are named.
    """
    own = network.state_dict()
    counters = {name: torch.zeros_like(t) for name, t in own.items() if name.endswith("num_batches_tracked")}
    if not counters.keys() & tensors.keys():  # torch before 0.4.1 had none, and only training reads them
        tensors = {**tensors, **counters}
    faults = [
        _listed("missing", [n for n in own if n not in tensors]),
        _listed("unexpected", [n for n in tensors if n not in own]),
        _listed("of the wrong shape", [_shapes(n, tensors[n], own[n]) for n in own if _differs(n, tensors, own)]),
        _listed("of the wrong kind", [n for n in own if n in tensors and _kind(tensors[n]) != _kind(own[n])]),
        _listed("not finite", [n for n in own if n in tensors and not _finite(tensors[n], own[n])]),
    ]
    if any(faults):
        found = "; ".join(f for f in faults if f)
        message = f"the weights do not fit the network (is config the one they were trained with?): {found}"
        raise DataError(message, source)
    network.load_state_dict(tensors)


def _differs(name: str, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return name in tensors and tensors[name].shape != own[name].shape


def _finite(tensor: Tensor, own: Tensor) -> bool:
    # Of another shape is a fault of its own; and a view of one number can claim to be terabytes.
    return tensor.shape != own.shape or bool(torch.isfinite(tensor).all())


def _kind(tensor: Tensor) -> bool:
    return tensor.is_floating_point()


def _shapes(name: str, found: Tensor, wanted: Tensor) -> str:
    return f"{name} ({_shape(found)} instead of {_shape(wanted)})"


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


def _listed(fault: str, names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {fault}: {', '.join(names[:most])}{more}" if names else ""


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
