"""The tracking network: a Fast-iTPN backbone over text, templates and search region together, and a centre head.

Tensor names are those of the published DUTrack checkpoints. Shapes in the comments: B samples, T templates, N tokens,
C channels, H x W pixels of a feature map. Feature maps are channels-last, (B, H, W, C), up to the head: so
the LayerNorms and 1 x 1 convolutions of the convolutional stages are plain operations on the last axis.

Sources: Fast-iTPN (Tian et al. 2024), DUTrack (Li et al., CVPR 2025), OSTrack's centre head (Ye et al., ECCV 2022).
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tnllt.reasoningtrack.config import Config

LayerNorm = partial(nn.LayerNorm, eps=1e-6)

#: Output tokens that the next frame gets.
TEMPORAL_TOKENS = 3


def patches(x: Tensor, k: int) -> Tensor:
    """(B, H, W, C) -> (B, H/k, W/k, k k C)."""
    b, h, w, c = x.shape
    return x.view(b, h // k, k, w // k, k, c).transpose(2, 3).reshape(b, h // k, w // k, k * k * c)


def conv_as_linear(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """A k x k convolution of stride k on (B, H, W, C), as one matrix product over its patches."""
    k = conv.kernel_size[0]
    if k == 1:
        return F.linear(x, conv.weight.flatten(1), conv.bias)
    return F.linear(patches(x, k), conv.weight.permute(0, 2, 3, 1).flatten(1), conv.bias)


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Leaves a residual branch out for a whole sample, with probability `rate` (stochastic depth)."""
    if not training or rate == 0:
        return x
    keep = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), device=x.device) >= rate
    return x * (keep / (1 - rate)).to(x.dtype)


class ConvMlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, hidden, 1)
        self.ffn_ln = LayerNorm(hidden)
        self.fc2 = nn.Conv2d(hidden, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        return conv_as_linear(self.ffn_ln(F.gelu(conv_as_linear(x, self.fc1))), self.fc2)


class ConvBlock(nn.Module):
    """x + fc2(LN(gelu(fc1(LN(x))))), (B, H, W, C)."""

    def __init__(self, dim: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.norm2 = LayerNorm(dim)
        self.mlp = ConvMlp(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return x + drop_path(self.mlp(self.norm2(x)), self.drop, self.training)


class PatchMerging(nn.Module):
    """Halves the resolution: (B, H, W, C) -> (B, H/2, W/2, C')."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.reduction = nn.Conv2d(dim, out, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return conv_as_linear(self.norm(x), self.reduction)


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, queries: Tensor, mask: Tensor | None) -> Tensor:
        """Queries (B, M, C) look at x (B, N, C). mask (B, 1, 1, N): True where a token may be looked at."""
        q = F.linear(queries, self.q_proj.weight, self.q_bias)
        k = self.k_proj(x)
        v = F.linear(x, self.v_proj.weight, self.v_bias)
        q, k, v = (t.view(*t.shape[:2], self.heads, -1).transpose(1, 2) for t in (q, k, v))  # (B, heads, N, C/heads)
        if q.dtype == torch.bfloat16 and q.device.type == "cpu" and torch.is_grad_enabled():
            q, k, v = q.float(), k.float(), v.float()  # on CPUs the backward pass in bfloat16 takes three times as long
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class SwiGlu(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden)
        self.w2 = nn.Linear(dim, hidden)
        self.ffn_ln = LayerNorm(hidden)
        self.w3 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block with layer scale."""

    def __init__(self, dim: int, heads: int, hidden: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.gamma_1 = nn.Parameter(torch.full((dim,), 0.1))
        self.gamma_2 = nn.Parameter(torch.full((dim,), 0.1))
        self.norm1 = LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm2 = LayerNorm(dim)
        self.mlp = SwiGlu(dim, hidden)

    def forward(self, x: Tensor, mask: Tensor | None = None, last: int | None = None) -> Tensor:
        """(B, N, C). `last`: only the first three tokens and the last `last` are needed, so only these are queries."""
        normed = self.norm1(x)
        queries = normed
        if last is not None:
            x, queries = (torch.cat([t[:, :TEMPORAL_TOKENS], t[:, -last:]], dim=1) for t in (x, normed))
        x = x + drop_path(self.gamma_1 * self.attn(normed, queries, mask), self.drop, self.training)
        return x + drop_path(self.gamma_2 * self.mlp(self.norm2(x)), self.drop, self.training)


class TextEmbedding(nn.Module):
    """BERT's embedding layer; the word table may be factorised (`Config.word_rank`)."""

    def __init__(self, config: Config, words: int = 30_522) -> None:
        super().__init__()
        dim, rank = config.dims[2], config.word_rank
        self.word_embeddings = nn.Embedding(words, rank or dim)
        self.word_projection = nn.Linear(rank, dim, bias=False) if rank else None
        self.position_embeddings = nn.Embedding(config.text_positions, dim)
        self.token_type_embeddings = nn.Embedding(2, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        """Word-piece ids (B, L) -> (B, L, C)."""
        words = self.word_embeddings(ids)
        if self.word_projection is not None:
            words = self.word_projection(words)
        places = self.position_embeddings.weight[: ids.shape[1]] + self.token_type_embeddings.weight[0]
        return self.LayerNorm(words + places)  # type: ignore[no-any-return]


class DescriptionPositions(nn.Module):
    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(rows, dim)


class PatchEmbed(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, stride=4)


class Backbone(nn.Module):
    """Convolutional stages per image, then one transformer over text, templates and search region."""

    #: In training: transformer activations are computed again in the backward pass instead of being kept.
    recompute = False

    def __init__(self, config: Config, drop: float = 0.0) -> None:
        super().__init__()
        c1, c2, c3 = config.dims
        d1, d2, d3 = config.depths
        # Not used by the tracker; published checkpoints carry it.
        self.pos_embed = nn.Parameter(torch.zeros(1, config.pos_rows, c3), requires_grad=False)
        self.temporal_token = nn.Parameter(torch.zeros(1, 1, c3))
        self.temporal_pos_embed = nn.Parameter(torch.zeros(1, 1, c3))
        self.pos_embed_z = nn.Parameter(torch.zeros(1, config.template_tokens, c3))
        self.pos_embed_x = nn.Parameter(torch.zeros(1, config.search_tokens, c3))
        self.descript_embedding = TextEmbedding(config)
        self.description_patch_pos_embed = DescriptionPositions(config.description_rows, c3)
        self.patch_embed = PatchEmbed(c1)
        count = d1 + d2 + d3
        rates = iter([drop * i / max(1, count - 1) for i in range(count)])
        hidden = [round(c * config.mlp_ratio) for c in config.dims]
        stages: list[nn.Module] = [ConvBlock(c1, hidden[0], next(rates)) for _ in range(d1)]
        stages += [
            PatchMerging(c1, c2),
            *(ConvBlock(c2, hidden[1], next(rates)) for _ in range(d2)),
            PatchMerging(c2, c3),
        ]
        self.convolutional = len(stages)
        stages += [Block(c3, config.heads, hidden[2], next(rates)) for _ in range(d3)]
        self.blocks = nn.ModuleList(stages)
        self.norm = LayerNorm(c3)

    def encode(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> stride-16 tokens (B, H W / 256, C), without positions."""
        x = conv_as_linear(images.permute(0, 2, 3, 1).contiguous(), self.patch_embed.proj)
        for block in self.blocks[: self.convolutional]:
            x = block(x)
        return x.flatten(1, 2)

    def embed_text(self, ids: Tensor) -> Tensor:
        """Word-piece ids (B, L) -> (B, L, C)."""
        places = self.description_patch_pos_embed.embed.weight[: ids.shape[1]]
        return self.descript_embedding(ids) + places  # type: ignore[no-any-return]

    def forward_transformer(self, tokens: Tensor, mask: Tensor | None, last: int) -> Tensor:
        """Tokens (B, N, C) through the transformer -> (B, 3 + last, C): the first three and the last `last`."""
        blocks = self.blocks[self.convolutional :]
        for block in blocks[:-1]:
            if self.recompute and self.training:
                tokens = checkpoint(block, tokens, mask, use_reentrant=False)
            else:
                tokens = block(tokens, mask)
        return self.norm(blocks[-1](tokens, mask, last))  # type: ignore[no-any-return]


class CenterHead(nn.Module):
    """Three branches of convolutions: centre score, offset within the cell, size (named ctr, offset, size)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        for branch, out in (("ctr", 1), ("offset", 2), ("size", 2)):
            inputs = config.dims[2]
            for i, channels in enumerate(config.head_channels, start=1):
                conv = nn.Conv2d(inputs, channels, 3, padding=1)
                self.add_module(f"conv{i}_{branch}", nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU()))
                inputs = channels
            self.add_module(f"conv5_{branch}", nn.Conv2d(inputs, out, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, S, S) -> score (B, 1, S, S), size (B, 2, S, S), offset (B, 2, S, S), float32."""
        maps = {}
        for branch in ("ctr", "offset", "size"):
            y = x
            for i in range(1, 6):
                y = getattr(self, f"conv{i}_{branch}")(y)
            maps[branch] = y.float()
        score, size = (maps[k].sigmoid().clamp(1e-4, 1 - 1e-4) for k in ("ctr", "size"))
        return score, size, maps["offset"]


class NetworkOutput(NamedTuple):
    """The network's output for one search region per sample; maps of side S.

    Attributes:
        score: (B, 1, S, S) in (0, 1), the target's centre.
        size: (B, 2, S, S), width and height as a part of the search region.
        offset: (B, 2, S, S), of the centre within its cell, in cells.
        tokens: (B, 3, C), detached: `temporal` of the next frame.
    """

    score: Tensor
    size: Tensor
    offset: Tensor
    tokens: Tensor

    def boxes(self, window: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The box at the score's peak (B, 4): cx, cy, w, h as parts of the search region; and that score (B,).

        With `window` (S, S) the peak is that of score * window; the score is still the network's own.
        """
        side = self.score.shape[-1]
        at = (self.score if window is None else self.score * window).flatten(1).argmax(dim=1)
        score, size, offset = (_at(m, at) for m in (self.score, self.size, self.offset))
        cell = torch.stack([at % side, torch.div(at, side, rounding_mode="floor")], dim=1)
        return torch.cat([(cell + offset) / side, size], dim=1), score[:, 0]


def _at(maps: Tensor, cell: Tensor) -> Tensor:
    """(B, C, S, S) at the flat indices (B,) -> (B, C)."""
    return maps.flatten(2).gather(2, cell.view(-1, 1, 1).expand(-1, maps.shape[1], 1)).squeeze(2)


class Network(nn.Module):
    """The whole tracking network. Training and tracking use the same forward pass.

    Args:
        config: sizes.
        drop_path: rate of stochastic depth at the last block, in training (grows linearly from 0 at the first).
    """

    def __init__(self, config: Config, drop_path: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, drop_path)
        self.box_head = CenterHead(config)
        self.initialise()

    def forward(
        self, templates: Tensor, search: Tensor, text_ids: Tensor, temporal: Tensor | None = None
    ) -> NetworkOutput:
        """One search region per sample.

        Args:
            templates: (B, T, 3, z, z) normalised crops, or their `encode_templates` (B, T, n, C).
            search: (B, 3, x, x) normalised crops.
            text_ids: (B, 16) int64 word pieces.
            temporal: (B, 3, C) `tokens` of the previous frame; None on a sequence's first tracked frame.
        """
        features = templates if templates.ndim == 4 else self.encode_templates(templates)
        text = self.backbone.embed_text(text_ids)
        if temporal is None:
            temporal = self.first_temporal().expand(len(search), -1, -1)
        return self.match(torch.cat([temporal.to(text.dtype), text], dim=1), features.flatten(1, 2), search)

    def encode_templates(self, templates: Tensor) -> Tensor:
        """(B, T, 3, z, z) normalised crops -> (B, T, n, C) tokens with their positions, ready for `forward`."""
        tokens = self.backbone.encode(templates.flatten(0, 1)) + self.backbone.pos_embed_z
        return tokens.view(*templates.shape[:2], *tokens.shape[1:])

    def first_temporal(self) -> Tensor:
        """The temporal token of a sequence's first tracked frame, (1, 1, C)."""
        return self.backbone.temporal_token + self.backbone.temporal_pos_embed

    def match(self, prefix: Tensor, templates: Tensor, search: Tensor, mask: Tensor | None = None) -> NetworkOutput:
        """The forward pass from tokens on.

        Args:
            prefix: (B, P, C) temporal tokens, then text. templates: (B, T n, C). search: (B, 3, x, x) crops.
            mask: (B, P + T n + x x / 256) bool, False at padding; None without padding. Attention has no
                order, so padding may stand anywhere after the first three tokens and before the search region.
        """
        tokens = torch.cat([prefix, templates, self.backbone.encode(search) + self.backbone.pos_embed_x], dim=1)
        cells = self.config.search_tokens
        out = self.backbone.forward_transformer(tokens, mask[:, None, None] if mask is not None else None, last=cells)
        features = out[:, -cells:]  # (B, S S, C)
        attention = features @ out[:, 0].unsqueeze(2)  # (B, S S, 1): neither scaled nor softmaxed
        image = (features * attention).view(len(out), self.config.side, self.config.side, -1)
        score, size, offset = self.box_head(image.permute(0, 3, 1, 2))
        return NetworkOutput(score, size, offset, out[:, :TEMPORAL_TOKENS].detach())

    def initialise(self) -> None:
        """Weights to train from: products and convolutions by fan-in, tables 0.02, low first scores."""
        for module in self.backbone.modules():
            if isinstance(module, nn.Embedding):
                nn.init.trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
            if isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name in ("temporal_token", "temporal_pos_embed", "pos_embed_z", "pos_embed_x"):
            nn.init.trunc_normal_(getattr(self.backbone, name), std=0.02)
        for module in self.box_head.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.box_head.conv5_ctr.bias, -2.19)  # type: ignore[arg-type, union-attr]  # score 0.1
