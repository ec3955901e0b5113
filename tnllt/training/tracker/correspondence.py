"""Supervised attention: a cell of the target in the search region corresponds to one place in each template.

The boxes of both determine which. One attention head of each transformer block but the first is trained to attend to
it. A small network then learns to match within some thousand samples; the box loss alone takes far longer.
Not part of the published recipe.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tnllt.reasoningtrack.network import Backbone, Block
from tnllt.training.tracker.losses import cells_inside


class Watch:
    """Keeps the inputs of a backbone's transformer blocks, but the first, from one forward pass to `take`."""

    def __init__(self, backbone: Backbone) -> None:
        self._inputs: list[tuple[Block, Tensor]] = []
        for block in backbone.blocks[backbone.convolutional + 1 :]:
            block.register_forward_pre_hook(self._keep)

    def _keep(self, block: Any, inputs: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled():
            self._inputs.append((block, inputs[0]))

    def take(self) -> list[tuple[Block, Tensor]]:
        kept, self._inputs = self._inputs, []
        return kept


def correspondence_loss(
    watched: list[tuple[Block, Tensor]], marks: Tensor, boxes: Tensor, sides: tuple[int, int]
) -> Tensor:
    """Cross entropy between the first head's attention and the true places: mean over cells in the target and blocks.

    Args:
        watched: blocks with their inputs (B, N, C), which end in the T templates' tokens and the search region's.
        marks: (B, T, 4) the target's x, y, w, h in each template crop. boxes: (B, 4) in the search crop; all as parts
            of the crop's side.
        sides: tokens along one side of a template, and of the search region.
    """
    cells = sides[1] ** 2
    inside = cells_inside(boxes, sides[1])
    places = true_places(marks, boxes, sides).flatten(2) / marks.shape[1]
    losses = []
    for block, tokens in watched:
        normed = block.norm1(tokens)
        width = normed.shape[2] // block.attn.heads
        query = F.linear(normed[:, -cells:], block.attn.q_proj.weight[:width], block.attn.q_bias[:width])
        key = F.linear(normed, block.attn.k_proj.weight[:width])
        chance = (query.float() @ key.float().transpose(1, 2) / width**0.5).log_softmax(2)
        templates = chance[:, :, -cells - places.shape[2] : -cells]
        losses.append(((-(places * templates).sum(2)) * inside).sum() / inside.sum().clamp(min=1))
    return torch.stack(losses).mean()


def true_places(marks: Tensor, boxes: Tensor, sides: tuple[int, int]) -> Tensor:
    """Where in each template the middle of a search cell lies: bilinear weights (B, S S, T, z z), of sum 1."""
    small, large = sides
    middle = (torch.arange(large, device=boxes.device, dtype=boxes.dtype) + 0.5) / large
    grid = torch.arange(small, device=boxes.device, dtype=boxes.dtype)
    ways = []
    for k in (0, 1):
        within = (middle[None] - boxes[:, k, None]) / boxes[:, k + 2, None]  # (B, S): 0..1 along the target
        at = marks[:, None, :, k] + within[:, :, None] * marks[:, None, :, k + 2]  # (B, S, T)
        cell = (at * small - 0.5).clamp(0, small - 1)
        ways.append((1 - (cell[..., None] - grid).abs()).clamp(min=0))  # (B, S, T, z)
    across, down = ways
    both = down[:, :, None, :, :, None] * across[:, None, :, :, None, :]  # (B, S, S, T, z, z)
    return both.flatten(4).flatten(1, 2)
