"""The reasoner that ships: compares the surroundings of the box then and now, in words of the generator's scenes.

A description that names no look of the generator (`looks.py`) is kept as it is, unread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tnllt.datasets.synth.appearance import SpriteLook
from tnllt.errors import UsageError
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint
from tnllt.reasoningtrack.reasoners.base import Question, Reasoning
from tnllt.reasoningtrack.reasoners.looks import (
    KINDS,
    Described,
    described_numbers,
    looks_of,
    numbers,
    read_description,
)
from tnllt.reasoningtrack.reasoners.reader import MOST, LookReader, Objects, reader_facts, stacked, window

WEIGHTS = Path(__file__).parents[1] / "weights" / "reasoner.safetensors"

#: Least probability of an object, and of its look, where a thought mentions it.
_MENTION, _SURE = 0.4, 0.5


@dataclass(frozen=True)
class Seen:
    """One object that was read. chance: of its look, among all that its kind can have."""

    look: SpriteLook
    coloured: bool
    there: float
    chance: float

    @property
    def words(self) -> str:
        return self.look.words(self.coloured)


class BundledReasoner:
    """Answers from two windows and the description; see `reader.LookReader`.

    Args:
        weights: a safetensors file of `tnllt-train reasoner`; the bundled one by default.
        confidence: least probability with which an object is chosen as the target, and its look read, to answer
            anything but "keep"; 0 to 1.
    """

    name = "reasoner bundled"
    concurrency = 1

    def __init__(self, weights: str | Path | None = None, confidence: float = 0.5) -> None:
        if not 0 <= confidence <= 1:
            raise UsageError(f"confidence must be 0 to 1, not {confidence!r}")
        self._confidence, self._path = confidence, WEIGHTS if weights is None else Path(weights)
        self.model = load_reader(self._path)

    def describe(self, question: Question) -> Reasoning:
        """See `Reasoner`. The answer's `detail` has the probabilities of the choice and of the look."""
        started = time.perf_counter()
        described = read_description(question.own)
        if described is None:
            return _answer("the description names nothing that I can read", "keep", question.description, started, {})
        then, now, chosen, chance = self._look(question, described)
        detail: dict[str, Any] = {"chance": round(chance, 4)}
        target = None
        if chosen is not None:
            kinds = looks_of(described.look.kind, described.coloured)
            target = best_look(now[1], chosen, kinds, described.coloured)
            detail["look_chance"] = round(target.chance, 4)
        first, current = (_inventory(seen, described.coloured) for seen in (then[0], now[0]))
        detail |= {"first": first, "now": current}
        thought = f"First: {_listed(first)}; now: {_listed(current)}; "
        if target is None or min(chance, target.chance) < self._confidence:
            return _answer(
                f"{thought}I cannot tell which is the target.", "keep", question.description, started, detail
            )
        detail["target"] = target.words
        if target.words == described.look.words(described.coloured):
            return _answer(f"{thought}the target: {target.words}, as before.", "no", question.own, started, detail)
        revised = described.revised(target.look)
        return _answer(f"{thought}the target: {target.words}, new.", "yes", revised, started, detail)

    @torch.inference_mode()
    def _look(
        self, question: Question, described: Described
    ) -> tuple[tuple[list[Seen], Objects], tuple[list[Seen], Objects], int | None, float]:
        """What was read then and now, which current object is the target (None: none), and with what probability."""
        looks = (question.first, question.current)
        windows = [stacked([window(look.image, look.box, k)]) for k, look in enumerate(looks)]
        before, after, logits = self.model(*windows, torch.tensor([described_numbers(described)]))
        chances = logits[0].softmax(0)
        chosen = int(chances.argmax())
        return (
            (read_objects(before), before),
            (read_objects(after), after),
            chosen if chosen < MOST else None,
            float(chances[chosen]),
        )

    def info(self) -> Mapping[str, Any]:
        return {"reasoner": "bundled", "reasoner_weights": self._path.name, "confidence": self._confidence}


def load_reader(path: Path) -> LookReader:
    """The network with the weights of a file. Raises DataError, UsageError where they are not of this network."""
    tensors, config = read_checkpoint(path)
    if config != reader_facts():
        raise UsageError(
            f"{path}: not weights of this version's bundled reasoner; train them with tnllt-train reasoner"
        )
    model = LookReader()
    load_strictly(model, tensors, path)
    return model.eval().requires_grad_(False)


@cache
def _table(kinds: tuple[SpriteLook, ...], coloured: bool) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array([numbers(look, coloured) for look in kinds])


def best_look(objects: Objects, index: int, looks: tuple[SpriteLook, ...], coloured: bool) -> Seen:
    """The most probable of some looks of object `index` in the first window of `objects`, and its probability."""
    logs = {name: value[0, index].float().log_softmax(0).numpy() for name, value in objects.looks.items()}
    table = _table(looks, coloured)
    columns = [("main", 1), ("second", 2), ("pattern", 3)] if coloured else [("pattern", 3)]
    scores = np.add.reduce([logs[name][table[:, column]] for name, column in columns])
    weights = np.exp(scores - scores.max())
    best = int(weights.argmax())
    there = float(objects.heat[0, index].sigmoid())
    return Seen(looks[best], coloured, there, float(weights[best] / weights.sum()))


def read_objects(objects: Objects) -> list[Seen]:
    """The objects of one window, each by its most probable kind and look."""
    found = []
    for index in range(MOST):
        if float(objects.heat[0, index].sigmoid()) < _MENTION:
            continue
        chances = {name: value[0, index].float().softmax(0) for name, value in objects.looks.items()}
        kind = KINDS[int(chances["kind"].argmax())]
        coloured = int(chances["main"].argmax()) < len(chances["main"]) - 1
        seen = best_look(objects, index, looks_of(kind, coloured), coloured)
        certain = seen.chance * float(chances["kind"].max())
        found.append(Seen(seen.look, coloured, seen.there, certain))
    return found


def _inventory(seen: list[Seen], coloured: bool) -> list[str]:
    """The phrases of what was read for sure; in a grey image a look without colours."""
    return [each.words for each in seen if each.chance >= _SURE]


def _listed(phrases: list[str]) -> str:
    return ", ".join(phrases) or "nothing that I know"


def _answer(thought: str, decision: str, text: str, started: float, detail: dict[str, Any]) -> Reasoning:
    raw = f"<think>{thought}</think><d>{decision}</d><answer>{text}</answer>"
    seconds = time.perf_counter() - started
    return Reasoning(thought, decision == "yes", text, raw, seconds, detail, decision == "keep")
