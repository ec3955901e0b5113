"""What a user can ask of the generator; each field is an option of `tnllt-data synth`, too."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES, TNLLT_ATTRIBUTES
from tnllt.errors import UsageError
from tnllt.options import check_fields, option

#: TNLLT's attributes in the order of its files, and what they stand for.
ATTRIBUTES: dict[str, str] = {name: ATTRIBUTE_TITLES[name] for name in TNLLT_ATTRIBUTES}

#: How often a sequence is given each attribute where nothing is asked for.
RATES: dict[str, float] = {
    "CM": 0.4, "ROT": 0.3, "DEF": 0.25, "FOC": 0.3, "IV": 0.3, "OV": 0.25, "POC": 0.4, "VC": 0.25, "SV": 0.45,
    "BC": 0.25, "MB": 0.3, "ARC": 0.3, "LR": 0.2, "FM": 0.25, "AS": 0.05,
}  # fmt: skip

#: Families of sprites and their fractions; those without a source (emoji, file) give theirs to the others.
FAMILIES: dict[str, float] = {"shape": 0.25, "object": 0.35, "patch": 0.2, "emoji": 0.2, "file": 0.4}


def pair(number: type[int] | type[float]) -> Callable[[Any], tuple[Any, Any]]:
    """A reader of two numbers with a sign between them, such as 640x360 or 0-4."""

    def two_numbers(text: Any) -> tuple[Any, Any]:
        if isinstance(text, tuple):
            return text
        match = re.fullmatch(r"([\d.]+)[-x]([\d.]+)", text.strip())
        try:
            if match is not None:
                return number(match[1]), number(match[2])
        except ValueError:
            pass
        raise UsageError(f"{text!r} is not of the form A-B (or AxB), two numbers")

    return two_numbers


@dataclass(frozen=True)
class SynthSources:
    """Which images and box tracks are used. By default nothing that depends on the machine. Hashable."""

    procedural: int = option(64, "Procedural backgrounds in the pool.", minimum=0)
    backgrounds: str | None = option(
        None, "Your own images behind everything, besides the procedural ones.", metavar="DIR"
    )
    sprites: str | None = option(None, "Your own sprites: PNG with opacity, named by what they show.", metavar="DIR")
    emoji: str = option("none", "auto: Noto's colour emoji as sprites, too; or a font file.", metavar="auto|FONT")
    motion_from: str | None = option(
        None, "Box tracks that targets move along: a folder of annotation files.", metavar="ANNOS"
    )
    #: Number of the first procedural background; another one gives other images.
    first: int = 0


@dataclass(frozen=True)
class FrameFormat:
    """How the frames of sequences are written."""

    png: bool = option(False, "PNG frames, as the release has; slower and larger.")
    quality: int = option(90, "Of JPEG frames.", minimum=1, maximum=100)
    masks: bool = option(False, "Also write the target's visible pixels.")


def _probability(default: float, text: str) -> Any:
    return option(default, text, metavar="P", minimum=0, maximum=1)


@dataclass(frozen=True)
class SynthConfig:
    """One kind of sequences.

    Attributes:
        width, height: of each frame.
        rates: attribute -> probability that a sequence is given it; what is not named has its default. 0 leaves it
            out as far as the motion allows, 1 gives it to every sequence; the flag is measured on the plan.
        families: sprite family -> fraction.
    """

    frames: int = option(200, "Frames of each sequence.", "-t", minimum=2)
    width: int = 640
    height: int = 360
    rates: Mapping[str, float] = field(default_factory=dict)
    families: Mapping[str, float] = field(default_factory=lambda: dict(FAMILIES))
    distractors: tuple[int, int] = option(
        (0, 4), "Fewest and most sprites of the target's kind about it.  [default: 0-4]", kind=pair(int), metavar="A-B"
    )
    change: float = _probability(0.3, "Target changes, so that its first language description stops being true.")
    swap: float = _probability(0.5, "Where it changes, a distractor takes the look that it gives up.")
    twins: float = _probability(0.08, "A distractor looks exactly like the target; its description then gives a place.")
    grey: float = _probability(0.1, "Without colour; descriptions name none.")
    size: tuple[float, float] = option(
        (0.1, 0.32), "Target size, sqrt(w h), as fractions of the frame's shorter side.  [default: 0.1-0.32]",
        "--target-size", kind=pair(float), metavar="A-B",
    )  # fmt: skip
    textured: float = _probability(0.5, "Painted sprites have the grain of an image.")
    real_motion: float = _probability(0.6, "Targets move along a box track, where there are some.")
    artefacts: bool = option(True, "Without noise, lens blur, gamma and (in crops) JPEG artefacts.")
    sources: SynthSources = field(default_factory=SynthSources)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rates) - set(ATTRIBUTES))
        if unknown:
            raise UsageError(f"no attribute {', '.join(unknown)}; there are {', '.join(ATTRIBUTES)}")
        bad = [name for name, rate in self.rates.items() if not 0 <= rate <= 1]
        if bad:
            raise UsageError(f"{bad[0]}: a probability lies between 0 and 1")
        check_fields(self)
        if min(self.width, self.height) < 64 or max(self.width, self.height) > 8192:
            raise UsageError("frames have 64x64 to 8192x8192 pixels")
        if set(self.families) - set(FAMILIES):
            raise UsageError(f"sprite families are {', '.join(FAMILIES)}")
        if not 0 < self.size[0] <= self.size[1] <= 0.8:
            raise UsageError("size: two fractions of the frame's shorter side, in order, above 0 and at most 0.8")
        if not 0 <= self.distractors[0] <= self.distractors[1]:
            raise UsageError("distractors: the fewest and the most, in order")

    def rate(self, attribute: str) -> float:
        return float(self.rates.get(attribute, RATES[attribute]))

    def record(self) -> dict[str, Any]:
        """As plain data, for the record of a sequence."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("sources", "rates")}
        return {**plain, "rates": {a: self.rate(a) for a in ATTRIBUTES}, "families": dict(self.families)}


def only(*attributes: str) -> dict[str, float]:
    """Rates that give exactly these attributes: 1 for each, 0 for all others."""
    return {**dict.fromkeys(ATTRIBUTES, 0.0), **dict.fromkeys(attributes, 1.0)}
