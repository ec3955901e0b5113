"""A tracker's weights for crops of another size or factor, to train on from.

python recipes/crops.py WEIGHTS OUT.safetensors --template 80 2.0 --search 160 4.0
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import click
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from tnllt.cli.common import run_command
from tnllt.reasoningtrack.build import published_preset
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint, save_safetensors
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.network import Network


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


@click.command()
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--template", type=(int, float), required=True, help="Side of a template in pixels, and its factor.")
@click.option("--search", type=(int, float), required=True, help="Side of a search crop in pixels, and its factor.")
def main(weights: Path, out: Path, template: tuple[int, float], search: tuple[int, float]) -> None:
    """Write WEIGHTS to OUT as `tnllt-train tracker --init` takes them for crops of these sizes."""
    tensors, known = read_checkpoint(weights)
    before = Config.make(known or published_preset(tensors) or "256")
    sizes = {"template_size": template[0], "template_factor": template[1]}
    config = dataclasses.replace(before, **sizes, search_size=search[0], search_factor=search[1])
    network = Network(config)
    load_strictly(network, at_crops(tensors, before, config), weights)
    save_safetensors(network, out, config.to_dict())


if __name__ == "__main__":
    run_command(main, "crops.py")
