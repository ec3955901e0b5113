"""ReasoningTrack: the tracking loop around the network, and the description that a reasoner revises.

The loop is that of the published tracker (TNLLT; DUTrack for the network's part): crops, window, template memory, and
the rule for when the description is asked for again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.build import (
    Precision,
    content_hashes,
    default_reasoner,
    load_engine,
    require_reachable,
    resolve_reasoner,
)
from tnllt.reasoningtrack.config import Config, ConfigLike
from tnllt.reasoningtrack.geometry import box_in_image, crop_square, first_template, has_changed
from tnllt.reasoningtrack.inference import Answer, Query
from tnllt.reasoningtrack.memory import FewCrops, TemplateHistory, template_indices
from tnllt.reasoningtrack.reasoners import Look, Question, Reasoner, StaticReasoner, consult
from tnllt.reasoningtrack.reasoners.trace import SCHEMA
from tnllt.reasoningtrack.text import WordPiece
from tnllt.sequence import Image
from tnllt.sequence import Sequence as VideoSequence
from tnllt.tracking.tracker import Emit, Mode, Prediction, Tracker


@dataclass(eq=False)
class State:
    """One sequence being tracked.

    Attributes:
        box: x, y, w, h in pixels, around which the next search region is cut.
        frame: number of frames seen.
        history, features: every frame's template crop, on disk; the encoded ones that are in use, by frame.
        reference: the box at the last refresh. due: the next frame starts with a refresh.
        first, seen: the first frame, and the frame of the last refresh; None where no reasoner is asked.
        earlier: the last frame's image, kept only where a refresh of the released kind is due.
        confidence: of the last box; None before any.
        sequence: its name, where it is known.
    """

    own: str
    description: str
    box: NDArray[np.float64]
    history: TemplateHistory | FewCrops
    emit: Emit | None
    first: Look | None
    reference: NDArray[np.float64]
    sequence: str | None = None
    seen: Look | None = field(init=False)
    text: Tensor = field(init=False)
    frame: int = 0
    features: dict[int, Tensor] = field(default_factory=dict)
    temporal: Tensor | None = None
    due: bool = False
    earlier: Image | None = None
    confidence: float | None = None
    refreshes: list[int] = field(default_factory=list)
    failures: int = 0
    cut: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seen = self.first


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What tracking a sequence needs for some frames more, apart from the description and the frames.

    Attributes:
        frame: number of frames seen. box: the last one. crops: template crops by frame, of the frames ahead.
        temporal: the network's tokens of the last frame. features: encoded templates; those missing are encoded anew.
    """

    frame: int
    box: NDArray[np.float64]
    crops: Mapping[int, Image]
    temporal: Tensor | None
    features: Mapping[int, Tensor] = field(default_factory=dict)


class ReasoningTrack(Tracker):
    """The reference tracker of TNLLT.

    Args:
        config: "256", "384", "tiny", or a mapping such as {"size": 256, "depths": (1, 1, 2)} (see `Config`). By
            default what the weights say, or "256".
        weights: a published DUTrack checkpoint, a safetensors file, or a state dict. Without one the bundled
            demonstration weights are used, of config "tiny".
        reasoner: "bundled", "static", "annotation" (an oracle: the dataset's text of the moment), "openai:URL",
            "transformers:PATH", "replay:FILE", or any object with `describe(first, second, description)` or
            `describe(question)` (see `Reasoner`). By default "bundled" with the bundled weights, else "static".
        reasoner_options: options of that reasoner, as a mapping, as JSON or as "name=value,...".
        reasoner_required: a server that cannot be reached is an error before the first frame; False tracks on with
            the description that the sequence has.
        prompt: file of the reasoner's system prompt; the one that ships here by default.
        compat: "released" shows the reasoner the frame before the current one and reads its answers as the
            released code does.
        refresh_interval: frames between two tests of whether a refresh is due.
        refresh_area: due where the smaller box area / the larger is below this.
        refresh_move: due where the corner moved further than min(H, W) / this.
        device: "cpu", "cuda", "cuda:1", or "auto": CUDA where there is one.
        precision: "float32", "bfloat16" or "float16".
        cuda_graphs: on CUDA, record the forward pass once and replay it.
        history: folder for the template crops while a sequence is tracked (3 z^2 bytes a frame).

    Raises:
        UsageError, DataError: an option or file that cannot be used.
    """

    modes: ClassVar[tuple[Mode, ...]] = (Mode.BB, Mode.NL_BB)

    @classmethod
    def identity(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return content_hashes(options)

    def __init__(
        self,
        config: ConfigLike | None = None,
        weights: str | Path | Mapping[str, Tensor] | None = None,
        reasoner: str | Reasoner | None = None,
        reasoner_options: str | Mapping[str, Any] | None = None,
        reasoner_required: bool = True,
        prompt: str | Path | None = None,
        compat: Literal["ours", "released"] = "ours",
        refresh_interval: int = 10,
        refresh_area: float = 0.95,
        refresh_move: float = 32.0,
        device: str = "auto",
        precision: Precision = "float32",
        cuda_graphs: bool = True,
        history: str | Path | None = None,
    ) -> None:
        if compat not in ("ours", "released"):
            raise UsageError(f'compat must be "ours" or "released", not {compat!r}')
        if refresh_interval < 1 or refresh_move <= 0:
            raise UsageError("refresh_interval must be at least 1, and refresh_move above 0")
        self._released = compat == "released"
        self._interval, self._area, self._move = refresh_interval, refresh_area, refresh_move
        self._history = history
        self._engine, self._facts = load_engine(config, weights, device, precision, cuda_graphs)
        self.config: Config = self._engine.config
        self._words = WordPiece(self.config.text_length)
        self._reasoner = resolve_reasoner(reasoner or default_reasoner(weights), reasoner_options, prompt, compat)
        self.oracle = bool(getattr(self._reasoner, "oracle", False))
        if reasoner_required:
            require_reachable(self._reasoner)
        self._facts |= {"compat": compat, "refresh": [refresh_interval, refresh_area, refresh_move]}
        self._state: State | None = None
        self._last: Mapping[str, Any] = {}

    # --- one sequence -------------------------------------------------------------------------------------------

    def initialize(self, image: Image, box: Sequence[float] | None = None, language: str | None = None) -> None:
        self.finish()
        self._state = self.start(image, box, language, self.emit)

    def receive(self, sequence: VideoSequence) -> None:
        """Called by the runner before `initialize`: a reasoner that is an oracle looks at the annotation."""
        receive = getattr(self._reasoner, "receive", None)
        if receive is not None:
            receive(sequence)

    def describe(self, text: str) -> None:
        state = self._current()
        state.own = state.description = text.strip()
        self._read_description(state)

    def track(self, image: Image) -> Prediction:
        return self.step([self._current()], [image])[0]

    def finish(self) -> None:
        if self._state is not None:
            self._last = self.end(self._state)
            self._state = None

    def close(self) -> None:
        self.finish()
        close = getattr(self._reasoner, "close", None)
        if close is not None:
            close()

    @property
    def box(self) -> NDArray[np.float64]:
        """The last box, (4,) x, y, w, h in pixels. Set it to correct the tracker: the next search starts there."""
        return self._current().box.copy()

    @box.setter
    def box(self, box: ArrayLike) -> None:
        self._current().box = _checked_box(box)

    @property
    def description(self) -> str:
        """The description that the network reads now; "" where the sequence has none."""
        return self._current().description

    def info(self) -> Mapping[str, Any]:
        """Facts of weights, machine and options, and of the last sequence that `initialize` and `track` tracked."""
        reasoner = getattr(self._reasoner, "info", None)
        facts = {**self._facts, "reasoner": dict(reasoner()) if reasoner else type(self._reasoner).__name__}
        return {**facts, **(_sequence_facts(self._state) if self._state is not None else self._last)}

    def _current(self) -> State:
        if self._state is None:
            raise UsageError("the tracker was not started: call initialize(image, box, language) first")
        return self._state

    # --- several sequences at once ------------------------------------------------------------------------------

    def start(self, image: Image, box: Sequence[float] | None, language: str | None, emit: Emit | None = None) -> State:
        """A sequence's first frame.

        Raises:
            UsageError: no box. DataError: the image or the box is invalid.
        """
        if box is None:
            raise UsageError(
                "ReasoningTrack needs the initial box: starting from the description alone (NL) takes a grounding "
                "model, which it does not have; use --mode NL+BB or BB"
            )
        _check_image(image)
        first, own = _checked_box(box), (language or "").strip()
        history = TemplateHistory(self.config.template_size, self._history)
        history.append(first_template(image, first.tolist(), self.config))
        asks = bool(own) and not isinstance(self._reasoner, StaticReasoner)
        look = Look(image.copy(), _four(first), 0) if asks else None
        state = State(own, own, first, history, emit, look, first, self.sequence_name)
        self._read_description(state)
        return state

    def step(self, states: Sequence[State], images: Sequence[Image]) -> list[Prediction]:
        """The next frame of each sequence, in one forward pass; as if each were alone."""
        if len(states) != len(images):
            raise ValueError(f"{len(states)} states and {len(images)} images")
        for state, image in zip(states, images, strict=True):
            _check_image(image)
            state.frame += 1
        self._refresh(states, images)
        self._encode_templates(states)
        queries, sides = [], []
        for state, image in zip(states, images, strict=True):
            factor, size = self.config.search_factor, self.config.search_size
            search, side = crop_square(image, state.box.tolist(), factor, size)
            templates = torch.cat([state.features[i] for i in self._wanted(state)])
            queries.append(Query(templates, state.text, state.temporal, search))
            sides.append(side)
        answers = self._engine.predict(queries)
        return [self._accept(s, i, a, d) for s, i, a, d in zip(states, images, answers, sides, strict=True)]

    def end(self, state: State) -> Mapping[str, Any]:
        """Frees what was kept for the sequence; facts about it."""
        state.history.close()
        state.features.clear()
        state.first = state.seen = state.earlier = None
        return _sequence_facts(state)

    def snapshot(self, state: State, ahead: int) -> Snapshot:
        """What `resume` needs to track `ahead` frames more; the state itself may go on, or end."""
        later = range(state.frame + 1, state.frame + ahead + 1)
        wanted = {i for frame in later for i in template_indices(frame, self.config.templates) if i <= state.frame}
        crops = {i: state.history[i].copy() for i in sorted(wanted)}
        return Snapshot(state.frame, state.box.copy(), crops, state.temporal, dict(state.features))

    def resume(self, snapshot: Snapshot, description: str) -> State:
        """A state that goes on from a snapshot with a description; it asks no reasoner. Any number may be made."""
        history = FewCrops(snapshot.crops, snapshot.frame + 1)
        state = State(description, description, snapshot.box.copy(), history, None, None, snapshot.box)
        state.frame, state.temporal, state.features = snapshot.frame, snapshot.temporal, dict(snapshot.features)
        self._read_description(state)
        return state

    # --- the parts of a step ------------------------------------------------------------------------------------

    def _refresh(self, states: Sequence[State], images: Sequence[Image]) -> None:
        """Asks for the descriptions that are due, all at the same time; before any forward pass."""
        asked, questions = [], []
        for state, image in zip(states, images, strict=True):
            if not state.due:
                continue
            state.due, state.reference = False, state.box.copy()
            state.refreshes.append(state.frame)
            if state.first is None or state.seen is None:
                continue
            current = Look(image, _four(state.box), state.frame)
            if self._released and state.earlier is not None:
                current = Look(state.earlier, current.box, state.frame - 1)
            asked.append((state, image))
            looks, texts = (state.first, state.seen, current), (state.own, state.description)
            questions.append(Question(*looks, *texts, state.confidence, state.frame, state.sequence))
        for (state, image), outcome in zip(asked, consult(self._reasoner, questions), strict=True):
            state.seen, state.earlier = Look(image.copy(), _four(state.box), state.frame), None
            state.failures += outcome.error is not None
            if state.emit is not None:
                state.emit(outcome.event)
            if outcome.description != state.description:
                state.description = outcome.description
                self._read_description(state)

    def _read_description(self, state: State) -> None:
        """Embeds the description, and records it where the network cannot read all of it."""
        encoded = self._words.encode(state.description)
        state.text = self._engine.embed_text(encoded)
        if encoded.cut:
            state.cut[state.description] = encoded.read
            if state.emit is not None:
                facts = {"description": state.description, "read": encoded.read, "pieces": encoded.pieces}
                state.emit({"schema": SCHEMA, "event": "description_cut", "frame": state.frame, **facts})

    def _wanted(self, state: State) -> tuple[int, ...]:
        return template_indices(state.frame, self.config.templates)

    def _encode_templates(self, states: Sequence[State]) -> None:
        """Encodes the templates that are new to their sequence, in one batch; forgets those out of use."""
        new = [(state, i) for state in states for i in self._wanted(state) if i not in state.features]
        if not new:
            return
        encoded = self._engine.encode_templates([state.history[i] for state, i in new])
        for (state, i), features in zip(new, encoded, strict=True):
            # A copy, or one template in use would keep the whole batch alive.
            state.features[i] = features.clone()
        for state in states:
            wanted = self._wanted(state)
            state.features = {i: state.features[i] for i in wanted}

    def _accept(self, state: State, image: Image, answer: Answer, side: int) -> Prediction:
        """The network's answer becomes the last box; its template crop enters the memory."""
        state.box = box_in_image(answer.box.tolist(), state.box.tolist(), side, image.shape)
        state.temporal, state.confidence = answer.temporal, answer.score
        factor, size = self.config.template_factor, self.config.template_size
        state.history.append(crop_square(image, state.box.tolist(), factor, size)[0])
        if state.frame % self._interval == 0:
            box, reference = state.box.tolist(), state.reference.tolist()
            state.due = has_changed(box, reference, image.shape, self._area, self._move)
            if state.due and self._released and state.seen is not None:
                state.earlier = image.copy()
        return Prediction(state.box.copy(), confidence=answer.score)


def _check_image(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        what = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise DataError(f"an image must be RGB uint8 (H, W, 3), not {what}")


def _checked_box(box: ArrayLike) -> NDArray[np.float64]:
    values = np.array(box, dtype=np.float64)
    if values.shape != (4,) or not np.isfinite(values).all() or not (values[2:] > 0).all():
        raise DataError(f"a box must be x, y, w, h with w and h above 0, not {np.asarray(box).tolist()}")
    return values


def _four(box: NDArray[np.float64]) -> tuple[float, float, float, float]:
    x, y, w, h = (float(value) for value in box)
    return x, y, w, h


def _sequence_facts(state: State) -> dict[str, Any]:
    facts: dict[str, Any] = {"refreshes": list(state.refreshes), "description": state.description}
    if state.failures:
        facts["reasoner_failures"] = state.failures
    if state.cut:
        facts["description_cut"] = [{"description": text, "read": read} for text, read in state.cut.items()]
    return facts
