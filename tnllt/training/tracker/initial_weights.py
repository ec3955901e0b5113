"""Weights to start training from: a tracker's own, or a Fast-iTPN backbone's."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from tnllt.reasoningtrack.build import published_preset
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.network import Network

#: The backbone's parts that a Fast-iTPN checkpoint has.
_SHARED = ("backbone.patch_embed.", "backbone.blocks.", "backbone.norm.")


def initialise_from(network: Network, path: Path) -> str:
    """Puts the weights of a file into the network, as far as they belong there; returns a line about what was taken.

    A tracker's checkpoint must fit completely, but for its crops: weights of other crop sizes or factors are adapted to
    the network's (`at_crops`). A Fast-iTPN checkpoint (names without `backbone.`, or below `model`)
    gives patch embedding, blocks and final norm; text, positions and head keep their initial values.

    Raises:
        DataError: the file fits neither way; the tensors that do not are named.
    """
    tensors, config = read_checkpoint(path)
    own = network.state_dict()
    if any(name.startswith("box_head.") for name in tensors):
        known, changed = config or published_preset(tensors), ""
        if known and _crops(before := Config.make(known)) != _crops(network.config):
            tensors = at_crops(tensors, before, network.config)
            changed = f", adapted from {_crops(before)}"
        load_strictly(network, tensors, path)
        return f"starting from the tracker's weights in {path} ({len(tensors)} tensors{changed})"
    renamed = {f"backbone.{name.removeprefix('backbone.')}": value for name, value in tensors.items()}
    taken = {name: value for name, value in renamed.items() if name.startswith(_SHARED) and name in own}
    rest = {name: value for name, value in own.items() if not name.startswith(_SHARED)}
    load_strictly(network, {**rest, **taken}, path)
    return f"starting from the Fast-iTPN in {path}: {len(taken)} tensors; {len(rest)} keep their initial values"


def at_crops(tensors: dict[str, Tensor], before: Config, config: Config) -> dict[str, Tensor]:
    """A tracker's tensors for crops of another size or factor.

    A position's embedding goes to where the same place relative to the target now is (linear between cells; beyond the
    old crop, its edge's). Sizes are fractions of the search crop, so the head's last bias moves by as much as a
    typical target, 1 / factor of the crop, became smaller or larger.

    Args:
        before: what the tensors were trained with.
    """
    changed = dict(tensors)
    ways = (
        ("z", before.template_size, before.template_factor, config.template_size, config.template_factor),
        ("x", before.search_size, before.search_factor, config.search_size, config.search_factor),
    )
    for end, size, factor, new_size, new_factor in ways:
        name = f"backbone.pos_embed_{end}"
        table = tensors.get(name)
        old, new = size // 16, new_size // 16
        if table is None or table.ndim != 3 or table.shape[1] != old * old or (old, factor) == (new, new_factor):
            continue
        cells = table.float().reshape(1, old, old, -1).permute(0, 3, 1, 2)
        at = ((torch.arange(new) + 0.5) / new * 2 - 1) * new_factor / factor
        grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)[None]
        moved = grid_sample(cells, grid, mode="bilinear", padding_mode="border", align_corners=False)
        changed[name] = moved.permute(0, 2, 3, 1).reshape(1, new * new, -1).to(table.dtype)
    bias = tensors.get("box_head.conv5_size.bias")
    if bias is not None and before.search_factor != config.search_factor:
        shift = _logit(1 / config.search_factor) - _logit(1 / before.search_factor)
        changed["box_head.conv5_size.bias"] = (bias.float() + shift).to(bias.dtype)
    return changed


def _logit(part: float) -> float:
    part = min(max(part, 0.01), 0.99)
    return math.log(part / (1 - part))


def _crops(config: Config) -> str:
    template = f"templates of {config.template_size} at factor {config.template_factor:g}"
    return f"{template}, search of {config.search_size} at factor {config.search_factor:g}"
