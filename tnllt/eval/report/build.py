"""What the report's page shows, as plain data: numbers come from `Scores` alone, in full precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt._version import __version__
from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.errors import DataError, UsageError
from tnllt.eval.compare import compare_all, ranks
from tnllt.eval.evaluate import errors_by_tracker
from tnllt.eval.frame_errors import FrameErrors
from tnllt.eval.intervals import runs, score_intervals
from tnllt.eval.language import RULE, audit, refuse_other_differences
from tnllt.eval.metrics import Metric
from tnllt.eval.report.overlaps import mean_known, thinned
from tnllt.eval.report.thumbnails import spread_frames, thumbnails, worst_frames
from tnllt.eval.scores import Scores
from tnllt.eval.selection import Selection
from tnllt.eval.statistics import CONFIDENCE, FEW_SEQUENCES, RESAMPLES, interval_method
from tnllt.eval.style import Style
from tnllt.eval.tables import footnotes
from tnllt.eval.view.scene import answers_of, read_trace, spans
from tnllt.findings import Finding
from tnllt.processes import processors
from tnllt.results.costs import cost_card, cost_text, counted_costs
from tnllt.results.lint import Linter
from tnllt.results.variants import parse_variant
from tnllt.sequence import Sequence, Trajectory

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


@dataclass
class _Pass:
    """What one pass over the sequences gathers: no more than one sequence's results are in memory at a time."""

    sequences: list[dict[str, Any]] = field(default_factory=list)
    hardest: dict[int, dict[str, Any]] = field(default_factory=dict)
    series: list[NDArray[np.float32]] = field(default_factory=list)
    speeds: dict[str, Speed] = field(default_factory=dict)
    findings: Seq[Finding] = ()


def page_data(
    scores: Scores,
    selection: Selection,
    strides: Seq[int],
    pictures: int = 0,
    title: str = "",
    style: Style | None = None,
) -> tuple[dict[str, Any], list[Any]]:
    """The page's data, all but the scores per sequence and the packed overlaps; and the overlaps to be packed.

    Args:
        selection: whose scores these are; results are read sequence by sequence.
        strides: per sequence, how many frames become one point of its overlaps.
        pictures: how many frames of each sequence are shown beside its overlaps, where there are frames.
        title: heading of the page; "": by the benchmark.
    """
    style = style or Style()
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
        tables = {m.name: pool.submit(_table, scores, m, sets) for m in metrics}
        found = _pass(scores, selection, sets, strides, set(hardest), pictures, style)
    data = {
        "title": title or f"{len(scores.trackers)} trackers on {scores.title}",
        "confidence": CONFIDENCE,
        "interval": interval_method(len(scores.sequences)),
        "facts": _facts(scores),
        "footnotes": list(footnotes(scores)),
        "colophon": f"Made by tnllt {__version__}. Intervals: studentised bootstrap over sequences, {RESAMPLES:,} "
        f"resamples, seed 0; Student's t below {FEW_SEQUENCES} sequences. This file loads nothing from anywhere.",
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
                "fps": found.speeds[name].fps, "device": ", ".join(sorted(found.speeds[name].devices)),
                "costs": found.speeds[name].costs,
            }
            for name, look in style.looks(scores.trackers, scores.peers).items()
        ],
        "sequences": found.sequences,
        "table": {name: job.result() for name, job in tables.items()},
        "ranks": [{"low": low, "high": high, "first": first}
                  for low, high, first in zip(rank.low, rank.high, rank.first, strict=True)],
        "pairs": {name: job.result() for name, job in pairs.items()},
        "paired": len(paired),
        "runs": {m.name: [vars(r) for r in runs(scores, m)] for m in metrics},
        "language": _language(scores, selection),
        "curves": {m.measure.name: _curve(scores, m, sets) for m in metrics if m.has_curve},
        "hardest": [found.hardest[s] for s in hardest],
        "lint": [_finding(f) for f in found.findings[:LINT_LISTED]],
        "lint_total": len(found.findings),
        "protocol": {
            "name": scores.protocol.name,
            "summary": scores.protocol.summary,
            "rules": [
                {"rule": label, "value": value, "why": why}
                for _, label, value, why in scores.protocol.card()
            ],
        },
    }  # fmt: skip
    return data, found.series


def _pass(
    scores: Scores, selection: Selection, sets: Seq[tuple[str, str, Any]], strides: Seq[int], hardest: set[int],
    pictures: int, style: Style,
) -> _Pass:  # fmt: skip
    found = _Pass(speeds={name: Speed() for name in scores.trackers})
    linter = Linter(selection.files)
    drawn = [scores.trackers[k] for k in scores.ranking("success")[:DRAWN]]
    looks = style.looks(drawn, (*scores.trackers, *scores.peers))
    for index, (sequence, stride) in enumerate(zip(selection.sequences, strides, strict=True)):
        own = selection.read_sequence(sequence.name)
        linter.look(sequence, own)
        for tracker, trajectory in own.items():
            found.speeds[tracker].add(trajectory)
        errors = errors_by_tracker(sequence, own, scores.protocol, selection.config.allow_short, scores.rounding)
        overlaps = frame_overlaps(scores.trackers, errors, len(sequence))
        found.series.append(thinned(overlaps, stride).astype(np.float32))
        members = [i for i, (_, _, flags) in enumerate(sets) if flags is not None and flags[index]]
        found.sequences.append(_sequence(sequence, members, _answers(scores.trackers, own, sequence.name, selection)))
        best = {name: (looks[name].bright, own[name]) for name in drawn if name in own}
        changed = {a["frame"] - 1 for a in found.sequences[-1]["answers"] if a["changed"]}
        shown = sorted({*spread_frames(overlaps, pictures), *sorted(changed & set(range(len(sequence))))[:pictures]})
        found.sequences[-1]["pictures"] = thumbnails(sequence, best, overlaps, shown)
        if index in hardest:
            found.hardest[index] = _hard(index, sequence, scores, best, overlaps)
    found.findings = linter.findings(len(selection.sequences), selection.unknown).found
    return found


def frame_overlaps(trackers: Seq[str], errors: Mapping[str, FrameErrors], length: int) -> Array:
    """(K, T) the protocol's overlap of every frame, NaN where it measures none or a tracker has no result."""
    found = np.full((len(trackers), length), np.nan)
    for k, tracker in enumerate(trackers):
        if tracker in errors:
            values, counted = errors[tracker].overlap[0], errors[tracker].counted
            # A broken box that the protocol counts as a miss is drawn as an overlap of 0.
            found[k, : len(values)] = np.where(counted & ~np.isnan(values), np.maximum(values, 0.0), np.nan)
    return found


@dataclass
class Speed:
    """Frames per second of one tracker over its sequences, first frames left out, the devices it ran on, and the
    records of runs that counted its costs."""

    frames: int = 0
    seconds: float = 0.0
    devices: set[str] = field(default_factory=set)
    counted: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, trajectory: Trajectory) -> None:
        if trajectory.seconds is not None and len(trajectory) > 1:
            self.frames += len(trajectory) - 1
            self.seconds += float(np.nansum(trajectory.seconds[1:]))
        if trajectory.record.get("device"):
            self.devices.add(str(trajectory.record["device"]))
        self.counted.append(counted_costs(trajectory.record))

    @property
    def costs(self) -> str:
        """The card of `tnllt-run --profile` in one line; "" without one."""
        return cost_text(cost_card(self.counted))

    @property
    def fps(self) -> float | None:
        """None where no run recorded times."""
        return self.frames / self.seconds if self.seconds > 0 else None


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


def _answers(
    trackers: Seq[str], own: Mapping[str, Trajectory], sequence: str, selection: Selection
) -> list[dict[str, Any]]:
    """Every reasoner's answers on one sequence, in the order of frames; one that repeats the last is left out."""
    answers = []
    for k, tracker in enumerate(trackers):
        last = None
        file = selection.files.get(tracker, {}).get(sequence)
        events = [] if file is None else read_trace(file)
        for answer in answers_of(own[tracker], events) if tracker in own else ():
            said = (answer.decision, answer.description)
            if answer.changed or said != last:
                texts = {"description": _cut(answer.description), "think": _cut(answer.think)}
                facts = {"tracker": k, "frame": answer.frame, "decision": answer.decision, "changed": answer.changed}
                answers.append({**facts, **texts})
            last = said
    return sorted(answers, key=lambda a: (a["frame"], a["tracker"]))


def _table(scores: Scores, metric: Metric, sets: Seq[tuple[str, str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"score": [], "interval": [], "ceiling": [], "floor": []}
    for place, (_, _, members) in enumerate(sets):
        found["score"].append(scores.score(metric, members))
        interval = score_intervals(scores, metric, members) if place == 0 or metric.has_curve else None
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


def _hard(
    index: int, sequence: Sequence, scores: Scores, drawn: Mapping[str, tuple[str, Trajectory]], overlaps: Array
) -> dict[str, Any]:
    values = scores.per_sequence("success")[:, index]
    best = int(np.nanargmax(values))
    return {
        "sequence": index, "mean": float(np.nanmean(values)), "best": float(values[best]), "best_tracker": best,
        "thumbnails": thumbnails(sequence, drawn, overlaps, worst_frames(overlaps)),
    }  # fmt: skip


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity, "code": finding.code, "tracker": _cut(finding.subject),
        "sequence": _cut(finding.sequence), "row": finding.row, "message": _cut(finding.text),
    }  # fmt: skip


def _cut(text: str) -> str:
    """The text, bounded: a description may have ten thousand characters, and a report may hold many."""
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + f" … ({len(text):,} characters)"
