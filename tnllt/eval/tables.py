"""Score tables: text, Markdown, LaTeX, CSV, JSON and pandas, all from the metric registry, all with their footnotes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tnllt._version import __version__
from tnllt.config import TableConfig
from tnllt.errors import UsageError
from tnllt.eval.intervals import all_intervals
from tnllt.eval.metrics import Metric
from tnllt.eval.score_table import WRITERS, ScoreTable, scaled, styled
from tnllt.eval.statistics import CONFIDENCE, RESAMPLES, SEED, Intervals, interval_methods
from tnllt.eval.style import Style
from tnllt.eval.tracker_curves import Note
from tnllt.files import plain, to_json
from tnllt.results.variants import parse_variant, variant_name
from tnllt.sequence import Flags

if TYPE_CHECKING:
    import pandas as pd

    from tnllt.eval.scores import Scores

Array = NDArray[np.float64]
SCORES = "tnllt.scores/1"
FORMATS = ("text", "markdown", "latex", "html", "csv", "json")
BY = ("overall", "attribute", "sequence")


def render(
    scores: Scores, metrics: str | Iterable[str] = "all", fmt: str = "text", by: str = "overall",
    config: TableConfig | None = None, style: Style | None = None, group_by: Iterable[str] = (),
    skipped: bool | None = None,
) -> str:  # fmt: skip
    """The table in one of `FORMATS`, `by` one of `BY`, with the style's names and order. Raises UsageError else.

    A CSV has the trackers' own names; by sequence, the other formats have a row per sequence.

    Args:
        group_by: keys of variants: then `grouped` makes the table, whatever `by` is.
        skipped: whether a footnote names the attributes of too few sequences; by default in a table by attribute.
    """
    chosen, keys, config = scores.metrics(metrics), list(group_by), config or TableConfig()
    if fmt == "json" and keys:
        table = grouped(scores, chosen, keys, whole=True)
        rows = [
            {"name": name, **dict(zip(table.headings, map(plain, row), strict=True))}
            for name, row in zip(table.names, table.values.tolist(), strict=True)
        ]
        return to_json({"schema": "tnllt.groups/1", "group_by": keys, "rows": rows, "notes": table.footnotes}, indent=2)
    if fmt == "json":
        return to_json(summary(scores, chosen), indent=2)
    if fmt not in WRITERS:
        raise UsageError(f"no table format {fmt!r}; known: {', '.join(FORMATS)}")
    intervals = by == "overall" and fmt != "latex" if config.intervals is None else config.intervals
    references = fmt != "latex" if config.references is None else config.references
    whole = fmt == "csv"  # as in JSON: programs find the same columns however many runs there are
    table = grouped(scores, chosen, keys, whole) if keys else make_table(scores, chosen, by, intervals, references)
    if skipped is not None:
        table = replace(table, footnotes=footnotes(scores, skipped))
    if fmt != "csv":
        table = scaled(styled(table, style or Style()), config)
        table = table.transposed() if by == "sequence" and not keys else table
    return WRITERS[fmt](table)


def make_table(
    scores: Scores, metrics: list[Metric], by: str = "overall", intervals: bool | Mapping[str, Intervals] = False,
    references: bool = True,
) -> ScoreTable:  # fmt: skip
    """The table of trackers (rows, best first) against metrics, attributes or sequences (columns).

    Single sequences have no interval over sequences: there `intervals` changes nothing. Those of an overall table may
    be given.
    """
    metric, order = metrics[0], scores.ranking(metrics[0])
    title = f"{metric.label} by {by}, protocol {scores.protocol.name}"
    own_rows = scores.references if by != "sequence" and references else ()
    columns: list[tuple[str, Metric, Flags | None]]
    if by == "overall":
        columns = [(m.short, m, None) for m in metrics]
        count = plural(len(scores.sequences), "sequence")
        title = f"{scores.title}, {count}, protocol {scores.protocol.name}"
    elif by == "attribute":
        columns = [(name, metric, flags) for name, flags in _attributes(scores).items()]
    elif by == "sequence":
        columns = [(name, metric, None) for name in scores.sequences]
    else:
        raise _no_table(by)
    if by == "sequence":
        values = scores.per_sequence(metric)[order]
    else:
        rows = [[*scores.score(m, flags)[order], *scores.reference(m, flags).values()] for _, m, flags in columns]
        values = np.array(rows).reshape(len(columns), -1).T[: len(order) + len(own_rows)]
    names = [*(scores.trackers[k] for k in order), *(own.tracker for own in own_rows)]
    bounds = np.full((*values.shape, 2), np.nan) if intervals and by != "sequence" else None
    method = ""
    if bounds is not None:
        method = interval_methods(
            (int(count), m.is_mean) for _, m, flags in columns for count in scores.kept(m, flags).sum(axis=1)
        )
        # All means of a set of sequences are resampled in one pass.
        whole = (
            intervals if isinstance(intervals, Mapping) else all_intervals(scores, metrics) if by == "overall" else {}
        )
        for i, (_, m, flags) in enumerate(columns):
            found = whole[m.name] if flags is None else all_intervals(scores, [m], flags)[m.name]
            bounds[: len(order), i] = np.stack([found.low, found.high], axis=1)[order]
    headings, digits = [heading for heading, _, _ in columns], [m.digits for _, m, _ in columns]
    return ScoreTable(title, names, len(own_rows), headings, digits, values, bounds,
                      footnotes(scores, by == "attribute"), method=method)  # fmt: skip


def grouped(scores: Scores, metrics: list[Metric], keys: Seq[str], whole: bool = False) -> ScoreTable:
    """A row per tracker and combination of the keys' values: mean and sample deviation over its variants (seeds, say).

    Where each row is one variant, numbers of runs and deviations are left out, unless `whole`. Raises UsageError where
    no tracker has one of the keys.
    """
    groups: dict[str, list[int]] = {}
    for k, variant in enumerate(map(parse_variant, scores.trackers)):
        own = {key: variant.values[key] for key in keys if key in variant.values}
        groups.setdefault(variant_name(variant.tracker, own), []).append(k)
    known = sorted({key for tracker in scores.trackers for key in parse_variant(tracker).values})
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise UsageError(f"no tracker here varies {unknown[0]!r}; there are: {', '.join(known) or 'no variants'}")
    found = np.array([scores.score(m) for m in metrics])
    rows = []
    for members in groups.values():
        mine = found[:, members]
        deviation = mine.std(axis=1, ddof=1) if len(members) > 1 else np.full(len(metrics), np.nan)
        rows.append([len(members), *np.stack([mine.mean(axis=1), deviation], axis=1).ravel()])
    order = sorted(range(len(rows)), key=lambda r: -np.nan_to_num(rows[r][1], nan=-np.inf))
    over = ", ".join(key for key in known if key not in keys) or "nothing else"
    title = f"{scores.title}, protocol {scores.protocol.name}: mean and deviation over {over}"
    headings = ["runs", *(heading for m in metrics for heading in (m.short, f"{m.short} dev."))]
    digits = [0, *(m.digits for m in metrics for _ in range(2))]
    names = list(groups)
    values = np.array(rows, np.float64)[order]
    if len(names) == len(scores.trackers) and not whole:
        title = f"{scores.title}, protocol {scores.protocol.name}: one row per variant"
        headings, digits, values = headings[1::2], digits[1::2], values[:, 1::2]
    return ScoreTable(title, [names[r] for r in order], 0, headings, digits, values, None, footnotes(scores))


def _attributes(scores: Scores) -> dict[str, Flags]:
    """`attribute_members`. Raises UsageError where there are none: a table needs a column."""
    members = scores.attribute_members()
    if not members:
        least = plural(scores.protocol.min_sequences, "sequence")
        found = f"no attribute has {least}, as protocol {scores.protocol.name} wants" if scores.attributes else (
            "these sequences have no attributes; the dataset needs attribute files"
        )  # fmt: skip
        raise UsageError(f"no table by attribute: {found}")
    return members


def _no_table(by: str) -> UsageError:
    return UsageError(f"no table by {by!r}; known: {', '.join(BY)}")


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def footnotes(scores: Scores, attributes: bool = False) -> list[str]:
    """What every output must state about these scores, in sentences; `attributes`: about skipped attributes, too."""
    found = []
    groups: dict[tuple[str, str], list[Note]] = {}
    for note in scores.notes:
        key = (note.kind, note.tracker if note.kind != "refused" else "")
        groups.setdefault(key, []).append(note)
    for (kind, tracker), notes in groups.items():
        names = list(dict.fromkeys(n.sequence for n in notes))
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        if kind == "missing":
            count = len(scores.sequences)
            found.append(f"{tracker}: scored on {count - len(names)} of {count} sequences; no result for {some}.")
        elif kind == "refused":
            why = "; ".join(dict.fromkeys(n.text for n in notes[:2]))
            found.append(
                f"Refused by {scores.protocol.name}'s own toolkit and left out of every tracker's mean: {some} ({why})."
            )
        elif kind == "unanswered":
            counts = "; ".join(f"{n.text} in {n.sequence}" for n in notes[:5]) + ("; ..." if len(notes) > 5 else "")
            found.append(f"{tracker}: refreshes of the description failed: {counts}.")
        elif kind == "started":
            by = ", ".join(dict.fromkeys(n.text for n in notes))
            found.append(f"{tracker}: started from the description alone in {plural(len(names), 'sequence')}, by {by}.")
        else:
            found.append(f"{tracker}: {notes[0].text} ({plural(len(names), 'sequence')}: {some}).")
    empty = scores.empty("success")
    if empty:
        found.append(
            f"No sequence with a success curve above zero is left for {', '.join(empty)}: the score is 0 by rule."
        )
    if scores.protocol.drop_zero_curves:
        for name, dropped in zip(scores.trackers, (scores.scored() & ~scores.kept()).sum(1), strict=True):
            if dropped and name not in empty:
                some = plural(dropped, "sequence")
                found.append(f"{name}: {some} without any success left out of the mean, by rule.")
    if scores.rounding != "none":
        found.append(f"Boxes were rounded to integers before scoring (--round {scores.rounding}).")
    if scores.realtime is not None:
        rule = f"a stream of {scores.realtime:g} frames a second that does not wait"
        found.append(f"Each frame is scored by the answer in force in {rule}, after the recorded times (--realtime).")
    if attributes and scores.skipped_attributes:
        skipped = ", ".join(scores.skipped_attributes)
        found.append(f"Attributes with fewer than {scores.protocol.min_sequences} sequences are skipped: {skipped}.")
    return found


def summary(scores: Scores, metrics: list[Metric], intervals: Mapping[str, Intervals] | None = None) -> dict[str, Any]:
    """Schema `tnllt.scores/1`: what `scores.json` and `--format json` hold, as plain values.

    Args:
        intervals: `all_intervals` of these metrics, where they are computed already.
    """
    trackers = list(enumerate(scores.trackers))
    overall = {m.name: scores.score(m) for m in metrics}
    per_attribute = {m.name: scores.per_attribute(m) for m in metrics}
    per_sequence = {m.name: scores.per_sequence(m) for m in metrics}
    intervals = all_intervals(scores, metrics) if intervals is None else intervals
    table: dict[str, Any] = {
        "schema": SCORES,
        "tnllt": __version__,
        "dataset": scores.dataset,
        "benchmark": scores.title,
        "protocol": scores.protocol.to_table(),
        "rounding": scores.rounding,
        "realtime": scores.realtime,
        "metrics": {m.name: {"label": m.label, "description": m.description} for m in metrics},
        "trackers": scores.trackers,
        "sequences": scores.sequences,
        "frames": scores.lengths,
        "attributes": {name: np.flatnonzero(flags) for name, flags in scores.attributes.items()},
        "ranking": {m.name: [scores.trackers[k] for k in scores.ranking(m)] for m in metrics},
        "scores": {t: {n: v[k] for n, v in overall.items()} for k, t in trackers},
        "intervals": {
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": SEED,
            "trackers": {t: {n: [v.low[k], v.high[k]] for n, v in intervals.items()} for k, t in trackers},
        },
        "references": {
            own.tracker: {m.name: scores.reference(m)[own.tracker] for m in metrics} for own in scores.references
        },
        "per_attribute": {
            t: {n: {a: v[k] for a, v in by.items()} for n, by in per_attribute.items()} for k, t in trackers
        },
        "per_sequence": {
            t: {n: dict(zip(scores.sequences, v[k], strict=True)) for n, v in per_sequence.items()} for k, t in trackers
        },
        "notes": [vars(note) for note in scores.notes],
        "footnotes": footnotes(scores, attributes=True),
    }
    return plain(table)  # type: ignore[no-any-return]


def to_frame(scores: Scores, metrics: str | Iterable[str] = "all", by: str = "overall") -> pd.DataFrame:
    """A pandas table: index tracker (and attribute or sequence), one column per metric, best tracker first."""
    import pandas as pd

    chosen = scores.metrics(metrics)
    order = scores.ranking(chosen[0])
    trackers = [scores.trackers[k] for k in order]
    if by == "overall":
        return pd.DataFrame({m.name: scores.score(m)[order] for m in chosen}, index=pd.Index(trackers, name="tracker"))
    if by == "attribute":
        names = list(_attributes(scores))
        tables = {m.name: np.array(list(scores.per_attribute(m).values())).T for m in chosen}
    elif by == "sequence":
        names = list(scores.sequences)
        tables = {m.name: scores.per_sequence(m) for m in chosen}
    else:
        raise _no_table(by)
    index = pd.MultiIndex.from_product([trackers, names], names=["tracker", by])
    return pd.DataFrame({name: values[order].ravel() for name, values in tables.items()}, index=index)
