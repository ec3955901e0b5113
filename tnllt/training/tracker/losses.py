"""Losses of the tracking network: GIoU, L1 and the centre map's focal loss (DUTrack's published recipe).

And supervised attention, which is not part of that recipe: a cell of the target in the search region corresponds to one
place in each template, as the boxes of both determine. One attention head of each transformer block but the first is
trained to attend to it. A small network then learns to match within some thousand samples; the box loss alone takes far
longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tnllt.reasoningtrack.network import Backbone, Block


def gaussian_radius(height: Tensor, width: Tensor, min_overlap: float = 0.7) -> Tensor:
    """How far, in cells, a corner pair may move and still overlap a box of this size by `min_overlap`.

    Sizes (...) in cells, result (...) in cells, not rounded. The three cases and their roots are those of CenterNet,
    which halves where the quadratic formula divides by 2a; the published weights were trained with that, so it stays.
    """
    h, w, o = height, width, min_overlap
    cases = (
        (1.0, h + w, w * h * (1 - o) / (1 + o)),  # one corner inside, one outside
        (4.0, 2 * (h + w), (1 - o) * w * h),  # both inside
        (4 * o, -2 * o * (h + w), (o - 1) * w * h),  # both outside
    )
    roots = [(b + torch.sqrt(b * b - 4 * a * c)) / 2 for a, b, c in cases]
    return torch.minimum(torch.minimum(roots[0], roots[1]), roots[2])


def center_maps(boxes: Tensor, side: int) -> Tensor:
    """Gaussian target maps (B, 1, side, side), exactly 1 in the cell that holds the centre.

    Args:
        boxes: (B, 4) x, y, w, h as fractions of the search crop.
        side: cells along one side of the feature map.
    """
    cells = boxes * side
    radius = torch.clamp(torch.floor(gaussian_radius(cells[:, 3].ceil(), cells[:, 2].ceil())), min=0)
    sigma = ((2 * radius + 1) / 6)[:, None, None]
    center = torch.clamp(torch.floor(cells[:, :2] + cells[:, 2:] / 2), 0, side - 1)
    grid = torch.arange(side, device=boxes.device, dtype=boxes.dtype)
    dx = grid[None, None, :] - center[:, 0, None, None]
    dy = grid[None, :, None] - center[:, 1, None, None]
    maps = torch.exp(-(dx * dx + dy * dy) / (2 * sigma * sigma))
    near = (dx.abs() <= radius[:, None, None]) & (dy.abs() <= radius[:, None, None])
    return (maps * near)[:, None]


def focal_loss(score: Tensor, target: Tensor, alpha: float = 2.0, beta: float = 4.0) -> Tensor:
    """CenterNet's focal loss of score maps (B, 1, S, S) in (0, 1) against Gaussian maps, per positive cell."""
    positive = (target == 1).to(score.dtype)
    hit = torch.log(score) * (1 - score) ** alpha * positive
    miss = torch.log(1 - score) * score**alpha * (1 - target) ** beta * (1 - positive)
    return -(hit.sum() + miss.sum()) / torch.clamp(positive.sum(), min=1)


def giou(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Generalised IoU and IoU (B,) of corner boxes (B, 4), x1, y1, x2, y2."""
    top_left, bottom_right = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(1)
    union = (a[:, 2:] - a[:, :2]).clamp(min=0).prod(1) + (b[:, 2:] - b[:, :2]).clamp(min=0).prod(1) - shared
    iou = shared / union.clamp(min=1e-9)
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    return iou - (hull - union) / hull.clamp(min=1e-9), iou


def center_to_corners(boxes: Tensor) -> Tensor:
    """cx, cy, w, h -> x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return torch.cat([boxes[:, :2] - half, boxes[:, :2] + half], 1)


def all_boxes(size: Tensor, offset: Tensor) -> Tensor:
    """The box of every cell (B, S S, 4) cx, cy, w, h from the maps (B, 2, S, S), as the network reads it."""
    side = size.shape[-1]
    steps = torch.arange(side, device=size.device, dtype=size.dtype)
    cell = torch.stack(torch.meshgrid(steps, steps, indexing="xy")).flatten(1)
    return torch.cat([(cell + offset.flatten(2)) / side, size.flatten(2)], 1).transpose(1, 2)


def cells_inside(boxes: Tensor, side: int) -> Tensor:
    """Which cells (B, S S) have their middle in a box x, y, w, h (B, 4)."""
    middle = (torch.arange(side, device=boxes.device, dtype=boxes.dtype) + 0.5) / side
    across, down = ((middle > boxes[:, k, None]) & (middle < boxes[:, k, None] + boxes[:, k + 2, None]) for k in (0, 1))
    return (down[:, :, None] & across[:, None, :]).flatten(1)


def in_view(boxes: Tensor) -> Tensor:
    """Which boxes x, y, w, h (B, 4) have a part within the crop, whose side is 1."""
    return ((boxes[:, :2] < 1) & (boxes[:, :2] + boxes[:, 2:] > 0)).all(1)


@dataclass(frozen=True)
class LossWeights:
    """Factors of the losses. `correspondence` (see the module of that name) is not part of the published recipe."""

    giou: float = 2.0
    l1: float = 5.0
    focal: float = 1.0
    correspondence: float = 0.0


def tracking_loss(
    score: Tensor, size: Tensor, offset: Tensor, boxes: Tensor, weights: LossWeights, regress_at: str = "peak"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss of one search frame, and its parts (detached) with the mean IoU of the box at the score's peak.

    Where the target is wholly outside its crop (`Recipe.negative_prob`), the score should be low everywhere and no box
    is learnt.

    Args:
        score, size, offset: the head's maps (B, 1 | 2 | 2, S, S).
        boxes: (B, 4) x, y, w, h as fractions of the search crop.
        regress_at: "peak" reads the regressed box where the score is highest (the published recipe); "target" where
            it should be, which learns sizes before the score map is right; "inside" in every cell within the target,
            so that a peak one cell off still gives the right box.
    """
    score, size, offset = score.float(), size.float(), offset.float()
    side = score.shape[-1]
    here = in_view(boxes).to(score.dtype)
    target = center_maps(boxes, side) * here[:, None, None, None]
    peak = score.flatten(1).argmax(1, keepdim=True)
    centre = target.flatten(1).argmax(1, keepdim=True)
    at = torch.zeros_like(score.flatten(1)).scatter(1, peak if regress_at == "peak" else centre, 1.0)
    if regress_at == "inside":
        at = torch.maximum(at, cells_inside(boxes, side).to(at.dtype))
    weight = at / at.sum(1, keepdim=True)
    truth = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)[:, None].expand(-1, side * side, -1)
    predicted = center_to_corners(all_boxes(size, offset).flatten(0, 1))
    generalised, iou = (v.view(weight.shape) for v in giou(predicted, truth.flatten(0, 1)))
    distance = (predicted - truth.flatten(0, 1)).abs().mean(1).view(weight.shape)
    weight, of = weight * here[:, None], here.sum().clamp(min=1)
    parts = {
        "giou": ((1 - generalised) * weight).sum() / of,
        "l1": (distance * weight).sum() / of,
        "focal": focal_loss(score, target),
    }
    total = weights.giou * parts["giou"] + weights.l1 * parts["l1"] + weights.focal * parts["focal"]
    report = {name: value.detach() for name, value in parts.items()}
    overlap = (iou.detach().gather(1, peak)[:, 0] * here).sum() / of
    return total, {**report, "iou": overlap, "loss": total.detach()}


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
