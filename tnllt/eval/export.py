"""What `--out` leaves beside the figures (scores.json, CSV tables, curves.npz), and the way back from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError
from tnllt.eval import arrays
from tnllt.eval.metrics import CURVE_METRICS, ConfidenceMeasure, FrameMeasure, measures
from tnllt.eval.protocol import Protocol
from tnllt.eval.tables import SCORES, render, summary
from tnllt.eval.tracker_curves import Note, TrackerCurves
from tnllt.files import check_schema, parse_json, read_bytes, to_json, write_atomic
from tnllt.records import from_table

if TYPE_CHECKING:
    from tnllt.eval.scores import Scores

_NAMES, _ARRAYS = "scores.json", "curves.npz"


def save(scores: Scores, folder: Path, metrics: str | Iterable[str] = "all") -> list[Path]:
    """Writes everything but the figures; returns the paths. `load` reads scores.json and curves.npz.

    * `scores.json`: schema `tnllt.scores/1`, full precision;
    * `scores.csv`: one row per tracker; `attributes_<metric>.csv`, `sequences_<metric>.csv`: one column per attribute
      or sequence;
    * `curves.npz`: `trackers`, `sequences`, and per curve (tracker, sequence, threshold) float64 and
      `<curve>_thresholds`; then what the other metrics are made from: `<measure>` (tracker, sequence, M), or
      `<measure>/<tracker's index>` (sequence, M) where it needs confidence; `missing` and `refused` (tracker,
      sequence); and all of these for the references, under `references/`.

    Raises:
        DataError: the folder cannot be written.
    """
    chosen = scores.metrics(metrics)
    files: dict[str, str | bytes] = {
        _NAMES: to_json(summary(scores, scores.metrics("all"))) + "\n",
        "scores.csv": render(scores, [m.name for m in chosen], "csv"),
    }
    for metric in chosen:
        if metric.has_curve:
            files[f"sequences_{metric.name}.csv"] = render(scores, metric.name, "csv", "sequence")
            if scores.attribute_members():
                files[f"attributes_{metric.name}.csv"] = render(scores, metric.name, "csv", "attribute")
    found = {"trackers": np.array(scores.trackers), "sequences": np.array(scores.sequences)}
    found |= _stacked(scores.tracker_curves)
    found |= {f"references/{name}": array for name, array in _stacked(scores.references).items()}
    for measure in measures(FrameMeasure):
        if measure.thresholds is not None:
            found[f"{measure.name}_thresholds"] = measure.thresholds(scores.protocol)
    files[_ARRAYS] = arrays.pack(found)
    for name, content in files.items():
        write_atomic(folder / name, content)
    return [folder / name for name in files]


def _stacked(trackers: tuple[TrackerCurves, ...]) -> arrays.Arrays:
    """{name: (K, S, M)} of the arrays that every tracker has, {name/k: (S, M)} of those that need confidence."""
    if not trackers:
        return {}
    found: arrays.Arrays = {name: np.stack([getattr(own, name) for own in trackers]) for name in ("missing", "refused")}
    for measure in measures(FrameMeasure):
        if all(own.array(measure) is not None for own in trackers):
            found[measure.name] = np.stack([own.arrays[measure.name] for own in trackers])
    for other in measures(ConfidenceMeasure):
        for k, own in enumerate(trackers):
            if (array := own.array(other)) is not None:
                found[f"{other.name}/{k}"] = array
    return found


@dataclass(frozen=True)
class _SavedScores:
    """The fields of scores.json that `load` reads; the others follow from the arrays."""

    dataset: str
    protocol: dict[str, Any]
    trackers: list[str]
    sequences: list[str]
    frames: list[int]
    attributes: dict[str, list[int]]
    notes: list[Note]
    references: dict[str, Any]
    rounding: str = field(default="none")
    realtime: float | None = None
    benchmark: str = ""


def load(folder: Path) -> dict[str, Any]:
    """The arguments of `Scores` from what `save` wrote. Raises DataError that names the file at fault."""
    place = folder / _NAMES
    table = check_schema(parse_json(read_bytes(place), place), SCORES, place)
    saved = from_table(table, _SavedScores, place, unknown="ignore")
    protocol = Protocol.from_table(saved.protocol, place)
    count = len(saved.sequences)
    positions = [i for members in saved.attributes.values() for i in members]
    if len(saved.frames) != count or not all(0 <= i < count for i in positions):
        raise DataError("frames or attributes do not belong to the sequences; save the scores again", place)
    try:
        found = arrays.unpack(read_bytes(folder / _ARRAYS, 1 << 30))
        if [found[n].tolist() for n in ("trackers", "sequences")] != [saved.trackers, saved.sequences]:
            raise ValueError("it is of other trackers or sequences than scores.json")
        rows = _trackers(saved.trackers, count, protocol, found, "")
        references = _trackers(list(saved.references), count, protocol, found, "references/")
    except KeyError as error:
        message = f"has no array {error}: it was saved by an earlier version; score again"
        raise DataError(message, folder / _ARRAYS) from None
    except ValueError as error:
        raise DataError(f"is not what `save` writes ({error}); save the scores again", folder / _ARRAYS) from error
    for note in saved.notes:
        for own in rows:
            if own.tracker == note.tracker:
                own.notes.append(note)
    return {
        "protocol": protocol,
        "trackers": tuple(saved.trackers),
        "sequences": tuple(saved.sequences),
        "lengths": np.array(saved.frames, np.int64),
        "attributes": {name: np.isin(np.arange(count), members) for name, members in saved.attributes.items()},
        "tracker_curves": tuple(rows),
        "references": tuple(references),
        "dataset": saved.dataset,
        "rounding": saved.rounding,
        "realtime": saved.realtime,
        "benchmark": saved.benchmark,
    }


def _trackers(
    names: list[str], count: int, protocol: Protocol, found: arrays.Arrays, prefix: str
) -> list[TrackerCurves]:
    """The inverse of `_stacked`. Raises KeyError or ValueError where an array is missing or has another shape."""
    # The array of a metric that was not there when the scores were saved may be missing.
    stacked = {m.name for m in measures(FrameMeasure) if prefix + m.name in found} | {
        m.measure.name for m in CURVE_METRICS
    }
    trackers = []
    for k, name in enumerate(names):
        measured = {measure: _row(found[prefix + measure], k) for measure in stacked}
        keys = {m.name: f"{prefix}{m.name}/{k}" for m in measures(ConfidenceMeasure)}
        measured |= {measure: found[key] for measure, key in keys.items() if key in found}
        own = TrackerCurves(name, measured, _row(found[f"{prefix}missing"], k), _row(found[f"{prefix}refused"], k))
        own.check(count, protocol)
        trackers.append(own)
    return trackers


def _row(array: NDArray[Any], k: int) -> NDArray[Any]:
    if not array.ndim or k >= len(array):
        raise ValueError("an array has too few rows")
    return np.asarray(array[k])
