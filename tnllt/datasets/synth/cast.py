"""Who plays: the target's looks over time, its distractors, and the sentences that tell them apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tnllt.datasets.synth.config import SynthConfig
from tnllt.datasets.synth.looks import Look, article, random_look, relative
from tnllt.datasets.synth.sources import Library

Looks = tuple[tuple[int, Look], ...]
_TEMPLATES = ("the {p}", "the {p}", "the {p}", "{a}", "{p}", "we want to track the {p}")


def say(template: str, phrase: str) -> str:
    """A sentence around a noun phrase."""
    return template.format(p=phrase, a=article(phrase))


@dataclass(frozen=True)
class Cast:
    """The looks of target and distractors.

    Attributes:
        target: (first frame, look) in order.
        distractors: the same for each.
        twin: index of the distractor that looks exactly like the target, or None.
        phrases: (first frame, noun phrase) of the target.
        template, wrong: see `ScenePlan`.
    """

    target: Looks
    distractors: tuple[Looks, ...]
    twin: int | None
    phrases: tuple[tuple[int, str], ...]
    template: str
    wrong: str


def choose_cast(rng: np.random.Generator, config: SynthConfig, library: Library, grey: bool) -> Cast:
    """Draws the cast; every sentence in it is true by construction."""
    colour = not grey
    changes = bool(rng.random() < config.change)
    family = _family(rng, config, library, changes, grey)
    files = list(library.emoji) if family == "emoji" else list(library.files)
    look = random_look(rng, family, library.pictures, files, config.textured)
    others: list[Look] = []
    for _ in range(int(rng.integers(config.distractors[0], config.distractors[1] + 1))):
        how = str(rng.choice(["colour", "shape", "part"], p=[0.5, 0.25, 0.25]))
        others.append(
            _another(rng, [look], partial(relative, rng, look, how, files, colour), colour, look, library, files)
        )
    target: list[tuple[int, Look]] = [(0, look)]
    distractors: list[list[tuple[int, Look]]] = [[(0, other)] for other in others]
    if changes:
        _change(rng, config, target, distractors, colour)
    twin = None
    if not changes and rng.random() < config.twins:
        twin = len(distractors)
        distractors.append([(0, look)])
    phrases = tuple((first, each.words(colour)) for first, each in target)
    template = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
    wrong = _wrong(rng, target, others, colour, library, files)
    return Cast(tuple(target), tuple(tuple(d) for d in distractors), twin, phrases, template, say(template, wrong))


def _family(rng: np.random.Generator, config: SynthConfig, library: Library, changes: bool, grey: bool) -> str:
    """A family that has a source and can do what is asked of it."""
    shares = {f: s for f, s in config.families.items() if s > 0}
    if not library.emoji or changes:
        shares.pop("emoji", None)
    if not library.files or changes:
        shares.pop("file", None)
    if changes and grey:  # without colours only patterns can change
        return "shape"
    if not shares:
        return "shape"
    names = list(shares)
    weights = np.array([shares[n] for n in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _another(
    rng: np.random.Generator,
    taken: list[Look],
    make: Callable[[], Look],
    colour: bool,
    look: Look,
    library: Library,
    files: list[str],
) -> Look:
    """A look whose words differ from all of `taken`."""
    words = {t.words(colour) for t in taken}
    for _ in range(12):
        found = make()
        if found.words(colour) not in words:
            return found
    family = look.family if look.family != "patch" else "shape"
    while True:
        found = random_look(rng, family, library.pictures, files, 0.5)
        if found.words(colour) not in words or len(files) == 1:
            return found


def _change(
    rng: np.random.Generator,
    config: SynthConfig,
    target: list[tuple[int, Look]],
    distractors: list[list[tuple[int, Look]]],
    colour: bool,
) -> None:
    """The target changes its look once or more often; a distractor may take the look that it gives up."""
    count = 1 + int(rng.integers(0, 2)) * (config.frames >= 100) + config.frames // 1200
    times = np.linspace(0.2, 0.9, count + 2)[1:-1] + rng.uniform(-0.1, 0.1, count) / count
    for first in sorted({max(2, int(t * config.frames)) for t in times}):
        before = target[-1][1]
        taken = {before.words(colour)} | {d[-1][1].words(colour) for d in distractors}
        after = before
        for _ in range(30):
            how = "part" if not colour or rng.random() < 0.3 else "colour"
            new = relative(rng, before, how, [], colour)
            # Only paint may change: the outline, and with it the box, stays.
            new = replace(new, seed=before.seed, material=before.material, kind=before.kind)
            if new.words(colour) not in taken:
                after = new
                break
        if after is before:
            continue
        target.append((first, after))
        alike = [d for d in distractors if d[-1][1].kind == before.kind]
        if alike and rng.random() < config.swap:
            alike[int(rng.integers(len(alike)))].append((first, replace(before)))


def _wrong(
    rng: np.random.Generator,
    target: list[tuple[int, Look]],
    others: list[Look],
    colour: bool,
    library: Library,
    files: list[str],
) -> str:
    """Words that are true of a distractor (of nothing, where there is none) and never of the target."""
    true = {look.words(colour) for _, look in target}
    fit = [o.words(colour) for o in others if o.words(colour) not in true]
    if fit:
        return fit[0]
    look = target[0][1]
    for _ in range(50):
        words = relative(rng, look, "colour" if colour else "shape", files, colour).words(colour)
        if words not in true:
            return words
    return "star" if "star" not in true else "circle"
