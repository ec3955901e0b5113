"""The card of what a tracker costs, from its run records: latency, parameters, operations, memory, energy.

Each record is first reduced to a few numbers, so that the card of a large run is made from what is kept of each
sequence. Its latencies are counted in classes 1 % wide, and percentiles read from these are exact to half a percent.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tnllt.results.records import known_times
from tnllt.sequence import Trajectory

#: Of the logarithm of seconds; classes below and above one second, so that the longest is days.
_WIDTH, _MOST = math.log(1.01), 2048
_PERCENTS = (50, 90, 99)


def counted_costs(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the card needs of one run record, as JSON can hold it; {} where its run had no `--profile`.

    Args:
        record: fields of a run record, as `Trajectory.record` has them.
    """
    counted = _counted(record)
    if counted:  # a long way of zeros first
        counted["latency"] = base64.b64encode(zlib.compress(counted["latency"].tobytes(), 1)).decode()
    return counted


def is_profiled(record: Mapping[str, Any]) -> bool:
    """Whether a record is of a run with `--profile`, which may have found nothing to put into `costs`."""
    return bool(record.get("costs") or (record.get("concurrency") or {}).get("profile"))


def _counted(record: Mapping[str, Any]) -> dict[str, Any]:
    """`counted_costs`, with the frames in each class of latency as they are."""
    if not is_profiled(record):
        return {}
    costs = record.get("costs") or {}
    seconds = known_times((record.get("seconds") or {}).get("track"))
    classes = np.rint(np.log(seconds[seconds > 0]) / _WIDTH).clip(-_MOST, _MOST - 1).astype(np.int64) + _MOST
    peak = (record.get("memory_mb") or {}).get("peak")
    return {**costs, "frames": record.get("frames"), "memory_mb": peak, "latency": np.bincount(classes).astype("<u4")}


def cost_card(counted: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """{"latency_ms": [median, 90 %, 99 %], "parameters", "flops" a frame, "memory_mb", "accelerator_mb",
    "joules" a frame}: what the records of a tracker's runs with `--profile` tell. {} without one.

    Args:
        counted: `counted_costs` of its records.

    Latency is over all frames but each sequence's first; memory is the largest.
    """
    told = [costs for costs in counted if costs]
    if not told:
        return {}
    card: dict[str, Any] = {}
    summed = np.zeros(2 * _MOST, np.int64)
    for costs in told:
        counts = costs["latency"]
        if isinstance(counts, str):
            counts = np.frombuffer(zlib.decompress(base64.b64decode(counts)), "<u4")
        summed[: len(counts)] += counts
    below = np.cumsum(summed)
    if below[-1]:
        places = np.searchsorted(below, [math.ceil(below[-1] * percent / 100) for percent in _PERCENTS])
        card["latency_ms"] = [round(1000 * math.exp(_WIDTH * (int(k) - _MOST)), 3) for k in places]
    for name in ("parameters", "flops", "memory_mb", "accelerator_mb"):
        values = [costs[name] for costs in told if costs.get(name) is not None]
        if values:
            card[name] = float(np.median(values) if name == "flops" else max(values))
    used = [(costs["joules"], costs["frames"]) for costs in told if costs.get("joules") is not None]
    if used:
        card["joules"] = sum(energy for energy, _ in used) / sum(frames for _, frames in used)
    return card


@dataclass
class Speed:
    """Frames per second of one tracker over its sequences, first frames left out, the devices it ran on, and what its
    records say of its costs."""

    frames: int = 0
    seconds: float = 0.0
    devices: list[str] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)

    def add(self, trajectory: Trajectory) -> None:
        known = known_times(trajectory.seconds)
        self.frames += len(known)
        self.seconds += float(known.sum())
        device = str(trajectory.record.get("device") or "")
        if device and device not in self.devices:
            self.devices = sorted([*self.devices, device])
        if costs := _counted(trajectory.record):
            self.counted.append(costs)

    def take(self, other: Speed) -> None:
        """Adds what was seen of other sequences."""
        self.frames += other.frames
        self.seconds += other.seconds
        self.devices = sorted({*self.devices, *other.devices})
        self.counted += other.counted

    @property
    def costs(self) -> str:
        """The card of `tnllt-run --profile` in one line; "" without one."""
        return cost_text(cost_card(self.counted))

    @property
    def fps(self) -> float | None:
        """None where no run recorded times, or none that a clock measures."""
        rate = self.frames / self.seconds if self.seconds > 0 else math.inf
        return rate if math.isfinite(rate) else None


def cost_text(card: dict[str, Any]) -> str:
    """The card in one line; "" for an empty one."""
    parts = []
    if "latency_ms" in card:
        parts.append("latency {:.3g} ms (90 %: {:.3g}, 99 %: {:.3g})".format(*card["latency_ms"]))
    if "parameters" in card:
        parts.append(f"{card['parameters'] / 1e6:.3g} M parameters")
    if "flops" in card:
        parts.append(f"{card['flops'] / 1e9:.3g} GFLOPs a frame")
    for name, words in (("memory_mb", "MB of memory"), ("accelerator_mb", "MB on the accelerator")):
        if name in card:
            parts.append(f"{card[name]:.0f} {words}")
    if "joules" in card:
        parts.append(f"{card['joules']:.3g} J a frame")
    return ", ".join(parts)
