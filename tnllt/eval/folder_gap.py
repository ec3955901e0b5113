"""Two folders of results of one tracker: how their files differ, and what that does to the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.explain import Rescorer, parts, table
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import PROTOCOLS, get_protocol
from tnllt.eval.selection import choose_trackers, select_sequences
from tnllt.results.layouts import find_results
from tnllt.results.reading import read_results
from tnllt.sequence import Boxes

Array = NDArray[np.float64]
#: Scores that differ by no more are the same number to four decimals.
_SAME = 0.5e-4


@dataclass(frozen=True)
class Difference:
    """One sequence: how the second folder's file differs, in how many rows, and what that adds to the mean scores."""

    sequence: str
    relation: str
    rows: int
    contribution: Array


@dataclass(frozen=True)
class FolderGap:
    """The gap second minus first per metric, and protocols that give the second's number from the first's files."""

    protocol: Protocol
    metrics: tuple[Metric, ...]
    first: Array
    second: Array
    differences: tuple[Difference, ...]
    same_number: Mapping[str, tuple[str, ...]]

    @property
    def relations(self) -> dict[str, int]:
        return dict(Counter(d.relation for d in self.differences))


def folder_gap(both: Rescorer, protocol: str | Protocol, metrics: Seq[Metric] = CURVE_METRICS) -> FolderGap:
    """Compares two sets of results, the two trackers of `both`, under one protocol.

    Raises:
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    rules, (first, second) = get_protocol(protocol), both.results.values()
    scores = both.scores(rules, strict=True)
    _, _, fraction = parts(scores, metrics)
    found = []
    for s, sequence in enumerate(both.sequences):
        relation, rows = "missing in one", len(sequence)
        if sequence.name in first and sequence.name in second:
            relation, rows = related(first[sequence.name].boxes, second[sequence.name].boxes)
        found.append(Difference(sequence.name, relation, rows, fraction[1, s] - fraction[0, s]))
    one, two = table(scores, metrics)
    alone = Rescorer(both.sequences, {"first": first}, allow_short=True)
    others = {p.name: table(alone.scores(p), metrics)[0] for p in PROTOCOLS.values()} if (one != two).any() else {}
    same = {
        metric.name: tuple(name for name, own in others.items() if abs(own[i] - two[i]) <= _SAME)
        for i, metric in enumerate(metrics)
        if one[i] != two[i]
    }
    ordered = sorted(found, key=lambda d: (-np.abs(d.contribution).max(), d.sequence))
    return FolderGap(rules, tuple(metrics), one, two, tuple(ordered), same)


def folder_gaps(config: ScoreConfig, first: str, second: str, metrics: Seq[Metric]) -> dict[str, FolderGap]:
    """{tracker: difference} between two result folders; two folders of one tracker each are compared as they are.

    Raises:
        UsageError: no tracker is in both folders.
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    sequences = select_sequences(config)
    names = [s.name for s in sequences]
    one, two = find_results(first, names).trackers, find_results(second, names).trackers
    if len(one) == len(two) == 1:
        pairs = [(next(iter(one)), next(iter(two)))]
    else:
        shared = [t for t in one if t in two]
        if not shared:
            raise UsageError(f"no tracker is in both: {first} has {', '.join(one)}; {second} has {', '.join(two)}")
        pairs = [(t, t) for t in choose_trackers(config.trackers, shared)]
    return {
        left if left == right else f"{left} / {right}": folder_gap(
            Rescorer(
                sequences, {"first": read_results(one[left]), "second": read_results(two[right])},
                config.allow_missing, config.allow_short,
            ),
            config.protocol, metrics,
        )
        for left, right in pairs
    }  # fmt: skip


def related(a: Boxes, b: Boxes) -> tuple[str, int]:
    """How b differs from a, in words, and in how many rows."""
    if len(a) != len(b):
        return f"{len(b) - len(a):+d} rows", abs(len(a) - len(b)) + _differing(a[: len(b)], b[: len(a)])
    rows = _differing(a, b)
    if rows == 0:
        return "identical", 0
    one = np.array([1.0, 1.0, 0.0, 0.0])
    for words, made in (
        ("rounded to integers", np.rint(a)),
        ("truncated to integers", np.trunc(a)),
        ("the first rounded to integers", None),
        ("x and y one pixel higher", a + one),
        ("x and y one pixel lower", a - one),
    ):
        if np.array_equal(np.rint(b), a, equal_nan=True) if made is None else np.array_equal(made, b, equal_nan=True):
            return words, rows
    if len(a) > 2 and np.array_equal(a[:-1], b[1:], equal_nan=True):
        return "one frame later", rows
    if len(a) > 2 and np.array_equal(a[1:], b[:-1], equal_nan=True):
        return "one frame earlier", rows
    if rows == 1 and not np.array_equal(a[0], b[0], equal_nan=True):
        return "another first row", rows
    with np.errstate(invalid="ignore"):
        far = np.nanmax(np.abs(a - b), initial=0.0)
    same_nan = np.array_equal(np.isnan(a), np.isnan(b))
    if same_nan and far <= 0.05:
        return f"equal to within {far:.2g} px", rows
    return "other boxes", rows


def _differing(a: Boxes, b: Boxes) -> int:
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return int((~same.all(axis=1)).sum())
