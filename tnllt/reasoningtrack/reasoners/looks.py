"""The looks that the bundled reasoner knows, as numbers and as phrases: those of the generator of synthetic scenes."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import product
from typing import NamedTuple

from tnllt.datasets.synth.appearance import PATCHES, PATTERNS, SpriteLook
from tnllt.datasets.synth.colours import COLOURS, distinct
from tnllt.datasets.synth.shapes import OBJECTS, SHAPES

KINDS: tuple[str, ...] = (*SHAPES, *OBJECTS, *PATCHES)
#: Colours of a part; the last says that it has none that a description could name.
SHADES: tuple[str, ...] = (*COLOURS, "")
PATTERN_NAMES: tuple[str, ...] = tuple(PATTERNS)
#: Attribute -> its values; a look is one number of each.
ATTRIBUTES: dict[str, tuple[str, ...]] = {"kind": KINDS, "main": SHADES, "second": SHADES, "pattern": PATTERN_NAMES}


def family(kind: str) -> str:
    return "shape" if kind in SHAPES else "object" if kind in OBJECTS else "patch"


def numbers(look: SpriteLook, colour: bool = True) -> tuple[int, int, int, int]:
    """A look of a known kind as the numbers of its `ATTRIBUTES`; without colour it has none."""
    main, second = (look.main, look.second) if colour else ("", "")
    return KINDS.index(look.kind), SHADES.index(main), SHADES.index(second), PATTERN_NAMES.index(look.pattern)


@cache
def looks_of(kind: str, coloured: bool) -> tuple[SpriteLook, ...]:
    """Every look of a kind that a description of the generator can tell apart."""
    plain = SpriteLook(family(kind), kind)
    patterns = PATTERN_NAMES if plain.family == "shape" else ("plain",)
    if not coloured:
        return tuple(replace(plain, pattern=pattern) for pattern in patterns)
    if plain.family == "patch":
        return tuple(replace(plain, main=main) for main in COLOURS)
    found = []
    for main, pattern in product(COLOURS, patterns):
        single = plain.family == "shape" and pattern == "plain"
        found += [
            replace(plain, main=main, second=s, pattern=pattern) for s in (("",) if single else distinct(main, 30))
        ]
    return tuple(found)


class Described(NamedTuple):
    """A description that names a known look: the text before it, the look, the text after it."""

    before: str
    look: SpriteLook
    coloured: bool
    after: str

    def revised(self, look: SpriteLook) -> str:
        """The description with another look of the same kind in place of its own."""
        words = look.words(self.coloured)
        before = re.sub(r"\ban? $", "an " if words[:1] in "aeiou" else "a ", self.before)
        return f"{before}{words}{self.after}"


@cache
def _phrases() -> dict[str, tuple[SpriteLook, bool]]:
    """Phrase -> look, and whether it names colours."""
    return {
        look.words(coloured): (look, coloured) for kind in KINDS for coloured in (False, True)
        for look in looks_of(kind, coloured)
    }  # fmt: skip


def read_description(text: str) -> Described | None:
    """The longest known phrase in a description; None where it names no look that can be revised."""
    words = [(m.start(), m.end()) for m in re.finditer(r"\S+", text)][:40]
    for length in range(len(words), 0, -1):
        for i in range(len(words) - length + 1):
            start, end = words[i][0], words[i + length - 1][1]
            found = _phrases().get(text[start:end].rstrip(".,"))
            if found is not None:
                look, coloured = found
                end = start + len(text[start:end].rstrip(".,"))
                return (
                    Described(text[:start], look, coloured, text[end:])
                    if len(looks_of(look.kind, coloured)) > 1
                    else None
                )
    return None


def described_numbers(described: Described | None) -> tuple[int, int, int, int]:
    """The look that a description names, as numbers; -1 for what it does not say."""
    if described is None:
        return -1, -1, -1, -1
    kind, main, second, pattern = numbers(described.look, described.coloured)
    return (kind, main, second, pattern) if described.coloured else (kind, -1, -1, pattern)
