"""Work shared among threads, processes of this machine, or a Ray cluster."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from tnllt.errors import MissingExtraError, TnlltError, UsageError

T = TypeVar("T")
R = TypeVar("R")

#: For the environment, before torch is imported: OpenMP's threads sleep while they wait. Threads that spin take the
#: core from the one that they wait for: beside one busy process, two of them on two cores track 30 times slower.
THREADS_WAIT = ("OMP_WAIT_POLICY", "passive")
#: How often Ray moves a task to another node before it is given up.
MOVES = 10
#: What a process that shares work does with each item.
_work: Callable[[Any], Any] | None = None


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    work: Callable[[T], R], items: Iterable[T], workers: int, prepare: Callable[[], object] | None = None
) -> Iterator[R]:
    """`map` over processes that start now, the results in order; with one worker, here, when they are asked for.

    The processes are forks of this one where that `can_fork`. Elsewhere each imports the program's main module, which
    must not start the work again when it is imported, and is sent `work` once. Each calls `prepare` first.
    """
    if workers == 1:
        return map(work, items)
    from concurrent.futures import ProcessPoolExecutor  # slow to import
    from multiprocessing import get_context

    context = get_context("fork" if can_fork() else "spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(prepare, work))
    results = _shared(pool, items)
    next(results)
    return results


def _shared(pool: Executor, items: Iterable[Any]) -> Iterator[Any]:
    """None when the work has begun, then the results. From the start on, whatever ends this gives up the rest."""
    try:
        with _holding_interrupts():
            done = pool.map(_do, items)
        yield None
        yield from done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def can_fork() -> bool:
    """Whether a fork of this process is whole: there is no other thread, of any library, whose locks it would keep."""
    with suppress(OSError):
        for _ in range(5):
            if len(list(Path("/proc/self/task").iterdir())) == 1:
                return True
            time.sleep(0.001)  # a thread that was joined is on its way out
    return False


@contextmanager
def _holding_interrupts() -> Iterator[None]:
    """Ctrl-C waits. Processes that are started meanwhile never see it: it is their parent's to end them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def map_in_threads(work: Callable[[T], R], items: Iterable[T], threads: int = 2) -> list[R]:
    """`map` over threads, for work that leaves the interpreter's lock to others; without any where processes share it.

    NumPy gives the lock back for each operation: more than two threads gain little there.
    """
    if _work is not None:
        return list(map(work, items))
    listed = list(items)
    size = max(1, len(listed) // (16 * threads))  # a task of its own for each item would cost as much as a short work
    parts = [listed[i : i + size] for i in range(0, len(listed), size)]
    with ThreadPoolExecutor(threads) as pool:
        return [done for part in pool.map(lambda part: [work(item) for item in part], parts) for done in part]


def _start(prepare: Callable[[], object] | None, work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    gc.freeze()  # a collection would touch, and so copy, the pages that a fork shares
    Thread(target=_end_with_parent, daemon=True).start()  # a killed parent can no longer end its workers
    if prepare is not None:
        prepare()


def _do(item: Any) -> Any:
    assert _work is not None
    return _work(item)


def _end_with_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def map_on_cluster(work: Callable[[T], R], items: Iterable[T], address: str) -> Iterator[R]:
    """`map` over Ray tasks of one processor each, the results in order. A task whose node is lost is moved to another.

    Every node needs tnllt, and the same files under the same paths.

    Raises:
        MissingExtraError, UsageError: see `connect_ray`. TnlltError: what `work` raised, or the task was given up.
    """
    ray = connect_ray(address)
    try:
        task = ray.remote(num_cpus=1, max_retries=MOVES, scheduling_strategy="SPREAD")(_call)
        kept = ray.put(work)
        references = [task.remote(kept, item) for item in items]
        for reference in references:
            try:
                yield ray_answer(ray, reference)
            except ray.exceptions.RayError as error:
                raise TnlltError(f"given up by the cluster: {' '.join(str(error).split())[:300]}") from error
    finally:
        ray.shutdown()


def _call(work: Callable[[T], R], item: T) -> R:
    return work(item)


def ray_answer(ray: Any, reference: Any, what: str = "") -> Any:
    """What a task returned. Raises TnlltError where the task raised, a RayError where the cluster gave it up.

    Args:
        what: names the task in the error of an exception that is not ours.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TnlltError):
            raise error.cause from error
        name = f"{what}: " if what else ""
        raise TnlltError(f"{name}{type(error.cause).__name__}: {error.cause}") from error


def connect_ray(address: str, verbose: bool = False) -> Any:
    """The module `ray`, connected to a cluster ("auto", "HOST:PORT" or "ray://HOST:PORT").

    Raises:
        MissingExtraError: Ray is not installed. UsageError: no cluster answers there.
    """
    import logging

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
    import socket  # slow to import, as is logging

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
