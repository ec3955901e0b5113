"""A worker: a process that loads a tracker once and tracks the sequences that its runner names.

Messages go over a socket pair, one JSON object each; standard output and error go to a file of the runner's, so that
what a tracker prints cannot disturb them. The worker writes its results itself, and ends when its runner does.

Runner to worker: the run's spec; then {"track": name, "attempt": n, "again": bool}; {"no": "more"}.
Worker to runner: {"ready": ..}; {"fatal": text, "code": exit code}; {"begin": name}; {"end": name, "as": how, ..}
with `how` one of "done", "failed", "there" (another run did it), "locked" (another run has it), "alone" (to be
tracked again, by itself), "error" (nothing can be written).
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import stat
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from tnllt.datasets.dataset import open_configured
from tnllt.errors import DataError, DataWarning, TnlltError, UsageError
from tnllt.locks import FileLock
from tnllt.results.records import RunIdentity, RunRecord, differences
from tnllt.results.store import ResultStore
from tnllt.sequence import Trajectory
from tnllt.tracking import costs, system
from tnllt.tracking.config import WARM_UP, RunSpec
from tnllt.tracking.failures import FAULTS, TrackerFailure
from tnllt.tracking.identity import data_digest, run_facts
from tnllt.tracking.loop import TrackingLoop, choose_mode
from tnllt.tracking.plan import refuse_foreign
from tnllt.tracking.process import IDLE, LOADING, WRITING, Heartbeat
from tnllt.tracking.sequence_run import SequenceRun
from tnllt.tracking.tracker import Mode

#: Of what a tracker printed, a record keeps the end.
OUTPUT_KEPT = 4000


class Worker:
    """See the module. `wire` leads to the runner."""

    def __init__(self, wire: Connection, heartbeat: Heartbeat) -> None:
        self.wire, self.heartbeat = wire, heartbeat
        self.spec = RunSpec.from_json(self.receive())
        self.store = ResultStore(self.spec.results)
        self.jobs: dict[str, tuple[FileLock, int, dict[str, Any]]] = {}
        self.common: dict[str, Any] = {}
        self.more = True

    def receive(self) -> Any:
        return json.loads(self.wire.recv_bytes())

    def send(self, **message: Any) -> None:
        self.wire.send_bytes(json.dumps(message).encode())

    def load(self) -> None:
        """Loads tracker and dataset, and warms up."""
        self.heartbeat.phase(LOADING)
        begin = time.perf_counter()
        system.limit_threads(self.spec.threads)
        system.seed_everything(self.spec.seed)
        self.tracker = self.spec.create_tracker()
        system.limit_threads(self.spec.threads)
        if self.spec.identity:
            changed = differences(self.spec.identity, run_facts(self.spec))
            if changed:
                raise UsageError(f"{self.spec.tracker.name} changed since the run began: {'; '.join(changed)}")
        self.dataset = open_configured(self.spec.dataset)
        if self.spec.timing:
            self._warm_up()
        self.costs = self._count_costs() if self.spec.profile else {}
        seconds = time.perf_counter() - begin
        self.loop = TrackingLoop(self.tracker, self.spec.batch, heartbeat=self.heartbeat)
        self.common = self._common_fields(seconds)
        self.send(ready=round(seconds, 3), notice=str(self.tracker.info().get("notice", "")))

    def serve(self) -> None:
        """Tracks sequences until the runner has no more."""
        while True:
            free = self.spec.batch - len(self.loop.active)
            while self.more and free > 0 and (not self.loop.active or self.wire.poll()):
                self.heartbeat.phase(IDLE)
                message = self.receive()
                if "track" not in message:
                    self.more = False
                elif self._begin(message["track"], message["attempt"], message["again"]):
                    free -= 1
            if not self.loop.active:
                if not self.more:
                    break
                continue
            for run, end in self.loop.step():
                self._end(run, end)
        self.tracker.close()

    def _begin(self, name: str, attempt: int, again: bool) -> bool:
        """Locks and starts a sequence; False where it is over already, or its folder is another run's."""
        lock = self.store.lock(self.spec.tracker.name, name)
        try:
            if not lock.take():
                self.send(end=name, **{"as": "locked"}, holder=lock.holder())
                return False
            identity = None
            if self.spec.identity:
                identity = RunIdentity(self.spec.identity, {**self.spec.data, name: data_digest(self.dataset[name])})
                self.store.join(self.spec.tracker.name, identity, self.spec.replaces)
            entry = self.store.entry(self.spec.tracker.name, name, run=identity)
            if identity is not None and not again and not self.spec.again:
                refuse_foreign(self.store, self.spec.tracker.name, name, entry)
        except TnlltError as error:
            lock.release()
            self.send(end=name, **{"as": "error"}, message=str(error))
            return False
        if not again and entry.status == "done":
            lock.release()
            self.send(end=name, **{"as": "there"})
            return False
        fields = {} if identity is None else {**identity.facts, "data": identity.data[name]}
        self.jobs[name] = lock, attempt, fields
        self.send(begin=name)
        discard_output()
        try:
            run = self._run(name, self.spec.read_ahead)
        except Exception as error:
            self._fail(name, TrackerFailure("data", str(error), None, traceback.format_exc()), {})
            return False
        if self.spec.profile:
            costs.reset_accelerator_peak()
            self.energy = costs.joules()
        failure = self.loop.start(run)
        if failure is not None:
            self._fail(name, failure, run.record_fields())
            return False
        return True

    def _run(self, name: str, read_ahead: int) -> SequenceRun:
        """The sequence with the texts of this run. Raises DataError where it cannot be started."""
        sequence, texts = self.dataset[name], self.spec.texts
        if texts is not None:
            sequence = texts.of(sequence)
        replaced = texts is not None and name in texts.sequences
        mode = choose_mode(self.tracker, sequence, self.spec.mode, empty_text=replaced)
        run = SequenceRun(
            sequence, mode, self.spec.seed, read_ahead, keep_masks=self.spec.masks, realtime=self.spec.realtime
        )
        if texts is not None and replaced:
            run.texts = {int(frame): str(text) for frame, text in texts.sequences[name]}
        return run

    def _end(self, run: SequenceRun, end: Trajectory | TrackerFailure) -> None:
        name = run.sequence.name
        if isinstance(end, TrackerFailure):
            if end.kind == "batch":
                self.jobs.pop(name)[0].release()
                self.send(end=name, **{"as": "alone"})
            else:
                self._fail(name, end, run.record_fields(), run)
            return
        self.heartbeat.phase(WRITING)
        lock, attempt, identity = self.jobs.pop(name)
        extra = {
            **self._fields(name, end.record),
            "costs": self._costs(),
            "output": kept_output(),
            "attempts": attempt,
            "identity": identity,
        }
        extra["seconds"] = {**self.common["seconds"], **end.record["seconds"]}
        whole = Trajectory(end.boxes, end.confidence, end.absent, end.seconds, extra)
        try:
            record = self.store.write(self.spec.tracker.name, name, whole, run.events, run.in_force(run.masks))
            if self.spec.video:
                from tnllt.tracking.video import film

                path = self.store.path(self.spec.tracker.name, name, ".mp4")
                film(path, run.sequence, whole, self.spec.tracker.name, self.spec.colour)
            message: dict[str, Any] = {"as": "done", "frames": record.frames, "fps": record.fps(), "mode": record.mode}
            message |= {"memory_mb": record.memory_mb, "unanswered": record.unanswered}
        except DataError as error:
            message = {"as": "error", "message": str(error)}
        lock.release()
        self.heartbeat.phase(IDLE)
        self.send(end=name, **message)

    def _fail(self, name: str, failure: TrackerFailure, fields: dict[str, Any], run: SequenceRun | None = None) -> None:
        lock, attempt, identity = self.jobs.pop(name)
        record = RunRecord(
            **{**self._fields(name, fields), "tracker": self.spec.tracker.name},
            sequence=name,
            status="failed",
            output=kept_output(),
            attempts=attempt,
            identity=identity,
            failure=failure.as_json(),
        )
        try:
            kept = self.store.write_failure(record, run.events if run is not None else ())
            message = {"as": "failed", "message": failure.message + kept, "kind": failure.kind}
        except DataError as error:
            message = {"as": "error", "message": str(error)}
        lock.release()
        self.send(end=name, **message)

    def _warm_up(self) -> None:
        """Tracks the first frames of the first sequence that can be started: caches fill, kernels compile."""
        loop = TrackingLoop(self.tracker)
        if self._started_for_trial(loop) is not None:
            while not loop.step():
                pass

    def _count_costs(self) -> dict[str, float]:
        """Parameters and operations, by the same frames; counting slows a tracker, so no time is taken of it."""
        loop, found = TrackingLoop(self.tracker), []
        run = self._started_for_trial(loop)
        if run is None:
            return {}
        with suppress(*FAULTS):  # it comes again, and is told, when the sequence is tracked
            for _ in range(1, run.count):
                run.index += 1
                found.append(self.tracker.measure(run.next_image())[1])
        loop.end(run)
        names = {name for counts in found for name in counts}
        return {name: float(np.median([counts[name] for counts in found if name in counts])) for name in names}

    def _costs(self) -> dict[str, float]:
        """Of the sequence that is over: with those of a frame, its energy and the accelerator's memory."""
        if not self.spec.profile:
            return {}
        told, now = dict(self.costs), costs.joules()
        if now is not None and self.energy is not None and now > self.energy:  # a counter may start again from zero
            told["joules"] = now - self.energy
        peak = costs.accelerator_peak_mb()
        return told if peak is None else {**told, "accelerator_mb": peak}

    def _started_for_trial(self, loop: TrackingLoop) -> SequenceRun | None:
        for sequence in self.dataset:
            try:
                run = self._run(sequence.name, 0)
            except TnlltError:
                continue
            run.count, run.stream = min(run.count, WARM_UP), None
            return run if loop.start(run) is None else None
        return None

    def _fields(self, name: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """A record's fields: the worker's, those that the run gives, and the sequence's own."""
        given = self.spec.given(name)
        return {**self.common, **given, **own, "info": {**given["info"], **own.get("info", {})}}

    def _common_fields(self, seconds: float) -> dict[str, Any]:
        cls = self.spec.tracker.tracker_class
        device = str(getattr(self.tracker, "device", None) or self.spec.device or "cpu")
        return {
            "oracle": bool(self.tracker.oracle) or (self.spec.texts is not None and self.spec.texts.over_time),
            "device": device,
            "versions": system.versions(cls.__module__),
            "machine": dict(system.describe_system(device)),
            "seconds": {"load": round(seconds, 3)},
            "mode": Mode(self.spec.mode or self.tracker.modes[-1]).value,
        }


def discard_output() -> None:
    """Forgets what was printed so far, where standard output is a plain file (a runner's)."""
    flush_output()
    if _is_own_file():
        os.ftruncate(1, 0)


def kept_output() -> str:
    """The end of what was printed since `discard_output`."""
    flush_output()
    if not _is_own_file():
        return ""
    size = os.fstat(1).st_size
    return os.pread(1, OUTPUT_KEPT, max(0, size - OUTPUT_KEPT)).decode(errors="replace")


def flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # the tracker closed or replaced it
            continue


def _is_own_file() -> bool:
    """Whether descriptor 1 is the nameless file that `tnllt.tracking.process` opens for its worker."""
    try:
        about = os.fstat(1)
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 0


def _end_with_runner(wire: int) -> None:
    """Ends this process when the other side of the wire is gone, or (Linux) when the runner dies."""

    def watch() -> None:
        poll = select.poll()
        poll.register(wire, getattr(select, "POLLRDHUP", select.POLLHUP))
        poll.poll()
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="tnllt-watch").start()
    if sys.platform == "linux":
        import ctypes

        # A tracker that never gives Python's lock back would keep the thread above from running.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main() -> None:
    """`python -m tnllt.tracking.worker WIRE GAUGE`, with two inherited file descriptors."""
    wire, heartbeat = int(sys.argv[1]), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_runner(wire)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    warnings.simplefilter("ignore", DataWarning)
    import cv2  # noqa: F401  (its threads and random numbers are set before anything is loaded)

    worker = Worker(Connection(os.dup(wire)), Heartbeat(heartbeat))
    try:
        worker.load()
    except TnlltError as error:
        worker.send(fatal=str(error), code=error.exit_code)
        return
    except FAULTS as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        worker.send(fatal=f"{worker.spec.tracker.name} cannot be loaded: {text}", trace=traceback.format_exc())
        return
    worker.serve()


if __name__ == "__main__":
    try:
        main()
    except (EOFError, ConnectionError):  # the runner is gone
        os._exit(1)
    flush_output()
    os._exit(0)  # a library's threads must not keep a worker that is done
