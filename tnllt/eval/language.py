"""Does a tracker read its text? An audit of runs that differ in their text alone.

The runs are variants of one tracker by `text` (`tnllt.results.variants`); a tracker's plain results count as told its
own descriptions. Runs that differ in `seed`, too, count with every sequence's mean over the seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError, UsageError
from tnllt.eval.compare import Comparison, compared, corrected, linear, mean_of
from tnllt.eval.drawing import paper_style
from tnllt.eval.intervals import weighted_scores
from tnllt.eval.metrics import Metric
from tnllt.eval.score_table import ScoreTable, name_cell
from tnllt.eval.scores import Scores
from tnllt.eval.statistics import (
    ALPHA,
    FEW_SEQUENCES,
    WeightedScores,
    difference_intervals,
    holm,
    interval_methods,
    permutation_test,
)
from tnllt.eval.style import Style
from tnllt.results.layouts import ResultFile
from tnllt.results.reading import run_record
from tnllt.results.records import differences
from tnllt.results.variants import TEXTS, parse_variant

#: Texts against which reading shows.
CONTROLS = ("none", "shuffled")
#: A sequence whose score differs by less does not count as changed by the text, nor does a mean difference.
MARGIN = 0.01
#: "Does not" says that the text changes fewer sequences than this fraction.
FRACTION = 0.1
#: `needed` looks no further.
MOST_SEQUENCES = 5_000
RULE = (
    f"Reads: the score with its own text differs from that with none or with shuffled text (paired permutation test, "
    f"p < {ALPHA} after Holm's correction over all trackers and both). Does not: with 95 % confidence the text changes "
    f"the score of fewer than a tenth of the sequences by {MARGIN} or more (Clopper-Pearson), or, where it changes "
    f"{FEW_SEQUENCES} or more, every mean difference lies within {MARGIN} (95 % interval). Else it cannot be told; the "
    f"number of sequences that it would take supposes that more of them behave as these."
)
Verdict = Literal["reads", "does not", "cannot tell"]


@dataclass(frozen=True)
class Audit:
    """One tracker.

    Attributes:
        tracker: its name without text and seed.
        sequences: number of sequences that all its runs are scored on.
        changed: of these, how many the text changes: the score with none or shuffled text differs by `MARGIN`.
        own: score with its own text.
        comparisons: own - each other text; `b` is the text. p-values are corrected over all trackers' `CONTROLS`, those
            of other texts over all trackers' other texts.
        verdict: see `RULE`.
        needed: sequences that a verdict other than "cannot tell" would take; None: it is there, or beyond
            `MOST_SEQUENCES`.
        prompts: {text: score} of the prompts from files, in quotes.
        attributes: per attribute, own - each control; corrected over all of the tracker's.
        most: (sequence, score with its own text, mean score over the controls), by falling difference of either sign.
    """

    tracker: str
    sequences: int
    changed: int
    own: float
    comparisons: list[Comparison]
    verdict: Verdict
    needed: int | None = None
    prompts: Mapping[str, float] = field(default_factory=dict)
    attributes: list[Comparison] = field(default_factory=list)
    most: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def controls(self) -> list[Comparison]:
        return [c for c in self.comparisons if c.b in CONTROLS]

    @property
    def words(self) -> str:
        """The verdict as a sentence."""
        worse = any(c.significant and c.difference < 0 for c in self.controls)
        if self.verdict == "reads":
            return "reads its text, and scores lower with it" if worse else "reads its text"
        if self.verdict == "does not":
            return f"does not read its text: it changes {self.changed} of {self.sequences} sequences"
        enough = f"about {self.needed:,}" if self.needed else f"more than {MOST_SEQUENCES:,}"
        return f"cannot tell with {self.sequences} sequences; it would take {enough}"


def audit(scores: Scores, metric: str | Metric = "success", top: int = 5) -> list[Audit]:
    """The audit of every tracker that has results with its own text and with another one, best first.

    Args:
        scores: of runs that `refuse_other_differences` has let pass.
        metric: a mean over sequences.
        top: how many sequences `most` names.

    Raises:
        UsageError: no tracker has such results, or a metric that is not a mean.
    """
    chosen = linear(metric)
    found = [_compare(scores, chosen, name, rows, top) for name, rows in _groups(scores).items() if len(rows) > 1]
    if not found:
        raise UsageError(
            "no tracker has results with its own text and with another one; `tnllt-run NAME --text own,none,shuffled` "
            "makes them"
        )
    for family in (True, False):
        flat = [c for one, _ in found for c in one.comparisons if (c.b in CONTROLS) is family]
        adjusted = iter(corrected(flat))
        found = [
            (replace(a, comparisons=[next(adjusted) if (c.b in CONTROLS) is family else c for c in a.comparisons]), t)
            for a, t in found
        ]
    made = []
    for one, tables in found:
        verdict: Verdict = "cannot tell"
        if one.controls:
            bounds = np.array([[c.low, c.high] for c in one.controls])
            verdict = judge([c.adjusted for c in one.controls], bounds, one.changed, one.sequences)
        needed = _needed(tables, len(found)) if verdict == "cannot tell" and one.controls else None
        made.append(replace(one, verdict=verdict, needed=needed))
    return sorted(made, key=lambda a: (-a.own, a.tracker))


def audit_table(audits: list[Audit], title: str) -> ScoreTable:
    """A row per tracker: its score with its own text, and the difference to every other text with its interval."""
    texts = list(dict.fromkeys(c.b for a in audits for c in a.comparisons))
    values = np.full((len(audits), 1 + len(texts)), np.nan)
    values[:, 0] = [a.own for a in audits]
    bounds, marked = np.full((*values.shape, 2), np.nan), np.zeros(values.shape, bool)
    for row, a in enumerate(audits):
        for c in a.comparisons:
            place = row, 1 + texts.index(c.b)
            values[place], bounds[place], marked[place] = c.difference, (c.low, c.high), c.significant
    counts = [f"; {a.sequences} sequences" if a.verdict == "reads" else "" for a in audits]  # other verdicts name it
    notes = [*(f"{a.tracker}: {a.words}{count}." for a, count in zip(audits, counts, strict=True)), RULE]
    return ScoreTable(
        title, [a.tracker for a in audits], 0, ["own text", *(f"own - {text}" for text in texts)],
        [4] * values.shape[1], values, bounds, notes, missing="", marked=marked,
        mark=("Significant", f"p < {ALPHA} after Holm's correction"), ranked=False,
        method=interval_methods((c.sequences, True) for a in audits for c in a.comparisons),
    )  # fmt: skip


def judge(p_values: list[float], bounds: NDArray[np.float64], changed: int, sequences: int) -> Verdict:
    """The verdict by `RULE`.

    Args:
        p_values: corrected, one per control.
        bounds: (control, 2) interval of each mean difference.
        changed, sequences: how many sequences the text changes, and all.
    """
    from scipy.special import betaincinv

    if min(p_values) < ALPHA:
        return "reads"
    most = betaincinv(changed + 1, sequences - changed, 1 - ALPHA) if changed < sequences else 1.0
    within = changed >= FEW_SEQUENCES and bool((np.abs(bounds) < MARGIN).all())
    return "does not" if most < FRACTION or within else "cannot tell"


def _groups(scores: Scores) -> dict[str, dict[str, list[int]]]:
    """{tracker: {text: rows of `scores`}}, "own" first; trackers without results on their own text are left out."""
    groups: dict[str, dict[str, list[int]]] = {}
    for row, name in enumerate(scores.trackers):
        variant = parse_variant(name)
        texts = groups.setdefault(variant.without("text", "seed"), {})
        texts.setdefault(variant.values.get("text", "own"), []).append(row)
    order = {text: place for place, text in enumerate(TEXTS)}
    return {
        name: dict(sorted(texts.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
        for name, texts in groups.items()
        if "own" in texts
    }


def _compare(
    scores: Scores, metric: Metric, name: str, rows: Mapping[str, list[int]], top: int
) -> tuple[Audit, list[WeightedScores]]:
    """The audit without its verdict; and the scores of own text and controls, which the verdict is about."""

    def tables(members: Any = None) -> dict[str, WeightedScores]:
        whole = weighted_scores(scores, metric, members)
        return {text: mean_of(whole, index) for text, index in rows.items()}

    def against(texts: dict[str, WeightedScores], members: str, wanted: list[str]) -> list[Comparison]:
        return [c for b in wanted for c in compared([name], [b], members, texts["own"], texts[b])]

    texts = tables()
    controls = [text for text in CONTROLS if text in rows]
    comparisons = against(texts, "all", [text for text in rows if text != "own"])
    attributes = [
        c for label, flags in scores.attribute_members().items() for c in against(tables(flags), label, controls)
    ]
    values = scores.per_sequence(metric)
    own = values[rows["own"]].mean(axis=0)
    others = np.array([values[rows[text]].mean(axis=0) for text in controls]).reshape(-1, len(own))
    gaps = np.abs(own - others)
    known = np.flatnonzero(~np.isnan(gaps).any(axis=0) & ~np.isnan(own))
    order = sorted(known, key=lambda s: (-abs(own[s] - others[:, s].mean()), s))[:top] if controls else []
    result = Audit(
        name,
        len(known),
        int((gaps[:, known] >= MARGIN).any(axis=0).sum()),
        float(texts["own"].means[0]),
        comparisons,
        "cannot tell",
        prompts={text: float(texts[text].means[0]) for text in rows if text not in TEXTS},
        attributes=corrected(attributes),
        most=[(scores.sequences[s], float(own[s]), float(others[:, s].mean())) for s in order],
    )
    return result, [texts["own"], *(texts[text] for text in controls)]


def _needed(tables: list[WeightedScores], trackers: int) -> int | None:
    """How many sequences a verdict takes, where they are composed as these are; None beyond `MOST_SEQUENCES`."""
    known = ~np.vstack([t.missing for t in tables]).any(axis=0)
    if not known.any():
        return None
    tables = [t[:, known] for t in tables]
    gaps = np.abs(np.vstack([t.values - tables[0].values for t in tables[1:]]))
    # Ordered, so that every n-th part of them is composed alike.
    order = np.argsort(gaps.max(axis=0), kind="stable")
    count = len(order)

    def decided(n: int) -> bool:
        drawn = order[((np.arange(n) + 0.5) * count / n).astype(int)]
        own, *others = (t[:, drawn] for t in tables)
        p_values = [float(permutation_test(own, other, resamples=2_000)[0]) for other in others]
        intervals = [difference_intervals(own, other, resamples=500) for other in others]
        bounds = np.array([[i.low[0], i.high[0]] for i in intervals])
        changed = int((gaps[:, drawn] >= MARGIN).any(axis=0).sum())
        return judge((holm(p_values) * trackers).tolist(), bounds, changed, n) != "cannot tell"

    low, high = count, 2 * count
    while high <= MOST_SEQUENCES and not decided(high):
        low, high = high, 2 * high
    if high > MOST_SEQUENCES:
        return None
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


# --- what may be compared ---------------------------------------------------------------------------------------------


def refuse_other_differences(files: Mapping[str, Mapping[str, ResultFile]]) -> None:
    """Raises UsageError where variants of a tracker by text differ in anything else.

    Compared are the identities in the run records: code, options, weights, mode, seed, frames and annotations.

    Args:
        files: {tracker: {sequence: result file}}.

    Raises:
        UsageError: they differ, or have other sequences or seeds. DataError: a result without run record.
    """
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for name in files:
        variant = parse_variant(name)
        texts = groups.setdefault(variant.without("text", "seed"), {})
        texts.setdefault(variant.values.get("text", "own"), {})[variant.values.get("seed", "")] = name
    for tracker, texts in groups.items():
        if len(texts) < 2 or "own" not in texts:
            continue
        for text, seeds in texts.items():
            if seeds.keys() != texts["own"].keys():
                raise UsageError(f"{tracker} was run with other seeds on text={text} than on its own: run both alike")
            for seed, name in seeds.items():
                _refuse(files, texts["own"][seed], name)


def _refuse(files: Mapping[str, Mapping[str, ResultFile]], own: str, other: str) -> None:
    if files[own].keys() != files[other].keys():
        odd = sorted(files[own].keys() ^ files[other].keys())
        raise UsageError(f"{own} and {other} have results on other sequences ({odd[0]}): run both on the same")
    for sequence in files[own] if own != other else ():
        first, second = (_facts(files[name][sequence]) for name in (own, other))
        found = differences(first, second)
        if found:
            raise UsageError(
                f"{own} and {other} differ in more than the text ({sequence}: {'; '.join(found[:3])}); run both alike, "
                "with --again or under another --name"
            )


def _facts(file: ResultFile) -> dict[str, Any]:
    """What decided a result, besides the text."""
    record = run_record(file, file.read())
    if record is None or not record.identity:
        raise DataError("has no run record of its own with an identity: nobody knows what it was run with", file.place)
    return {**{k: v for k, v in record.identity.items() if k != "text"}, "inputs": record.mode}


# --- figure -----------------------------------------------------------------------------------------------------------


def save_figure(audits: list[Audit], folder: Path, metric: Metric, formats: tuple[str, ...] = ("pdf", "png", "svg")
                ) -> list[Path]:  # fmt: skip
    """Draws `language_<metric>`: per tracker and text the difference with its interval; returns the paths."""
    from matplotlib.figure import Figure

    rows = [(audit, c) for audit in reversed(audits) for c in reversed(audit.comparisons)]
    paths = [folder / f"language_{metric.name}.{ending}" for ending in formats]
    with paper_style(Style(font_size=9)):
        figure = Figure(figsize=(6.2, 0.8 + 0.28 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color="#444444", lw=0.8)
        axes.axvspan(-MARGIN, MARGIN, color="#0072b2", alpha=0.12, lw=0)
        for place, (_, c) in enumerate(rows):
            colour = "#d55e00" if c.significant else "#444444"
            axes.plot([c.low, c.high], [place, place], color=colour, lw=1.6)
            axes.plot([c.difference], [place], "o", color=colour, ms=4)
        labels = [f"{name_cell(a.tracker, 30)}: own - {name_cell(c.b, 20)}" for a, c in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel(f"difference of {metric.short}, 95 % interval (band: ±{MARGIN}; orange: p < {ALPHA})")
        for path in paths:
            figure.savefig(path, dpi=200)
    return paths
