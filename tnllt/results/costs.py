"""The card of what a tracker costs, from its run records: latency, parameters, operations, memory, energy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tnllt.files import float_array

#: The fields of a run record that the card is made of.
COUNTED = ("costs", "seconds", "memory_mb", "frames")


def counted_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a run record that the card is made of, its times in four bytes each."""
    track = (record.get("seconds") or {}).get("track")
    times = None if track is None else float_array(track).astype(np.float32)
    return {**{name: record.get(name) for name in COUNTED}, "seconds": {"track": times}}


def cost_card(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """{"latency_ms": [median, 90 %, 99 %], "parameters", "flops" a frame, "memory_mb", "accelerator_mb",
    "joules" a frame}: what the records of a tracker's runs with `--profile` tell. {} without one.

    Args:
        records: fields of run records, as `Trajectory.record` has them.

    Latency is over all frames but each sequence's first; memory is the largest.
    """
    told = [record for record in records if record.get("costs")]
    if not told:
        return {}
    tracks = [(r.get("seconds") or {}).get("track") for r in told]
    seconds = np.concatenate([[], *(float_array(track)[1:] for track in tracks if track is not None)])
    seconds = seconds[~np.isnan(seconds)]
    card: dict[str, Any] = {}
    if len(seconds):
        card["latency_ms"] = [round(float(ms), 3) for ms in np.percentile(seconds, (50, 90, 99)) * 1000]
    for name in ("parameters", "flops", "accelerator_mb"):
        values = [record["costs"][name] for record in told if record["costs"].get(name) is not None]
        if values:
            card[name] = float(np.median(values) if name == "flops" else max(values))
    peaks = [peak for record in told if (peak := (record.get("memory_mb") or {}).get("peak")) is not None]
    if peaks:
        card["memory_mb"] = max(peaks)
    used = [(r["costs"]["joules"], r["frames"]) for r in told if r["costs"].get("joules") is not None]
    if used:
        card["joules"] = sum(energy for energy, _ in used) / sum(frames for _, frames in used)
    return card


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
