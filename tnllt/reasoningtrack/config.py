"""Sizes of the tracking network, and how its crops are cut: `256`, `384`, `tiny`, or your own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tnllt.errors import DataError, UsageError
from tnllt.files import parse_json
from tnllt.records import from_table


@dataclass(frozen=True)
class Config:
    """Everything that the shapes of the network's tensors and the tracker's crops depend on.

    Attributes:
        template_size, search_size: sides of the square crops, pixels; multiples of 16.
        template_factor, search_factor: crop side / sqrt(w * h) of the box.
        template_tint: fraction of the light outside the initial box that one fixed colour replaces in the first
            template, 0 to 1. With it the network sees the box itself. With 0, as published, it sees a square, from
            which only a network that was trained on many real objects finds the target's extent. Later templates are
            never tinted: they are cut around the tracker's own boxes, which may be wrong.
        window: weight of the Hann window, which prefers places near the last box, in the score map, 0 to 1. With 1, as
            published, a target that jumps to the search region's edge is not found.
        depths: convolution blocks at stride 4, at stride 8, transformer blocks at stride 16.
        dims: their channels.
        heads: attention heads of the transformer blocks.
        mlp_ratio: hidden / outer channels of every MLP.
        head_channels: channels of the four 3 x 3 convolutions of each branch of the centre head.
        templates: templates drawn from the memory besides the first (DUTrack: TEMPLATE_NUMBER).
        text_length: word pieces that the network reads, [CLS] and [SEP] among them.
        text_positions, description_rows, pos_rows: rows of the three tables that the published checkpoints keep
            longer than they use (position embedding, description embedding, the unused `pos_embed`).
        word_rank: None, or the width of a factorised word table (30,522 x rank, then a linear layer to dims[2]).
    """

    template_size: int = 128
    search_size: int = 256
    template_factor: float = 2.0
    search_factor: float = 4.0
    template_tint: float = 0.0
    window: float = 1.0
    depths: tuple[int, int, int] = (3, 3, 24)
    dims: tuple[int, int, int] = (128, 256, 512)
    heads: int = 8
    mlp_ratio: float = 3.0
    head_channels: tuple[int, int, int, int] = (256, 128, 64, 32)
    templates: int = 3
    text_length: int = 16
    text_positions: int = 40
    description_rows: int = 512
    pos_rows: int = 196
    word_rank: int | None = None

    def __post_init__(self) -> None:
        for name in ("template_size", "search_size"):
            if getattr(self, name) < 16 or getattr(self, name) % 16:
                raise UsageError(f"network config: {name} must be a multiple of 16, not {getattr(self, name)}")
        counts = (*self.depths, *self.dims, *self.head_channels)
        if (len(self.depths), len(counts)) != (3, 10) or any(type(c) is not int or c < 0 for c in counts):
            raise UsageError("network config: depths and dims must be 3 whole numbers each, and head_channels 4")
        if self.depths[2] < 1 or min(self.dims) < 1 or min(self.head_channels) < 1:
            raise UsageError("network config: at least one transformer block, and channels above 0")
        if self.heads < 1 or self.dims[2] % self.heads:
            raise UsageError(f"network config: dims[2] = {self.dims[2]} cannot be split into {self.heads} heads")
        if min(self.text_positions, self.description_rows) < self.text_length or self.text_length < 3:
            raise UsageError("network config: text_length must be at least 3 and fit the position tables")
        if self.template_factor <= 0 or self.search_factor <= 0 or self.templates < 1 or self.mlp_ratio <= 0:
            raise UsageError("network config: factors, templates and mlp_ratio must be above 0")
        for name in ("template_tint", "window"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"network config: {name} must be 0 to 1, not {getattr(self, name)!r}")

    @property
    def side(self) -> int:
        """Side of the score map: search_size / 16."""
        return self.search_size // 16

    @property
    def template_tokens(self) -> int:
        return (self.template_size // 16) ** 2

    @property
    def search_tokens(self) -> int:
        return self.side**2

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; `make` reads it back."""
        return dataclasses.asdict(self)

    @classmethod
    def make(cls, spec: ConfigLike) -> Config:
        """A config from a preset's name ("256", "384", "tiny"), a mapping, its JSON text, or a config.

        A mapping may name a preset as "size" and override any field: ``{"size": 256, "depths": (1, 1, 2)}``.

        Raises:
            UsageError: an unknown preset or field, or invalid values.
        """
        if isinstance(spec, cls):
            return spec
        try:
            if isinstance(spec, str) and spec.lstrip().startswith("{"):
                spec = parse_json(spec)
            if not isinstance(spec, Mapping):
                return _preset(spec)
            own = {str(name): value for name, value in spec.items() if name != "size"}
            return from_table({**_preset(spec.get("size", 256)).to_dict(), **own}, cls)
        except DataError as error:
            raise UsageError(f"network config: {error}") from error


ConfigLike: TypeAlias = Config | str | int | Mapping[str, Any]

#: Fields that the tensors' shapes do not depend on: the same weights run with other values.
FREE = ("template_factor", "search_factor", "template_tint", "window", "templates")

PRESETS: dict[str, Config] = {
    "256": Config(),
    "384": Config(template_size=192, search_size=384, search_factor=5.0),
    # For two CPU cores: 3 M parameters, a third of them the factorised word table.
    "tiny": Config(
        template_size=80,
        search_size=160,
        search_factor=4.0,
        template_tint=0.5,
        window=0.8,
        depths=(1, 1, 4),
        dims=(48, 96, 128),
        heads=4,
        head_channels=(64, 64, 32, 32),
        text_positions=16,
        description_rows=16,
        pos_rows=1,
        word_rank=32,
    ),
}


def _preset(name: object) -> Config:
    try:
        return PRESETS[str(name)]
    except KeyError:
        raise UsageError(f"no network config {name!r}; there are: {', '.join(PRESETS)}, or a mapping") from None
