"""What a sprite looks like, as data, and the words that say it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from tnllt.datasets.synth.colours import COLOURS, distinct
from tnllt.datasets.synth.shapes import OBJECTS, PLAIN_NAMES, SHAPES

#: Pattern -> how it is said of a shape, with the second colour.
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
class Look:
    """One appearance. Hashable, so that its raster can be cached.

    Attributes:
        family: "shape", "object", "patch" (cut out of a picture), "emoji" or "file".
        kind: the shape's or object's name, the emoji's character, the file's name; for a patch its outline.
        main, second: colour names; second is "" where nothing wears it.
        pattern: a key of `PATTERNS`; shapes alone have one.
        material: index of the picture whose grain covers the sprite, -1 for flat paint; for a patch, the picture.
        outlined: a dark line around.
        seed: picks the place in the picture, the tint's strength and the like.
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
            return _emoji_words(self.kind)
        if self.family == "file":
            return self.kind.replace("_", " ").replace("-", " ").strip().lower()
        if self.family == "patch":
            return f"{self.main} mottled {self.kind} patch" if colour and self.main else f"mottled {self.kind} patch"
        if self.family == "object":
            if not colour:
                return PLAIN_NAMES.get(self.kind, self.kind)
            return OBJECTS[self.kind][1].format(main=self.main, second=self.second)
        if not colour:
            return self.kind if self.pattern == "plain" else f"{_GREY_PATTERNS[self.pattern]} {self.kind}"
        return PATTERNS[self.pattern].format(main=self.main, second=self.second, kind=self.kind)


_GREY_PATTERNS = {
    "striped": "striped",
    "dotted": "dotted",
    "bordered": "bordered",
    "checkered": "checkered",
    "halved": "two-tone",
}


def _emoji_words(character: str) -> str:
    import unicodedata

    return unicodedata.name(character[0]).lower()


def article(phrase: str) -> str:
    return f"an {phrase}" if phrase[:1] in "aeiou" else f"a {phrase}"


def _choice(rng: np.random.Generator, items: tuple[str, ...] | list[str]) -> str:
    return items[int(rng.integers(len(items)))]


def random_look(rng: np.random.Generator, family: str, pictures: int, files: list[str], textured: float) -> Look:
    """A look of the family, drawn at random.

    Args:
        pictures: how many pictures there are to take grain and patches from.
        files: characters (family "emoji") or file names (family "file") to choose from.
        textured: probability that a painted sprite has the grain of a picture.
    """
    seed = int(rng.integers(1 << 30))
    main = _choice(rng, tuple(COLOURS))
    second = _choice(rng, distinct(main))
    material = int(rng.integers(pictures)) if pictures and (family == "patch" or rng.random() < textured) else -1
    outlined = bool(rng.random() < 0.25)
    if family == "shape":
        pattern = _choice(rng, ["plain", "plain", *PATTERNS])
        kind = _choice(rng, tuple(SHAPES))
        return Look("shape", kind, main, second if pattern != "plain" else "", pattern, material, outlined, seed)
    if family == "object":
        return Look("object", _choice(rng, tuple(OBJECTS)), main, second, "plain", material, outlined, seed)
    if family == "patch":
        kind = _choice(rng, PATCHES)
        return Look("patch", kind, main if rng.random() < 0.5 else "", "", "plain", max(material, 0), False, seed)
    return Look(family, _choice(rng, files), seed=seed)


def relative(rng: np.random.Generator, look: Look, how: str, files: list[str], colour: bool = True) -> Look:
    """A look of the same kind that a sentence can tell from `look`.

    Args:
        how: "colour" (same shape, other colour), "shape" (same colour, other shape), "part" (same shape and main
            colour, other second colour or pattern). Where the family has no such thing, the nearest that it has.
        colour: False where the picture is grey and colours tell nothing: then shape or pattern differs.
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
