"""Options of training the bundled reasoner, declared once for the function and the command."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from tnllt.errors import UsageError
from tnllt.options import option
from tnllt.training.state import need_utf8


@dataclass(frozen=True)
class ReasonerOptions:
    """How a run is carried out; none of it changes what is learnt."""

    out: Path = option(MISSING, "Folder of the run; the same command resumes there.", "-o")
    save_every: int = option(250, "Steps, or gathered scenes, between saved states.", minimum=1)
    log_every: int = option(50, "Steps between rows of the curves.", minimum=1)
    minutes: float | None = option(None, "Save and stop after so many minutes; the same command resumes.", above=0)
    workers: int = option(0, "Processes that draw scenes; 0: this one does.", "-w", minimum=0)
    device: str = option("cpu", "Where the network is: cpu, cuda, cuda:1, auto.")

    def __post_init__(self) -> None:
        need_utf8(self.out)


@dataclass(frozen=True)
class ReaderRecipe:
    """Everything that decides what a run computes.

    Attributes:
        steps, batch: length; scenes asked about in a step.
        muon: learning rate of the matrices (Muon). learning_rate: of the rest (AdamW). weight_decay: of both.
        warmup: steps in which the rates rise. cool: last fraction of the steps, in which they fall to 0.
        ema: decay of the averaged weights.
        streams: series of scenes of their own, from which the steps are drawn in turn. A series is drawn by one
            process, so the number of workers divides it.
        reuse: scenes asked about for each new one.
    """

    steps: int = 8000
    batch: int = 4
    muon: float = 0.03
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 50
    cool: float = 0.6
    ema: float = 0.998
    streams: int = 1
    reuse: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.streams, self.reuse) < 1:
            raise UsageError("steps, batch, streams and reuse must be at least 1")

    def rate(self, step: int) -> float:
        """The learning rate at a step as a part of the full one."""
        return min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / max(1.0, self.cool * self.steps))


@dataclass(frozen=True)
class ChoiceRecipe:
    """Everything that decides what the supervised choice computes.

    Attributes:
        scenes: six questions each. epochs, batch, learning_rate, weight_decay: of AdamW on all of them; more epochs
            learn the scenes by heart.
    """

    scenes: int = 4000
    epochs: int = 4
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.scenes, self.epochs, self.batch) < 1:
            raise UsageError("scenes, epochs and batch must be at least 1")


@dataclass(frozen=True)
class TrackedRecipe(ChoiceRecipe):
    """Everything that decides what the supervised choice computes at the tracker's own boxes.

    Attributes:
        scenes: tracked, eleven questions each. lookalikes: fraction in which the target does not change.
    """

    scenes: int = 1000
    epochs: int = 12
    learning_rate: float = 2e-4
    lookalikes: float = 0.45


@dataclass(frozen=True)
class GainRecipe(TrackedRecipe):
    """Everything that decides what the reinforcement computes.

    Attributes:
        scenes: tracked, up to five questions each.
        divergence: weight of the Kullback-Leibler divergence from the supervised policy.
    """

    scenes: int = 150
    epochs: int = 40
    batch: int = 64
    learning_rate: float = 3e-4
    lookalikes: float = 0.4
    divergence: float = 0.02
