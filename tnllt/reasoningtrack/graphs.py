"""Replays a forward pass on CUDA without launching its kernels one by one."""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

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
