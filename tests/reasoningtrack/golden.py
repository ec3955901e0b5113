"""Reads the golden cases: weights and inputs by formula, the expected values from the reference data."""

from __future__ import annotations

import csv
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.network import Network


@cache
def recipe(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("golden_recipe", folder / "recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_state(folder: Path, config: Config, calm: float | None = None) -> dict[str, Tensor]:
    """The recipe's weights for every tensor that a network of this config has."""
    with torch.device("meta"):
        empty = Network(config).state_dict()
    return {
        name: torch.from_numpy(recipe(folder).named_weight(name, tuple(tensor.shape), calm))
        if tensor.is_floating_point()
        else torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in empty.items()
    }


def state_table(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="") as file:
        return [(row["name"], row["shape"], row["dtype"]) for row in csv.DictReader(file)]
