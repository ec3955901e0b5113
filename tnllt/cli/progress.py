"""How long work shows its progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.tracking.config import RunSpec
    from tnllt.tracking.plan import RunPlan
    from tnllt.tracking.pool import SequenceOutcome, Watcher
else:
    Watcher = object  # the real one would make every command that shows progress import the tracking


class Bar:
    """A bar on standard error where that is a terminal; `shown` is False elsewhere.

    Args:
        label: what is being done.
        unit: what is counted; "B" shows bytes as MB and GB.
        leave: whether the bar stays when it is full.
    """

    def __init__(self, label: str, unit: str, leave: bool = False) -> None:
        self.label, self.unit, self._leave = printable(label), unit, leave
        self.shown = sys.stderr.isatty()
        self._bar: Any = None

    def draw(self, done: int, total: int, suffix: str = "") -> None:
        if not self.shown:
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, desc=self.label, unit=self.unit, unit_scale=self.unit == "B", leave=self._leave,
                dynamic_ncols=True, smoothing=0.1, mininterval=0.2,
            )  # fmt: skip
        if suffix:
            self._bar.set_postfix_str(suffix, refresh=False)
        self._bar.update(max(0, done - self._bar.n))

    def line(self, text: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self._bar is not None:
            self._bar.write(printable(text), file=sys.stderr)
        else:
            print(printable(text), file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Progress(Bar):
    """Called with (done, total), in whatever unit, as work goes on; a line at each tenth where there is no bar."""

    _tenth = 0

    def __call__(self, done: int, total: int) -> None:
        self.draw(done, total)
        if done >= total:
            self.close()
        tenth = done * 10 // max(total, 1)
        if tenth > self._tenth and not self.shown:
            self._tenth = tenth
            amounts = f"{done:,} of {total:,} {self.unit}"
            if self.unit == "B":
                amounts = f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
            self.line(f"{self.label}: {amounts}")


class RunProgress(Bar, Watcher):
    """Watches `tnllt-run`: sequences and frames done, frames per second, a line for what needs one."""

    def __init__(self) -> None:
        super().__init__("", "frame", leave=True)
        self._sequences = self._frames = self._ended = self._tracked = 0
        self._running: dict[str, None] = {}

    def planned(self, spec: RunSpec, plan: RunPlan) -> None:
        if self._bar is not None:  # of the variant before
            self._bar.close()
        self._bar, self._ended, self._tracked = None, 0, 0
        self.label = printable(spec.tracker.name)
        self._sequences, self._frames = len(plan.jobs), sum(job.frames for job in plan.jobs)
        there = f", {len(plan.done)} there already" if plan.done else ""
        what = f"{len(plan.jobs)} of {plan.total} sequences to track{there}"
        self.line(f"{self.label} on {plan.dataset}: {what}; {plan.place}, results in {spec.results}")

    def began(self, name: str) -> None:
        self._running[name] = None
        self._draw()

    def ended(self, outcome: SequenceOutcome) -> None:
        self._running.pop(outcome.name, None)
        self._ended += 1
        if outcome.how == "failed":
            self.line(f"FAILED {outcome.name}: {outcome.message}")
        elif not self.shown:
            self.line(self._summary(outcome))
        self._draw()

    def frames(self, tracked: int) -> None:
        self._tracked = max(self._tracked, min(tracked, self._frames))
        self._draw()

    def note(self, text: str) -> None:
        self.line(text)

    def _draw(self) -> None:
        names = ", ".join(map(printable, self._running))
        self.draw(self._tracked, self._frames, f"{self._ended}/{self._sequences} sequences {names:.40}")

    def _summary(self, outcome: SequenceOutcome) -> str:
        fps, frames = outcome.facts.get("fps"), outcome.facts.get("frames")
        speed = "" if fps is None else f"  {frames} frames  {fps:.1f} fps"
        how = "  (finished by another run)" if outcome.how == "there" else ""
        return f"[{self._ended}/{self._sequences}] {outcome.name}{speed}{how}"
