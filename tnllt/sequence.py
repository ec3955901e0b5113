"""Sequence and Trajectory: what every other module of the package passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError

Boxes = NDArray[np.float64]
Flags = NDArray[np.bool_]
Image = NDArray[np.uint8]


@runtime_checkable
class Frames(Protocol):
    """The images of one sequence, decoded when asked for: `frames[i]` is RGB uint8 (H, W, 3)."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Image: ...


@dataclass(frozen=True, eq=False)
class Annotation:
    """The annotation of one sequence of T frames.

    Attributes:
        groundtruth: (T, 4) float64, x, y, w, h in pixels, top-left corner; NaN where not annotated.
        present: (T,) bool, True = the target is in view; None where the benchmark does not say.
        language: the language description of the target, or None.
        attributes: {name: bool} in the benchmark's order, or None.
        descriptions: per frame, the language description that is true in it, or None.
        size: width and height of the images, where the annotation states them (GOT-10k's does), or None.
        missing_presence: path of the presence file that the dataset should have for this sequence and does not have,
            or None. Scores that depend on presence must refuse such a sequence.
    """

    groundtruth: Boxes
    present: Flags | None = None
    language: str | None = None
    attributes: Mapping[str, bool] | None = None
    descriptions: tuple[str, ...] | None = None
    size: tuple[int, int] | None = None
    missing_presence: Path | None = None

    def __post_init__(self) -> None:
        boxes = np.asarray(self.groundtruth, dtype=np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"groundtruth must have shape (T, 4), not {boxes.shape}")
        object.__setattr__(self, "groundtruth", boxes)
        if self.present is not None:
            present = np.asarray(self.present, dtype=bool)
            if present.shape != (len(boxes),):
                raise ValueError(f"present must have shape ({len(boxes)},), not {present.shape}")
            object.__setattr__(self, "present", present)
        if self.descriptions is not None and len(self.descriptions) != len(boxes):
            raise ValueError(f"{len(self.descriptions)} descriptions for {len(boxes)} frames")


class Sequence:
    """One video with its annotation, which is parsed on first use. `sequence[i]` is frame i.

    Args:
        name: as the benchmark spells it; also the name of its result file.
        source: an `Annotation`, or a function that reads it.
        frames: the images, or None where only annotations are there.
        dataset: name of the benchmark.
    """

    def __init__(
        self, name: str, source: Annotation | Callable[[], Annotation], frames: Frames | None = None, dataset: str = ""
    ) -> None:
        self.name, self.source, self.dataset = name, source, dataset
        self._frames = frames

    def __repr__(self) -> str:
        return f"Sequence({self.name!r}, dataset={self.dataset!r})"

    @cached_property
    def annotation(self) -> Annotation:
        return self.source if isinstance(self.source, Annotation) else self.source()

    @property
    def groundtruth(self) -> Boxes:
        return self.annotation.groundtruth

    @property
    def present(self) -> Flags | None:
        return self.annotation.present

    @property
    def language(self) -> str | None:
        return self.annotation.language

    @property
    def attributes(self) -> Mapping[str, bool] | None:
        return self.annotation.attributes

    @property
    def descriptions(self) -> tuple[str, ...] | None:
        return self.annotation.descriptions

    @property
    def size(self) -> tuple[int, int] | None:
        return self.annotation.size

    @property
    def missing_presence(self) -> Path | None:
        return self.annotation.missing_presence

    @property
    def has_frames(self) -> bool:
        return self._frames is not None

    @property
    def frames(self) -> Frames:
        """The images. Raises DataError where the dataset was opened from annotations alone."""
        if self._frames is None:
            raise DataError(f"sequence {self.name!r} has annotations but no frames here; give the dataset's --root")
        return self._frames

    def with_language(self, language: str, descriptions: tuple[str, ...]) -> Sequence:
        """This sequence with another language description, and other ones per frame (T)."""
        annotation = replace(self.annotation, language=language, descriptions=descriptions)
        return Sequence(self.name, annotation, self._frames, self.dataset)

    def __len__(self) -> int:
        """Number of annotated frames T."""
        return len(self.groundtruth)

    def __getitem__(self, index: int) -> Image:
        """Frame `index`, counted from the end where negative. Raises IndexError beyond the annotated frames."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"sequence {self.name!r} has {len(self)} annotated frames; there is no frame {index}")
        return self.frames[index % len(self)]

    def __iter__(self) -> Iterator[Image]:
        frames = self.frames
        return (frames[i] for i in range(len(self)))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One tracker's answers on one sequence.

    Attributes:
        boxes: (T, 4) float64, x, y, w, h in pixels; a frame called absent keeps the last box.
        confidence: (T,) float64, higher is surer, or None where the tracker gives none.
        absent: (T,) bool, True where the tracker reports the target absent, or None.
        seconds: (T,) float64, tracking time per frame, or None.
        record: the run's record (versions, device, options, description changes); empty where unknown.
    """

    boxes: Boxes
    confidence: NDArray[np.float64] | None = None
    absent: Flags | None = None
    seconds: NDArray[np.float64] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float64)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must have shape (T, 4), not {boxes.shape}")
        object.__setattr__(self, "boxes", boxes)
        for name, kind in (("confidence", np.float64), ("absent", np.bool_), ("seconds", np.float64)):
            value = getattr(self, name)
            if value is None:
                continue
            value = np.asarray(value, dtype=kind)
            if value.shape != (len(boxes),):
                raise ValueError(f"{name} must have shape ({len(boxes)},), not {value.shape}")
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.boxes)
