"""Runs the trained network: in a given precision, on a given device, for several sequences at once."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from tnllt.errors import TnlltError
from tnllt.reasoningtrack.fused import fuse_for_inference
from tnllt.reasoningtrack.geometry import hann_window
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.text import Encoded
from tnllt.sequence import Image

log = logging.getLogger(__name__)

_Shapes = tuple[torch.Size, ...]
_Outputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Recorded:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: _Outputs


class CudaGraphs:
    """Calls a function of tensors; inputs of a repeated shape are recorded and replayed.

    At batch 1 launching the network's kernels takes longer than running them. Shapes of a few
    calls (a sequence's first frames, a batch that shrinks) are not recorded. Where recording fails, the function is
    called as it is.

    Args:
        function: pure, on CUDA, with no wait for the device inside.
        after: calls with a shape before it is recorded. most: recordings kept; the least recently used one is dropped.
    """

    def __init__(self, function: Callable[..., _Outputs], after: int = 3, most: int = 8) -> None:
        self._function, self._after, self._most = function, after, most
        self._seen: Counter[_Shapes] = Counter()
        self._recorded: OrderedDict[_Shapes, _Recorded] = OrderedDict()
        self._works = True

    def __call__(self, *inputs: Tensor) -> _Outputs:
        shapes = tuple(t.shape for t in inputs)
        recorded = self._recorded.get(shapes) or self._record(shapes, inputs)
        if recorded is None:
            return self._function(*inputs)
        self._recorded.move_to_end(shapes)
        for place, value in zip(recorded.inputs, inputs, strict=True):
            place.copy_(value)
        recorded.graph.replay()
        return tuple(t.clone() for t in recorded.outputs)  # the next replay writes over them

    def _record(self, shapes: _Shapes, inputs: tuple[Tensor, ...]) -> _Recorded | None:
        self._seen[shapes] += 1
        if not self._works or self._seen[shapes] <= self._after:
            return None
        try:
            places = tuple(t.clone() for t in inputs)
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # libraries set themselves up outside the recording
                for _ in range(2):
                    self._function(*places)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                outputs = self._function(*places)
        except RuntimeError as error:
            self._works = False
            log.warning("CUDA graphs cannot be used here, running without: %s", error)
            return None
        if len(self._recorded) >= self._most:
            self._recorded.popitem(last=False)
        self._recorded[shapes] = _Recorded(graph, places, outputs)
        return self._recorded[shapes]


#: ImageNet's, RGB.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Query:
    """One sequence's part of a forward pass.

    Attributes:
        templates: (T n, C) encoded templates. text: (16, C) embedded description.
        temporal: (3, C) tokens of the previous frame, or None on the first tracked one.
        search: the crop, uint8 (x, x, 3).
    """

    templates: Tensor
    text: Tensor
    temporal: Tensor | None
    search: Image


@dataclass(frozen=True)
class Answer:
    """box: (4,) cx, cy, w, h as parts of the search crop. score: at the box, before the window. temporal: (3, C)."""

    box: NDArray[np.float64]
    score: float
    temporal: Tensor


class Engine:
    """Runs a network on crops. Not for training: the network is changed in place.

    Args:
        network: with its weights. cuda_graphs: on CUDA, record a forward pass of each shape once and replay it.
    """

    def __init__(self, network: Network, device: torch.device, dtype: torch.dtype, cuda_graphs: bool = True) -> None:
        self.network = fuse_for_inference(network.eval().requires_grad_(False).to(device, dtype))
        self.config = network.config
        self.device, self.dtype = device, dtype
        self._mean = 255 * torch.tensor(MEAN, device=device)
        self._std = 255 * torch.tensor(STD, device=device)
        hann, weight = hann_window(self.config.side), self.config.window
        self._window = torch.from_numpy(1 - weight + weight * hann).to(device)
        self._first = self.network.first_temporal()[0]
        self._graphs = CudaGraphs(self._forward) if cuda_graphs and device.type == "cuda" else None

    @torch.inference_mode()
    def embed_text(self, text: Encoded) -> Tensor:
        """(16, C)."""
        return self.network.backbone.embed_text(torch.from_numpy(text.ids).to(self.device)[None])[0]

    @torch.inference_mode()
    def encode_templates(self, crops: Sequence[Image]) -> Tensor:
        """Crops uint8 (z, z, 3) -> (len(crops), n, C)."""
        with self._exact():
            return self.network.encode_templates(self._normalised(self._pixels(crops))[None])[0]

    @torch.inference_mode()
    def predict(self, queries: Sequence[Query]) -> list[Answer]:
        """One forward pass for all the queries; shorter ones are padded, and attention ignores the padding.

        Raises:
            TnlltError: the network's answer is not finite.
        """
        prefix, prefix_mask = _stack(
            [torch.cat([self._first if q.temporal is None else q.temporal, q.text]) for q in queries]
        )
        templates, template_mask = _stack([q.templates for q in queries])
        inputs = (prefix, templates, self._pixels([q.search for q in queries]))
        with self._exact():
            if prefix_mask is not None or template_mask is not None:
                search_mask = torch.ones(len(queries), self.config.search_tokens, dtype=torch.bool)
                parts = (_mask(prefix_mask, prefix), _mask(template_mask, templates), search_mask)
                answers, tokens = self._forward(*inputs, torch.cat(parts, dim=1).to(self.device))
            else:
                # What looks at every operation (a counter of them, say) sees nothing of a replay.
                forward = self._graphs if _get_current_dispatch_mode() is None else None
                answers, tokens = (forward or self._forward)(*inputs)
        found = answers.cpu().double().numpy()  # the only synchronisation with the device
        if not np.isfinite(found).all():
            raise TnlltError(f"the network's answer is not finite in {self.dtype}; use precision=bfloat16 or float32")
        return [Answer(found[i, :4], float(found[i, 4]), tokens[i]) for i in range(len(queries))]

    def _forward(
        self, prefix: Tensor, templates: Tensor, pixels: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, 6): box, score, largest token (a fused relu may hide a NaN); and the tokens (B, 3, C)."""
        out = self.network.match(prefix, templates, self._normalised(pixels), mask)
        boxes, scores = out.boxes(self._window)
        largest = out.tokens.float().abs().amax(dim=(1, 2))
        return torch.cat([boxes, scores[:, None], largest[:, None]], dim=1), out.tokens

    def _pixels(self, crops: Sequence[Image]) -> Tensor:
        return torch.from_numpy(np.stack(crops)).to(self.device)

    def _normalised(self, pixels: Tensor) -> Tensor:
        """uint8 (B, H, W, 3) -> (B, 3, H, W), channels last in memory."""
        return ((pixels.float() - self._mean) / self._std).to(self.dtype).permute(0, 3, 1, 2)

    def _exact(self) -> AbstractContextManager[object]:
        """cuDNN would otherwise round float32 convolutions to TF32."""
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _stack(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Tensors (N_i, C) -> (B, N, C), and where they were padded (B, N): True at what was there."""
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    if min(lengths) == longest:
        return torch.stack(list(rows)), None
    padded = torch.stack([F.pad(row, (0, 0, 0, longest - len(row))) for row in rows])
    return padded, torch.arange(longest)[None] < torch.tensor(lengths)[:, None]


def _mask(mask: Tensor | None, like: Tensor) -> Tensor:
    return torch.ones(like.shape[:2], dtype=torch.bool) if mask is None else mask
