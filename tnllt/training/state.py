"""The state of a training run as one safetensors file: weights, averages, optimizers, and counters as JSON.

Reading it runs no code and makes only tensors, numbers, text, lists and tables, whoever wrote the file. The states of
accelerate, of `torch.distributed.checkpoint` and of the `Trainer` of transformers are pickles, which can run code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.errors import DataError
from tnllt.files import parse_json, temporary_beside, to_json

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

_MODEL, _OPTIMIZER = "model/", "optimizer/"


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


def training_tensors(model: nn.Module, optimizers: Sequence[Optimizer], weights: bool = True) -> dict[str, Tensor]:
    """The optimizers' state by the names of the parameters, and with `weights` the model's; every process calls this.

    Under DDP and FSDP the names and shapes are those of the model alone; the tensors are in the first process.
    """
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict

    whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found: Any = get_optimizer_state_dict(model, list(optimizers), options=whole)["state"]
    tensors = {f"{_OPTIMIZER}{key}/{name}": value for name, values in found.items() for key, value in values.items()}
    if weights:
        values: Any = get_model_state_dict(model, options=whole)
        tensors.update({f"{_MODEL}{name}": value for name, value in values.items()})
    return tensors


def set_training_tensors(
    model: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """The inverse of `training_tensors`; what has no weights leaves the model's.

    Raises:
        DataError: a tensor is missing, unknown, or not of its parameter's shape.
    """
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_optimizer_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    whole = StateDictOptions(full_state_dict=True)
    weights: Any = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    own: Any = get_optimizer_state_dict(model, list(optimizers), options=whole)
    state: Any = {}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            key, _, parameter = name.removeprefix(_OPTIMIZER).partition("/")
            state.setdefault(parameter, {})[key] = value
    if _shapes(state) != _shapes(own["state"]):
        raise DataError("is not a state of this network and its optimizers; remove it", path)
    try:
        if weights:
            set_model_state_dict(model, weights, options=whole)
        set_optimizer_state_dict(
            model, list(optimizers), {"state": state, "param_groups": own["param_groups"]}, options=whole
        )
    except (RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"does not fit this network ({str(error).splitlines()[0][:200]}); remove it", path) from error


def _shapes(state: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, tuple[int, ...]]]:
    return {name: {key: tuple(value.shape) for key, value in values.items()} for name, values in state.items()}
