"""What the page shows of each tracker beside its scores: overlaps of every frame, findings, speed, reasoners' answers.

Results are seen tracker by tracker while they are read for their scores, and what is made of them is kept in the cache
of scores, so that a report of many results reads each of them once, and of an unchanged tracker none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from tnllt.processes import map_in_threads
from tnllt.records import from_table
from tnllt.results.costs import Speed
from tnllt.results.layouts import ResultFile
from tnllt.results.lint import Looked, findings
from tnllt.results.reading import read_results
from tnllt.sequence import Sequence, Trajectory

Array = NDArray[np.float64]
#: Changes whenever something else is made of the same results.
_VERSION = 1


@dataclass
class _Told:
    """What is known of one tracker, but for its overlaps; answers by the names of sequences."""

    looked: Looked = field(default_factory=Looked)
    fps: float | None = None
    devices: list[str] = field(default_factory=list)
    costs: str = ""
    answers: dict[str, list[ReasonerAnswer]] = field(default_factory=dict)


#: Of one tracker on one sequence.
_Seen = tuple[Looked, Codes, Speed, list[ReasonerAnswer]]


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
        self._known: dict[str, tuple[_Told, Codes]] = {}
        #: {tracker: {index of a sequence: what was seen there}}, until all of them are.
        self._seen: dict[str, dict[int, _Seen]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What looking at results takes: other processes do not need the page's arrays, and are sent files in parts."""
        bare = [Sequence(s.name, s.annotation, dataset=s.dataset) for s in self.selection.sequences]
        selection = replace(self.selection, sequences=bare, files={})
        return {**vars(self), "selection": selection, "series": [], "_points": None, "_sums": {}, "_starts": None}

    def known(self, tracker: str, files: Mapping[str, ResultFile], key: str) -> bool:
        """Takes a tracker's details from the cache; False where they are not there."""
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
                self._known[tracker] = told, found["codes"]
                return True
        return False

    def look(
        self, index: int, results: Mapping[str, Trajectory], errors: Mapping[str, FrameErrors],
        overlaps: Mapping[str, Array],
    ) -> None:  # fmt: skip
        """Sees findings, overlaps, times and answers of some trackers on one sequence."""
        sequence, config = self.selection.sequences[index], self.selection.config
        rules = get_protocol(config.protocol)
        rest = {tracker: own for tracker, own in results.items() if tracker not in errors}
        errors = {**errors, **errors_by_tracker(sequence, rest, rules, config.allow_short, config.rounding)}
        for tracker, trajectory in results.items():
            looked, speed = Looked(), Speed()
            looked.add(sequence, trajectory, overlaps.get(tracker))
            speed.add(trajectory)
            codes = _codes(errors[tracker]) if tracker in errors else np.empty(0, np.uint8)
            events = trace_events(self._traces.get(tracker, {}).get(sequence.name, b""))
            seen = looked, codes, speed, _news(answers_of(trajectory, events))
            self._seen.setdefault(tracker, {})[index] = seen

    def found(self, tracker: str) -> tuple[_Told, Codes]:
        """A tracker's details and codes of every frame, sequence after sequence; makes and keeps what is not known."""
        self._traces.pop(tracker, None)
        if tracker in self._known:
            return self._known.pop(tracker)
        told, speed, overlaps = _Told(), Speed(), np.full(self._frames[-1], NOTHING, np.uint8)
        for index, (looked, codes, own, answers) in sorted(self._seen.pop(tracker, {}).items()):
            told.looked.take(looked)
            overlaps[self._frames[index] : self._frames[index] + len(codes)] = codes
            speed.take(own)
            if answers:
                told.answers[self.selection.sequences[index].name] = answers
        told.fps, told.devices, told.costs = speed.fps, speed.devices, speed.costs
        if tracker in self._keys and (cache := self.selection.cache) is not None:
            entry: Arrays = {"codes": overlaps}
            said = {name: [vars(answer) for answer in answers] for name, answers in told.answers.items()}
            table = {**vars(told), "looked": vars(told.looked), "answers": said}  # `asdict` copies every text
            entry["told"] = np.frombuffer(to_json(table, None).encode(), np.uint8)
            cache.save(self._keys[tracker], entry)
        return told, overlaps

    def take(self, tracker: str, found: tuple[_Told, Codes]) -> None:
        """Adds what was found to the page."""
        self.told[tracker], overlaps = found
        self._points[self.trackers[tracker]] = thinned(overlaps, self._starts)
        for index, sums in self._sums.items():
            codes = overlaps[self._frames[index] : self._frames[index + 1]]
            sums += np.stack([np.nan_to_num(decoded(codes)), codes != NOTHING])

    def read(self) -> None:
        """Reads the results that have not been seen."""
        files = self.selection.files
        for tracker in (name for name in files if name not in self.told):
            self.known(tracker, files[tracker], "")
            results = read_results(files[tracker])

            def look(index: int, tracker: str = tracker, results: Mapping[str, Trajectory] = results) -> None:
                if (own := results.get(self.selection.sequences[index].name)) is not None:
                    self.look(index, {tracker: own}, {}, {})

            map_in_threads(look, range(len(self.selection.sequences)))
            self.take(tracker, self.found(tracker))

    def mean_overlaps(self, index: int) -> Array:
        """(1, T) means over trackers in every frame of a sequence that has frames; NaN where none is measured."""
        total, count = self._sums[index]
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)[None]

    def findings(self) -> Findings:
        """As `Selection.lint`."""
        looked = {tracker: self.told[tracker].looked for tracker in self.trackers}
        return findings(self.selection.sequences, self.selection.files, looked, self.selection.unknown)


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
