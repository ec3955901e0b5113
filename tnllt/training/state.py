"""The state of a training run as one safetensors file: weights, averages, optimizers, and counters as JSON.

Reading it runs no code and makes only tensors, numbers, text, lists and tables, whoever wrote the file. The states of
accelerate, of `torch.distributed.checkpoint` and of the `Trainer` of transformers are pickles, which can run code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.errors import DataError, UsageError
from tnllt.files import parse_json, read_bytes, temporary_beside, to_json, write_atomic

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_MODEL, _OPTIMIZER = "model/", "optimizer/"


def need_utf8(folder: Path) -> None:
    """Raises UsageError for a folder whose name safetensors and TensorBoard cannot write to."""
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{folder} is not UTF-8; give --out another name") from error


def begin_run(out: Path, recipe: Mapping[str, Any]) -> None:
    """Makes the run's folder, or checks that what it holds was begun with this recipe, and writes `run.json`.

    Raises:
        UsageError: the folder holds a run of another recipe. DataError: its record is not one.
    """
    from tnllt import __version__

    file = out / "run.json"
    ours = parse_json(to_json(dict(recipe)))
    if not file.is_file():
        return write_atomic(file, to_json({"tnllt": __version__, **ours}))
    theirs = parse_json(read_bytes(file), file)
    if not isinstance(theirs, dict):
        raise DataError("is not the record of a training run; remove it, or give another --out", file)
    if changed := [key for key in ours if ours[key] != theirs.get(key)]:
        detail = ", ".join(f"{key} {theirs.get(key)} -> {ours[key]}" for key in changed)
        raise UsageError(f"{out} holds a run of another recipe ({detail}); give another --out, or remove it")


def saved_states(out: Path) -> list[Path]:
    """The saved states of a run, the oldest first."""
    return sorted(out.glob("state-????????.safetensors"))


def newest_state(out: Path) -> Path | None:
    """The newest saved state of a run, or None."""
    return next(reversed(saved_states(out)), None)


def write_state(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes the file whole or not at all. `facts` is strict JSON. Raises DataError where it cannot be written."""
    from safetensors.torch import save_file

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with temporary_beside(path) as temporary:
        save_file(whole, temporary, metadata={"format": "pt", "state": to_json(facts, None)})


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_state` wrote. Raises DataError for any other file."""
    from tnllt import tensors

    file = tensors.read(path)
    facts = parse_json(file.metadata.get("state", "null"), path)
    if not isinstance(facts, dict):
        raise DataError("is not a state of a training run; remove it, and the one before is used", path)
    return file.content, facts


def training_tensors(model: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The optimizers' state by the names of the parameters, and the weights but frozen ones; every process calls this.

    Under DDP and FSDP the names and shapes are those of the model alone; the tensors are in the first process.
    """
    from torch import distributed
    from torch.distributed.checkpoint import state_dict as whole

    several = distributed.is_initialized()  # older torch asks for a rank where there are no processes
    options = whole.StateDictOptions(full_state_dict=True, cpu_offload=several, ignore_frozen_params=True)
    weights: Any = whole.get_model_state_dict(model, options=options)
    state: Any = whole.get_optimizer_state_dict(model, _plain(optimizers), options=options).get("state", {})
    tensors = {f"{_OPTIMIZER}{key}/{name}": value for name, values in state.items() for key, value in values.items()}
    return {**tensors, **{f"{_MODEL}{name}": value for name, value in weights.items()}}


def set_training_tensors(
    model: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """The inverse of `training_tensors`; other tensors are ignored.

    Raises:
        DataError: a tensor is missing, unknown, or of another shape.
    """
    from torch.distributed.checkpoint import state_dict as whole

    options = whole.StateDictOptions(full_state_dict=True, ignore_frozen_params=True, strict=False)
    own: Any = whole.get_optimizer_state_dict(model, _plain(optimizers), options=options)
    expected: dict[str, Any] = {
        f"{_MODEL}{n}": v for n, v in whole.get_model_state_dict(model, options=options).items()
    }
    for name, values in own["state"].items():
        expected.update({f"{_OPTIMIZER}{key}/{name}": value for key, value in values.items()})
    found = {name: value for name, value in tensors.items() if name.startswith((_MODEL, _OPTIMIZER))}
    if {n: v.shape for n, v in expected.items()} != {n: v.shape for n, v in found.items()}:
        raise DataError("is not a state of this network and its optimizers; remove it", path)
    weights: Any = {name.removeprefix(_MODEL): value for name, value in found.items() if name.startswith(_MODEL)}
    for name, values in own["state"].items():
        values.update({key: found[f"{_OPTIMIZER}{key}/{name}"] for key in values})
    whole.set_model_state_dict(model, weights, options=options)
    whole.set_optimizer_state_dict(model, _plain(optimizers), own, options=options)


def _plain(optimizers: Sequence[Optimizer]) -> list[Optimizer]:
    """The optimizers themselves, without what accelerate puts around them."""
    return [getattr(optimizer, "optimizer", optimizer) for optimizer in optimizers]
