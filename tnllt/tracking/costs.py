"""What a tracker costs to run (`--profile`): parameters, floating-point operations a frame, memory, energy.

Parameters and operations are those of torch, counted in this process; a tracker that computes elsewhere overrides
`Tracker.measure`. A multiplication and an addition are two operations, as torch counts them; papers that give MACs give
half.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
#: Counters of Linux (RAPL): energy in microjoules of processor packages and memory.
_COUNTERS = Path("/sys/class/powercap")


def counted(function: Callable[[], T]) -> tuple[T, dict[str, int]]:
    """What a function gives, and {"parameters", "flops"} of torch; {} where torch is not loaded."""
    torch = sys.modules.get("torch")
    if torch is None:
        return function(), {}
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    onednn = torch.ops.mkldnn
    own = {getattr(onednn, name): formula for name, formula in _ONEDNN.items() if hasattr(onednn, name)}
    # The mathematical form of attention is counted on every device; fused forms are not.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False, custom_mapping=own) as counter:
        result = function()
    return result, {"parameters": parameters(), "flops": int(counter.get_total_flops())}


def parameters() -> int:
    """Numbers in all torch parameters of this process, those that share memory counted once."""
    torch: Any = sys.modules["torch"]
    found = {
        # What is packed for oneDNN has no address.
        id(item) if item.is_mkldnn else item.data_ptr(): item.numel()
        for item in gc.get_objects()
        # By type first: other objects of torch warn when they are asked what they are.
        if issubclass(type(item), torch.Tensor) and isinstance(item, torch.nn.Parameter) and item.numel()
    }
    return sum(found.values())


def _linear_flops(x: tuple[int, ...], *_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
    return 2 * math.prod(out_shape) * x[-1]


def _convolution_flops(_x: Any, first: Any, second: Any, *_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
    # x, weight, bias; or x, what is added, weight.
    weight: tuple[int, ...] = first if second is None or len(second) == 1 else second
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


#: Operators with packed weights, which torch does not count: operations by the shapes of arguments and result.
_ONEDNN = {"_linear_pointwise": _linear_flops, "_convolution_pointwise": _convolution_flops}


def reset_accelerator_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def accelerator_peak_mb() -> float | None:
    """The most accelerator memory in use since the reset, in MB; None without an accelerator of torch's."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return float(torch.cuda.max_memory_allocated()) / 2**20


def joules() -> float | None:
    """Energy that processor and accelerator have used until now, of those that tell; None where none does.

    Differences count. Linux lets only root read the processor's counter; an Nvidia device needs nvidia-ml-py.
    """
    found = [value for value in (_processor_joules(), _accelerator_joules()) if value is not None]
    return sum(found) if found else None


def _processor_joules() -> float | None:
    total = 0.0
    try:
        packages = [place for place in _COUNTERS.glob("*:*/energy_uj") if place.parent.name.count(":") == 1]
        for place in packages:
            total += int(place.read_text()) / 1e6
    except (OSError, ValueError):
        return None
    return total if packages else None


def _accelerator_joules() -> float | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(None).uuid}")
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(device)) / 1000
    except Exception:  # no library, no permission, an older device: it does not tell
        return None
