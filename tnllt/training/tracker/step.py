"""One training step as a module, so that DDP, FSDP, `torch.compile` and autocast see a single forward pass."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from tnllt.errors import UsageError
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint
from tnllt.reasoningtrack.inference import MEAN, STD
from tnllt.reasoningtrack.network import Network
from tnllt.training.tracker.losses import Watch, correspondence_loss, tracking_loss
from tnllt.training.tracker.recipe import Recipe


class TrainStep(nn.Module):
    """Loss of a batch: every search frame against the templates, the temporal tokens passed from one to the next.

    Args:
        network: to be trained. recipe: losses. checkpoint_gradients: see `Backbone.recompute`.
    """

    def __init__(self, network: Network, recipe: Recipe, checkpoint_gradients: bool = False) -> None:
        super().__init__()
        self.network = network
        self._recipe = recipe
        network.backbone.recompute = checkpoint_gradients
        self._watch = Watch(network.backbone) if recipe.correspondence else None
        self._sides = network.config.template_size // 16, network.config.side
        self.register_buffer("_mean", torch.tensor(MEAN).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("_std", torch.tensor(STD).view(3, 1, 1) * 255, persistent=False)

    def forward(
        self, templates: Tensor, marks: Tensor, searches: Tensor, boxes: Tensor, text: Tensor
    ) -> dict[str, Tensor]:
        """Shapes as in `samples.collate`. Means over search frames: loss (with gradient), its parts, iou."""
        encoded = self.network.encode_templates(self._normalised(templates))
        temporal = None
        totals: list[Tensor] = []
        reports: list[dict[str, Tensor]] = []
        for i in range(searches.shape[1]):
            out = self.network(encoded, self._normalised(searches[:, i]), text[:, i], temporal)
            temporal = out.tokens
            total, report = tracking_loss(
                out.score, out.size, out.offset, boxes[:, i], self._recipe, self._recipe.regress_at
            )
            if self._watch is not None and (watched := self._watch.take()):
                guided = correspondence_loss(watched, marks, boxes[:, i], self._sides)
                total = total + self._recipe.correspondence * guided
                report["correspondence"] = guided.detach()
            totals.append(total)
            reports.append(report)
        mean = {name: torch.stack([r[name] for r in reports]).mean() for name in reports[0] if name != "loss"}
        return {"loss": torch.stack(totals).mean(), **mean}

    def _normalised(self, images: Tensor) -> Tensor:
        """uint8 (..., H, W, 3) -> float (..., 3, H, W)."""
        mean, std = self.get_buffer("_mean"), self.get_buffer("_std")
        return (images.movedim(-1, -3).float() - mean) / std


def make_optimizers(step: TrainStep, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """AdamW over `parameter_groups`, preceded by Muon over the weight matrices where the recipe says so.

    Raises:
        UsageError: the recipe needs Muon, and this torch does not have it.
    """
    groups = parameter_groups(step, recipe)
    optimizers: list[torch.optim.Optimizer] = []
    if recipe.muon > 0:
        if not hasattr(torch.optim, "Muon"):
            remedy = "install torch 2.9 or newer, or use AdamW alone with --set muon=0"
            raise UsageError(f"this recipe needs Muon, which torch {torch.__version__} does not have; {remedy}")
        tables = {id(p) for name, p in step.named_parameters() if _is_table(name)}
        matrices = []
        for group in groups:
            parameters: list[nn.Parameter] = group["params"]  # type: ignore[assignment]
            matrices += [p for p in parameters if p.ndim == 2 and id(p) not in tables]
            group["params"] = [p for p in parameters if p.ndim != 2 or id(p) in tables]
        optimizers.append(torch.optim.Muon(matrices, lr=recipe.muon, weight_decay=0.01))
    optimizers.append(torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay))
    return optimizers


def parameter_groups(step: TrainStep, recipe: Recipe) -> list[dict[str, object]]:
    """AdamW's groups: the backbone at `backbone_factor` of the rate, the rest at the full one.

    The published recipe decays every parameter; with one rate for all (`backbone_factor` 1), only matrices decay.
    """
    named = [(name, p) for name, p in step.named_parameters() if p.requires_grad]
    if recipe.backbone_factor != 1:
        backbone = [p for name, p in named if ".backbone." in f".{name}"]
        rest = [p for name, p in named if ".backbone." not in f".{name}"]
        return [
            {"params": rest, "lr": recipe.learning_rate},
            {"params": backbone, "lr": recipe.learning_rate * recipe.backbone_factor},
        ]
    plain = [p for name, p in named if p.ndim < 2 or _is_table(name)]
    decayed = [p for name, p in named if not (p.ndim < 2 or _is_table(name))]
    return [
        {"params": decayed, "lr": recipe.learning_rate},
        {"params": plain, "lr": recipe.learning_rate, "weight_decay": 0.0},
    ]


def _is_table(name: str) -> bool:
    """Positions, tokens, words: rows that are looked up or added, no matrix that something is multiplied with."""
    return "embed" in name or "token" in name


def rate_factor(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """The learning rate at a step as a part of the full one."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    if recipe.schedule == "step":
        return 0.1 if step >= recipe.drop_epoch * steps_per_epoch else 1.0
    total = max(1, recipe.epochs * steps_per_epoch - recipe.warmup)
    done = min(1.0, (step - recipe.warmup) / total)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


#: The backbone's parts that a Fast-iTPN checkpoint has.
_SHARED = ("backbone.patch_embed.", "backbone.blocks.", "backbone.norm.")


def initialise_from(network: Network, path: Path) -> str:
    """Puts the weights of a file into the network, as far as they belong there; returns a line about what was taken.

    A tracker's checkpoint must fit completely. A Fast-iTPN checkpoint (names without `backbone.`, or below `model`)
    gives patch embedding, blocks and final norm; text, positions and head keep their initial values.

    Raises:
        DataError: the file fits neither way; the tensors that do not are named.
    """
    tensors, _ = read_checkpoint(path)
    own = network.state_dict()
    if any(name.startswith("box_head.") for name in tensors):
        load_strictly(network, tensors, path)
        return f"starting from the tracker's weights in {path} ({len(tensors)} tensors)"
    renamed = {f"backbone.{name.removeprefix('backbone.')}": value for name, value in tensors.items()}
    taken = {name: value for name, value in renamed.items() if name.startswith(_SHARED) and name in own}
    rest = {name: value for name, value in own.items() if not name.startswith(_SHARED)}
    load_strictly(network, {**rest, **taken}, path)
    return f"starting from the Fast-iTPN in {path}: {len(taken)} tensors; {len(rest)} keep their initial values"
