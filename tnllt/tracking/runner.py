"""A whole run: what is left to do, done by a pool here or by a cluster, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from tnllt.config import cache_folder
from tnllt.errors import UsageError
from tnllt.locks import FileLock
from tnllt.results.store import ResultStore
from tnllt.tracking import system
from tnllt.tracking.plan import RunPlan
from tnllt.tracking.pool import Limits, Pool, SequenceOutcome, Watcher
from tnllt.tracking.setup import Setup


@dataclass
class Summary:
    """How a run ended.

    Attributes:
        done: sequences that were tracked, or that another run finished meanwhile.
        before: sequences whose result was there already.
        failed: {sequence: why}.
        memory: {sequence: MB by which the worker grew over it}, where that is over 200 MB.
        modes: {mode: number of sequences}, for what was tracked.
    """

    before: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Resources:
    """What a run may use.

    Attributes:
        workers: processes on this machine, or jobs at once on the cluster.
        devices: given to the workers in turn.
        limits: when a worker is ended.
        cluster: address of a Ray cluster, or None for this machine.
        gpus: share of a GPU that each job takes on the cluster.
        verbose: let trackers print to standard error.
    """

    workers: int = 1
    devices: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    cluster: str | None = None
    gpus: float = 0.0
    verbose: bool = False


def run(setup: Setup, plan: RunPlan, resources: Resources | None = None, watcher: Watcher | None = None) -> Summary:
    """Tracks what the plan has left.

    Raises:
        TnlltError: the tracker cannot be loaded, or results cannot be written. A sequence that fails raises nothing.
    """
    resources = resources or Resources()
    summary = Summary(before=list(plan.done))
    ResultStore(setup.results).sweep(setup.tracker.name)
    if not plan.jobs:
        return summary
    alone = _alone_on_this_machine() if setup.exclusive else nullcontext()
    with alone:
        for outcome in _outcomes(setup, plan, resources, watcher or Watcher()):
            _count(summary, outcome)
    return summary


def default_threads(workers: int) -> int:
    """Threads per worker that fill this machine's cores and no more."""
    return max(1, system.available_cores() // max(1, workers))


def _outcomes(setup: Setup, plan: RunPlan, resources: Resources, watcher: Watcher) -> Iterator[SequenceOutcome]:
    if resources.cluster is not None:
        from tnllt.tracking.cluster import run_on_cluster

        yield from run_on_cluster(setup, plan.jobs, resources.cluster, resources, watcher)
        return
    workers = min(resources.workers, len(plan.jobs))
    with Pool(setup, workers, resources.devices, resources.limits, watcher, resources.verbose) as pool:
        yield from pool.run(plan.jobs)


def _count(summary: Summary, outcome: SequenceOutcome) -> None:
    if outcome.how == "failed":
        summary.failed[outcome.name] = outcome.message
        return
    summary.done.append(outcome.name)
    memory = outcome.facts.get("memory_mb") or {}
    grown = memory.get("end", 0.0) - memory.get("start", 0.0)
    if grown > 200:
        summary.memory[outcome.name] = grown
    mode = outcome.facts.get("mode")
    if mode:
        summary.modes[mode] = summary.modes.get(mode, 0) + 1


@contextmanager
def _alone_on_this_machine() -> Iterator[None]:
    """Holds the machine's one place for timing. Raises UsageError where another timing run has it."""
    claim = FileLock(cache_folder() / "timing" / "claim")
    if not claim.take():
        raise UsageError(f"another --timing run is on this machine ({claim.holder()}); two would disturb each other")
    with claim:
        yield


def busy_cores() -> float | None:
    """Processes that wait for a core on average over the last minute, or None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
