"""What the bundled reasoner's network learns to read: objects' middles and looks; and which object is the target."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from tnllt.reasoningtrack.reasoners.looks import ATTRIBUTES
from tnllt.reasoningtrack.reasoners.reader import MOST, STRIDE, LookReader, Objects
from tnllt.training.reasoner.samples import SEEN
from tnllt.training.tracker.losses import focal_loss

#: Factor of each part of the loss.
WEIGHTS = {"heat": 1.0, "kind": 1.0, "main": 1.0, "second": 1.0, "pattern": 0.5}
#: Half sizes about an object's middle within which cells read its look; sizes about it within which a peak is its own.
INNER, NEAR = 0.6, 0.45


def reader_losses(model: LookReader, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parts of the loss of a batch of `samples.WindowSample`, and the fractions of right answers."""
    small = torch.cat([batch[name].flatten(0, 1) for name in ("now", "crowd")])
    features = model.read(batch["first"]), model.read(small)
    tables = batch["first_labels"], torch.cat([batch[f"{name}_labels"].flatten(0, 1) for name in ("now", "crowd")])
    parts: dict[str, list[Tensor]] = {}
    for feature, table in zip(features, tables, strict=True):
        for name, value in _reading(model, feature, table).items():
            parts.setdefault(name, []).append(value)
    found = {name: torch.stack(values) for name, values in parts.items()}
    cells = found.pop("cells")
    report = {name: (value * cells / cells.sum()).sum() for name, value in found.items()}
    report["loss"] = torch.stack([factor * report[name] for name, factor in WEIGHTS.items()]).sum()
    return report


def _reading(model: LookReader, feature: Tensor, table: Tensor) -> dict[str, Tensor]:
    """Heat and look of every cell of features (B, h, w, C) against labels (B, M, 9)."""
    middles, half, shown = table[..., :2] + table[..., 2:4] / 2, table[..., 2:4].clamp(min=1) / 2, table[..., 4] >= SEEN
    height, width = feature.shape[1:3]
    down, across = (torch.arange(n, device=table.device) * STRIDE + STRIDE / 2 for n in (height, width))
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), 2).flatten(0, 1)  # (h w, 2) pixels
    away = (grid[None, :, None] - middles[:, None]).abs()  # (B, h w, M, 2)
    apart = (away / half[:, None]).amax(3).masked_fill(~shown[:, None], 1e6)
    nearest, owner = apart.min(2)
    # Middles: 1 in an object's own cell, less around it by its size.
    sigma = 0.15 * 2 * half.prod(2).sqrt()
    soft = (-(away**2).sum(3) / (2 * sigma[:, None] ** 2)).exp().masked_fill(~shown[:, None], 0)
    own = (away.amax(3) <= STRIDE / 2) & shown[:, None]
    map_ = torch.where(own, 1.0, soft.clamp(max=0.999)).amax(2).view(-1, 1, height, width)
    logits = model.heat(feature)[:, None]
    out = {"heat": focal_loss(logits.sigmoid().clamp(1e-5, 1 - 1e-5), map_)}
    rows, cells = torch.nonzero(nearest < INNER, as_tuple=True)
    looks = table[rows, owner[rows, cells], 5:].long()
    picked = model.looks(feature.flatten(1, 2)[rows, cells])
    for k, name in enumerate(ATTRIBUTES):
        answers = picked[name].float()
        out[name] = F.cross_entropy(answers, looks[:, k], label_smoothing=0.02)
        out[f"right {name}"] = (answers.detach().argmax(1) == looks[:, k]).float().mean()
    return {**out, "cells": torch.tensor(float(len(rows)), device=feature.device)}


def target_among(objects: Objects, table: Tensor, width: int) -> Tensor:
    """(B,) which of the objects is the target, the first row of labels (B, M, 9); MOST where none is."""
    target = table[:, 0]
    at = torch.stack([objects.at % width, objects.at // width], 2).float() * STRIDE + STRIDE / 2
    size = target[:, 2:4].clamp(min=1).prod(1).sqrt()
    apart = (at - (target[:, :2] + target[:, 2:4] / 2)[:, None]).norm(dim=2) / size[:, None]
    near, which = apart.min(1)
    return torch.where((near < NEAR) & (target[:, 4] >= SEEN), which, MOST)
