"""Losses of the tracking network: GIoU, L1 and the centre map's focal loss (DUTrack's published recipe)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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


def boxes_at(index: Tensor, size: Tensor, offset: Tensor) -> Tensor:
    """Boxes (B, 4) cx, cy, w, h read off the maps (B, 2, S, S) at flat cell indices (B,), as the network does."""
    side = size.shape[-1]
    where = index[:, None, None].expand(-1, 2, 1)
    wh = size.flatten(2).gather(2, where)[..., 0]
    shift = offset.flatten(2).gather(2, where)[..., 0]
    cell = torch.stack([index % side, index // side], 1).to(size.dtype)
    return torch.cat([(cell + shift) / side, wh], 1)


@dataclass(frozen=True)
class LossWeights:
    """Factors of the three losses."""

    giou: float = 2.0
    l1: float = 5.0
    focal: float = 1.0


def tracking_loss(
    score: Tensor, size: Tensor, offset: Tensor, boxes: Tensor, weights: LossWeights, regress_at: str = "peak"
) -> tuple[Tensor, dict[str, Tensor]]:
    """Total loss of one search frame, and its parts (detached) with the mean IoU of the box at the score's peak.

    Args:
        score, size, offset: the head's maps (B, 1 | 2 | 2, S, S).
        boxes: (B, 4) x, y, w, h as fractions of the search crop.
        regress_at: "peak" reads the regressed box where the score is highest (the published recipe); "target" where
            it should be, which learns sizes before the score map is right.
    """
    score, size, offset = score.float(), size.float(), offset.float()
    side = score.shape[-1]
    target = center_maps(boxes, side)
    peak = score.flatten(1).argmax(1)
    at = peak if regress_at == "peak" else target.flatten(1).argmax(1)
    truth = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    predicted = center_to_corners(boxes_at(at, size, offset))
    generalised, _ = giou(predicted, truth)
    with torch.no_grad():
        _, iou = giou(center_to_corners(boxes_at(peak, size, offset)), truth)
    parts = {
        "giou": (1 - generalised).mean(),
        "l1": (predicted - truth).abs().mean(),
        "focal": focal_loss(score, target),
    }
    total = weights.giou * parts["giou"] + weights.l1 * parts["l1"] + weights.focal * parts["focal"]
    report = {name: value.detach() for name, value in parts.items()}
    return total, {**report, "iou": iou.mean(), "loss": total.detach()}
