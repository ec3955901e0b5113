"""What the page shows of each tracker beside its scores: overlaps of every frame, findings, speed, reasoners' answers.

Results are seen tracker by tracker while they are read for their scores, and what is made of them is kept in the cache
of scores, so that a report of many results reads each of them once, and of an unchanged tracker none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.eval.arrays import Arrays
from tnllt.eval.evaluate import errors_by_tracker
from tnllt.eval.frame_errors import FrameErrors
from tnllt.eval.protocols import get_protocol
from tnllt.eval.report.overlaps import NOTHING, Codes, decoded, encoded, first_strides, thinned
from tnllt.eval.selection import Selection
from tnllt.eval.view.scene import ReasonerAnswer, answers_of, trace_bytes, trace_events
from tnllt.files import to_json
from tnllt.findings import Findings
from tnllt.records import from_table
from tnllt.results.costs import Speed
from tnllt.results.lint import Looked, findings
from tnllt.results.reading import read_results
from tnllt.sequence import Trajectory

Array = NDArray[np.float64]
#: Changes whenever something else is made of the same results.
_VERSION = 1
#: Trackers that are read at once: measured together, results take less time.
_TOGETHER = 4


@dataclass
class _Told:
    """What is known of one tracker, but for its overlaps; answers by the names of sequences."""

    looked: Looked = field(default_factory=Looked)
    fps: float | None = None
    devices: list[str] = field(default_factory=list)
    costs: str = ""
    answers: dict[str, list[ReasonerAnswer]] = field(default_factory=dict)


class PageDetails:
    """What a page shows of a selection's results beside their scores; the `observer` of `Selection.score`.

    Args:
        selection: whose results these are.
        points: how many points of overlaps are kept at most, about: more would not fit into the page.

    Attributes:
        strides: per sequence, how many frames became one point of `series`.
        series: per sequence, (trackers, points) codes of overlaps.
        told: {tracker: what else is known of it}.
    """

    def __init__(self, selection: Selection, points: int) -> None:
        self.selection = selection
        self.trackers = {name: k for k, name in enumerate(selection.files)}
        self.strides = first_strides([len(s) for s in selection.sequences], len(self.trackers), points)
        lengths = [len(sequence) for sequence in selection.sequences]
        self._frames = np.cumsum([0, *lengths])
        #: The first frame of every point.
        starts = [np.arange(a, a + n, s) for a, n, s in zip(self._frames[:-1], lengths, self.strides, strict=True)]
        self._starts = np.concatenate([np.empty(0, np.int64), *starts])
        self._points = np.full((len(self.trackers), len(self._starts)), NOTHING, np.uint8)
        self.series = np.split(self._points, np.cumsum([len(points) for points in starts])[:-1], axis=1)
        self.told: dict[str, _Told] = {}
        #: Sums and counts of the trackers' overlaps in every frame, where there are frames to choose from.
        self._sums = {
            index: np.zeros((2, len(sequence))) for index, sequence in enumerate(selection.sequences)
            if sequence.has_frames
        }  # fmt: skip
        self._traces: dict[str, dict[str, bytes]] = {}
        self._keys: dict[str, str] = {}

    def known(self, tracker: str, key: str) -> bool:
        """Takes a tracker's details from the cache; False where they are not there."""
        files = self.selection.files[tracker]
        self._traces[tracker] = {name: raw for name, file in files.items() if (raw := trace_bytes(file))}
        cache = self.selection.cache
        if not key or cache is None:
            return False
        digest = hashlib.blake2b(f"{key} details {_VERSION}".encode(), digest_size=24)
        for name, raw in self._traces[tracker].items():
            digest.update(f"{name}\0{len(raw)}\0".encode() + raw)
        self._keys[tracker] = digest.hexdigest()
        if (found := cache.load(self._keys[tracker])) is None:
            return False
        with suppress(Exception):  # a damaged entry can raise whatever JSON, msgspec and a missing array raise
            told = from_table(json.loads(found["told"].tobytes()), _Told, unknown="ignore")
            if found["codes"].dtype == np.uint8 and found["codes"].shape == (self._frames[-1],):
                self._take(tracker, told, found["codes"])
                return True
        return False

    def see(self, results: Mapping[str, Mapping[str, Trajectory]]) -> None:
        """Makes the details of some trackers' results, and keeps them in the cache."""
        made = {tracker: _Told() for tracker in results}
        speeds = {tracker: Speed() for tracker in results}
        overlaps = {tracker: np.full(self._frames[-1], NOTHING, np.uint8) for tracker in results}
        with ThreadPoolExecutor(2) as pool:  # as many as pay, see `score_trackers`
            seen = pool.map(partial(self._see, results), range(len(self.selection.sequences)))
            for sequence, start, found in zip(self.selection.sequences, self._frames[:-1], seen, strict=True):
                for tracker, (looked, codes, answers) in found.items():
                    made[tracker].looked.take(looked)
                    overlaps[tracker][start : start + len(codes)] = codes
                    speeds[tracker].add(results[tracker][sequence.name])
                    if answers:
                        made[tracker].answers[sequence.name] = answers
        for tracker, told in made.items():
            speed = speeds[tracker]
            told.fps, told.devices, told.costs = speed.fps, speed.devices, speed.costs
            self._take(tracker, told, overlaps[tracker])
            self._traces.pop(tracker, None)
            if tracker in self._keys and (cache := self.selection.cache) is not None:
                entry: Arrays = {"codes": overlaps[tracker]}
                entry["told"] = np.frombuffer(to_json(asdict(told), None).encode(), np.uint8)
                cache.save(self._keys[tracker], entry)

    def _see(
        self, results: Mapping[str, Mapping[str, Trajectory]], index: int
    ) -> dict[str, tuple[Looked, Codes, list[ReasonerAnswer]]]:
        """Findings, overlaps and answers of some trackers on one sequence."""
        sequence, config = self.selection.sequences[index], self.selection.config
        name, rules = sequence.name, get_protocol(config.protocol)
        own = {tracker: found[name] for tracker, found in results.items() if name in found}
        errors = errors_by_tracker(sequence, own, rules, config.allow_short, config.rounding)
        seen = {}
        for tracker, trajectory in own.items():
            looked = Looked()
            looked.add(sequence, trajectory.boxes)
            codes = _codes(errors[tracker]) if tracker in errors else np.empty(0, np.uint8)
            events = trace_events(self._traces.get(tracker, {}).get(name, b""))
            seen[tracker] = looked, codes, _news(answers_of(trajectory, events))
        return seen

    def read(self) -> None:
        """Reads the results that have not been seen."""
        files = self.selection.files
        left = [name for name in files if name not in self.told and not self.known(name, "")]
        for some in (left[i : i + _TOGETHER] for i in range(0, len(left), _TOGETHER)):
            self.see({tracker: read_results(files[tracker]) for tracker in some})

    def mean_overlaps(self, index: int) -> Array:
        """(1, T) means over trackers in every frame of a sequence that has frames; NaN where none is measured."""
        total, count = self._sums[index]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)[None]

    def findings(self) -> Findings:
        """As `Selection.lint`."""
        looked = {tracker: self.told[tracker].looked for tracker in self.trackers}
        return findings(self.selection.sequences, self.selection.files, looked, self.selection.unknown)

    def _take(self, tracker: str, told: _Told, overlaps: Codes) -> None:
        """Args: overlaps: codes of every frame, sequence after sequence."""
        self.told[tracker] = told
        self._points[self.trackers[tracker]] = thinned(overlaps, self._starts)
        for index, sums in self._sums.items():
            codes = overlaps[self._frames[index] : self._frames[index + 1]]
            sums += np.stack([np.nan_to_num(decoded(codes)), codes != NOTHING])


def _codes(errors: FrameErrors) -> Codes:
    """The protocol's overlap of every frame; nothing where it measures none."""
    values = errors.overlap[0]
    # A broken box that the protocol counts as a miss is drawn as an overlap of 0.
    return encoded(np.where(errors.counted, np.maximum(values, 0.0), np.nan))


def _news(answers: Iterable[ReasonerAnswer]) -> list[ReasonerAnswer]:
    """Answers but those that repeat the last."""
    found: list[ReasonerAnswer] = []
    last: Any = None
    for answer in answers:
        said = (answer.decision, answer.description)
        if answer.changed or said != last:
            found.append(answer)
        last = said
    return found
