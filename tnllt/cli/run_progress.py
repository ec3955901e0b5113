"""What a run shows: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import IO, Any

from tnllt.text import printable
from tnllt.tracking.pool import SequenceOutcome, Watcher


class Progress(Watcher):
    """Tracks a pool: sequences and frames done, frames per second, and a line for what needs one.

    Args:
        label: the tracker's name.
        sequences, frames: how many are to be tracked.
        stream: where to; a terminal gets a bar.
    """

    def __init__(self, label: str, sequences: int, frames: int, stream: IO[str] | None = None) -> None:
        self.stream = stream or sys.stderr
        self._label, self._sequences, self._frames = printable(label), sequences, frames
        self._ended = self._tracked = 0
        self._begin = time.monotonic()
        self._running: dict[str, None] = {}
        self._bar: Any = None
        if self.stream.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=frames,
                unit="frame",
                desc=self._label,
                file=self.stream,
                dynamic_ncols=True,
                smoothing=0.1,
                mininterval=0.2,
            )

    def began(self, name: str) -> None:
        self._running[name] = None
        self._refresh()

    def ended(self, outcome: SequenceOutcome) -> None:
        self._running.pop(outcome.name, None)
        self._ended += 1
        if outcome.how == "failed":
            self.note(f"FAILED {outcome.name}: {outcome.message}")
        elif self._bar is None:
            self._line(outcome)
        self._refresh()

    def frames(self, tracked: int) -> None:
        tracked = min(tracked, self._frames)
        if self._bar is not None and tracked > self._tracked:
            self._bar.update(tracked - self._tracked)
        self._tracked = max(tracked, self._tracked)

    def note(self, text: str) -> None:
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _refresh(self) -> None:
        if self._bar is not None:
            names = ", ".join(map(printable, self._running))
            self._bar.set_postfix_str(f"{self._ended}/{self._sequences} sequences {names:.40}", refresh=False)

    def _line(self, outcome: SequenceOutcome) -> None:
        fps, frames = outcome.facts.get("fps"), outcome.facts.get("frames")
        speed = "" if fps is None else f"  {frames} frames  {fps:.1f} fps"
        how = "  (finished by another run)" if outcome.how == "there" else ""
        self.note(f"[{self._ended}/{self._sequences}] {outcome.name}{speed}{how}")
