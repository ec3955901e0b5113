"""What a tracker is: two methods, and what it may add to them.

The least a tracker needs::

    from tnllt.tracking import Tracker

    class Stay(Tracker):
        def initialize(self, image, box=None, language=None):
            self.box = box

        def track(self, image):
            return self.box

Its constructor's keyword arguments are its options (`--set key=value`), checked against their annotations.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from tnllt.masks import Mask
from tnllt.sequence import Image

#: Called with one JSON-able event (a description refresh, say); the runner writes it to `<sequence>.trace.jsonl`.
Emit = Callable[[Mapping[str, Any]], None]


class Mode(str, enum.Enum):
    """Which inputs a tracker is started with: the initial box, the language description, or both."""

    BB = "BB"
    NL = "NL"
    NL_BB = "NL+BB"


@dataclass(frozen=True)
class Prediction:
    """A tracker's answer for one frame.

    Attributes:
        box: x, y, w, h in pixels of the image it was given.
        confidence: higher is surer; None where the tracker has no score.
        absent: True where the tracker reports the target absent.
        mask: (H, W) bool, the target's pixels, from a tracker that has them; `--masks` keeps it.
    """

    box: ArrayLike
    confidence: float | None = None
    absent: bool = False
    mask: Mask | None = None


class Tracker(abc.ABC):
    """A single-object tracker. One instance tracks many sequences, one after the other.

    Attributes:
        modes: what it can be started with, the most informative last.
        emit: set by the runner before `initialize`; takes events for the trace. None outside a run.
        run_seed: set by the runner before `initialize`; for a tracker that computes in another process, which the
            runner cannot seed.
        sequence_name: set by the runner before `initialize` and `start`; None outside a run.
        oracle: True where the tracker looks at the annotation; its run records note it.
        gives_masks: True where its predictions have a mask.
    """

    modes: ClassVar[tuple[Mode, ...]] = (Mode.BB,)
    emit: Emit | None = None
    run_seed: int = 0
    sequence_name: str | None = None
    oracle: bool = False
    gives_masks: ClassVar[bool] = False

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """JSON-able facts that decide the boxes besides class and options: weights by SHA-256, a clone's commit.

        Facts name contents, not places. Optional: the runner compares them before it continues a run, and a run is not
        continued where they differ. Called on the class, before anything is loaded.

        Args:
            options: the constructor's, checked.
        """
        return {}

    @abc.abstractmethod
    def initialize(
        self, image: Image, box: Sequence[float] | None = None, language: str | None = None
    ) -> Prediction | None:
        """Start on a sequence's first frame.

        Args:
            image: RGB uint8 (H, W, 3).
            box: x, y, w, h in pixels; None in mode NL.
            language: the sequence's language description; None in mode BB.

        Returns:
            In mode NL, where the target is in this frame. None there makes the runner ask `track` with the same image.
            Where a box was given, no more than the mask of the answer is read.
        """

    @abc.abstractmethod
    def track(self, image: Image) -> Prediction | Sequence[float]:
        """The target's box in the next frame, RGB uint8 (H, W, 3)."""

    def measure(self, image: Image) -> tuple[Prediction | Sequence[float], Mapping[str, int]]:
        """`track`, and what is known of {"parameters", "flops"}; for a tracker that computes in another process."""
        from tnllt.tracking.costs import counted

        return counted(lambda: self.track(image))

    def describe(self, text: str) -> None:
        """The language description from the next frame on; called before `track` where a run's texts change over time.

        Optional: a tracker without it is refused such texts.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no other description during a sequence")

    def finish(self) -> None:
        """The sequence is over, however it ended: let go of what was kept for it. Called once per `initialize`."""

    def close(self) -> None:
        """The tracker is not needed any more. Called once."""

    def info(self) -> Mapping[str, Any]:
        """JSON-able facts for the run's record (weights' hash, device, a description that was cut)."""
        return {}


@runtime_checkable
class SupportsBatch(Protocol):
    """A tracker that can track several sequences in one forward pass (`tnllt-run --batch B`).

    A state belongs to one sequence; `step` advances any number of them and must answer as if each were alone. In mode
    NL the first frame's answer is the state's attribute `prediction`; where it has none, the first `step` of the state
    is given the first frame again, and answers where the target is in it.
    """

    def start(
        self, image: Image, box: Sequence[float] | None, language: str | None, emit: Emit | None = None
    ) -> Any: ...

    def step(self, states: Sequence[Any], images: Sequence[Image]) -> list[Prediction]: ...

    def end(self, state: Any) -> Mapping[str, Any]:
        """Let go of the state; JSON-able facts about its sequence."""
        ...
