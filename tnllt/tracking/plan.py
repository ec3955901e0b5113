"""Which sequences a run has to track, in which order, and on which machine of several."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tnllt.errors import UsageError
from tnllt.results.costs import is_profiled
from tnllt.results.records import RunIdentity, lacks_answers, of_record, refuse
from tnllt.results.store import ResultStore, StoredResult
from tnllt.sequence import Sequence
from tnllt.tracking.config import RunSpec
from tnllt.tracking.identity import data_digest
from tnllt.tracking.process import Job

if TYPE_CHECKING:
    from tnllt.datasets import Dataset


@dataclass(frozen=True)
class RunPlan:
    """Attributes:
    dataset: the benchmark's name.
    total: number of sequences in the dataset.
    place: what tracks them, in words.
    jobs: to track, the longest first.
    done: names of sequences that have a result.
    identity: of this run.
    replaces: digest of the identity file that this run replaces, or "".
    unanswered: {sequence: (failed refreshes, all)} of the results that are there.
    """

    dataset: str
    total: int
    place: str
    jobs: list[Job]
    done: list[str]
    identity: RunIdentity
    replaces: str
    unanswered: Mapping[str, tuple[int, int]]


def make_plan(spec: RunSpec, dataset: Dataset, shard: tuple[int, int] = (0, 1), failures_only: bool = False) -> RunPlan:
    """Looks at what is there, and plans what is left.

    Args:
        spec: what the workers will get.
        dataset: all that the run is about.
        shard: (i, n), see `in_shard`.
        failures_only: leave out what was never tracked.

    Raises:
        UsageError: results of the same name are of another run.
    """
    store, tracker = ResultStore(spec.results), spec.tracker.name
    replaces = store.identity_digest(tracker) if spec.again or store.is_unused(tracker) else ""
    lengths = {s.name: frames_of(s) for s in dataset}
    mine = in_shard(lengths, *shard)
    identity = RunIdentity(spec.identity, {name: data_digest(dataset[name]) for name in mine})
    entries = {name: store.entry(tracker, name, lengths[name]) for name in mine}
    if not replaces:
        store.check_identity(tracker, identity)
    if not spec.again:
        for name, entry in entries.items():
            refuse_foreign(store, tracker, name, entry)
            if entry.record is not None and entry.record.identity and not entry.record.failed:
                refuse(tracker, of_record(entry.record.identity, name).differences(identity), f"{name}: ")
    wanted = ("failed",) if failures_only else ("failed", "missing")
    records = {name: entry.record for name, entry in entries.items() if entry.status == "done" and entry.record}
    left = {name for name in mine if spec.again or entries[name].status in wanted or _unfit(spec, entries[name])}
    if failures_only:
        left |= {name for name, record in records.items() if lacks_answers(*record.unanswered)}
    done = [name for name in mine if entries[name].status == "done" and name not in left]
    jobs = [
        Job(name, lengths[name], again=entries[name].status == "done")
        for name in longest_first(lengths)
        if name in left
    ]
    unanswered = {name: records[name].unanswered for name in done if name in records and records[name].unanswered[0]}
    return RunPlan(dataset.name, len(dataset), f"{spec.workers} worker(s)", jobs, done, identity, replaces, unanswered)


def longest_first(lengths: Mapping[str, int]) -> list[str]:
    """Names by falling length, equal lengths by name: the longest sequence must not start last."""
    return sorted(lengths, key=lambda name: (-lengths[name], name))


def in_shard(lengths: Mapping[str, int], index: int, count: int) -> list[str]:
    """The names that shard `index` of `count` tracks: the same on every machine, and balanced by length.

    Longest first, each goes to the shard with the fewest frames so far (the first of equals). `index` is taken modulo
    `count`, so that shards may be counted from 0 or from 1. Names keep the order of `lengths`.
    """
    load = [(0, shard) for shard in range(count)]
    chosen: set[str] = set()
    for name in longest_first(lengths):
        frames, shard = heapq.heappop(load)
        heapq.heappush(load, (frames + lengths[name], shard))
        if shard == index % count:
            chosen.add(name)
    return [name for name in lengths if name in chosen]


def parse_shard(text: str) -> tuple[int, int]:
    """ "i/n" as (i, n). Raises UsageError where it is not 0 <= i <= n, n >= 1."""
    index, slash, count = text.partition("/")
    if slash and index.isdigit() and count.isdigit() and int(count) >= 1 and int(index) <= int(count):
        return int(index), int(count)
    raise UsageError(f"--shard {text}: write i/n, such as 2/8 for the second of eight (counted from 1, or from 0)")


def frames_of(sequence: Sequence) -> int:
    """Annotated frames, or all frames where only the first is annotated."""
    rows = len(sequence)
    return len(sequence.frames) if rows == 1 and sequence.has_frames else rows


def _unfit(spec: RunSpec, entry: StoredResult) -> bool:
    """Whether a finished result does not serve: times are wanted that were measured alone, or costs."""
    if not spec.timing or entry.status != "done":
        return False
    record = entry.record
    if record is None or not record.concurrency.get("exclusive", False):
        return True
    return spec.profile and not is_profiled(vars(record))


def refuse_foreign(store: ResultStore, tracker: str, name: str, entry: StoredResult) -> None:
    """Raises UsageError where no run of ours wrote what is there: it is neither kept beside ours nor replaced."""
    ours = entry.record is not None and entry.record.identity
    if not ours and entry.status in ("done", "foreign", "unusable"):
        reason = entry.reason or "has no identity in its run record: no run wrote it"
        raise UsageError(
            f"{store.path(tracker, name)} {reason}; remove it, replace it with --again, or give the new results a "
            "name of their own with --name NAME"
        )
