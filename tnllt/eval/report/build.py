"""What the report's page shows, as plain data: numbers come from `Scores` alone, in full precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt._version import __version__
from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.errors import DataError, UsageError
from tnllt.eval.compare import compare_all, ranks
from tnllt.eval.intervals import runs, score_intervals
from tnllt.eval.language import RULE, audit, refuse_other_differences
from tnllt.eval.metrics import Metric
from tnllt.eval.report.details import PageDetails
from tnllt.eval.report.overlaps import mean_known
from tnllt.eval.report.thumbnails import spread_frames, thumbnails, worst_frames
from tnllt.eval.scores import Scores
from tnllt.eval.selection import Selection
from tnllt.eval.statistics import CONFIDENCE, FEW_SEQUENCES, RESAMPLES, Intervals, interval_methods
from tnllt.eval.style import Style
from tnllt.eval.tables import footnotes
from tnllt.eval.view.scene import spans
from tnllt.findings import Finding
from tnllt.processes import processors
from tnllt.results.variants import parse_variant
from tnllt.sequence import Sequence

Array = NDArray[np.float64]
HARDEST = 20
#: Trackers whose boxes are drawn into the small images: more would hide the target.
DRAWN = 3
#: Trackers that are compared in pairs, the best by success: their number grows with the square.
PAIRED = 25
LINT_LISTED = 500
TEXT_LIMIT = 2_000


def _language(scores: Scores, selection: Selection) -> dict[str, Any]:
    """The language audit, or in its place a note why there is none; neither where no tracker was told another text."""
    audits, note = [], ""
    if any("text" in parse_variant(name).values for name in scores.trackers):
        try:
            refuse_other_differences({name: selection.files[name] for name in scores.trackers})
            audits, note = audit(scores), RULE
        except (UsageError, DataError) as error:
            note = f"There is no audit: {error}."
    shown = ("b", "difference", "low", "high")
    rows = [
        {
            "tracker": a.tracker, "sequences": a.sequences, "own": a.own, "words": a.words,
            "against": [{**{k: getattr(c, k) for k in shown}, "significant": c.significant} for c in a.comparisons],
        }
        for a in audits
    ]  # fmt: skip
    return {"rows": rows, "note": note}


def page_data(
    scores: Scores,
    details: PageDetails,
    intervals: Mapping[str, Intervals],
    pictures: int = 0,
    title: str = "",
    style: Style | None = None,
) -> dict[str, Any]:
    """The page's data, all but the scores per sequence and the packed overlaps.

    Args:
        details: of the results whose scores these are; what it has not seen is read.
        intervals: `all_intervals` of all metrics.
        pictures: how many frames of each sequence are shown beside its overlaps, where there are frames.
        title: heading of the page; "": by the benchmark.
    """
    style, selection = style or Style(), details.selection
    metrics = scores.metrics("all")
    sets = [
        ("All sequences", "all", None),
        *((_title(name), name, members) for name, members in scores.attribute_members().items()),
    ]
    mean, rank = mean_known(scores.per_sequence("success"), 0), ranks(scores)
    order = sorted(np.flatnonzero(~np.isnan(mean)).tolist(), key=lambda s: (mean[s], scores.sequences[s]))
    hardest = order[:HARDEST]  # by mean success over trackers
    paired = scores.ranking("success")[:PAIRED]
    # Resampling leaves the interpreter free: it goes on while the results are read.
    with ThreadPoolExecutor(processors()) as pool:
        pairs = {m.name: pool.submit(_pairs, scores, m, paired) for m in metrics if m.is_mean}
        tables = {m.name: pool.submit(_table, scores, m, sets, intervals[m.name]) for m in metrics}
        details.read()
        found = details.findings().found
        sequences, shown = _sequences(scores, details, sets, set(hardest), pictures, style)
    return {
        "title": title or f"{len(scores.trackers)} trackers on {scores.title}",
        "confidence": CONFIDENCE,
        "interval": interval_methods((len(scores.sequences), m.is_mean) for m in metrics),
        "facts": _facts(scores),
        "footnotes": footnotes(scores, attributes=True),
        "colophon": f"Made by tnllt {__version__}. Intervals: studentised bootstrap over sequences, {RESAMPLES:,} "
        f"resamples, seed 0; Student's t below {FEW_SEQUENCES} sequences; percentiles for scores of sums. "
        "This file loads nothing from anywhere.",
        "metrics": [
            {
                "key": m.name, "label": m.label, "short": m.short, "description": m.description, "digits": m.digits,
                "curve": m.curve,
            }
            for m in metrics
        ],
        "sets": [
            {"key": key, "label": label, "count": len(scores.sequences) if m is None else int(m.sum())}
            for label, key, m in sets
        ],
        "trackers": [
            {
                "name": look.label, "colour": look.colour, "bright": look.bright, "dash": look.dash,
                "fps": details.told[name].fps, "device": ", ".join(details.told[name].devices),
                "costs": details.told[name].costs,
            }
            for name, look in style.looks(scores.trackers, scores.peers).items()
        ],
        "sequences": sequences,
        "table": {name: job.result() for name, job in tables.items()},
        "ranks": [{"low": low, "high": high, "first": first}
                  for low, high, first in zip(rank.low, rank.high, rank.first, strict=True)],
        "pairs": {name: job.result() for name, job in pairs.items()},
        "paired": len(paired),
        "runs": {m.name: [vars(r) for r in runs(scores, m)] for m in metrics},
        "language": _language(scores, selection),
        "curves": {m.measure.name: _curve(scores, m, sets) for m in metrics if m.has_curve},
        "hardest": [shown[s] for s in hardest],
        "lint": [_finding(f) for f in found[:LINT_LISTED]],
        "lint_total": len(found),
        "protocol": {
            "name": scores.protocol.name,
            "summary": scores.protocol.summary,
            "rules": [
                {"rule": label, "value": value, "why": why}
                for _, label, value, why in scores.protocol.card()
            ],
        },
    }  # fmt: skip


def _sequences(
    scores: Scores, details: PageDetails, sets: Seq[tuple[str, str, Any]], hardest: set[int], pictures: int,
    style: Style,
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:  # fmt: skip
    """What is told of every sequence, and what is shown of the hardest."""
    selection = details.selection
    drawn = [scores.trackers[k] for k in scores.ranking("success")[:DRAWN]]
    looks = style.looks(drawn, (*scores.trackers, *scores.peers))
    found, shown = [], {}
    for index, sequence in enumerate(selection.sequences):
        members = [i for i, (_, _, flags) in enumerate(sets) if flags is not None and flags[index]]
        answers = _answers(scores.trackers, details, sequence.name)
        small: list[dict[str, Any]] = []
        worst: list[dict[str, Any]] = []
        if sequence.has_frames:
            read = selection.read_sequence(sequence.name, drawn)
            best = {name: (looks[name].bright, read[name]) for name in drawn if name in read}
            overlaps = details.mean_overlaps(index)
            changed = {a["frame"] - 1 for a in answers if a["changed"]} & set(range(len(sequence)))
            frames = sorted({*spread_frames(overlaps, pictures), *sorted(changed)[:pictures]})
            small = thumbnails(sequence, best, overlaps, frames)
            if index in hardest:
                worst = thumbnails(sequence, best, overlaps, worst_frames(overlaps))
        found.append({**_sequence(sequence, members, answers), "pictures": small})
        if index in hardest:
            shown[index] = _hard(index, scores, worst)
    return found, shown


def _title(attribute: str) -> str:
    title = ATTRIBUTE_TITLES.get(attribute, attribute)
    return title[:1].upper() + title[1:]


def _facts(scores: Scores) -> list[tuple[str, str]]:
    return [
        ("Benchmark", scores.title),
        ("Protocol", scores.protocol.name),
        ("Trackers", f"{len(scores.trackers):,}"),
        ("Sequences", f"{len(scores.sequences):,}"),
        ("Frames", f"{int(scores.lengths.sum()):,}"),
    ]


def _sequence(sequence: Sequence, members: list[int], answers: list[dict[str, Any]]) -> dict[str, Any]:
    present = sequence.present
    return {
        "name": sequence.name,
        "frames": len(sequence),
        "language": _cut(sequence.language or ""),
        "sets": members,
        "absent": [] if present is None else spans(~present),
        "answers": answers,
    }


def _answers(trackers: Seq[str], details: PageDetails, sequence: str) -> list[dict[str, Any]]:
    """Every reasoner's answers on one sequence, in the order of frames."""
    answers = []
    for k, tracker in enumerate(trackers):
        for answer in details.told[tracker].answers.get(sequence, ()):
            texts = {"description": _cut(answer.description), "think": _cut(answer.think)}
            facts = {"tracker": k, "frame": answer.frame, "decision": answer.decision, "changed": answer.changed}
            answers.append({**facts, **texts})
    return sorted(answers, key=lambda a: (a["frame"], a["tracker"]))


def _table(scores: Scores, metric: Metric, sets: Seq[tuple[str, str, Any]], overall: Intervals) -> dict[str, Any]:
    found: dict[str, Any] = {"score": [], "interval": [], "ceiling": [], "floor": []}
    for place, (_, _, members) in enumerate(sets):
        found["score"].append(scores.score(metric, members))
        interval = None if place else overall
        if place and metric.has_curve:
            interval = score_intervals(scores, metric, members)
        found["interval"].append(None if interval is None else np.stack([interval.low, interval.high], axis=1))
        reference = scores.reference(metric, members)
        found["ceiling"].append(reference.get("ceiling", math.nan))
        found["floor"].append(reference.get("floor", math.nan))
    return found


def _pairs(scores: Scores, metric: Metric, among: Seq[int]) -> dict[str, dict[str, Any]]:
    """{"i-j" with i < j: difference i - j, its interval, p and Holm's p} of some trackers."""
    place = {name: k for k, name in enumerate(scores.trackers)}
    chosen = scores if len(among) == len(place) else scores.select([scores.trackers[k] for k in sorted(among)])
    found = {}
    for pair in compare_all(chosen, metric):
        i, j = place[pair.a], place[pair.b]
        sign = 1 if i < j else -1
        low, high = (pair.low, pair.high) if sign > 0 else (-pair.high, -pair.low)
        found[f"{min(i, j)}-{max(i, j)}"] = {
            "difference": sign * pair.difference, "low": low, "high": high, "p": pair.p_value, "holm": pair.adjusted
        }  # fmt: skip
    return found


def _curve(scores: Scores, metric: Metric, sets: Seq[tuple[str, str, Any]]) -> dict[str, Any]:
    assert metric.figure is not None
    return {
        "metric": metric.name,
        "label": metric.figure.title,
        "thresholds": metric.thresholds(scores.protocol),
        "x": metric.figure.x,
        "y": "Fraction of frames",
        "mark": metric.mark(scores.protocol),
        "mean": [np.round(scores.mean_curve(metric, members), 5) for _, _, members in sets],
    }


def _hard(index: int, scores: Scores, pictures: list[dict[str, Any]]) -> dict[str, Any]:
    values = scores.per_sequence("success")[:, index]
    best = int(np.nanargmax(values))
    return {
        "sequence": index, "mean": float(np.nanmean(values)), "best": float(values[best]), "best_tracker": best,
        "thumbnails": pictures,
    }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity, "code": finding.code, "tracker": _cut(finding.subject),
        "sequence": _cut(finding.sequence), "row": finding.row, "message": _cut(finding.text),
    }  # fmt: skip


def _cut(text: str) -> str:
    """The text, bounded: a description may have ten thousand characters, and a report may hold many."""
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + f" … ({len(text):,} characters)"
