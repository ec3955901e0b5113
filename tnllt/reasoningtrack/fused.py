"""The trained network with fused layers, for inference: the same function in fewer and larger steps.

* BatchNorms become part of the convolutions before them, layer scales part of the linear layers before them.
* Layers that share their input become one: k and v; the first convolution of the head's three branches.
* On x86 processors weights are packed once for oneDNN, and activations and residuals become part of the layer
  before them (what `torch.compile` does with frozen weights, without its compiler). Elsewhere the same steps are plain
  torch.

Only for inference: tensors no longer have the checkpoint's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tnllt.reasoningtrack.network import (
    TEMPORAL_TOKENS,
    Attention,
    Block,
    CenterHead,
    ConvBlock,
    Network,
    PatchMerging,
    SwiGlu,
    patches,
)

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "swish": F.silu, "none": lambda x: x}
_BRANCHES = ("ctr", "offset", "size")


def fuse_for_inference(network: Network) -> Network:
    """Fuses the layers of a trained network in place, in the precision and on the device that it has.

    Raises:
        ValueError: the network is in training mode (its BatchNorms still change).
    """
    if network.training:
        raise ValueError("only a network in eval mode can be fused")
    backbone, config = network.backbone, network.config
    cells = [(config.search_size // stride) ** 2 for stride in (4, 8, 16)]
    stages = iter(cells)
    rows = next(stages)
    for i, block in enumerate(backbone.blocks):
        if isinstance(block, PatchMerging):
            rows = next(stages)
            backbone.blocks[i] = FusedPatchMerging(block, rows)
        elif isinstance(block, ConvBlock):
            backbone.blocks[i] = FusedConvBlock(block, rows)
        elif isinstance(block, Block):
            tokens = TEMPORAL_TOKENS + config.text_length + (1 + config.templates) * config.template_tokens
            backbone.blocks[i] = FusedBlock(block, rows + tokens)
    network.box_head = FusedHead(network.box_head, config.dims[2], config.side)  # type: ignore[assignment]
    return network


class FusedLinear(nn.Module):
    """activation(x W' + b), then plus or times another tensor, in one step where the processor has one.

    Args:
        weight: (out, in). bias: (out,). rows: about how many rows x will have; the packing is chosen for it.
    """

    def __init__(self, weight: Tensor, bias: Tensor, rows: int, activation: str = "none") -> None:
        super().__init__()
        self.activation = activation
        self.packed = _pack("_reorder_linear_weight", weight, rows)
        self.weight, self.bias = (None if self.packed is not None else _fixed(weight)), _fixed(bias)

    def forward(self, x: Tensor, plus: Tensor | None = None, times: Tensor | None = None) -> Tensor:
        if self.packed is None:
            y = _ACTIVATIONS[self.activation](F.linear(x, self.weight, self.bias))  # type: ignore[arg-type]
            return y + plus if plus is not None else y * times if times is not None else y
        if plus is None and times is None:
            return _onednn_linear(x, self.packed, self.bias, self.activation, [], "none")  # type: ignore[no-any-return]
        other, operation = (plus, "add") if plus is not None else (times, "mul")
        return _onednn_linear.binary(x, other, self.packed, self.bias, operation)  # type: ignore[no-any-return]


class FusedConvolution(nn.Module):
    """relu(3 x 3 convolution), channels last; the BatchNorm is part of it."""

    def __init__(self, conv: nn.Conv2d, side: int) -> None:
        super().__init__()
        weight = conv.weight.contiguous(memory_format=torch.channels_last)
        size = [1, conv.in_channels, side, side]
        self.packed = _pack("_reorder_convolution_weight", weight, [1, 1], [1, 1], [1, 1], 1, size)
        self.weight, self.bias = (None if self.packed is not None else _fixed(weight)), conv.bias

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return F.relu(F.conv2d(x, self.weight, self.bias, padding=1))  # type: ignore[arg-type]
        ones = [1, 1]
        return _onednn_conv(x, self.packed, self.bias, ones, ones, ones, 1, "relu", [], "")  # type: ignore[no-any-return]


class FusedConvBlock(nn.Module):
    def __init__(self, block: ConvBlock, rows: int) -> None:
        super().__init__()
        mlp = block.mlp
        self.norm, self.inner_norm = block.norm2, mlp.ffn_ln
        self.fc1 = FusedLinear(mlp.fc1.weight.flatten(1), _bias(mlp.fc1), rows, "gelu")
        self.fc2 = FusedLinear(mlp.fc2.weight.flatten(1), _bias(mlp.fc2), rows)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.inner_norm(self.fc1(self.norm(x))), plus=x)  # type: ignore[no-any-return]


class FusedPatchMerging(nn.Module):
    def __init__(self, merge: PatchMerging, rows: int) -> None:
        super().__init__()
        self.norm = merge.norm
        weight = merge.reduction.weight.permute(0, 2, 3, 1).flatten(1)
        self.reduction = FusedLinear(weight, _bias(merge.reduction), rows)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(patches(self.norm(x), 2))  # type: ignore[no-any-return]


class FusedBlock(nn.Module):
    def __init__(self, block: Block, rows: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.attention = FusedAttention(block.attn, block.gamma_1, rows)
        self.mlp = FusedSwiGlu(block.mlp, block.gamma_2, rows)

    def forward(self, x: Tensor, mask: Tensor | None = None, last: int | None = None) -> Tensor:
        normed = queries = self.norm1(x)
        if last is not None:
            x, queries = (torch.cat([t[:, :TEMPORAL_TOKENS], t[:, -last:]], dim=1) for t in (x, normed))
        x = self.attention(normed, queries, mask, x)
        return self.mlp(self.norm2(x), x)  # type: ignore[no-any-return]


class FusedAttention(nn.Module):
    def __init__(self, attention: Attention, gamma: Tensor, rows: int) -> None:
        super().__init__()
        self.heads = attention.heads
        self.q = FusedLinear(attention.q_proj.weight, attention.q_bias, rows)
        bias = torch.cat([torch.zeros_like(attention.v_bias), attention.v_bias])
        self.kv = FusedLinear(torch.cat([attention.k_proj.weight, attention.v_proj.weight]), bias, rows)
        self.proj = FusedLinear(attention.proj.weight * gamma[:, None], attention.proj.bias * gamma, rows)

    def forward(self, x: Tensor, queries: Tensor, mask: Tensor | None, plus: Tensor) -> Tensor:
        k, v = self.kv(x).chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q(queries), k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(out.transpose(1, 2).flatten(2), plus=plus)  # type: ignore[no-any-return]


class FusedSwiGlu(nn.Module):
    def __init__(self, mlp: SwiGlu, gamma: Tensor, rows: int) -> None:
        super().__init__()
        self.norm = mlp.ffn_ln
        self.w1 = FusedLinear(mlp.w1.weight, mlp.w1.bias, rows, "swish")
        self.w2 = FusedLinear(mlp.w2.weight, mlp.w2.bias, rows)
        self.w3 = FusedLinear(mlp.w3.weight * gamma[:, None], mlp.w3.bias * gamma, rows)

    def forward(self, x: Tensor, plus: Tensor) -> Tensor:
        return self.w3(self.norm(self.w2(x, times=self.w1(x))), plus=plus)  # type: ignore[no-any-return]


class FusedHead(nn.Module):
    def __init__(self, head: CenterHead, inputs: int, side: int) -> None:
        super().__init__()
        convs = {b: [_without_norm(getattr(head, f"conv{i}_{b}")) for i in range(1, 5)] for b in _BRANCHES}
        firsts = [convs[b][0] for b in _BRANCHES]
        first = nn.Conv2d(inputs, sum(c.out_channels for c in firsts), 3, padding=1, device="meta")
        first.weight = _fixed(torch.cat([c.weight for c in firsts]))
        first.bias = _fixed(torch.cat([_bias(c) for c in firsts]))
        self.first = FusedConvolution(first, side)
        self.branches = nn.ModuleList(
            nn.Sequential(*(FusedConvolution(c, side) for c in convs[b][1:])) for b in _BRANCHES
        )
        self.last = nn.ModuleList(getattr(head, f"conv5_{b}") for b in _BRANCHES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.first(x).chunk(len(_BRANCHES), dim=1)
        maps = (last(branch(y)).float() for y, branch, last in zip(parts, self.branches, self.last, strict=True))
        score, offset, size = maps
        return score.sigmoid().clamp(1e-4, 1 - 1e-4), size.sigmoid().clamp(1e-4, 1 - 1e-4), offset


# Builds of torch without oneDNN do not have these.
_onednn_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_onednn_conv: Any = getattr(torch.ops.mkldnn, "_convolution_pointwise", None)


def _pack(reorder: str, weight: Tensor, *shape: Any) -> nn.Parameter | None:
    """The weight in oneDNN's own layout, or None where plain torch is to be used."""
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    onednn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not onednn or _onednn_linear is None or _onednn_conv is None or not hasattr(torch.ops.mkldnn, reorder):
        return None
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return None
    if weight.dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    layout = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
    return _fixed(getattr(torch.ops.mkldnn, reorder)(weight.detach().contiguous(memory_format=layout), *shape))


def _fixed(tensor: Tensor) -> nn.Parameter:
    """A fused weight is a parameter as those that it is made of: `--profile` counts parameters."""
    return nn.Parameter(tensor.detach(), requires_grad=False)


def _without_norm(layer: nn.Sequential) -> nn.Conv2d:
    conv, norm = layer[0], layer[1]
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
