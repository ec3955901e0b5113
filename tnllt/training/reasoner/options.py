"""Options of training the bundled reasoner, declared once for the function and the command."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from tnllt.option_fields import option
from tnllt.training.state import need_utf8


@dataclass(frozen=True)
class ReasonerOptions:
    """How a run is carried out; none of it changes what is learnt."""

    out: Path = option(MISSING, "Folder of the run; the same command resumes there.", "-o")
    save_every: int = option(250, "Steps between saved states.", minimum=1)
    log_every: int = option(50, "Steps between rows of the curves.", minimum=1)
    minutes: float | None = option(None, "Save and stop after so many minutes; the same command resumes.", above=0)

    def __post_init__(self) -> None:
        need_utf8(self.out)
