"""`evaluate`: sequences and trajectories under a protocol give `Scores`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Seq
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tnllt.boxes import overlap
from tnllt.errors import DataError, IncompleteError, UsageError
from tnllt.eval.frame_errors import FrameErrors, RefusedError
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import TNLLT, get_protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import (
    TrackerCurves,
    add_confidence_measures,
    batches,
    has_confidence,
    match_length,
    note_run_facts,
    score_sequence,
    sequence_errors,
)
from tnllt.processes import map_in_threads
from tnllt.sequence import Boxes, Sequence, Trajectory

Array = NDArray[np.float64]
#: Results of one tracker: a trajectory, or boxes (T, 4), per sequence name.
Results = Mapping[str, "Trajectory | ArrayLike"]
Rounding = Callable[[Boxes], Boxes]
#: What saving integers does to a result: `--round`.
ROUNDINGS: dict[str, Rounding] = {"none": np.asarray, "nearest": np.round, "trunc": np.trunc}
CEILING, FLOOR = "ceiling", "floor"


def evaluate(
    sequences: Iterable[Sequence],
    trajectories: Mapping[str, Results],
    protocol: str | Protocol = TNLLT,
    *,
    allow_missing: bool = False,
    allow_short: bool = False,
    rounding: str = "none",
) -> Scores:
    """Scores trackers.

    Args:
        sequences: annotated sequences, each name once.
        trajectories: {tracker: {sequence name: Trajectory or boxes (T, 4)}}.
        protocol: a `Protocol` or a name (`tnllt-eval protocols` lists them).
        allow_missing: score a tracker on the sequences that it has results for, with a footnote.
        allow_short: pad short results with their last box, with a footnote.
        rounding: "nearest" or "trunc" scores the boxes as if they had been saved as integers.

    Raises:
        IncompleteError: a result is missing, or shorter than its sequence where the protocol refuses that.
        UsageError: no protocol or rounding has that name.
        DataError: no sequence, no tracker, two sequences of one name, or a missing presence file.
    """
    listed = list(sequences)
    results = {
        name: {s: t if isinstance(t, Trajectory) else Trajectory(np.asarray(t, np.float64)) for s, t in own.items()}
        for name, own in trajectories.items()
    }
    rules = get_protocol(protocol)
    names = [s.name for s in listed]
    if not listed or not results:
        raise DataError("no sequence to score" if not listed else "no tracker to score")
    if len(set(names)) != len(names):
        raise DataError(f"two sequences have the name {next(n for n in names if names.count(n) > 1)!r}")
    require_presence(listed, rules)
    trackers = score_trackers(listed, results, rules, allow_short=allow_short, rounding=rounding)
    references = score_references(listed, rules)

    def read(name: str) -> dict[str, Trajectory]:
        return {tracker: found[name] for tracker, found in results.items() if name in found}

    return assemble(listed, trackers, references, rules, allow_missing, allow_short, rounding, read)


def rounded(results: Mapping[str, Trajectory], rounding: str) -> Mapping[str, Trajectory]:
    """Results as if they had been saved as integers, or as they are. Raises UsageError for an unknown rounding."""
    if rounding not in ROUNDINGS:
        raise UsageError(f"no rounding {rounding!r}; known: {', '.join(ROUNDINGS)}")
    if rounding == "none":
        return results
    return {name: replace(own, boxes=ROUNDINGS[rounding](own.boxes)) for name, own in results.items()}


def require_presence(sequences: Iterable[Sequence], protocol: Protocol) -> None:
    """Raises DataError where a presence file is missing that the protocol's score depends on."""
    if not protocol.needs_presence:
        return
    bare = [s for s in sequences if s.missing_presence is not None]
    if bare:
        more = f" (nor have {len(bare) - 1} more)" if len(bare) > 1 else ""
        raise DataError(
            f"sequence {bare[0].name!r} has no file that says where the target is absent{more}; put it there, "
            "or score by a protocol that ignores presence (got10k, trackingnet)",
            bare[0].missing_presence,
        )


def score_trackers(
    sequences: Seq[Sequence],
    results: Mapping[str, Mapping[str, Trajectory]],
    protocol: Protocol,
    *,
    allow_short: bool = False,
    rounding: str = "none",
    watch: Callable[[int, Mapping[str, FrameErrors], Mapping[str, Array]], None] | None = None,
) -> list[TrackerCurves]:
    """One `TrackerCurves` per tracker, measured sequence by sequence, all trackers at once.

    Args:
        watch: is given each sequence's index, {tracker: errors of every frame, arrays (1, T)} of those measured, and
            {tracker: overlap as real numbers (T,)} of those as long as the sequence, none where boxes are rounded;
            several threads call it.
    """
    trackers = [TrackerCurves.empty(name, len(sequences), protocol) for name in results]
    results = {name: rounded(own, rounding) for name, own in results.items()}
    overlaps: dict[str, dict[str, Array]] = {name: {} for name in results}
    compared = [name for name, own in results.items() if watch is not None or has_confidence(own)]

    def work(index: int) -> None:
        sequence = sequences[index]
        found = {name: own[sequence.name].boxes for name, own in results.items() if sequence.name in own}
        errors = score_sequence(trackers, index, sequence, found, protocol, allow_short)
        alike = [t for t in compared if (own := results[t].get(sequence.name)) and len(own) == len(sequence)]
        for some in batches(alike, len(sequence)):
            stack = np.stack([results[tracker][sequence.name].boxes for tracker in some])
            with np.errstate(all="ignore"):
                plain = overlap(stack, sequence.groundtruth)
            for tracker, values in zip(some, plain, strict=True):
                overlaps[tracker][sequence.name] = values
        if watch is not None:
            exact = alike if rounding == "none" else []
            watch(index, errors, {tracker: overlaps[tracker][sequence.name] for tracker in exact})

    map_in_threads(work, range(len(sequences)))
    order = {s.name: i for i, s in enumerate(sequences)}
    for own in trackers:
        note_run_facts(own, results[own.tracker])
        own.notes.sort(key=lambda note: order[note.sequence])
        add_confidence_measures(own, sequences, results[own.tracker], overlaps[own.tracker])
    return trackers


def score_references(sequences: Seq[Sequence], protocol: Protocol) -> list[TrackerCurves]:
    """Ceiling (the annotation as result) and floor (the initial box, never moved) under the protocol."""
    trackers = [TrackerCurves.empty(name, len(sequences), protocol) for name in (CEILING, FLOOR)]
    for index, sequence in enumerate(sequences):
        truth = sequence.groundtruth
        # A frame without annotation has no ground truth to repeat; the box before it stands in.
        known = ~np.isnan(truth).any(1)
        best = truth[np.maximum.accumulate(np.where(known, np.arange(len(truth)), 0))]
        still = np.repeat(best[:1], len(truth), axis=0)
        score_sequence(trackers, index, sequence, {CEILING: best, FLOOR: still}, protocol, False)
    for own in trackers:
        own.notes.clear()
    return trackers


def assemble(
    sequences: Seq[Sequence],
    trackers: Seq[TrackerCurves],
    references: Seq[TrackerCurves],
    protocol: Protocol,
    allow_missing: bool = False,
    allow_short: bool = False,
    rounding: str = "none",
    read: Callable[[str], Mapping[str, Trajectory]] | None = None,
) -> Scores:
    """`Scores` from the trackers' numbers. Raises IncompleteError as `raise_if_incomplete` does.

    Args:
        read: of a sequence's name, {tracker: trajectory}, for `Scores.frames`.
    """
    raise_if_incomplete(trackers, protocol, allow_missing, allow_short)

    def frames(name: str) -> dict[str, FrameErrors]:
        sequence = next((s for s in sequences if s.name == name), None)
        if sequence is None:
            raise DataError(f"no sequence {name!r} among those scored")
        return errors_by_tracker(sequence, read(name) if read else {}, protocol, allow_short, rounding)

    return Scores(
        protocol,
        tuple(own.tracker for own in trackers),
        tuple(s.name for s in sequences),
        np.array([len(s) for s in sequences], dtype=np.int64),
        attribute_flags(sequences),
        tuple(trackers),
        tuple(references),
        next((s.dataset for s in sequences if s.dataset), ""),
        rounding,
        _frames=frames if read else None,
    )


def errors_by_tracker(
    sequence: Sequence,
    trajectories: Mapping[str, Trajectory],
    protocol: Protocol,
    allow_short: bool = False,
    rounding: str = "none",
) -> dict[str, FrameErrors]:
    """{tracker: errors of every frame, arrays (1, T)}, without the trackers that the protocol refuses."""
    alike: dict[tuple[int, int], dict[str, Boxes]] = {}
    for tracker, trajectory in rounded(trajectories, rounding).items():
        boxes, count, _ = match_length(trajectory.boxes, len(sequence), protocol, allow_short)
        if count:
            alike.setdefault((count, len(trajectory)), {})[tracker] = boxes
    found: dict[str, FrameErrors] = {}
    for (_, rows), own in alike.items():
        with suppress(RefusedError):
            for trackers in batches(list(own), len(sequence)):
                errors = sequence_errors(sequence, np.stack([own[name] for name in trackers]), protocol, rows)
                found |= {name: errors.of(k) for k, name in enumerate(trackers)}
    return {name: found[name] for name in trajectories if name in found}


def raise_if_incomplete(
    trackers: Seq[TrackerCurves], protocol: Protocol, allow_missing: bool, allow_short: bool
) -> None:
    """Raises IncompleteError that names what is missing or short, unless that is allowed."""
    faults = []
    for own in trackers:
        gone = [n.sequence for n in own.notes if n.kind == "missing"]
        if gone and not allow_missing:
            faults.append(f"{own.tracker}: no result for {len(gone)} of {len(own.missing)} sequences ({listed(gone)})")
        if len(gone) == len(own.missing):
            raise IncompleteError(f"{own.tracker}: no result for any of the {len(gone)} sequences ({listed(gone)})")
        if protocol.short_result == "refused" and not allow_short:
            short = [n for n in own.notes if n.kind == "refused" and " rows for " in n.text]
            faults += [f"{own.tracker}/{n.sequence}: {n.text}" for n in short]
    if faults:
        hints = ["--allow-missing scores the results that there are"] if any("no result" in f for f in faults) else []
        hints += ["--allow-short pads with the last box"] if any(" rows for " in f for f in faults) else []
        raise IncompleteError(f"{listed(faults, 8, '; ')}\n{'; '.join(hints)} (with a footnote)")


def listed(names: Seq[str], most: int = 5, glue: str = ", ") -> str:
    """The first names, and how many more."""
    more = f"{glue}and {len(names) - most} more" if len(names) > most else ""
    return glue.join(names[:most]) + more


def attribute_flags(sequences: Seq[Sequence]) -> dict[str, np.ndarray]:
    """{attribute: (S,) bool} in the order of first appearance; a sequence without attributes has none of them."""
    names: dict[str, None] = {}
    for sequence in sequences:
        names.update(dict.fromkeys(sequence.attributes or ()))
    return {n: np.array([bool((s.attributes or {}).get(n, False)) for s in sequences]) for n in names}
