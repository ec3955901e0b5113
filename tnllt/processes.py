"""Work shared among processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
#: What a process that shares work does with each item.
_work: Callable[[Any], Any] | None = None


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_processes(
    work: Callable[[T], R], items: Iterable[T], workers: int, prepare: Callable[[], object] | None = None
) -> Iterator[R]:
    """`map` over new processes, the results in order; with one worker, in this process.

    Each process imports the program's main module, which must not start the work again when it is imported, calls
    `prepare` and is sent `work` once.
    """
    if workers == 1:
        yield from map(work, items)
        return
    from concurrent.futures import ProcessPoolExecutor  # slow to import
    from multiprocessing import get_context

    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start, initargs=(prepare, work))
    try:
        yield from pool.map(_do, items)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def map_in_threads(work: Callable[[T], R], items: Iterable[T], threads: int = 2) -> list[R]:
    """`map` over threads, for work that leaves the interpreter's lock to others; without any where processes share it.

    NumPy gives the lock back for each operation: more than two threads gain little there.
    """
    if _work is not None:
        return list(map(work, items))
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, items))


def _start(prepare: Callable[[], object] | None, work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
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
