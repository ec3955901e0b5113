"""A run on a Ray cluster: one Ray task a sequence, retried by Ray when a node is lost.

Every node needs tnllt (and the tracker) installed, and dataset and results on paths that all nodes share. Each Ray
process keeps one worker of ours, as a run on one machine has, so that a tracker is loaded once and a crash of it does
not take Ray's process along. Results are written by the workers, the same atomic way.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from tnllt.processes import MOVES, connect_ray, ray_answer
from tnllt.tracking.config import Limits, RunConfig, RunSpec, part
from tnllt.tracking.pool import Pool, SequenceOutcome, Watcher
from tnllt.tracking.process import Job

_pools: dict[str, Pool] = {}


def run_on_cluster(spec: RunSpec, jobs: list[Job], config: RunConfig, watcher: Watcher) -> Iterator[SequenceOutcome]:
    """Tracks the sequences, longest first, on the cluster at `config.cluster` ("auto", "HOST:PORT", "ray://HOST:PORT").

    Raises:
        MissingExtraError: Ray is not installed. UsageError: no cluster answers there.
        TnlltError: the tracker cannot be loaded, or results cannot be written.
    """
    ray = connect_ray(config.cluster or "auto", config.verbose)
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
        answer = ray_answer(ray, reference, job.name)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:300]
        return SequenceOutcome(job.name, "failed", f"given up by the cluster: {reason}", {"kind": "lost"})
    answer.pop("node")
    return SequenceOutcome(**answer)
