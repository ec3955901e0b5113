"""Work shared among processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: For the environment, before torch is imported: OpenMP's threads sleep while they wait. Threads that spin take the
#: core from the one that they wait for: beside one busy process, two of them on two cores track 30 times slower.
THREADS_WAIT = ("OMP_WAIT_POLICY", "passive")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    work: Callable[[T], R], items: Iterable[T], workers: int, prepare: Callable[[], object] | None = None
) -> Iterator[R]:
    """`map` over new processes, the results in order; with one worker, in this process.

    Each process imports the program's main module, which must not start the work again when it is imported, and calls
    `prepare`.
    """
    if workers == 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor  # slow to import
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(prepare,))
    try:
        yield from pool.map(work, items)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(prepare: Callable[[], object] | None) -> None:
    Thread(target=_end_with_parent, daemon=True).start()  # a killed parent can no longer end its workers
    if prepare is not None:
        prepare()


def _end_with_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
