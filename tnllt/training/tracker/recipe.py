"""Training recipes as data: the published ones (`256`, `384`) and the one behind the bundled `tiny` weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from tnllt.errors import UsageError
from tnllt.tracking.options import check_options
from tnllt.training.tracker.losses import LossWeights


@dataclass(frozen=True)
class Recipe(LossWeights):
    """Everything that decides what a training run computes; saved with it, and compared when it is resumed.

    Attributes:
        giou, l1, focal, correspondence: factors of the losses (see `LossWeights`).
        config: the network, by name (`256`, `384`, `tiny`).
        epochs, samples_per_epoch, batch: length; `batch` is per device.
        templates to hard_negative_prob, stretch: see `tnllt.datasets.sampling.CropRecipe`. A crop beside the target has
            no box, and its score should be low everywhere.
        learning_rate, backbone_factor, weight_decay, clip: AdamW; gradient norm is cut at `clip`.
        muon: where above 0, the weight matrices learn by Muon at this rate (of matrices whose update has norm 1) and
            AdamW keeps the rest: a third fewer steps for small networks from scratch.
        schedule: "step" (x 0.1 at epoch `drop_epoch`) or "cosine" to 1 % of the rate; after `warmup` steps.
        regress_at: see `losses.tracking_loss`.
        ema: decay of the averaged weights, 0 for none.
        gray, color_shift: probability that a whole sample is grey; that its templates alone lose or change colour, so
            that the colour must come from the description (which is then not dropped).
        light: half of the samples have their templates, and each of their search frames, exp(N(0,1) x light) times
            brighter, as where the light changes.
        drop_text: probability that a sample has no description, so that the network also works without one.
    """

    config: str = "256"
    epochs: int = 45
    samples_per_epoch: int = 30_000
    batch: int = 8
    templates: int = 3
    searches: int = 2
    max_gap: int = 200
    center_jitter: float = 3.5
    scale_jitter: float = 0.5
    template_jitter: float = 0.0
    negative_prob: float = 0.0
    hard_negative_prob: float = 0.0
    learning_rate: float = 1e-4
    muon: float = 0.0
    backbone_factor: float = 0.1
    weight_decay: float = 1e-4
    clip: float = 0.1
    schedule: Literal["step", "cosine"] = "step"
    drop_epoch: int = 40
    warmup: int = 0
    drop_path: float = 0.1
    regress_at: Literal["peak", "target", "inside"] = "peak"
    ema: float = 0.0
    brightness: float = 0.2
    gray: float = 0.05
    flip: float = 0.5
    color_shift: float = 0.0
    drop_text: float = 0.0
    light: float = 0.0
    stretch: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "samples_per_epoch", "batch", "templates", "searches")
        for name, value in vars(self).items():
            if isinstance(value, int | float) and not (name in positive) <= value < 1 << 40:  # NaN is not, either
                raise UsageError(f"{name} must be {'at least 1' if name in positive else 'at least 0'}, not {value}")


#: DUTrack's published configurations, and ours for the bundled weights.
RECIPES: dict[str, Recipe] = {
    "256": Recipe(config="256"),
    "384": Recipe(config="384", epochs=50, center_jitter=4.5),
    "tiny": Recipe(
        config="tiny",
        epochs=15,
        samples_per_epoch=10_240,
        batch=32,
        templates=2,
        max_gap=60,
        center_jitter=2.25,
        scale_jitter=0.35,
        template_jitter=0.1,
        learning_rate=2e-3,
        muon=0.02,
        backbone_factor=1.0,
        weight_decay=0.05,
        clip=1.0,
        schedule="cosine",
        warmup=200,
        drop_path=0.0,
        correspondence=1.0,
        regress_at="inside",
        ema=0.999,
        gray=0.15,
        color_shift=0.15,
        drop_text=0.1,
        light=0.6,
        stretch=0.3,
    ),
}


def recipe(name: str, **changes: Any) -> Recipe:
    """A named recipe with some values changed; a text becomes a value of its field's type, as `--set` gives it.

    Raises:
        UsageError: an unknown name, an unknown key or an invalid value.
    """
    if name not in RECIPES:
        raise UsageError(f"no recipe {name!r}; use {', '.join(RECIPES)}")
    return dataclasses.replace(RECIPES[name], **check_options(Recipe, changes))
