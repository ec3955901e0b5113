"""Options of training the tracking network, declared once for the function and the command."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from tnllt.options import option
from tnllt.training.state import need_utf8


@dataclass(frozen=True)
class TrainOptions:
    """How a run is carried out; none of it changes what is learnt, apart from rounding."""

    out: Path = option(MISSING, "Folder of the run; the same command resumes there.", "-o")
    init: Path | None = option(None, "Weights to start from: a tracker's, or Fast-iTPN's.")
    workers: int = option(2, "Loader processes per training process.", "-w", minimum=0)
    precision: str = option("no", "Mixed precision.", choices=("no", "bf16", "fp16"))
    compile: bool = option(False, "torch.compile; pays on an accelerator.")
    checkpoint_gradients: bool = option(False, "Less memory, a third more time.")
    save_every: int = option(500, "Steps between saved states.", minimum=1)
    log_every: int = option(50, "Steps between log lines.", minimum=1)
    validate_every: int = option(1, "Epochs between validations; 0: never.", minimum=0)
    minutes: float | None = option(None, "Save and stop after so many minutes; the same command resumes.", above=0)
    cpu: bool = option(False, "Do not use accelerators.")

    def __post_init__(self) -> None:
        need_utf8(self.out)
