"""What there is to look at in one sequence: frames, truth, trackers' boxes, overlaps, reasoners' answers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import overlap
from tnllt.config import Locations
from tnllt.datasets import open_dataset
from tnllt.errors import DataError, UsageError
from tnllt.eval.longterm import fitted, in_view
from tnllt.eval.selection import choose_trackers
from tnllt.eval.style import DrawnStyle, Style
from tnllt.files import parse_json, read_bytes
from tnllt.results.layouts import ResultFile, find_results
from tnllt.results.reading import read_results
from tnllt.sequence import Sequence, Trajectory

#: What "update" says in traces that have no "decision".
_DECISIONS = {"True": "yes", "False": "no"}


@dataclass(frozen=True)
class ReasonerAnswer:
    """What a tracker's reasoner decided, and the description in force from then on.

    Attributes:
        frame: counted from 1.
        decision: "yes", "no" or "keep"; "" where only the change is known.
        changed: whether the description is another one than before.
    """

    frame: int
    description: str
    think: str = ""
    decision: str = ""
    changed: bool = True


@dataclass(frozen=True, eq=False)
class Scene:
    """One sequence of T frames with the answers of some trackers.

    Overlaps are plain intersection over union in [0, 1], NaN where the target is out of view or not annotated: this is
    for looking, and no protocol's rule comes between.
    """

    sequence: Sequence
    trajectories: Mapping[str, Trajectory]
    traces: Mapping[str, Iterable[Mapping[str, Any]]] = field(default_factory=dict)
    peers: tuple[str, ...] = ()
    style: Style = field(default_factory=Style)

    @cached_property
    def looks(self) -> dict[str, DrawnStyle]:
        """{tracker: how it is drawn}, the same as in figures and reports of the same results."""
        return self.style.looks(self.trajectories, self.peers)

    @cached_property
    def overlaps(self) -> dict[str, NDArray[np.float64]]:
        """{tracker: (T,)}."""
        truth, seen = self.sequence.groundtruth, in_view(self.sequence)
        return {
            name: np.where(seen, np.nan_to_num(overlap(fitted(own.boxes, len(truth)), truth)), np.nan)
            for name, own in self.trajectories.items()
        }

    @cached_property
    def failures(self) -> dict[str, list[tuple[int, int]]]:
        """{tracker: its failures on this sequence, [start, end)}; see `failure_spans`."""
        return {name: failure_spans(values) for name, values in self.overlaps.items()}

    @cached_property
    def answers(self) -> dict[str, tuple[ReasonerAnswer, ...]]:
        """{tracker: its reasoner's answers, in order}."""
        return {name: answers_of(own, self.traces.get(name, ())) for name, own in self.trajectories.items()}

    def __len__(self) -> int:
        return len(self.sequence)

    def size(self) -> tuple[int, int]:
        """Width and height of the frames in pixels; where there are none, what the annotated boxes span."""
        if self.sequence.has_frames and len(self.sequence.frames):
            height, width = self.sequence.frames[0].shape[:2]
            return int(width), int(height)
        truth = self.sequence.groundtruth
        far = np.nanmax(np.where(np.isfinite(truth), truth, np.nan)[:, :2] + truth[:, 2:], axis=0)
        return max(64, int(np.nan_to_num(far[0])) + 20), max(64, int(np.nan_to_num(far[1])) + 20)

    def absences(self) -> list[tuple[int, int]]:
        """Spans [start, end) in which the target is out of view."""
        present = self.sequence.present
        return [] if present is None else spans(~present)

    def to_page(self) -> dict[str, Any]:
        """What the page needs; boxes and overlaps as base64 of little-endian float32."""
        width, height = self.size()
        return {
            "name": self.sequence.name,
            "dataset": self.sequence.dataset,
            "frames": len(self),
            "has_frames": self.sequence.has_frames,
            "images": len(self.sequence.frames) if self.sequence.has_frames else 0,
            "width": width,
            "height": height,
            "language": self.sequence.language,
            "attributes": [name for name, on in (self.sequence.attributes or {}).items() if on],
            "absent": self.absences(),
            "groundtruth": _pack(self.sequence.groundtruth),
            "trackers": [self._tracker(name) for name in self.trajectories],
        }

    def _tracker(self, name: str) -> dict[str, Any]:
        trajectory = self.trajectories[name]
        return {
            "key": name,
            "name": self.looks[name].label,
            "colour": self.looks[name].bright,
            "dash": self.looks[name].dash,
            "boxes": _pack(fitted(trajectory.boxes, len(self))),
            "overlap": _pack(self.overlaps[name]),
            "failures": self.failures[name],
            "reported_absent": [] if trajectory.absent is None else spans(trajectory.absent[: len(self)]),
            "answers": [vars(answer) for answer in self.answers[name]],
        }


class Scenes:
    """A dataset's sequences with the results of its trackers, opened when they are asked for.

    Args:
        where: dataset and results; without results, the sequences alone.
        trackers: which: names and globs; "all".
        style: how they are drawn.

    Raises:
        UsageError: no such tracker. DataError: dataset or results cannot be read.
    """

    def __init__(self, where: Locations, trackers: str | Iterable[str] = "all", style: Style | None = None) -> None:
        self.style = style or Style()
        self.peers: tuple[str, ...] = ()
        self.dataset = open_dataset(where.dataset, where.root, where.annos, split=None)
        self.names = self.dataset.names
        self.files: dict[str, Mapping[str, ResultFile]] = {}
        if where.results is not None:
            found = find_results(where.results, self.names).trackers
            self.peers = tuple(found)
            self.files = {tracker: found[tracker] for tracker in choose_trackers(trackers, list(found))}
        elif trackers != "all":
            raise UsageError("--trackers needs --results, the folder of their results")

    def find(self, name: str) -> str:
        """The one sequence that a name or glob means. Raises UsageError."""
        matches = self.dataset.select(name).names
        if len(matches) != 1:
            some = f" ({', '.join(matches[:3])}, ...)" if matches else ""
            raise UsageError(f"{name!r} matches {len(matches)} sequences{some}; name one")
        return matches[0]

    def open(self, name: str) -> Scene:
        """A sequence by its name in full, with the trackers that have a result on it."""
        files = {tracker: own[name] for tracker, own in self.files.items() if name in own}
        traces = {tracker: read_trace(file) for tracker, file in files.items()}
        return Scene(self.dataset[name], read_results(files), traces, self.peers, self.style)


def open_scene(where: Locations, name: str, trackers: str | Iterable[str] = "all", style: Style | None = None) -> Scene:
    """A sequence with the trackers' results on it; with none where no results folder is known.

    Raises:
        UsageError: no such sequence or tracker.
        DataError: none of the trackers has a result on it.
    """
    scenes = Scenes(where, trackers, style)
    scene = scenes.open(scenes.find(name))
    if scenes.files and not scene.trajectories:
        raise DataError(f"no tracker has a result on {scene.sequence.name!r}", where.results)
    return scene


def read_trace(file: ResultFile) -> list[dict[str, Any]]:
    """Events that a run left beside a result, `<sequence>.trace.jsonl`; none for results in a zip file.

    Lines that are not JSON objects are skipped: a broken trace never stops a report.
    """
    return trace_events(trace_bytes(file))


def trace_bytes(file: ResultFile) -> bytes:
    """The trace beside a result; b"" where there is none."""
    path = Path(file.place)
    path = path.with_name(path.name.removesuffix(path.suffix) + ".trace.jsonl")
    return read_bytes(path) if path.is_file() else b""


def trace_events(raw: bytes) -> list[dict[str, Any]]:
    """The events of a trace, as `read_trace` gives them."""
    found = []
    for line in raw.splitlines():
        try:
            event = parse_json(line.decode("utf-8", errors="replace"))
        except DataError:
            continue
        if isinstance(event, dict):
            found.append(event)
    return found


def spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of True as [start, end)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(flags, bool), [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def failure_spans(overlaps: NDArray[np.float64], below: float = 0.1, least: int = 10) -> list[tuple[int, int]]:
    """Where a tracker has lost its target: [start, end) of `least` measured frames or more, all overlaps below `below`.

    Args:
        overlaps: (T,), NaN where nothing is measured, such as a target out of view: such frames neither count nor end
            a failure.
    """
    measured = np.flatnonzero(~np.isnan(overlaps))
    low = spans(overlaps[measured] < below)
    return [(int(measured[a]), int(measured[b - 1]) + 1) for a, b in low if b - a >= least]


def answers_of(trajectory: Trajectory, trace: Iterable[Mapping[str, Any]] = ()) -> tuple[ReasonerAnswer, ...]:
    """A reasoner's answers, in order: from the trace, else the description changes of the run's record.

    Events of failures, and those without a whole frame number or a description, are passed over.
    """
    found = []
    for event in trace:
        after, thought = event.get("after"), event.get("think")
        if isinstance(after, str) and _is_frame(event.get("frame")) and not event.get("error"):
            decision = event.get("decision") or _DECISIONS.get(str(event.get("update")), "")
            changed = after != event.get("before")
            thought = thought if isinstance(thought, str) else ""
            found.append(ReasonerAnswer(event["frame"] + 1, after, thought, str(decision)[:10], changed))
    if not found:
        entries = [e for e in trajectory.record.get("description_changes") or () if isinstance(e, Mapping)]
        sound = [e for e in entries if isinstance(e.get("description"), str) and _is_frame(e.get("frame"))]
        found = [ReasonerAnswer(e["frame"] + 1, e["description"]) for e in sound]
    return tuple(sorted(found, key=lambda answer: answer.frame))


def _is_frame(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _pack(values: NDArray[np.float64]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode("ascii")
