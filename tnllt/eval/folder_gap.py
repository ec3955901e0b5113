"""Two folders of results of one tracker: how their files differ, and what that does to the score."""

from __future__ import annotations

from collections.abc import Sequence as Seq

import numpy as np

from tnllt.config import ScoreConfig
from tnllt.datasets.dataset import open_configured
from tnllt.errors import UsageError
from tnllt.eval.explain import ChangedSequence, Explanation, Rescorer, Step, ordered, parts, table
from tnllt.eval.metrics import CURVE_METRICS, Metric
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import PROTOCOLS, get_protocol
from tnllt.eval.selection import choose_trackers
from tnllt.results.layouts import find_results
from tnllt.results.reading import read_results
from tnllt.sequence import Boxes

#: Scores that differ by no more are the same number to four decimals.
_SAME = 0.5e-4


def folder_gap(
    both: Rescorer, protocol: str | Protocol, name: str, metrics: Seq[Metric] = CURVE_METRICS
) -> Explanation:
    """What files that differ in each way (`related`) add to the gap between two sets of results under one protocol.

    Args:
        both: of two trackers, the first and the second set.
        name: of the tracker, for the explanation.

    Raises:
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    first, second = both.results.values()
    scores = both.scores(get_protocol(protocol), strict=True)
    own, kept, part = parts(scores, metrics)
    groups: dict[str, list[ChangedSequence]] = {}
    for s, sequence in enumerate(both.sequences):
        relation, rows = "missing in one", len(sequence)
        if sequence.name in first and sequence.name in second:
            relation, rows = related(first[sequence.name].boxes, second[sequence.name].boxes)
        changed = ChangedSequence(sequence.name, rows, own[0, s], own[1, s], kept[:, s], part[1, s] - part[0, s])
        groups.setdefault(relation, []).append(changed)
    steps = []
    for relation, found in sorted(groups.items(), key=lambda group: -len(group[1])):
        added = np.sum([changed.contribution for changed in found], axis=0)[None]
        changes = {name: ordered(found)}
        steps.append(Step("files", relation.capitalize(), "", "", added, added, added, changes))
    one, two = table(scores, metrics)[:, None]
    frames, notes = sum(map(len, both.sequences)), []
    alone = Rescorer(both.sequences, {"first": first}, allow_short=True)
    others = {p.name: table(alone.scores(p), metrics) for p in PROTOCOLS.values()} if (one != two).any() else {}
    for i, metric in enumerate(metrics):
        same = [protocol for protocol, own in others.items() if abs(own[0, i] - two[0, i]) <= _SAME]
        if same and one[0, i] != two[0, i]:
            notes.append(f"{metric.label}: the first folder under {', '.join(same)} gives the second's number.")
    return Explanation((name,), tuple(metrics), one, two, tuple(steps), frames, len(both.sequences), tuple(notes))


def folder_gaps(config: ScoreConfig, first: str, second: str, metrics: Seq[Metric]) -> list[Explanation]:
    """The gap of each tracker between two result folders; two folders of one tracker each are compared as they are.

    Raises:
        UsageError: no tracker is in both folders.
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    sequences = list(open_configured(config))
    names = [s.name for s in sequences]
    one, two = find_results(first, names).trackers, find_results(second, names).trackers
    if len(one) == len(two) == 1:
        pairs = [(next(iter(one)), next(iter(two)))]
    else:
        shared = [t for t in one if t in two]
        if not shared:
            raise UsageError(f"no tracker is in both: {first} has {', '.join(one)}; {second} has {', '.join(two)}")
        pairs = [(t, t) for t in choose_trackers(config.trackers, shared)]
    found = []
    for left, right in pairs:
        results = {"first": read_results(one[left]), "second": read_results(two[right])}
        both = Rescorer(sequences, results, config.allow_missing, config.allow_short)
        found.append(folder_gap(both, config.protocol, left if left == right else f"{left} / {right}", metrics))
    return found


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
        return "equal to within 0.05 px", rows
    return "other boxes", rows


def _differing(a: Boxes, b: Boxes) -> int:
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return int((~same.all(axis=1)).sum())
