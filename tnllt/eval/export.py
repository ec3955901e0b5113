"""What `--out` leaves beside the figures: scores.json, CSV tables, curves.npz."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tnllt.errors import DataError
from tnllt.eval.curves import CURVES
from tnllt.eval.tables import render, summary
from tnllt.files import write_atomic

if TYPE_CHECKING:
    from tnllt.eval.scores import Scores


def save(scores: Scores, folder: Path, metrics: str | Iterable[str] = "all") -> list[Path]:
    """Writes everything but the figures; returns the paths.

    * `scores.json`: schema `tnllt.scores/1`, full precision;
    * `scores.csv`: one row per tracker; `attributes_<metric>.csv`, `sequences_<metric>.csv`: one column per attribute
      or sequence;
    * `curves.npz`: `trackers`, `sequences`, and per metric the curves (tracker, sequence, threshold) float64 and
      `<metric>_thresholds`.

    Raises:
        DataError: the folder cannot be written.
    """
    chosen = scores.metrics(metrics)
    texts = {
        "scores.json": json.dumps(summary(scores, scores.metrics("all")), indent=1, ensure_ascii=False) + "\n",
        "scores.csv": render(scores, [m.name for m in chosen], "csv"),
    }
    for metric in chosen:
        if metric.has_curve:
            texts[f"sequences_{metric.name}.csv"] = render(scores, metric.name, "csv", "sequence")
            if scores.attribute_members():
                texts[f"attributes_{metric.name}.csv"] = render(scores, metric.name, "csv", "attribute")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_atomic(folder / name, text.encode())
        arrays = {name: scores.curve(name) for name in CURVES}
        arrays |= {f"{name}_thresholds": scores.protocol.thresholds(name) for name in CURVES}
        with (folder / "curves.npz").open("wb") as stream:
            np.savez(
                stream,
                allow_pickle=False,
                trackers=np.array(scores.trackers),
                sequences=np.array(scores.sequences),
                **arrays,
            )
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror})", folder) from error
    return [*(folder / name for name in texts), folder / "curves.npz"]
