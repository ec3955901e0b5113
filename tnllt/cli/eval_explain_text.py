"""What `tnllt-eval explain` prints."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence as Seq
from typing import Any

import numpy as np

from tnllt.cli.eval_options import shortened
from tnllt.eval.explain import ChangedSequence, Explanation, Step
from tnllt.eval.folder_gap import FolderGap
from tnllt.eval.metrics import METRICS, Metric
from tnllt.eval.reported import Match, ReportedScore
from tnllt.text import printable

_WIDTH = 100


def explanation_text(found: Explanation, names: tuple[str, str], top: int, all_rules: bool) -> str:
    """The gap of every tracker, rule by rule."""
    lines = [f"{names[0]} -> {names[1]}: {found.sequences} sequences, {found.frames:,} frames", ""]
    if not found.steps:
        return lines[0] + "\nThe two protocols have the same rules: every score is equal.\n"
    for k, tracker in enumerate(found.trackers):
        lines += _tracker(found, names, k, printable(tracker), top, all_rules)
    lines += textwrap.wrap(
        f"The rules are changed in the order listed, which is that of `tnllt-eval protocols {names[0]}`. "
        f"The parts sum to the gap (largest remainder {found.residual:.1e}). "
        + ("" if any(s.order_matters for s in found.steps) else "Another order would give the same parts. ")
        + "Frames: those that pass other thresholds than before, or leave or enter the count.",
        _WIDTH,
    )
    return "\n".join(lines) + "\n"


def _tracker(found: Explanation, names: tuple[str, str], k: int, tracker: str, top: int, all_rules: bool) -> list[str]:
    shown = [s for s in found.steps if all_rules or s.acts(k)]
    quiet = [s for s in found.steps if s not in shown]
    heads = [m.short for m in found.metrics]
    label = max(32, *(len(s.label) + 2 for s in shown), len(names[0]), len(names[1])) if shown else 32
    lines = [f"{tracker}", f"  {'':{label}}" + "".join(f"{h:>11}" for h in heads) + f"{'frames':>11}{'sequences':>11}"]
    lines.append(f"  {names[0]:{label}}" + _scores(found.score_a[k]))
    for number, step in enumerate(shown, 1):
        changed = step.changed.get(found.trackers[k], ())
        frames = sum(t.frames for t in changed)
        lines.append(
            f"  {f'{number}. {step.label}':{label}}" + "".join(f"{_signed(v):>11}" for v in step.contribution[k])
            + f"{frames:>11,}{len(changed):>11,}"
        )  # fmt: skip
    lines.append(f"  {names[1]:{label}}" + _scores(found.score_b[k]))
    lines.append(f"  {'gap':{label}}" + "".join(f"{_signed(v):>11}" for v in found.gap[k]))
    lines.append("")
    for number, step in enumerate(shown, 1):
        lines += _rule(step, number, k, found.metrics, step.changed.get(found.trackers[k], ()), top)
    if np.isnan(found.gap[k]).any():
        text = (
            "n/a: no sequence is left that the toolkit accepts for every tracker (one refused for a tracker leaves the "
            "mean of all); choose fewer --trackers."
        )
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    if quiet:
        text = "Moves nothing here: " + "; ".join(s.label[:1].lower() + s.label[1:] for s in quiet) + "."
        lines += textwrap.wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return [*lines, ""]


def _rule(step: Step, number: int, k: int, metrics: Seq[Metric], changed: Seq[ChangedSequence], top: int) -> list[str]:
    head = f"{number}. {step.label}: {step.change}."
    lines = textwrap.wrap(head, _WIDTH, initial_indent="  ", subsequent_indent="     ")
    lines += textwrap.wrap(step.why, _WIDTH, initial_indent="     ", subsequent_indent="     ")
    alone, last, own = step.alone[k], step.last[k], step.contribution[k]
    if max(np.abs(alone - own).max(), np.abs(last - own).max()) > 5e-6:
        every = zip(metrics, alone, last, strict=True)
        parts = [f"{m.short} {_signed(a)} alone, {_signed(z)} last" for m, a, z in every if max(abs(a), abs(z)) > 5e-6]
        lines += textwrap.wrap(
            f"Order matters: {'; '.join(parts)}.", _WIDTH, initial_indent="     ", subsequent_indent="     "
        )
    size = np.nan_to_num(np.abs(own), nan=np.inf)
    if changed and top and float(size.max()) > 0:
        best = int(size.argmax())
        some = sorted(changed, key=lambda t: -abs(t.contribution[best]))[:top]
        names = [
            f"{printable(shortened(t.sequence, 60))} "
            f"({_fate(t, best)}{_signed(float(t.contribution[best]))}, {_frames(t.frames)})"
            for t in some
        ]
        more = f" and {len(changed) - len(some)} more" if len(changed) > len(some) else ""
        lines += textwrap.wrap(
            f"{metrics[best].short} most from {', '.join(names)}{more}.", _WIDTH, initial_indent="     ",
            subsequent_indent="     ",
        )  # fmt: skip
    return lines


def _fate(changed: ChangedSequence, metric: int) -> str:
    before, after = changed.kept[:, metric].tolist()
    if before == after:
        return ""
    return "now counted, " if after else "no longer counted, "


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count:,} frames"


def _scores(values: Any) -> str:
    return "".join(f"{'n/a' if np.isnan(v) else f'{v:.5f}':>11}" for v in values)


def _signed(value: float) -> str:
    if value == 0 or np.isnan(value):
        return "." if value == 0 else "n/a"
    return f"{value:+.5f}" if abs(value) >= 5e-6 else f"{value:+.0e}"


def explanation_json(found: Explanation, names: tuple[str, str]) -> dict[str, Any]:
    """Schema `tnllt.explain/1`: everything, in full precision."""
    metrics = [m.name for m in found.metrics]

    def table(values: Any) -> dict[str, float]:
        return dict(zip(metrics, map(float, values), strict=True))

    return {
        "schema": "tnllt.explain/1",
        "a": names[0],
        "b": names[1],
        "residual": found.residual,
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
                             "after": table(t.after), "kept": dict(zip(metrics, t.kept.T.tolist(), strict=True)),
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


def folder_text(name: str, gap: FolderGap, folders: tuple[str, str], top: int) -> str:
    """How two folders of one tracker's results differ."""
    heads = [m.short for m in gap.metrics]
    label = max(10, *(len(shortened(f, 60)) for f in folders))
    lines = [f"{printable(name)}, protocol {gap.protocol.name}", f"  {'':{label}}" + "".join(f"{h:>11}" for h in heads)]
    lines += [
        f"  {printable(shortened(f, 60)):{label}}" + _scores(v)
        for f, v in zip(folders, (gap.first, gap.second), strict=True)
    ]
    lines.append(f"  {'gap':{label}}" + "".join(f"{_signed(v):>11}" for v in gap.second - gap.first))
    lines.append("")
    lines += [f"  {count:>6} sequences: {words}" for words, count in sorted(gap.relations.items(), key=lambda r: -r[1])]
    moved = [d for d in gap.differences if np.abs(d.contribution).max() > 1e-12][:top]
    if moved:
        lines += ["", f"  The gap comes most from ({', '.join(heads)}):"]
        lines += [
            f"    {printable(shortened(d.sequence)):42}" + "".join(f"{_signed(v):>11}" for v in d.contribution)
            + f"   {d.relation}, {d.rows:,} rows" for d in moved
        ]  # fmt: skip
    for metric, names in gap.same_number.items():
        if names:
            lines.append(
                f"  {METRICS[metric].label}: the first folder under {', '.join(names)} gives the second's number."
            )
    return "\n".join(lines) + "\n"


def folder_json(name: str, gap: FolderGap) -> dict[str, Any]:
    metrics = [m.name for m in gap.metrics]
    return {
        "tracker": name,
        "protocol": gap.protocol.name,
        "first": dict(zip(metrics, map(float, gap.first), strict=True)),
        "second": dict(zip(metrics, map(float, gap.second), strict=True)),
        "relations": gap.relations,
        "sequences": [
            {"sequence": d.sequence, "relation": d.relation, "rows": d.rows,
             "contribution": dict(zip(metrics, map(float, d.contribution), strict=True))}
            for d in gap.differences
        ],
        "same_number": {m: list(v) for m, v in gap.same_number.items()},
    }  # fmt: skip


def reported_text(reported: ReportedScore, matches: Seq[Match]) -> str:
    """Which ways of scoring give the reported number, or come nearest."""
    hits = [m for m in matches if m.fit]
    if hits:
        lines = [f"{reported.text} is what these give:", ""]
    else:
        lines = [f"No protocol, metric or rounding of these results gives {reported.text}. The nearest:", ""]
    rows = hits or list(matches[:5])
    width = max(8, *(len(shortened(m.tracker, 30)) for m in rows))
    lines.append(f"  {'tracker':{width}}  {'protocol':18}{'metric':24}{'boxes':12}{'score':>9}")
    for m in rows:
        boxes = {"none": "as they are", "nearest": "rounded", "trunc": "truncated"}[m.round]
        note = "  (digits cut, not rounded)" if m.fit == "cut" else ""
        lines.append(
            f"  {shortened(m.tracker, 30):{width}}  {m.protocol:18}{METRICS[m.metric].option:24}"
            f"{boxes:12}{m.score:>9.5f}{note}"
        )
    return "\n".join(lines) + "\n"


def reported_json(reported: ReportedScore, matches: Seq[Match]) -> dict[str, Any]:
    hits = [m for m in matches if m.fit]
    return {
        "schema": "tnllt.claim/1",
        "claimed": reported.value,
        "unit": reported.unit,
        "found": bool(hits),
        "matches": [vars(m) for m in (hits or matches[:5])],
    }
