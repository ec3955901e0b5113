"""What sprites look like, as data, and the noun phrases that are true of them: of one, and of all in a scene."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tnllt.datasets.synth.colours import COLOURS, distinct
from tnllt.datasets.synth.shapes import OBJECTS, PLAIN_NAMES, SHAPES

if TYPE_CHECKING:
    from tnllt.datasets.synth.config import SynthConfig
    from tnllt.datasets.synth.sources import Library

#: Pattern -> noun phrase of a shape with it and a second colour.
PATTERNS: dict[str, str] = {
    "plain": "{main} {kind}",
    "striped": "{main} {kind} with {second} stripes",
    "dotted": "{main} {kind} with {second} dots",
    "bordered": "{main} {kind} with a {second} border",
    "checkered": "{main} and {second} checkered {kind}",
    "halved": "{kind} that is half {main} and half {second}",
}

#: Kinds that a change of proportions or a small size makes hard to tell apart.
_ALIKE = (
    {"square", "rectangle", "diamond"},
    {"circle", "oval", "leaf"},
    {"pentagon", "hexagon"},
    {"flower", "gear"},
    {"person", "walking person", "robot"},
    {"car", "truck", "bus"},
)

#: Outlines of patches, and the word for each.
PATCHES = ("round", "long", "ragged", "angular")


@dataclass(frozen=True)
class SpriteLook:
    """One appearance. Hashable, so that its raster can be cached.

    Attributes:
        family: "shape", "object", "patch" (cut out of an image), "emoji" or "file".
        kind: the shape's or object's name, the emoji's character, the file's name; for a patch its outline.
        main, second: colour names; second is "" where nothing wears it.
        pattern: a key of `PATTERNS`; shapes alone have one.
        material: index of the image whose grain covers the sprite, -1 for flat paint; for a patch, the image.
        outlined: a dark line around.
        seed: picks the place in the image, the tint's strength and the like.
    """

    family: str
    kind: str
    main: str = ""
    second: str = ""
    pattern: str = "plain"
    material: int = -1
    outlined: bool = False
    seed: int = 0

    def words(self, colour: bool = True) -> str:
        """The noun phrase that is true of this look, without an article."""
        return re.sub(r"\ba (?=[aeiou])", "an ", self._phrase(colour))

    def _phrase(self, colour: bool) -> str:
        if self.family == "emoji":
            return unicodedata.name(self.kind[0]).lower()
        if self.family == "file":
            return self.kind.replace("_", " ").replace("-", " ").strip().lower()
        if self.family == "patch":
            return f"{self.main} mottled {self.kind} patch" if colour and self.main else f"mottled {self.kind} patch"
        if self.family == "object":
            if not colour:
                return PLAIN_NAMES.get(self.kind, self.kind)
            return OBJECTS[self.kind].format(main=self.main, second=self.second)
        if not colour:
            pattern = "two-tone" if self.pattern == "halved" else self.pattern
            return self.kind if pattern == "plain" else f"{pattern} {self.kind}"
        return PATTERNS[self.pattern].format(main=self.main, second=self.second, kind=self.kind)


def article(phrase: str) -> str:
    return f"an {phrase}" if phrase[:1] in "aeiou" else f"a {phrase}"


def _choice(rng: np.random.Generator, items: tuple[str, ...] | list[str]) -> str:
    return items[int(rng.integers(len(items)))]


def random_look(rng: np.random.Generator, family: str, images: int, files: list[str], textured: float) -> SpriteLook:
    """A look of the family, drawn at random.

    Args:
        images: how many images there are to take grain and patches from.
        files: characters (family "emoji") or file names (family "file") to choose from.
        textured: probability that a painted sprite has the grain of an image.
    """
    seed = int(rng.integers(1 << 30))
    main = _choice(rng, tuple(COLOURS))
    second = _choice(rng, distinct(main))
    material = int(rng.integers(images)) if images and (family == "patch" or rng.random() < textured) else -1
    outlined = bool(rng.random() < 0.25)
    if family == "shape":
        pattern = _choice(rng, ["plain", "plain", *PATTERNS])
        kind = _choice(rng, tuple(SHAPES))
        return SpriteLook("shape", kind, main, second if pattern != "plain" else "", pattern, material, outlined, seed)
    if family == "object":
        return SpriteLook("object", _choice(rng, tuple(OBJECTS)), main, second, "plain", material, outlined, seed)
    if family == "patch":
        kind = _choice(rng, PATCHES)
        return SpriteLook("patch", kind, main if rng.random() < 0.5 else "", "", "plain", max(material, 0), False, seed)
    return SpriteLook(family, _choice(rng, files), seed=seed)


def relative(rng: np.random.Generator, look: SpriteLook, how: str, files: list[str], colour: bool = True) -> SpriteLook:
    """A look of the same kind whose noun phrase differs from that of `look`.

    Args:
        how: "colour" (same shape, other colour), "shape" (same colour, other shape), "part" (same shape and main
            colour, other second colour or pattern). Where the family has no such thing, the nearest that it has.
        colour: False where the image is grey and colours do not count: then shape or pattern differs.
    """
    seed = int(rng.integers(1 << 30))
    if look.family in ("emoji", "file"):
        others = [f for f in files if f != look.kind]
        return (
            replace(look, kind=_choice(rng, others), seed=seed)
            if others
            else replace(look, family="shape", kind="star", main="red")
        )
    if look.family == "patch":
        if how != "shape" and colour and look.main:
            return replace(look, main=_choice(rng, distinct(look.main)), seed=seed)
        return replace(look, kind=_choice(rng, [k for k in PATCHES if k != look.kind]), seed=seed)
    if how == "part" and look.family == "object" and colour:
        fit = [c for c in distinct(look.main) if c in distinct(look.second)]
        return replace(
            look, second=_choice(rng, fit or [c for c in distinct(look.main) if c != look.second]), seed=seed
        )
    if how == "part" and look.family == "shape":
        pattern = _choice(rng, [p for p in PATTERNS if p != look.pattern])
        second = "" if pattern == "plain" else look.second or _choice(rng, distinct(look.main))
        return replace(look, pattern=pattern, second=second, seed=seed)
    if how == "shape" or not colour:
        names = SHAPES if look.family == "shape" else OBJECTS
        alike = next((group for group in _ALIKE if look.kind in group), {look.kind})
        return replace(look, kind=_choice(rng, [k for k in names if k not in alike]), seed=seed)
    main = _choice(rng, [c for c in distinct(look.main) if c != look.second] or list(distinct(look.main)))
    second = look.second if not look.second or look.second in distinct(main, 30) else _choice(rng, distinct(main))
    return replace(look, main=main, second=second, seed=seed)


# --- a scene ---

Looks = tuple[tuple[int, SpriteLook], ...]
_TEMPLATES = ("the {p}", "the {p}", "the {p}", "{a}", "{p}", "we want to track the {p}")


def fill_template(template: str, phrase: str) -> str:
    """A description around a noun phrase."""
    return template.format(p=phrase, a=article(phrase))


@dataclass(frozen=True)
class SceneAppearance:
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


def choose_appearance(rng: np.random.Generator, config: SynthConfig, library: Library, grey: bool) -> SceneAppearance:
    """Draws the appearance; every description in it is true by construction."""
    colour = not grey
    changes = bool(rng.random() < config.change)
    family = _family(rng, config, library, changes, grey)
    files = list(library.emoji) if family == "emoji" else list(library.files)
    look = random_look(rng, family, library.backgrounds, files, config.textured)
    count = int(rng.integers(config.distractors[0], config.distractors[1] + 1))
    others = [_distractor(rng, look, library, files, colour) for _ in range(count)]
    target: list[tuple[int, SpriteLook]] = [(0, look)]
    distractors: list[list[tuple[int, SpriteLook]]] = [[(0, other)] for other in others]
    if changes:
        _change(rng, config, target, distractors, colour)
    twin = None
    if not changes and rng.random() < config.twins:
        twin = len(distractors)
        distractors.append([(0, look)])
    phrases = tuple((first, each.words(colour)) for first, each in target)
    template = _TEMPLATES[int(rng.integers(len(_TEMPLATES)))]
    wrong = _wrong(rng, target, others, colour, files)
    return SceneAppearance(
        tuple(target), tuple(tuple(d) for d in distractors), twin, phrases, template, fill_template(template, wrong)
    )


def _family(rng: np.random.Generator, config: SynthConfig, library: Library, changes: bool, grey: bool) -> str:
    """A family that has a source and can do what is asked of it."""
    fractions = {f: s for f, s in config.families.items() if s > 0}
    if not library.emoji or changes:
        fractions.pop("emoji", None)
    if not library.files or changes:
        fractions.pop("file", None)
    if changes and grey:  # without colours only patterns can change
        return "shape"
    if not fractions:
        return "shape"
    names = list(fractions)
    weights = np.array([fractions[n] for n in names])
    return str(rng.choice(names, p=weights / weights.sum()))


def _distractor(
    rng: np.random.Generator, look: SpriteLook, library: Library, files: list[str], colour: bool
) -> SpriteLook:
    """A look of the same kind or family whose words differ from those of `look`, if there is one."""
    how = str(rng.choice(["colour", "shape", "part"], p=[0.5, 0.25, 0.25]))
    family = look.family if look.family != "patch" else "shape"
    found = look
    for attempt in range(200):  # a user's sprites may all have names of the same words
        if attempt < 12:
            found = relative(rng, look, how, files, colour)
        else:
            found = random_look(rng, family, library.backgrounds, files, 0.5)
        if found.words(colour) != look.words(colour):
            break
    return found


def _change(
    rng: np.random.Generator,
    config: SynthConfig,
    target: list[tuple[int, SpriteLook]],
    distractors: list[list[tuple[int, SpriteLook]]],
    colour: bool,
) -> None:
    """The target changes its look once or more often; a distractor may take the look that it gives up."""
    count = 1 + int(rng.integers(0, 2)) * (config.frames >= 100) + config.frames // 1200
    times = np.linspace(0.2, 0.9, count + 2)[1:-1] + rng.uniform(-0.1, 0.1, count) / count
    for first in sorted({max(2, int(t * config.frames)) for t in times}):
        before = target[-1][1]
        taken = {before.words(colour)} | {d[-1][1].words(colour) for d in distractors}
        for _ in range(30):
            how = "part" if not colour or rng.random() < 0.3 else "colour"
            new = relative(rng, before, how, [], colour)
            # Only paint may change: the outline, and with it the box, stays.
            after = replace(new, seed=before.seed, material=before.material, kind=before.kind)
            if after.words(colour) not in taken:
                break
        else:
            continue
        target.append((first, after))
        alike = [d for d in distractors if d[-1][1].kind == before.kind]
        if alike and rng.random() < config.swap:
            alike[int(rng.integers(len(alike)))].append((first, replace(before)))


def _wrong(
    rng: np.random.Generator,
    target: list[tuple[int, SpriteLook]],
    others: list[SpriteLook],
    colour: bool,
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
