"""A run on a Ray cluster: one Ray task a sequence, retried by Ray when a node is lost.

Every node needs tnllt (and the tracker) installed, and dataset and results on paths that all nodes share. Each Ray
process keeps one worker of ours, as a run on one machine has, so that a tracker is loaded once and a crash of it does
not take Ray's process along. Results are written by the workers, the same atomic way.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tnllt.errors import MissingExtraError, TnlltError, UsageError
from tnllt.tracking.config import Limits, RunConfig, RunSpec, part
from tnllt.tracking.pool import Pool, SequenceOutcome, Watcher
from tnllt.tracking.process import Job

#: How often Ray moves a sequence to another node before it is given up.
MOVES = 10

_pools: dict[str, Pool] = {}


def run_on_cluster(spec: RunSpec, jobs: list[Job], config: RunConfig, watcher: Watcher) -> Iterator[SequenceOutcome]:
    """Tracks the sequences, longest first, on the cluster at `config.cluster` ("auto", "HOST:PORT", "ray://HOST:PORT").

    Raises:
        MissingExtraError: Ray is not installed. UsageError: no cluster answers there.
        TnlltError: the tracker cannot be loaded, or results cannot be written.
    """
    ray = _connect(config.cluster or "auto", config.verbose)
    try:
        task = ray.remote(
            num_cpus=spec.threads,
            num_gpus=config.gpus,
            max_retries=MOVES,
            scheduling_strategy="SPREAD",
        )(_track)
        words = json.dumps({"spec": spec.as_json(), "limits": part(config, Limits)})
        waiting = deque(jobs)
        running: dict[Any, Job] = {}
        most = config.workers if config.workers > 1 else len(jobs)
        while waiting or running:
            while waiting and len(running) < most:
                job = waiting.popleft()
                running[task.remote(words, asdict(job))] = job
            ready, _ = ray.wait(list(running), num_returns=1, timeout=5.0)
            for reference in ready:
                outcome = _outcome(ray, reference, running.pop(reference))
                watcher.ended(outcome)
                yield outcome
    finally:
        ray.shutdown()


def _track(words: str, job: dict[str, Any]) -> dict[str, Any]:
    """Runs inside a Ray process, on any node: one sequence, by this process's own worker."""
    if words not in _pools:
        for other in _pools.values():
            other.close(at_once=True)
        _pools.clear()
        table = json.loads(words)
        _pools[words] = Pool(RunSpec.from_json(table["spec"]), limits=Limits(**table["limits"]))
    outcomes = list(_pools[words].run([Job(**job)]))
    return {**asdict(outcomes[0]), "node": os.uname().nodename}


def _outcome(ray: Any, reference: Any, job: Job) -> SequenceOutcome:
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, TnlltError):
            raise cause from error
        raise TnlltError(f"{job.name}: {type(cause).__name__}: {cause}") from error
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:300]
        return SequenceOutcome(job.name, "failed", f"given up by the cluster: {reason}", {"kind": "lost"})
    answer.pop("node")
    return SequenceOutcome(**answer)


def _connect(address: str, verbose: bool) -> Any:
    _answers(address)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--cluster", "cluster", error) from error
    try:
        ray.init(address=address, log_to_driver=verbose, logging_level=logging.ERROR, namespace="tnllt")
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"no Ray cluster at {address!r}: {reason}; `ray start --head` begins one") from error
    return ray


def _answers(address: str) -> None:
    """Raises UsageError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto", or something for Ray to judge
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"no Ray cluster at {address!r}: {reason}; `ray start --head` begins one") from error
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if host in ("127.0.0.1", "localhost"):
        # Ray would look for the machine's outward address, where a cluster of the loopback device does not listen.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
