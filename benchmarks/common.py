"""What the benchmarks share: races whose rounds alternate, tables, the machine's name."""

from __future__ import annotations

import importlib
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tnllt.processes import processors


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
    """Seconds of one kind of work in each round, of the processor and by the clock."""

    processor: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        return min(self.processor)

    @property
    def median(self) -> float:
        return statistics.median(self.processor)

    @property
    def clock(self) -> float:
        return min(self.seconds)

    def beyond(self, other: Spent) -> float:
        """The median of what this takes more of the processor in a round: there the machine's speed is one for both."""
        return statistics.median(own - its for own, its in zip(self.processor, other.processor, strict=True))


def race(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Spent]:
    """Runs every work once per round, in turn, so that other programs disturb all alike."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began, used = time.perf_counter(), time.process_time()
            work()
            spent[name].append((time.process_time() - used, time.perf_counter() - began))
    return {name: Spent(*zip(*pairs, strict=True)) for name, pairs in spent.items()}


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
    cores = processors()
    return f"{name}, {cores} core{'s' * (cores != 1)} used, {platform.system()}, Python {platform.python_version()}"
