"""How often `tnllt-eval language` is wrong: simulated audits of trackers that do not read, or read on some sequences.

    python benchmarks/language_audit.py --sequences 20,50,200 --audits 1000

A tracker's scores per sequence are drawn, then changed for each text. "no effect": three quarters of the sequences have
the same score with every text, the others a new draw each time, of which some are 0 and some a good track by luck.
"nothing": every score is the same. "a tenth": on a tenth of the sequences, drawn anew for each audit, the score with
none and with shuffled text is lower by .3; all others are the same.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from tnllt.eval.compare import compared, corrected
from tnllt.eval.language import MARGIN, judge
from tnllt.eval.statistics import WeightedScores

KINDS = ("no effect", "nothing", "a tenth")


def texts(kind: str, sequences: int, rng: np.random.Generator) -> np.ndarray:
    """(3, sequences) scores with own text, none and shuffled."""
    base = np.clip(rng.beta(1.2, 1.2, sequences), 0, 1)
    found = np.tile(base, (3, 1))
    if kind == "no effect":
        moved = rng.random(sequences) < 0.25
        redrawn = np.clip(base + rng.standard_t(2, (3, sequences)) * 0.08, 0, 1)
        redrawn[rng.random((3, sequences)) < 0.1] = 0.0
        found = np.where(moved, redrawn, found)
    elif kind == "a tenth":
        read = rng.random(sequences) < 0.1
        found[0] = np.where(read, np.clip(base + 0.3, 0, 1), base)
        found[1:] = np.where(read, found[0] - 0.3, base)
    return found


def verdict(scores: np.ndarray) -> str:
    """One audit, as `tnllt.eval.language.audit` makes it of a single tracker."""
    own, *others = (WeightedScores.of(row) for row in scores)
    found = corrected([c for other in others for c in compared(["own"], ["other"], "all", own, other)])
    bounds = np.array([[c.low, c.high] for c in found])
    changed = int((np.abs(scores[0] - scores[1:]) >= MARGIN).any(axis=0).sum())
    return judge([c.adjusted for c in found], bounds, changed, scores.shape[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sequences", default="20,50,200")
    parser.add_argument("--audits", type=int, default=1000)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    for kind in given.kinds.split(","):
        for sequences in map(int, given.sequences.split(",")):
            rng = np.random.default_rng([KINDS.index(kind), sequences])
            counts = Counter(verdict(texts(kind, sequences, rng)) for _ in range(given.audits))
            rates = ", ".join(f"{v} {counts[v] / given.audits:.1%}" for v in ("reads", "does not", "cannot tell"))
            print(f"{kind}, {sequences} sequences, {given.audits} audits: {rates}", flush=True)


if __name__ == "__main__":
    main()
