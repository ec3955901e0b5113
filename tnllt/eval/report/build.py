"""What the report's page shows, as plain data: numbers come from `Scores` alone, in full precision."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.eval.compare import compare_all, ranks
from tnllt.eval.intervals import runs, score_intervals
from tnllt.eval.metrics import Metric
from tnllt.eval.report.thumbnails import thumbnails
from tnllt.eval.rule_text import protocol_card
from tnllt.eval.scores import Scores
from tnllt.eval.selection import Selection
from tnllt.eval.statistics import CONFIDENCE, RESAMPLES
from tnllt.eval.tables import footnotes
from tnllt.eval.view.scene import changes_of, read_trace, spans
from tnllt.files import plain
from tnllt.sequence import Sequence, Trajectory

Array = NDArray[np.float64]
HARDEST = 20
#: Trackers whose boxes are drawn into the small images: more would hide the target.
DRAWN = 3
LINT_LISTED = 500
TEXT_LIMIT = 2_000


@dataclass(frozen=True)
class ReportContent:
    """Everything a report is made of besides the scores.

    Attributes:
        sequences: those that were scored, in the scores' order.
        trajectories: {tracker: {sequence: Trajectory}}.
        traces: {tracker: {sequence: events}}, where runs left any.
        findings: lint findings as {"severity", "code", "tracker", "sequence", "row", "message"}.
        footnotes: sentences that every output must carry.
        title: heading of the page.
    """

    sequences: Seq[Sequence]
    trajectories: Mapping[str, Mapping[str, Trajectory]]
    traces: Mapping[str, Mapping[str, Iterable[Mapping[str, Any]]]] = field(default_factory=dict)
    findings: Seq[Mapping[str, Any]] = ()
    footnotes: Seq[str] = ()
    title: str = ""


def report_content(selection: Selection, scores: Scores, title: str = "") -> ReportContent:
    """The content of a report on selected results and their scores."""
    traces = {t: {n: read_trace(f) for n, f in files.items()} for t, files in selection.files.items()}
    findings = [
        {**vars(finding), "tracker": finding.subject, "message": finding.text} for finding in selection.lint().found
    ]
    return ReportContent(selection.sequences, selection.read(), traces, findings, footnotes(scores), title)


def page_data(scores: Scores, content: ReportContent, overlaps: Seq[Array]) -> dict[str, Any]:
    """The page's data as JSON-able values, all but the packed overlaps.

    Args:
        overlaps: per sequence, (K, T) as `frame_overlaps` gives them.
    """
    metrics = scores.metrics("all")
    sets = [
        ("All sequences", "all", None),
        *((_title(name), name, members) for name, members in scores.attribute_members().items()),
    ]
    hardest = hardest_sequences(scores)
    return {
        "title": content.title or f"{len(scores.trackers)} trackers on {scores.dataset or 'a benchmark'}",
        "eyebrow": "Tracking evaluation report",
        "confidence": CONFIDENCE,
        "facts": _facts(scores),
        "footnotes": list(content.footnotes),
        "colophon": _colophon(),
        "metrics": [_metric(m) for m in metrics],
        "sets": [
            {"key": key, "label": label, "count": len(scores.sequences) if m is None else int(m.sum())}
            for label, key, m in sets
        ],
        "trackers": [_tracker(name, content.trajectories.get(name, {})) for name in scores.trackers],
        "sequences": [_sequence(i, s, scores, sets, content) for i, s in enumerate(content.sequences)],
        "table": {m.name: _table(scores, m, sets) for m in metrics},
        "per_sequence": {m.name: plain(scores.per_sequence(m)) for m in metrics},
        "ranks": _ranks(scores),
        "pairs": {m.name: _pairs(scores, m) for m in metrics if m.is_mean},
        "runs": {m.name: [vars(r) for r in runs(scores, m)] for m in metrics},
        "curves": {m.measure.name: _curve(scores, m, sets) for m in metrics if m.has_curve},
        "hardest": [_hard(s, scores, content, overlaps[s]) for s in hardest],
        "lint": [_finding(f) for f in content.findings[:LINT_LISTED]],
        "lint_total": len(content.findings),
        "protocol": {
            "name": scores.protocol.name,
            "summary": scores.protocol.summary,
            "rules": [
                {"rule": label, "value": value, "sentence": why}
                for _, label, value, why in protocol_card(scores.protocol)
            ],
        },
    }  # fmt: skip


def frame_overlaps(scores: Scores, sequence: str) -> Array:
    """(K, T) the protocol's overlap of every frame, NaN where it measures none or a tracker has no result."""
    errors = scores.frames(sequence)
    length = int(scores.lengths[scores.sequences.index(sequence)])
    found = np.full((len(scores.trackers), length), np.nan)
    for k, tracker in enumerate(scores.trackers):
        if tracker in errors:
            values = errors[tracker].overlap[0]
            found[k, : len(values)] = np.where(errors[tracker].counted & (values >= 0), values, np.nan)
            # A broken box that the protocol calls a miss is an overlap of 0 to the eye.
            found[k, : len(values)][errors[tracker].counted & (values < 0)] = 0.0
    return found


def hardest_sequences(scores: Scores, most: int = HARDEST) -> list[int]:
    """Indices of the sequences with the lowest mean success over trackers, hardest first."""
    values = scores.per_sequence("success")
    known = ~np.isnan(values)
    mean = np.where(
        known.any(axis=0), np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1), np.inf
    )
    order = sorted(np.flatnonzero(np.isfinite(mean)), key=lambda s: (mean[s], scores.sequences[s]))
    return [int(s) for s in order[:most]]


def fps_of(trajectories: Mapping[str, Trajectory]) -> float | None:
    """Frames per second over all sequences, first frames left out; None where no run recorded times."""
    frames, seconds = 0, 0.0
    for trajectory in trajectories.values():
        if trajectory.seconds is not None and len(trajectory) > 1:
            frames += len(trajectory) - 1
            seconds += float(np.nansum(trajectory.seconds[1:]))
    return frames / seconds if seconds > 0 else None


def _title(attribute: str) -> str:
    title = ATTRIBUTE_TITLES.get(attribute, attribute)
    return title[:1].upper() + title[1:]


def _facts(scores: Scores) -> list[tuple[str, str]]:
    return [
        ("Benchmark", scores.dataset or "not named"),
        ("Protocol", scores.protocol.name),
        ("Trackers", f"{len(scores.trackers):,}"),
        ("Sequences", f"{len(scores.sequences):,}"),
        ("Frames", f"{int(scores.lengths.sum()):,}"),
    ]


def _colophon() -> str:
    from tnllt import __version__

    return (
        f"Made by tnllt {__version__}. Intervals: studentised bootstrap over sequences, {RESAMPLES:,} resamples, "
        "seed 0. This file loads nothing from anywhere."
    )


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "key": metric.name, "label": metric.label, "short": metric.short, "description": metric.description,
        "digits": metric.digits, "curve": metric.curve,
    }  # fmt: skip


def _tracker(name: str, trajectories: Mapping[str, Trajectory]) -> dict[str, Any]:
    devices = {str(t.record["device"]) for t in trajectories.values() if t.record.get("device")}
    return {"name": name, "fps": fps_of(trajectories), "device": ", ".join(sorted(devices))}


def _sequence(
    index: int, sequence: Sequence, scores: Scores, sets: Seq[tuple[str, str, Any]], content: ReportContent
) -> dict[str, Any]:
    changes = []
    for k, tracker in enumerate(scores.trackers):
        trajectory = content.trajectories.get(tracker, {}).get(sequence.name)
        if trajectory is None:
            continue
        changes += [
            {"tracker": k, "frame": c.frame, "description": _cut(c.description), "think": _cut(c.think)}
            for c in changes_of(trajectory, content.traces.get(tracker, {}).get(sequence.name, ()))
        ]
    present = sequence.present
    return {
        "name": sequence.name,
        "frames": len(sequence),
        "language": _cut(sequence.language or ""),
        "sets": [i for i, (_, _, members) in enumerate(sets) if members is not None and members[index]],
        "absent": [] if present is None else spans(~present),
        "changes": sorted(changes, key=lambda c: (c["frame"], c["tracker"])),
    }


def _table(scores: Scores, metric: Metric, sets: Seq[tuple[str, str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"score": [], "interval": [], "ceiling": [], "floor": []}
    for place, (_, _, members) in enumerate(sets):
        found["score"].append(plain(scores.score(metric, members)))
        interval = score_intervals(scores, metric, members) if place == 0 or metric.has_curve else None
        bounds = (
            None if interval is None else [[low, high] for low, high in zip(interval.low, interval.high, strict=True)]
        )
        found["interval"].append(plain(bounds))
        reference = scores.reference(metric, members)
        found["ceiling"].append(plain(reference.get("ceiling", math.nan)))
        found["floor"].append(plain(reference.get("floor", math.nan)))
    return found


def _ranks(scores: Scores) -> list[dict[str, Any]]:
    stability = ranks(scores)
    return [
        plain({"low": stability.low[k], "high": stability.high[k], "first": stability.first[k]})
        for k in range(len(scores.trackers))
    ]


def _pairs(scores: Scores, metric: Metric) -> dict[str, dict[str, Any]]:
    """{"i-j" with i < j: difference i - j, its interval, p and Holm's p}."""
    place = {name: k for k, name in enumerate(scores.trackers)}
    found = {}
    for pair in compare_all(scores, metric):
        i, j = place[pair.a], place[pair.b]
        sign = 1 if i < j else -1
        low, high = (pair.low, pair.high) if sign > 0 else (-pair.high, -pair.low)
        found[f"{min(i, j)}-{max(i, j)}"] = plain(
            {"difference": sign * pair.difference, "low": low, "high": high, "p": pair.p_value, "holm": pair.adjusted}
        )
    return found


def _curve(scores: Scores, metric: Metric, sets: Seq[tuple[str, str, Any]]) -> dict[str, Any]:
    assert metric.figure is not None
    return {
        "metric": metric.name,
        "label": metric.figure.title,
        "thresholds": plain(metric.thresholds(scores.protocol)),
        "x": metric.figure.x,
        "y": "Fraction of frames",
        "mark": metric.mark(scores.protocol),
        "mean": [plain(np.round(scores.mean_curve(metric, members), 5)) for _, _, members in sets],
    }


def _hard(index: int, scores: Scores, content: ReportContent, overlaps: Array) -> dict[str, Any]:
    values = scores.per_sequence("success")[:, index]
    sequence = content.sequences[index]
    best = int(np.nanargmax(values))
    drawn = {
        scores.trackers[k]: (k, content.trajectories[scores.trackers[k]][sequence.name])
        for k in scores.ranking("success")[:DRAWN]
        if sequence.name in content.trajectories.get(scores.trackers[k], {})
    }
    return {
        "sequence": index, "mean": float(np.nanmean(values)), "best": float(values[best]), "best_tracker": best,
        "thumbnails": thumbnails(sequence, drawn, overlaps),
    }  # fmt: skip


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("severity", "code", "tracker", "sequence", "row", "message")
    return {key: _cut(value) if isinstance(value := finding.get(key), str) else plain(value) for key in keys}


def _cut(text: str) -> str:
    """A sentence of ten thousand characters is no help to a reader, and twenty thousand of them no file to open."""
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + f" … ({len(text):,} characters)"
