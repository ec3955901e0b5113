"""Weights in files: published DUTrack checkpoints (`.pth.tar`, key `net`) and safetensors, read and loaded strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tnllt import tensors as tensor_files
from tnllt.errors import DataError
from tnllt.files import parse_json


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file by name, on the CPU, and its config where it has one ({} otherwise).

    Of what `torch.save` wrote, the dict under `net` is taken (published checkpoints), or the file's own where it is a
    plain dict of tensors. Objects of other classes in it are not made, and no code in it is run.

    Raises:
        DataError: no such file, another format, damaged, or no dict of tensors in it.
    """
    file = tensor_files.read(path)
    content, config = file.content, parse_json(file.metadata.get("config", "{}"), path)
    if isinstance(content, Mapping) and not file.metadata:
        config = content.get("config")
    state = content.get("net", content) if isinstance(content, Mapping) else None
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, Mapping) else {}
    if not tensors or not all(isinstance(k, str) for k in tensors):
        raise DataError('no tensors under the key "net", and not itself a dict of tensors', path)
    return tensors, dict(config) if isinstance(config, Mapping) else {}


def save_safetensors(network: nn.Module, path: str | Path, config: Mapping[str, Any], half: bool = False) -> None:
    """Writes the network's tensors and its config.

    Args:
        half: matrices with half the bits; biases and running statistics as they are.
    """
    from safetensors.torch import save_file

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {n: t.half() if t.is_floating_point() and t.ndim > 1 else t for n, t in tensors.items()}
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
    faults: dict[str, list[str]] = {}
    for name in {**own, **tensors}:
        fault, shown = _fault(name, tensors.get(name), own.get(name))
        if fault:
            faults.setdefault(fault, []).append(shown)
    if faults:
        found = "; ".join(_listed(fault, names) for fault, names in faults.items())
        message = f"the weights do not fit the network (is config the one they were trained with?): {found}"
        raise DataError(message, source)
    network.load_state_dict(tensors)


def _fault(name: str, given: Tensor | None, own: Tensor | None) -> tuple[str, str]:
    """What is wrong with a tensor ("" for nothing), and how it is named."""
    if given is None or own is None:
        return "missing" if given is None else "unexpected", name
    if given.shape != own.shape:  # before its values are read: a view of one number can claim to be terabytes
        given_shape, own_shape = ("x".join(map(str, t.shape)) or "scalar" for t in (given, own))
        return "of the wrong shape", f"{name} ({given_shape} instead of {own_shape})"
    if given.is_floating_point() != own.is_floating_point():
        return "of the wrong kind", name
    return "" if bool(torch.isfinite(given).all()) else "not finite", name


def _listed(fault: str, names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)} {fault}: {', '.join(names[:most])}{more}"
