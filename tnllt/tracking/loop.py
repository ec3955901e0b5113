"""Tracking sequences with a tracker: the loop, its clocks, and what it refuses to take from a tracker."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tnllt.errors import DataError, EndOfStream, UsageError
from tnllt.sequence import Image, Sequence, Trajectory
from tnllt.tracking import system
from tnllt.tracking.failures import FAULTS, TrackerFailure, failure_of
from tnllt.tracking.process import FINISHING, IDLE, READING, STARTING, TRACKING, Heartbeat
from tnllt.tracking.sequence_run import SequenceRun
from tnllt.tracking.tracker import Emit, Mode, Prediction, SupportsBatch, Tracker


class TrackingLoop:
    """A tracker at work on one sequence, or on several at once where it can (`SupportsBatch`).

    Args:
        tracker: the tracker, loaded once.
        batch: how many sequences at once; above 1 the tracker must be a `SupportsBatch`.
        on_frame: called with a `SequenceRun` after each of its frames.
        heartbeat: updated with each phase.
    """

    def __init__(
        self,
        tracker: Tracker,
        batch: int = 1,
        on_frame: Callable[[SequenceRun], None] | None = None,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        if batch > 1 and not isinstance(tracker, SupportsBatch):
            raise UsageError(f"{type(tracker).__name__} tracks one sequence at a time: leave --batch out")
        self.tracker, self.batch, self._on_frame, self._heartbeat = tracker, batch, on_frame, heartbeat
        self.active: list[SequenceRun] = []
        self._process = os.getpid()

    def start(self, run: SequenceRun) -> TrackerFailure | None:
        """Starts a tracker on the sequence's first frame; a failure is returned, and the sequence is then over."""
        try:
            system.seed_everything(run.seed)
            self.tracker.run_seed = run.seed
            self.tracker.sequence_name = run.sequence.name
            self._phase(READING)
            image = run.next_image()
            self._phase(STARTING)
            if hasattr(self.tracker, "receive"):
                self.tracker.receive(run.sequence)
            first, seconds = self._begin(run, image)
            run.take(first, seconds)
        except FAULTS as error:
            failure = self._failure(error, run.index)
            self.end(run)
            return failure
        self._tracked([run])
        self.active.append(run)
        return None

    def step(self) -> list[tuple[SequenceRun, Trajectory | TrackerFailure]]:
        """One frame further in every sequence in hand; returns those that are over, and how they ended."""
        over: list[tuple[SequenceRun, Trajectory | TrackerFailure]] = []
        ready, images = [], []
        self._phase(READING)
        for run in list(self.active):
            if run.index == run.count:
                over.append((run, self._finish(run)))
                continue
            try:
                images.append(run.next_image())
                ready.append(run)
            except EndOfStream:
                over.append((run, self._finish(run)))
            except FAULTS as error:
                over.append((run, self._abandon(run, self._failure(error, run.index))))
        if ready:
            over.extend(self._advance(ready, images))
        return over

    def _advance(
        self, ready: list[SequenceRun], images: list[Image]
    ) -> list[tuple[SequenceRun, Trajectory | TrackerFailure]]:
        self._phase(TRACKING)
        try:
            begin = time.perf_counter()
            answers = self._answers(ready, images)
            system.synchronize()
            seconds = (time.perf_counter() - begin) / len(ready)
        except FAULTS as error:
            failure = self._failure(error, max(f.index for f in ready))
            if len(ready) > 1:
                failure.kind = "batch"
            return [(run, self._abandon(run, failure)) for run in ready]
        over: list[tuple[SequenceRun, Trajectory | TrackerFailure]] = []
        for run, answer in zip(ready, answers, strict=True):
            try:
                run.take(answer, seconds)
            except FAULTS as error:
                over.append((run, self._abandon(run, self._failure(error, run.index))))
        self._tracked(ready)
        return over

    def _tracked(self, runs: list[SequenceRun]) -> None:
        self._phase(IDLE, len(runs))
        if self._on_frame is not None:
            for run in runs:
                self._on_frame(run)

    def _failure(self, error: BaseException, frame: int) -> TrackerFailure:
        self._leave_fork(error)
        return failure_of(error, frame)

    def _leave_fork(self, error: BaseException | None = None) -> None:
        """Ends a process that the tracker has forked and let return here: it must not track, nor write results."""
        if os.getpid() != self._process:
            code = error.code if isinstance(error, SystemExit) else int(error is not None)
            os._exit(code if isinstance(code, int) else int(code is not None))

    def _phase(self, phase: int, frames: int = 0) -> None:
        self._leave_fork()
        if self._heartbeat is not None:
            self._heartbeat.phase(phase, frames)

    def _answers(self, ready: list[SequenceRun], images: list[Image]) -> list[Any]:
        if self.batch == 1:
            self._describe(ready[0])
            return [self.tracker.track(images[0])]
        assert isinstance(self.tracker, SupportsBatch)
        answers = self.tracker.step([f.state for f in ready], images)
        if len(answers) != len(ready):
            raise TrackerFailure("answer", f"step gave {len(answers)} predictions for {len(ready)} sequences")
        return list(answers)

    def _describe(self, run: SequenceRun) -> None:
        text = run.new_text()
        if text is not None:
            self.tracker.describe(text)
            run.emit({"event": "described", "frame": run.index, "before": run.told, "after": text})
            run.told = text

    def _begin(self, run: SequenceRun, image: Image) -> tuple[Any, float]:
        """Starts the tracker; returns its answer for the first frame (the box it was given, where there is one)."""
        box, language = run.inputs()
        given = None if box is None else Prediction(list(box))
        begin = time.perf_counter()
        if self.batch == 1:
            self.tracker.emit = run.emit
            run.begun = True
            first: Any = self.tracker.initialize(image, box, language)
            if given is None and first is None:
                first = self.tracker.track(image)
        else:
            assert isinstance(self.tracker, SupportsBatch)
            run.state = self.tracker.start(image, box, language, run.emit)
            run.begun = True
            first = getattr(run.state, "prediction", None)
            if given is None and first is None:
                first = self.tracker.step([run.state], [image])[0]
        system.synchronize()
        if given is not None:
            first = replace(given, mask=getattr(first, "mask", None))
        return first, time.perf_counter() - begin

    def _finish(self, run: SequenceRun) -> Trajectory | TrackerFailure:
        try:
            self.end(run, quietly=False)
        except FAULTS as error:
            return self._failure(error, run.index)
        return run.trajectory()

    def _abandon(self, run: SequenceRun, failure: TrackerFailure) -> TrackerFailure:
        self.end(run)
        return failure

    def end(self, run: SequenceRun, quietly: bool = True) -> None:
        """Lets go of the sequence. With `quietly` a fault of the tracker here does not hide the one before."""
        if run in self.active:
            self.active.remove(run)
        run.reader.close()
        if not run.begun:
            return
        run.begun = False
        self._phase(FINISHING)
        try:
            if self.batch == 1:
                run.info = self.tracker.info()
                self.tracker.finish()
            else:
                assert isinstance(self.tracker, SupportsBatch)
                run.info = {**self.tracker.info(), **(self.tracker.end(run.state) or {})}
        except FAULTS as error:
            self._leave_fork(error)
            if not quietly:
                raise
        finally:
            self.tracker.emit = None
            self._phase(IDLE)


def run_sequence(
    tracker: Tracker,
    sequence: Sequence,
    mode: Mode | str | None = None,
    *,
    seed: int = 0,
    read_ahead: int = 4,
    emit: Emit | None = None,
    on_frame: Callable[[SequenceRun], None] | None = None,
) -> Trajectory:
    """Tracks one sequence in this process.

    Args:
        tracker: any `Tracker`.
        sequence: with frames.
        mode: inputs to start with; None takes the most that tracker and sequence have.
        seed: seeds every random number generator before the sequence.
        read_ahead: frames decoded ahead on a thread; 0 for none.
        emit: takes the tracker's events, as they come.
        on_frame: called after every frame.

    Returns:
        The trajectory; its `record` holds the fields of a run record that belong to the sequence.

    Raises:
        TrackerFailure: the tracker raised, or did not answer with a box. UsageError: the mode cannot be had.
    """
    run = SequenceRun(sequence, choose_mode(tracker, sequence, mode), seed, read_ahead, listener=emit)
    loop = TrackingLoop(tracker, 1, on_frame)
    try:
        failure = loop.start(run)
        while failure is None:
            for _, end in loop.step():
                if isinstance(end, Trajectory):
                    return end
                failure = end
    finally:
        if run.begun:  # interrupted from outside (KeyboardInterrupt)
            loop.end(run)
    raise failure


def choose_mode(tracker: Any, sequence: Sequence, wanted: Mode | str | None = None, empty_text: bool = False) -> Mode:
    """The inputs to start with: `wanted`, else the most informative that tracker and sequence both have.

    With `empty_text`, a description that is the empty text counts as one.

    Raises:
        UsageError: the tracker cannot be started so. DataError: the sequence lacks the initial box or the description.
    """
    name = getattr(tracker, "name", None) or type(tracker).__name__
    modes = tuple(tracker.modes)
    if wanted is not None:
        wanted = Mode(wanted)
        if wanted not in modes:
            raise UsageError(f"{name} cannot start from {wanted.value}; it takes {', '.join(m.value for m in modes)}")
    lacking, box = "", sequence.groundtruth[0]
    for mode in reversed(modes) if wanted is None else (wanted,):
        if mode is not Mode.BB and not empty_text and not (sequence.language or "").strip():
            lacking = "has no language description"
        elif mode is not Mode.NL and not (np.isfinite(box).all() and (box[2:] > 0).all()):
            lacking = "has no initial box"
        else:
            return mode
    hint = "give --box x,y,w,h with a --source, or --starter"
    if "language" in lacking:
        hint = "a dataset.toml names files that the detected layout does not read"
    raise DataError(
        f"sequence {sequence.name!r} {lacking}, and {name} starts from {' or '.join(m.value for m in modes)}; {hint}"
    )
