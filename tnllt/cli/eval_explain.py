"""`tnllt-eval explain`."""

from __future__ import annotations

import os
from collections.abc import Sequence as Seq
from typing import Any

import click
import numpy as np

from tnllt.cli.common import format_option, reading_options, terminal_width, wrapped
from tnllt.config import ScoreConfig
from tnllt.errors import UsageError
from tnllt.eval.explain import (
    ChangedSequence,
    Explanation,
    Match,
    ReportedScore,
    Rescorer,
    Step,
    find_reported,
    parse_reported,
)
from tnllt.eval.explain import explain as explain_rules
from tnllt.eval.folder_gap import folder_gaps
from tnllt.eval.metrics import METRICS, Metric, get_metrics
from tnllt.eval.protocols import get_protocol
from tnllt.eval.score_table import aligned, name_cell
from tnllt.eval.selection import select
from tnllt.files import to_json
from tnllt.text import printable


@click.command()
@click.argument("a", required=False)
@click.argument("b", required=False)
@reading_options
@click.option("--metric", "-m", default="success,precision,normalized-precision", metavar="NAMES", show_default=True)
@click.option("--reported", metavar="SCORE", help="A score that someone reports: find which protocol gives it.")
@click.option("--top", default=5, type=click.IntRange(0), show_default=True, help="Sequences to name per rule.")
@click.option("--all-rules", is_flag=True, help="Show rules that change no score, too.")
@format_option("text", "json")
def explain(
    config: ScoreConfig, a: str | None, b: str | None, metric: str, reported: str | None, top: int, all_rules: bool,
    format_: str,
) -> None:  # fmt: skip
    """Explain the difference between protocols A and B rule by rule, or find the protocol of a reported score.

    \b
    tnllt-eval explain lasot stark --trackers ATOM      the difference between two protocols
    tnllt-eval explain results_a results_b              the difference between two result folders
    tnllt-eval explain --reported 0.559                 the protocol that gives a reported score

    The rules in which A and B differ are changed one at a time, in their fixed order, and what each change adds is
    printed; the parts sum to the difference. `alone` is what a rule adds as the only change of A, `last` what it adds
    as the last one before B: where they differ from what it adds in its place, the order matters.
    """
    if reported is None and (a is None or b is None):
        raise UsageError("explain needs two protocols or result folders, or --reported SCORE (see --help)")
    if a is not None and b is None:
        raise UsageError(f"explain {a}: compared with what? Give a second protocol or folder")
    if a is not None and b is not None:
        if os.path.exists(a) and os.path.exists(b):  # noqa: PTH110  # no name raises here
            gaps = folder_gaps(config, a, b, get_metrics(metric))
            text = "\n".join(explanation_text(gap, (a, b), top, all_rules) for gap in gaps)
            _show(text, [explanation_json(gap, (a, b)) for gap in gaps], format_)
        else:
            chosen, first, second = get_metrics(metric), get_protocol(a), get_protocol(b)
            found = explain_rules(_rescorer(config), first, second, chosen)
            _show(explanation_text(found, (a, b), top, all_rules), explanation_json(found, (a, b)), format_)
    if reported is not None:
        wanted = parse_reported(reported)
        matches = find_reported(_rescorer(config), wanted)
        _show(reported_text(wanted, matches), reported_json(wanted, matches), format_)


def _rescorer(config: ScoreConfig) -> Rescorer:
    selection = select(config)
    return Rescorer(selection.sequences, selection.read(), **selection.allowed)


def _show(text: str, table: Any, format_: str) -> None:
    click.echo(to_json(table) if format_ == "json" else printable(text))


def explanation_text(found: Explanation, names: tuple[str, str], top: int, all_rules: bool) -> str:
    """The gap of every tracker, rule by rule."""
    lines = [f"{names[0]} -> {names[1]}: {found.sequences} sequences, {found.frames:,} frames", ""]
    if not found.steps:
        return lines[0] + "\nThe two protocols have the same rules: every score is equal."
    for k, tracker in enumerate(found.trackers):
        lines += _tracker(found, names, k, printable(tracker), top, all_rules)
    if found.steps[0].rule != "files":
        lines += _paragraph(
            f"The rules are changed in the order listed, which is that of `tnllt-eval protocols {names[0]}`. "
            f"The parts sum to the gap (largest remainder {found.residual:.1e}). "
            + ("" if any(s.order_matters for s in found.steps) else "Another order would give the same parts. ")
            + "Frames: those that pass other thresholds than before, or leave or enter the count.",
            0,
        )
    return "\n".join([*lines, *found.notes])


def _tracker(found: Explanation, names: tuple[str, str], k: int, tracker: str, top: int, all_rules: bool) -> list[str]:
    shown = [s for s in found.steps if all_rules or s.rule == "files" or s.acts(k)]
    quiet = [s for s in found.steps if s not in shown]
    changed = [step.changed.get(found.trackers[k], ()) for step in shown]
    rows = [["", *(m.short for m in found.metrics), "frames", "sequences"]]
    rows.append([names[0], *_scores(found.score_a[k]), "", ""])
    for number, (step, moved) in enumerate(zip(shown, changed, strict=True), 1):
        counts = [f"{sum(t.frames for t in moved):,}", f"{len(moved):,}"]
        rows.append([f"{number}. {step.label}", *map(_signed, step.contribution[k]), *counts])
    rows += [[names[1], *_scores(found.score_b[k]), "", ""], ["gap", *map(_signed, found.gap[k]), "", ""]]
    lines = [tracker, *aligned(rows, width=terminal_width()), ""]
    for number, (step, moved) in enumerate(zip(shown, changed, strict=True), 1):
        lines += _rule(step, number, k, found.metrics, moved, top)
    if np.isnan(found.gap[k]).any():
        lines += _paragraph(
            "n/a: no sequence is left that the toolkit accepts for every tracker (one refused for a tracker leaves the "
            "mean of all); choose fewer --trackers."
        )
    if quiet:
        lines += _paragraph("Moves nothing here: " + "; ".join(s.label[:1].lower() + s.label[1:] for s in quiet) + ".")
    return [*lines, ""]


def _rule(step: Step, number: int, k: int, metrics: Seq[Metric], changed: Seq[ChangedSequence], top: int) -> list[str]:
    what = f"{step.label}: {step.change}" if step.change else step.label
    lines = _paragraph(f"{number}. {what}.", 2, 5) + _paragraph(step.why, 5)
    alone, last, own = step.alone[k], step.last[k], step.contribution[k]
    if max(np.abs(alone - own).max(), np.abs(last - own).max()) > 5e-6:
        every = zip(metrics, alone, last, strict=True)
        parts = [
            f"{m.short} {_signed(a, '0')} alone, {_signed(z, '0')} last"
            for m, a, z in every
            if max(abs(a), abs(z)) > 5e-6
        ]
        lines += _paragraph(f"Order matters: {'; '.join(parts)}.", 5)
    size = np.nan_to_num(np.abs(own), nan=np.inf)
    if changed and top and float(size.max()) > 0:
        best = int(size.argmax())
        some = sorted(changed, key=lambda t: -abs(t.contribution[best]))[:top]
        names = [
            f"{name_cell(t.sequence)} ({_fate(t, best)}{_signed(float(t.contribution[best]))}, "
            f"{'1 frame' if t.frames == 1 else f'{t.frames:,} frames'})"
            for t in some
        ]
        more = f" and {len(changed) - len(some)} more" if len(changed) > len(some) else ""
        lines += _paragraph(f"{metrics[best].short} most from {', '.join(names)}{more}.", 5)
    return lines


def _paragraph(text: str, indent: int = 2, hanging: int | None = None) -> list[str]:
    """Lines as wide as the terminal; those after the first are indented by `hanging`."""
    return wrapped(text, " " * indent, " " * (indent if hanging is None else hanging)).split("\n")


def _fate(changed: ChangedSequence, metric: int) -> str:
    before, after = changed.kept[:, metric].tolist()
    if before == after:
        return ""
    return "now counted, " if after else "no longer counted, "


def _scores(values: Any) -> list[str]:
    return ["n/a" if np.isnan(v) else f"{v:.5f}" for v in values]


def _signed(value: float, zero: str = ".") -> str:
    if value == 0 or np.isnan(value):
        return zero if value == 0 else "n/a"
    return f"{value:+.5f}" if abs(value) >= 5e-6 else f"{value:+.0e}"


def explanation_json(found: Explanation, names: tuple[str, str]) -> dict[str, Any]:
    """Schema `tnllt.explain/1`: everything, in full precision."""

    def table(values: Any) -> dict[str, Any]:
        return dict(zip((m.name for m in found.metrics), values.tolist(), strict=True))

    return {
        "schema": "tnllt.explain/1",
        "a": names[0],
        "b": names[1],
        "residual": found.residual,
        "notes": list(found.notes),
        "trackers": {
            tracker: {
                "a": table(found.score_a[k]),
                "b": table(found.score_b[k]),
                "gap": table(found.gap[k]),
                "rules": [
                    {
                        "rule": s.rule, "label": s.label, "change": s.change, "why": s.why,
                        "contribution": table(s.contribution[k]), "alone": table(s.alone[k]), "last": table(s.last[k]),
                        "frames": sum(t.frames for t in s.changed.get(tracker, ())),
                        "sequences": [
                            {"sequence": t.sequence, "frames": t.frames, "before": table(t.before),
                             "after": table(t.after), "kept": table(t.kept.T),
                             "contribution": table(t.contribution)}
                            for t in s.changed.get(tracker, ())
                        ],
                    }
                    for s in found.steps
                ],
            }
            for k, tracker in enumerate(found.trackers)
        },
    }  # fmt: skip


def reported_text(reported: ReportedScore, matches: Seq[Match]) -> str:
    """Which ways of scoring give the reported number, or come nearest."""
    hits = [m for m in matches if m.fit]
    if hits:
        lines = [f"{reported.text} is what these give:", ""]
    else:
        lines = [f"No protocol, metric or rounding of these results gives {reported.text}. The nearest:", ""]
    rows = [["tracker", "protocol", "metric", "boxes", "score", ""]]
    for m in hits or _nearest(matches):
        boxes = {"none": "as they are", "nearest": "rounded", "trunc": "truncated"}[m.round]
        note = "(digits cut, not rounded)" if m.fit == "cut" else ""
        if not hits and (others := sum(round(m.score, 5) == round(o.score, 5) for o in matches) - 1):
            note = f"(and {others} more with this score)"
        rows.append([name_cell(m.tracker, 30), m.protocol, METRICS[m.metric].option, boxes, f"{m.score:.5f}", note])
    return "\n".join([*lines, *aligned(rows, left=(0, 1, 2, 3, 5), width=terminal_width())])


def reported_json(reported: ReportedScore, matches: Seq[Match]) -> dict[str, Any]:
    hits = [m for m in matches if m.fit]
    return {
        "schema": "tnllt.claim/1",
        "claimed": reported.value,
        "unit": reported.unit,
        "found": bool(hits),
        "matches": [vars(m) for m in (hits or _nearest(matches))],
    }


def _nearest(matches: Seq[Match]) -> list[Match]:
    """The first match of each of the five nearest scores as printed."""
    first: dict[float, Match] = {}
    for m in matches:
        first.setdefault(round(m.score, 5), m)
    return list(first.values())[:5]
