"""Many sequences on one machine: workers, the queue, limits, and sequences whose worker is lost."""

from __future__ import annotations

import dataclasses
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import tnllt
from tnllt.errors import EXIT_USAGE, TnlltError, UsageError
from tnllt.results.records import RunRecord
from tnllt.results.store import ResultStore
from tnllt.tracking import system
from tnllt.tracking.config import Limits, RunSpec
from tnllt.tracking.failures import TrackerFailure
from tnllt.tracking.options import takes_device
from tnllt.tracking.process import FINISHING, LOADING, READING, STARTING, TRACKING, Job, TrackingWorker

if TYPE_CHECKING:
    from tnllt.tracking.plan import RunPlan

#: A sequence whose worker was lost is tracked again in a new one, so many times in all.
ATTEMPTS = 3
#: Seconds between two tries to lock a sequence that another run has locked.
LOCK_PAUSE = 1.0
_TICK = 0.1
#: Folders of tnllt and of Python's library.
_PACKAGE, _LIBRARY = (f"{Path(str(module.__file__)).parent}{os.sep}" for module in (tnllt, os))
#: By the phase of a worker: the limit that holds, what has not happened in time, and the frame at fault.
_DEADLINES: dict[int, tuple[str, str, int | None]] = {
    LOADING: ("start_timeout", "not loaded", None),
    STARTING: ("start_timeout", "frame 1: not started", 0),
    READING: ("frame_timeout", "the frame was not read", None),
    TRACKING: ("frame_timeout", "no answer", None),
    FINISHING: ("frame_timeout", "the sequence was not finished", None),
}


@dataclass(frozen=True)
class SequenceOutcome:
    """How one sequence ended: `how` is "done", "failed" or "there" (another run has finished it meanwhile)."""

    name: str
    how: str
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Watcher:
    """Called as a run goes on; this one shows nothing."""

    def planned(self, spec: RunSpec, plan: RunPlan) -> None: ...
    def began(self, name: str) -> None: ...
    def ended(self, outcome: SequenceOutcome) -> None: ...
    def frames(self, tracked: int) -> None: ...
    def note(self, text: str) -> None: ...


class Pool:
    """Workers that track sequences, kept from call to call of `run`.

    Args:
        spec: what each worker is to do.
        workers: how many.
        devices: given to the workers in turn; empty: the tracker's own choice.
        limits: when a worker is ended.
        watcher: called as the run goes on.
        verbose: let trackers print to standard error.
    """

    def __init__(
        self,
        spec: RunSpec,
        workers: int = 1,
        devices: tuple[str, ...] = (),
        limits: Limits | None = None,
        watcher: Watcher | None = None,
        verbose: bool = False,
    ) -> None:
        self.spec, self.count, self.devices, self.verbose = spec, workers, devices, verbose
        self.limits, self.watcher = limits or Limits(), watcher or Watcher()
        self.store = ResultStore(spec.results)
        self.workers: list[TrackingWorker | None] = [None] * workers
        self._takes_device = bool(devices) and takes_device(spec.tracker.tracker_class)
        self._queue: deque[Job] = deque()
        self._locked: list[tuple[float, Job]] = []
        self._outcomes: deque[SequenceOutcome] = deque()
        self._tracked = 0
        self._loading_deaths = 0
        self._suspects: set[int] = set()
        self._slow: set[str] = set()
        self._noted: set[str] = set()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(at_once=kind is not None)

    def run(self, jobs: Iterable[Job]) -> Iterator[SequenceOutcome]:
        """Tracks the sequences in the given order; yields each as it ends.

        Raises:
            TnlltError: the tracker cannot be loaded, or results cannot be written.
        """
        self._queue.extend(jobs)
        while self._queue or self._locked or any(w is not None and w.jobs for w in self.workers):
            now = time.monotonic()
            self._queue.extend(job for at, job in self._locked if at <= now)
            self._locked = [(at, job) for at, job in self._locked if at > now]
            self._hand_out()
            alive = [w for w in self.workers if w is not None]
            wait([w.wire for w in alive], _TICK if alive else _TICK * 2)
            for place, worker in enumerate(self.workers):
                if worker is None:
                    continue
                try:
                    for message in worker.messages():
                        self._receive(worker, message)
                except EOFError:
                    self._lost(place, worker)
            self._watch()
            while self._outcomes:
                outcome = self._outcomes.popleft()
                self.watcher.ended(outcome)
                yield outcome

    def close(self, at_once: bool = False) -> None:
        """Ends the workers: after they have closed their trackers, or at once."""
        for worker in self.workers:
            if worker is not None and at_once:
                worker.kill()
            elif worker is not None:
                worker.no_more()
        for place, worker in enumerate(self.workers):
            if worker is not None:
                worker.close()
                self.workers[place] = None

    def _hand_out(self) -> None:
        """Gives every free place a sequence; starts a worker where one is needed. Batches are filled last."""
        for place in range(self.count):
            if self._queue and self.workers[place] is None:
                self.workers[place] = self._start(place)
            worker = self.workers[place]
            while worker is not None and self._queue and worker.free > 0:
                if self._queue[0].alone and worker.jobs:
                    break
                worker.track(self._queue.popleft())

    def _start(self, place: int) -> TrackingWorker:
        device = self.devices[place % len(self.devices)] if self.devices else ""
        hide = bool(device) and not self._takes_device
        own = dataclasses.replace(self.spec, device=device) if device else self.spec
        return TrackingWorker(own, hide, self.verbose)

    def _receive(self, worker: TrackingWorker, message: dict[str, Any]) -> None:
        if "ready" in message:
            worker.loaded, self._loading_deaths = True, 0
            if message.get("notice") and message["notice"] not in self._noted:
                self._noted.add(message["notice"])
                self.watcher.note(message["notice"])
        elif "fatal" in message:
            trace = message.get("trace", "").rstrip()
            more = "" if not trace else f"\n{trace}" if self.verbose else " (--verbose shows where)"
            error = UsageError(message["fatal"] + more)
            error.exit_code = message.get("code", EXIT_USAGE)
            raise error
        elif "begin" in message:
            self.watcher.began(message["begin"])
        elif "end" in message:
            self._ended(worker, worker.jobs.pop(message["end"]), message)

    def _ended(self, worker: TrackingWorker, job: Job, message: dict[str, Any]) -> None:
        how = message["as"]
        if how == "error":
            raise UsageError(message["message"])
        if how == "locked":
            if job.name not in self._noted:
                self._noted.add(job.name)
                self.watcher.note(f"{job.name} is being tracked by another run ({message['holder']}); waiting for it")
            self._locked.append((time.monotonic() + LOCK_PAUSE, job))
            return
        if how == "alone":
            job.alone = True
            self._queue.append(job)
            return
        self._tracked += job.frames
        worker.accounted = worker.accounted + job.frames if worker.jobs else worker.heartbeat.read().frames
        facts = {k: v for k, v in message.items() if k not in ("end", "as", "message")}
        self._outcomes.append(SequenceOutcome(job.name, how, message.get("message", ""), facts))

    def _lost(self, place: int, worker: TrackingWorker) -> None:
        """A worker died by itself."""
        worker.kill()
        # The end of a dump names every extension module: thousands of characters below the frames.
        fate, tail = f"its worker process {worker.fate()}", worker.output(16_000)
        if not worker.loaded:
            self._loading_deaths += 1
            if self._loading_deaths >= ATTEMPTS:
                raise TnlltError(f"{self.spec.tracker.name} cannot be loaded: {fate}{_at_fault(tail)}")
        for job in worker.jobs.values():
            if not worker.loaded:
                self._queue.appendleft(job)
                continue
            job.attempt += 1
            if job.attempt > ATTEMPTS:
                again = f"{fate}, {ATTEMPTS} times in a row" + _at_fault(tail)
                self._give_up(job, TrackerFailure("lost", again, None, tail))
            else:
                job.alone = len(worker.jobs) > 1
                self.watcher.note(f"{job.name}: {fate}; tracking it again")
                self._queue.appendleft(job)
        worker.jobs.clear()
        worker.close()
        self.workers[place] = None

    def _watch(self) -> None:
        """Ends workers beyond the limits, and notes which seem to hang where there is no limit."""
        tracked = self._tracked
        for place, worker in enumerate(self.workers):
            if worker is None:
                continue
            state = worker.heartbeat.read()
            tracked += max(0, state.frames - worker.accounted)
            worker.trim_output()
            excess = self._excess(worker)
            # One look is not enough: the worker may be between two of the heartbeat's numbers.
            if excess is not None and place in self._suspects:
                self._suspects.discard(place)
                self._end_worker(place, worker, excess)
            elif excess is not None:
                self._suspects.add(place)
            else:
                self._suspects.discard(place)
        self.watcher.frames(tracked)

    def _excess(self, worker: TrackingWorker) -> TrackerFailure | None:
        state, limits = worker.heartbeat.read(), self.limits
        setting, what, frame = _DEADLINES.get(state.phase, ("", "", None))
        seconds = getattr(limits, setting) if setting else None
        if seconds is not None and state.seconds > seconds:
            flag = setting.replace("_", "-")
            return TrackerFailure("timeout", f"{what} within {seconds:g} s (--{flag})", frame)
        memory = system.resident_mb(worker.process.pid) if limits.max_memory is not None else None
        if memory is not None and limits.max_memory is not None and memory > limits.max_memory:
            return TrackerFailure("memory", f"{memory:.0f} MB of memory, above {limits.max_memory:.0f} (--max-memory)")
        if state.phase in (STARTING, TRACKING, FINISHING) and state.seconds > 60 and limits.frame_timeout is None:
            for name in set(worker.jobs) - self._slow:
                self._slow.add(name)
                self.watcher.note(f"{name}: no answer for a minute; --frame-timeout SECONDS would end it")
        return None

    def _end_worker(self, place: int, worker: TrackingWorker, excess: TrackerFailure) -> None:
        excess.trace = worker.stack() if excess.kind == "timeout" else ""
        frames = worker.heartbeat.read().frames - worker.accounted
        worker.kill()
        jobs, loaded = list(worker.jobs.values()), worker.loaded
        worker.jobs.clear()
        worker.close()
        self.workers[place] = None
        if not loaded:
            raise UsageError(f"{self.spec.tracker.name}: {excess.message}{_at_fault(excess.trace)}")
        for job in jobs:
            if len(jobs) > 1:
                job.alone = True
                self._queue.append(job)
                continue
            if excess.frame is None:
                excess.frame = frames
                excess.message = f"frame {frames + 1}: {excess.message}"
            self._give_up(job, excess)

    def _give_up(self, job: Job, failure: TrackerFailure) -> None:
        """Writes the failure of a sequence whose worker cannot do it any more."""
        spec = self.spec
        record = RunRecord(
            spec.tracker.name,
            job.name,
            "failed",
            **spec.given(job.name),
            mode=spec.mode or "",
            dataset=str(spec.dataset.dataset),
            frames=job.frames,
            attempts=min(job.attempt, ATTEMPTS),
            failure=failure.as_json(),
            identity={**spec.identity, "data": spec.data.get(job.name, "")} if spec.identity else {},
        )
        lock = self.store.lock(spec.tracker.name, job.name)
        if not lock.take():
            self._locked.append((time.monotonic() + LOCK_PAUSE, job))
            return
        with lock:
            kept = self.store.write_failure(record)
        self._tracked += job.frames
        self._outcomes.append(SequenceOutcome(job.name, "failed", failure.message + kept, {"kind": failure.kind}))


def _at_fault(text: str) -> str:
    """The frame that a dump of faulthandler shows of the tracker's code, else the last line that was printed."""
    dump = text.rpartition("Current thread ")[2].partition("\n\n")[0]
    frames = [(place, line) for line, place in re.findall(r'^  (File "([^<].*)", line \d+ in .+)$', dump, re.MULTILINE)]
    # Neither our own code nor Python's library; packages are installed below the latter.
    theirs = [line for place, line in frames if not place.startswith(_PACKAGE)
              and (not place.startswith(_LIBRARY) or "-packages" in place)]  # fmt: skip
    lines = theirs[:1] or [line for _, line in frames[:1]] or text.strip().splitlines()[-1:]
    return f": {lines[0][:200]}" if lines else ""
