"""How long work shows itself: a bar on a terminal, a plain line at each tenth elsewhere."""

from __future__ import annotations

import sys
from typing import Any

import click


class Progress:
    """Called with (done, total), in whatever unit, as work goes on.

    Args:
        label: what is being done.
        unit: what is counted; "B" shows bytes as MB and GB.
    """

    def __init__(self, label: str, unit: str) -> None:
        self.label, self.unit = label, unit
        self._bar: Any = None
        self._tenth = 0

    def __call__(self, done: int, total: int) -> None:
        if sys.stderr.isatty():
            self._draw(done, total)
            return
        tenth = done * 10 // max(total, 1)
        if tenth > self._tenth:
            self._tenth = tenth
            click.echo(f"{self.label}: {self._amounts(done, total)}", err=True)

    def _draw(self, done: int, total: int) -> None:
        from tqdm import tqdm

        if self._bar is None:
            scale = self.unit == "B"
            self._bar = tqdm(total=total, desc=self.label, unit=self.unit, unit_scale=scale, leave=False)
        self._bar.update(done - self._bar.n)
        if done >= total:
            self._bar.close()

    def _amounts(self, done: int, total: int) -> str:
        if self.unit == "B":
            return f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
        return f"{done:,} of {total:,} {self.unit}"
