"""What the benchmarks share: races whose rounds alternate, tables, the machine's name."""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Table:
    """One table of the benchmark page.

    Attributes:
        title: its heading.
        method: what was done, on what, and which clock is told.
        header, rows: text cells; `note` says what follows from them, or what was left out.
    """

    title: str
    method: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", self.method, ""]
        align = ["---", *["---:"] * (len(self.header) - 1)]
        lines += [f"| {' | '.join(row)} |" for row in (self.header, align, *self.rows)]
        return "\n".join([*lines, *(["", self.note] if self.note else [])]) + "\n"


@dataclass(frozen=True)
class Spent:
    """Seconds of one kind of work: best and median over rounds, of the processor and by the clock."""

    best: float
    median: float
    clock: float


def race(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Spent]:
    """Runs every work once per round, in turn, so that other programs disturb all alike."""
    processor: dict[str, list[float]] = {name: [] for name in works}
    clock: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began, used = time.perf_counter(), time.process_time()
            work()
            processor[name].append(time.process_time() - used)
            clock[name].append(time.perf_counter() - began)
    return {n: Spent(min(processor[n]), statistics.median(processor[n]), min(clock[n])) for n in works}


def present(*modules: str) -> tuple[list[Any], str]:
    """The modules, or an empty list and a sentence that says which one is not installed or cannot be imported."""
    try:
        return [importlib.import_module(m) for m in modules], ""
    except Exception as error:
        return [], f"{modules[0]} was left out: {type(error).__name__}: {error}."


def version(package: str) -> str:
    """`name version` of an installed package."""
    from importlib.metadata import version as installed

    return f"{package} {installed(package)}"


def ratio(other: float, ours: float) -> str:
    """How many times the other's time ours is shorter: below 1, the other is faster."""
    return f"{other / ours:.2f}" if other < 10 * ours else f"{other / ours:.0f}"


def machine() -> str:
    """Processor, cores that this process may use, system memory, and the versions that matter."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        found = [ln.split(":", 1)[1].strip() for ln in info.read_text().splitlines() if ln.startswith("model name")]
        name = found[0] if found else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core{'s' * (cores != 1)} used, {platform.system()}, Python {platform.python_version()}"
