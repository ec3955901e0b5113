"""A start from language: a starter turns the first frame and the description into the box that any tracker takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from tnllt.boxes import clip_to_image
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Image
from tnllt.tracking.options import check_options
from tnllt.tracking.registry import TrackerSpec, load_object
from tnllt.tracking.tracker import Mode, Prediction, Tracker

#: Starters by the part of their name before the colon.
STARTERS = {
    "transformers": "tnllt.foundation.starters:DetectorStarter",
    "openai": "tnllt.foundation.starters:ServerStarter",
}
#: So many boxes beside the chosen one are recorded.
_ALTERNATIVES = 5
#: What a tracker that does not know where the target is answers in most result files.
_NOWHERE = (1.0, 1.0, 1.0, 1.0)


class Starter(Protocol):
    """Anything that finds what a text names in an image."""

    def locate(self, image: Image, text: str) -> Sequence[tuple[Sequence[float], float]]:
        """Boxes (x, y, w, h in pixels of the image, RGB uint8 (H, W, 3)) with scores, in any order; none is allowed."""
        ...


@dataclass(frozen=True)
class StarterSpec:
    """A starter in words.

    Attributes:
        name: "transformers:MODEL", "openai:URL", "module:Class" or "file.py:Class".
        options: of the starter, as texts or values.
        threshold: scores below it start nothing; None for the starter's own.
        wait: where the first frame shows nothing, wait for the first frame that does.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    wait: bool = False

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> StarterSpec:
        """From the texts of `--starter` and `--starter-set`. Raises UsageError for an option that does not exist."""
        rest = dict(given)
        own: dict[str, Any] = {key: rest.pop(key) for key in ("threshold", "wait") if key in rest}
        found = check_options(_Own, own)
        starter, first = _class_of(name)
        checked = check_options(starter, {**first, **rest})
        return cls(name, {key: value for key, value in checked.items() if key not in first}, **found)

    def create(self) -> Starter:
        """The starter, loaded."""
        cls, first = _class_of(self.name)
        found: Starter = cls(**check_options(cls, {**first, **self.options}))
        return found

    def identity(self) -> dict[str, Any]:
        """Facts that decide where it starts: options, and the model by content."""
        cls, first = _class_of(self.name)
        ask = getattr(cls, "identity", None)
        own = dict(ask({**first, **self.options})) if callable(ask) else {}
        options = {key: value for key, value in self.options.items() if key not in own and key != "device"}
        name = self.name.partition(":")[0] if own else self.name
        return {"starter": name, "threshold": self.threshold, "wait": self.wait, **options, **own}


class _Own:
    """The options of the start itself."""

    name = "the start"

    def __init__(self, threshold: float | None = None, wait: bool = False) -> None: ...


class LanguageStart(Tracker):
    """A tracker that takes a box, started from a description alone.

    Args:
        tracker: it gets the description too where it takes both.
        starter: finds the box.
        name: of the starter, for the record.
        threshold: scores below it start nothing; None for the starter's own attribute `threshold`, or 0.
        wait: where the first frame shows nothing, wait for the first frame that does; else the start fails.

    Raises:
        UsageError: the tracker does not start from a box.
    """

    modes: ClassVar[tuple[Mode, ...]] = (Mode.NL,)

    def __init__(
        self, tracker: Tracker, starter: Starter, name: str = "", threshold: float | None = None, wait: bool = False
    ) -> None:
        check_takes_box(type(tracker), getattr(tracker, "name", type(tracker).__name__))
        self.tracker, self.starter, self.wait = tracker, starter, wait
        self.starter_name = name or type(starter).__name__
        self.threshold = float(getattr(starter, "threshold", 0.0)) if threshold is None else threshold
        self.device = getattr(tracker, "device", None)
        self._with_text = Mode.NL_BB in tracker.modes
        self._text, self._frame = "", 0
        self._found: dict[str, Any] = {}

    def initialize(self, image: Image, box: object = None, language: str | None = None) -> Prediction:
        self.tracker.emit, self.tracker.run_seed = self.emit, self.run_seed
        self._text, self._frame, self._found = language or "", 0, {}
        return self._look(image)

    def track(self, image: Image) -> Prediction | Sequence[float]:
        self._frame += 1
        return self.tracker.track(image) if self._found else self._look(image)

    def describe(self, text: str) -> None:
        self._text = text
        if self._found:
            self.tracker.describe(text)

    def finish(self) -> None:
        if self._found:
            self.tracker.finish()

    def close(self) -> None:
        self.tracker.close()

    def receive(self, sequence: Any) -> None:
        """Passed on to a tracker that asks for it."""
        if hasattr(self.tracker, "receive"):
            self.tracker.receive(sequence)

    def info(self) -> Mapping[str, Any]:
        facts = {"started_by": self.starter_name, "start_threshold": self.threshold}
        return {**self.tracker.info(), **facts, **self._found}

    def _look(self, image: Image) -> Prediction:
        """Asks the starter about one frame, and starts the tracker where it finds the target."""
        found = _sorted_boxes(self.starter.locate(image, self._text), image)
        best = found[0] if found else None
        if self.emit is not None:
            about = {"frame": self._frame, "by": self.starter_name, "text": self._text, "found": found}
            self.emit({"event": "start", **about})
        if best is None or best["score"] < self.threshold:
            seen = "nothing" if best is None else f"at most a box of score {best['score']:.3g}"
            if not self.wait:
                raise DataError(
                    f"{self.starter_name} finds {seen} for {self._text!r} in the first frame; the threshold is "
                    f"{self.threshold:g}: lower it (--starter-set threshold=...), or wait for the first frame that "
                    "shows the target (--starter-set wait=yes)"
                )
            return Prediction(_NOWHERE, 0.0 if best is None else best["score"], absent=True)
        first = self.tracker.initialize(image, best["box"], self._text if self._with_text else None)
        self._found = {"start_frame": self._frame, "start_box": best["box"], "start_score": best["score"]}
        self._found["start_alternatives"] = found[1:]
        return Prediction(best["box"], best["score"], mask=getattr(first, "mask", None))


def check_takes_box(tracker: type[Tracker], name: str) -> None:
    """Raises UsageError where a tracker has no use for a starter."""
    if not {Mode.BB, Mode.NL_BB} & set(tracker.modes):
        raise UsageError(f"{name} starts from language by itself; leave --starter out")


def with_starter(spec: TrackerSpec, starter: StarterSpec, device: str = "") -> LanguageStart:
    """A tracker and its starter, loaded."""
    tracker = spec.create(device)
    return LanguageStart(tracker, starter.create(), starter.name, starter.threshold, starter.wait)


def _class_of(name: str) -> tuple[type, dict[str, Any]]:
    """A starter's class, and the argument that its name holds. Raises UsageError where there is none."""
    kind, colon, rest = name.partition(":")
    if kind in STARTERS and rest:
        found: Any = load_object(STARTERS[kind])
        return found, {"url" if kind == "openai" else "model": rest}
    if not colon or not rest:
        raise UsageError(f"--starter {name}: give transformers:MODEL, openai:URL, module:Class or file.py:Class")
    found = load_object(name)
    if not callable(getattr(found, "locate", None)):
        raise UsageError(f"{name} is not a starter: it needs locate(image, text), which gives boxes with scores")
    return found, {}


def _sorted_boxes(answer: Any, image: Image) -> list[dict[str, Any]]:
    """The boxes that lie in the image, the best first, as the record holds them.

    Raises UsageError where the answer is not boxes with scores.
    """
    height, width = image.shape[:2]
    found: list[dict[str, Any]] = []
    for item in answer or ():
        try:
            box, score = item
            numbers, score = [float(v) for v in box], float(score)
            if len(numbers) != 4:
                raise ValueError(f"{len(numbers)} numbers")
        except (TypeError, ValueError) as error:
            raise UsageError(f"the starter answered {item!r:.80}, not a box x, y, w, h with a score") from error
        if not all(map(math.isfinite, [*numbers, score])):
            continue
        box = [round(float(v), 3) for v in clip_to_image(numbers, height, width)]
        if min(box[2:]) > 0 and box[0] < width and box[1] < height:
            found.append({"box": box, "score": round(score, 6)})
    return sorted(found, key=lambda row: -row["score"])[: 1 + _ALTERNATIVES]
