"""A multimodal language model as tracker: asked every k frames, another tracker in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.foundation.box_model import BoxAnswer, BoxModel
from tnllt.foundation.checkpoints import model_hash
from tnllt.options import key_values, split_pairs
from tnllt.sequence import Image
from tnllt.tracking.identity import content_hash
from tnllt.tracking.registry import find_tracker
from tnllt.tracking.tracker import Mode, Prediction, Tracker


class VlmTracker(Tracker):
    """A multimodal language model that is shown the first frame with the target's box, and asked where it is now.

    Args:
        model: "openai:URL", "transformers:PATH" or "replay:FILE", as for reasoners.
        convention: how it writes boxes: qwen2.5-vl, qwen3-vl, internvl, glm-v, moondream, or your own TOML file.
        every: frames from one question to the next.
        between: a tracker for the frames between; "" keeps the last box.
        between_options: its options, "name=value,...".
        crop: 0 shows the whole frame; above, a square of so many target sizes around the last box.
        model_options: options of the model, "name=value,...", as for reasoners.

    A question without a usable answer keeps the last box, or that of the tracker in between.

    Raises:
        UsageError: an option that cannot be used, or a server that does not answer.
    """

    name: ClassVar[str] = "vlm"
    modes: ClassVar[tuple[Mode, ...]] = (Mode.NL, Mode.BB, Mode.NL_BB)

    @classmethod
    def missing(cls) -> str:
        """What keeps the tracker from running here, or ""."""
        lacking = [name for name in ("openai", "transformers") if find_spec(name) is None]
        if lacking:
            return f'{" and ".join(lacking)}: pip install ".[vlm]" in tnllt\'s source'
        return "a model: --set model=openai:URL|transformers:PATH and --set convention=qwen3-vl"

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        facts: dict[str, Any] = {}
        kind, _, place = str(options["model"]).partition(":")
        if kind == "transformers" and Path(place).is_dir():
            facts["model"] = model_hash(Path(place))
        if Path(str(options["convention"])).is_file():
            facts["convention"] = content_hash(Path(str(options["convention"])))
        if options.get("between"):
            spec = find_tracker(options["between"], _pairs(options.get("between_options", "")))
            facts["between"] = {"tracker": spec.name, **spec.tracker_class.identity(spec.options)}
        return facts

    def __init__(
        self,
        model: str,
        convention: str,
        every: int = 30,
        between: str = "",
        between_options: str = "",
        crop: float = 0.0,
        model_options: str = "",
    ) -> None:
        if every < 1 or (crop and crop < 1):
            raise UsageError("every is at least 1, and crop 0 (the whole frame) or at least 1")
        self.every, self.crop = every, crop
        self._model = BoxModel(model, convention, _pairs(model_options))
        self._model.reach()
        spec = find_tracker(between, _pairs(between_options)) if between else None
        self._between_name = spec.name if spec is not None else ""
        self._between = spec.create() if spec is not None else None
        if self._between is not None and Mode.BB not in self._between.modes:
            raise UsageError(f"between={between}: it does not start from a box alone")
        self._running = False
        self._reset()

    def _reset(self) -> None:
        self._frame, self._failures = 0, 0
        self._asked: list[int] = []

    def initialize(
        self, image: Image, box: Sequence[float] | None = None, language: str | None = None
    ) -> Prediction | None:
        self._reset()
        self._text = (language or "").strip()
        if box is None:
            answer = self._note(self._model.locate(image, self._text))
            if not answer.boxes:
                reason = answer.error or "it says that the target is not there"
                raise DataError(f"the model finds no box for {self._text!r} in the first frame: {reason}")
            box = answer.boxes[0]
        self._first, self._initial = image.copy(), [float(v) for v in box]
        self._last = Prediction(self._initial)
        self._restart(image, self._initial)
        return self._last

    def track(self, image: Image) -> Prediction:
        self._frame += 1
        if self._between is not None:
            found = self._between.track(image)
            own = found if isinstance(found, Prediction) else Prediction(found)
            # A tracker in between that lost the target keeps the last box.
            self._last = dataclasses.replace(own, box=self._last.box) if own.absent else own
        if self._frame % self.every == 0:
            self._ask(image)
        return self._last

    def _ask(self, image: Image) -> None:
        shown, left, top = self._shown(image)
        answer = self._note(self._model.follow(self._first, self._initial, shown, self._text))
        if answer.boxes:
            x, y, w, h = answer.boxes[0]
            self._last = Prediction([x + left, y + top, w, h])
            self._restart(image, [x + left, y + top, w, h])
        elif answer.absent and self.crop == 0:
            self._last = Prediction(self._last.box, absent=True)

    def _shown(self, image: Image) -> tuple[Image, int, int]:
        """What the model is shown, and where its corner is in the frame."""
        if not self.crop:
            return image, 0, 0
        x, y, w, h = (float(v) for v in np.asarray(self._last.box))
        half = max(16.0, self.crop * float(np.sqrt(max(1.0, w * h))) / 2)
        left, right = (int(np.clip(v, 0, image.shape[1])) for v in (x + w / 2 - half, x + w / 2 + half))
        top, bottom = (int(np.clip(v, 0, image.shape[0])) for v in (y + h / 2 - half, y + h / 2 + half))
        if right - left < 2 or bottom - top < 2:
            return image, 0, 0
        return image[top:bottom, left:right], left, top

    def _note(self, answer: BoxAnswer) -> BoxAnswer:
        self._asked.append(self._frame)
        self._failures += answer.error is not None
        if self.emit is not None:
            self.emit({**answer.event, "frame": self._frame})
        return answer

    def _restart(self, image: Image, box: Sequence[float]) -> None:
        if self._between is None:
            return
        self._stop()
        self._between.run_seed = self.run_seed
        self._between.initialize(image, list(box), None)
        self._running = True

    def _stop(self) -> None:
        if self._between is not None and self._running:
            self._between.finish()
        self._running = False

    def finish(self) -> None:
        self._stop()

    def close(self) -> None:
        self._model.close()
        if self._between is not None:
            self._between.close()

    def info(self) -> Mapping[str, Any]:
        counts = {"refreshes": list(self._asked), "reasoner_failures": self._failures}
        own = {"between": self._between_name, **self._between.info()} if self._between is not None else {}
        return {**self._model.info(), "every": self.every, "crop": self.crop, **counts, "between": own}


def _pairs(text: str) -> dict[str, str]:
    return key_values(split_pairs(text), "options", "NAME=VALUE")
