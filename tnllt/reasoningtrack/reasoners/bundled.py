"""The reasoner that ships: compares the surroundings of the box then and now, in words of the generator's scenes.

A description that names no look of the generator (`looks.py`) is kept as it is, unread.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from tnllt.datasets.synth.appearance import SpriteLook
from tnllt.datasets.synth.colours import COLOURS
from tnllt.errors import UsageError
from tnllt.reasoningtrack.checkpoint import load_strictly, read_checkpoint
from tnllt.reasoningtrack.reasoners.base import Look, Question, Reasoning
from tnllt.reasoningtrack.reasoners.factory import BUNDLED
from tnllt.reasoningtrack.reasoners.looks import (
    KINDS,
    Described,
    described_numbers,
    looks_of,
    numbers,
    read_description,
)
from tnllt.reasoningtrack.reasoners.reader import MOST, LookReader, Objects, reader_facts, stacked, window

#: Least probability of an object, and of its look, where a thought mentions it.
_MENTION, _SURE = 0.4, 0.5
#: Least probability that what is in the initial box has the described look. Of targets of the generator nearly all have
#: more; of photographs that the network cannot read, less.
_AS_DESCRIBED = 1e-4
#: Least probability that the target is as before where the others in its window are known to be others.
_BESIDE = 0.7
#: Logarithm of how much rarer each further part of a look changes; the number that says that there is no colour.
_RARER, _NONE = 2.3, len(COLOURS)


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


class Considered(NamedTuple):
    """What was seen of a question, and what of it may be the target.

    Attributes:
        first, now: the objects of the two windows.
        chance: that the likeliest object is the target. changed: that its look is another than the described one, then.
        new: its look in that case.
        others_changed, news: whether each object has, and the look of each.
    """

    first: Objects
    now: Objects
    chance: float
    changed: float
    new: Seen
    others_changed: torch.Tensor
    news: list[Seen]


#: Family, main colour, second colour and pattern of an object. Kinds of one family are confused: a person that walks.
Paint = tuple[str, str, str, str]


def paint(look: SpriteLook, coloured: bool) -> Paint:
    return look.family, look.main if coloured else "", look.second if coloured else "", look.pattern


@dataclass
class Known:
    """What a sequence's questions share.

    Attributes:
        first: the objects of its first window.
        beside: what was seen beside the target: no such object is the target with a new look.
    """

    first: Objects
    beside: set[Paint] = field(default_factory=set)


class BundledReasoner:
    """Answers from two windows, the description, and what was seen beside the target in a sequence's earlier questions;
    see `reader.LookReader`.

    Args:
        weights: a safetensors file of `tnllt-train reasoner`; the bundled one by default.
        confidence: least probability that an object is the target and has the new look, or that it is and has not
            changed, to answer anything but "keep"; 0 to 1.
    """

    name = "reasoner bundled"
    concurrency = 1

    def __init__(self, weights: str | Path | None = None, confidence: float = 0.25) -> None:
        if not 0 <= confidence <= 1:
            raise UsageError(f"confidence must be 0 to 1, not {confidence!r}")
        self._confidence, self._path = confidence, BUNDLED if weights is None else Path(weights)
        self.model = load_reader(self._path)
        self._known: WeakKeyDictionary[Look, Known] = WeakKeyDictionary()  # by the sequence's first look

    def describe(self, question: Question) -> Reasoning:
        """See `Reasoner`. The answer's `detail` has the probabilities of the choice and of the look."""
        started = time.perf_counter()
        described = read_description(question.own)
        if described is None:
            return _answer("the description names nothing that I can read", "keep", question.description, started, {})
        seen = self.look(question, described)
        first, now = ([o for o in read_objects(objects) if o.chance >= _SURE] for objects in (seen.first, seen.now))
        listed = {"first": [o.words for o in first], "now": [o.words for o in now]}
        thought = f"First: {_listed(listed['first'])}; now: {_listed(listed['now'])}; "
        old, new = described.look.words(described.coloured), seen.new.look.words(described.coloured)
        chances = {"yes": seen.chance * seen.changed * seen.new.chance, "no": seen.chance * (1 - seen.changed)}
        beside = self._known[question.first].beside
        if paint(seen.new.look, described.coloured) in beside and chances["yes"] > chances["no"]:
            chances["yes"] = 0.0
            thought = f"{thought}{new} was seen beside the target; "
        if chances["no"] >= _BESIDE:
            beside |= {paint(o.look, o.coloured) for o in now}
        detail = {"chances": {k: round(v, 4) for k, v in chances.items()}, "look_chance": round(seen.new.chance, 4)}
        detail |= listed
        decision = max(chances, key=lambda name: chances[name])
        agreement = as_described(seen.first, described)
        detail["agreement"] = round(agreement, 6)
        if agreement < _AS_DESCRIBED:
            thought = f"{thought}I do not read the target in the initial box as it is described."
            return _answer(thought, "keep", question.description, started, detail)
        if chances[decision] < self._confidence:
            thought = f"{thought}I cannot tell which is the target."
            return _answer(thought, "keep", question.description, started, detail)
        if decision == "yes":
            thought, text = f"{thought}the target, new: {new}.", described.revised(seen.new.look)
        else:
            thought, text = f"{thought}the target, as before: {old}.", question.own
        return _answer(thought, decision, text, started, detail | {"target": new if decision == "yes" else old})

    @torch.inference_mode()
    def look(self, question: Question, described: Described) -> Considered:
        """What the two windows show, and what the network makes of it."""
        if question.first not in self._known:
            self._known[question.first] = Known(self._objects(question.first, 0))
        before, after = self._known[question.first].first, self._objects(question.current, 1)
        logits, changed = self.model.choice(before, after, torch.tensor([described_numbers(described)]))
        chances = logits[0].softmax(0)
        best = int(chances[:MOST].argmax())
        news = [new_look(after, k, described) for k in range(MOST)]
        return Considered(
            before, after, float(chances[best]), float(changed[0, best].sigmoid()), news[best], changed[0] > 0, news
        )

    def _objects(self, look: Look, which: int) -> Objects:
        return self.model.objects(self.model.read_twice(stacked([window(look.image, look.box, which)])))

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


def new_look(objects: Objects, index: int, described: Described) -> Seen:
    """The most probable look of object `index` other than the described one, where one part of a look changes sooner
    than several."""
    looks = looks_of(described.look.kind, described.coloured)
    old = np.array(numbers(described.look, described.coloured))
    table = _table(looks, described.coloured)
    other = table != old
    # A second colour comes and goes with the pattern that wears it.
    other[:, 2] &= (table[:, 2] != _NONE) & (old[2] != _NONE)
    several = np.where((table == old).all(axis=1), 1e6, _RARER * np.maximum(0, other.sum(axis=1) - 1))
    return _best(objects, index, looks, described.coloured, several)


def _best(
    objects: Objects, index: int, looks: tuple[SpriteLook, ...], coloured: bool, penalty: NDArray[np.float64] | None
) -> Seen:
    """The most probable of some looks of object `index` in the first window of `objects`, and its probability.

    Args:
        penalty: by how much the logarithm of each look's probability is less than that of being read.
    """
    logs = {name: value[0, index].float().log_softmax(0).numpy() for name, value in objects.looks.items()}
    table = _table(looks, coloured)
    columns = [("main", 1), ("second", 2), ("pattern", 3)] if coloured else [("pattern", 3)]
    scores = np.add.reduce([logs[name][table[:, column]] for name, column in columns])
    scores = scores - (0 if penalty is None else penalty)
    weights = np.exp(scores - scores.max())
    best = int(weights.argmax())
    there = float(objects.heat[0, index].sigmoid())
    return Seen(looks[best], coloured, there, float(weights[best] / weights.sum()))


def as_described(first: Objects, described: Described) -> float:
    """The probability that the object in the initial box, in the first window, has all parts of the described look."""
    index = int(first.place[0].norm(dim=1).argmin())
    chance = 1.0
    for value, number in zip(first.looks.values(), described_numbers(described), strict=True):
        if number >= 0:
            chance *= float(value[0, index].float().softmax(0)[number])
    return chance


def read_objects(objects: Objects) -> list[Seen]:
    """The objects of one window, each by its most probable kind and look."""
    found = []
    for index in range(MOST):
        if float(objects.heat[0, index].sigmoid()) < _MENTION:
            continue
        chances = {name: value[0, index].float().softmax(0) for name, value in objects.looks.items()}
        kind = KINDS[int(chances["kind"].argmax())]
        coloured = int(chances["main"].argmax()) < len(chances["main"]) - 1
        seen = _best(objects, index, looks_of(kind, coloured), coloured, None)
        certain = seen.chance * float(chances["kind"].max())
        found.append(Seen(seen.look, coloured, seen.there, certain))
    return found


def _listed(phrases: list[str]) -> str:
    return ", ".join(phrases) or "nothing that I know"


def _answer(thought: str, decision: str, text: str, started: float, detail: dict[str, Any]) -> Reasoning:
    raw = f"<think>{thought}</think><d>{decision}</d><answer>{text}</answer>"
    seconds = time.perf_counter() - started
    return Reasoning(thought, decision == "yes", text, raw, seconds, detail, decision == "keep")
