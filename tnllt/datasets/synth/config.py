"""What a user can ask of the generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES, TNLLT_ATTRIBUTES
from tnllt.datasets.synth.sources import SynthSources
from tnllt.errors import UsageError

#: TNLLT's attributes in the order of its files, and what they stand for.
ATTRIBUTES: dict[str, str] = {name: ATTRIBUTE_TITLES[name] for name in TNLLT_ATTRIBUTES}

#: How often a sequence is given each attribute where nothing is asked for.
RATES: dict[str, float] = {
    "CM": 0.4,
    "ROT": 0.3,
    "DEF": 0.25,
    "FOC": 0.3,
    "IV": 0.3,
    "OV": 0.25,
    "POC": 0.4,
    "VC": 0.25,
    "SV": 0.45,
    "BC": 0.25,
    "MB": 0.3,
    "ARC": 0.3,
    "LR": 0.2,
    "FM": 0.25,
    "AS": 0.05,
}

#: Families of sprites and their shares; those without a source (emoji, file) give theirs to the others.
FAMILIES: dict[str, float] = {"shape": 0.25, "object": 0.35, "patch": 0.2, "emoji": 0.2, "file": 0.4}


@dataclass(frozen=True)
class SynthConfig:
    """One kind of sequences.

    Attributes:
        frames, width, height: of each sequence.
        rates: attribute -> probability that a sequence is given it; what is not named has its default. 0 leaves it
            out as far as the motion allows, 1 gives it to every sequence; the flag says what came of it.
        families: sprite family -> share.
        distractors: fewest and most sprites of the target's kind that move about it.
        change: probability that the target changes its look, so that its first sentence stops being true.
        swap: of those, how often a distractor takes the look that the target gives up.
        twins: probability of a distractor that looks exactly alike; the sentence then says where the target is.
        grey: probability of a sequence without colour (its sentences name none).
        size: least and greatest target size, sqrt(w h), as part of the frame's shorter side.
        textured: how often painted sprites have the grain of a picture.
        real_motion: how often a box track of the sources is followed, where there are some.
        artefacts: noise, lens blur, gamma and (in crops) JPEG artefacts.
    """

    frames: int = 200
    width: int = 640
    height: int = 360
    rates: Mapping[str, float] = field(default_factory=dict)
    families: Mapping[str, float] = field(default_factory=lambda: dict(FAMILIES))
    distractors: tuple[int, int] = (0, 4)
    change: float = 0.3
    swap: float = 0.5
    twins: float = 0.08
    grey: float = 0.1
    size: tuple[float, float] = (0.1, 0.32)
    textured: float = 0.5
    real_motion: float = 0.6
    artefacts: bool = True
    sources: SynthSources = field(default_factory=SynthSources)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.rates) - set(ATTRIBUTES))
        if unknown:
            raise UsageError(f"no attribute {', '.join(unknown)}; there are {', '.join(ATTRIBUTES)}")
        bad = [n for n, v in {**self.rates, "change": self.change, "grey": self.grey}.items() if not 0 <= v <= 1]
        if bad:
            raise UsageError(f"{bad[0]}: a probability lies between 0 and 1")
        if self.frames < 2 or min(self.width, self.height) < 64:
            raise UsageError("a sequence needs at least 2 frames of at least 64x64 pixels")
        if set(self.families) - set(FAMILIES):
            raise UsageError(f"sprite families are {', '.join(FAMILIES)}")
        if not 0 < self.size[0] <= self.size[1] <= 0.8:
            raise UsageError("size: two parts of the frame's shorter side, in order, above 0 and at most 0.8")

    def rate(self, attribute: str) -> float:
        return float(self.rates.get(attribute, RATES[attribute]))

    def record(self) -> dict[str, Any]:
        """As plain data, for the record of a sequence."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("sources", "rates")}
        return {**plain, "rates": {a: self.rate(a) for a in ATTRIBUTES}, "families": dict(self.families)}


def only(*attributes: str) -> dict[str, float]:
    """Rates that give exactly these attributes: 1 for each, 0 for all others."""
    return {**dict.fromkeys(ATTRIBUTES, 0.0), **dict.fromkeys(attributes, 1.0)}
