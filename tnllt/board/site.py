"""The board's site: static pages that load nothing from elsewhere, readable without JavaScript."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from tnllt.board.downloads import download_links, write_downloads
from tnllt.board.entries import BoardEntry, slug
from tnllt.board.examine import ArchiveFacts, Examiner
from tnllt.board.model import Site, label, page_link
from tnllt.config import BoardConfig
from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES
from tnllt.errors import UsageError
from tnllt.eval.compare import compare, compare_all
from tnllt.eval.metrics import METRICS, Metric
from tnllt.eval.report.templating import asset, embed, environment, script
from tnllt.eval.scores import Scores
from tnllt.eval.style import Style
from tnllt.eval.tables import footnotes, plural
from tnllt.files import TEMPORARY, write_atomic
from tnllt.results.entry import MODES

PACKAGE = "tnllt.board"
LEVELS = ("claimed", "scored", "reproduced")
#: Trackers that are compared in pairs, the best by success: their number grows with the square.
PAIRED = 25
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_LATEST = 10


def build_site(
    entries: Seq[BoardEntry], out: Path, examiner: Examiner, config: BoardConfig, style: Style | None = None
) -> Site:
    """Writes the site of some entries into a folder.

    Raises:
        UsageError: the first protocol cannot be scored, or the folder holds something else than a site.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / "board.js").is_file():
        raise UsageError(f"{out} holds something else than a board's site, and parts of it would go; give a new folder")
    if config.protocol not in examiner.protocols:
        raise UsageError(
            f"protocol {config.protocol!r} cannot be scored here; there are: {', '.join(examiner.protocols)}"
        )
    by_date = sorted(entries, key=lambda e: (e.entry.date, e.folder.name), reverse=True)
    names = sorted({e.entry.tracker for e in entries}, key=str.casefold)
    history = {name: [e for e in by_date if e.entry.tracker == name] for name in names}
    out.mkdir(parents=True, exist_ok=True)
    # What stops the writing leaves the site that is there as it was.
    with TemporaryDirectory(prefix=TEMPORARY, dir=out.resolve().parent) as made:
        site = Site(Path(made), examiner, config, style or Style(), history)
        for name, protocol in examiner.protocols.items():
            if site.scored:
                site.add(name, examiner.scores(protocol, [entry.own for entry in site.scored if entry.own is not None]))
        _write_assets(site)
        for protocol_name in examiner.protocols:
            _write_leaderboard(site, protocol_name)
        charts = _chart_data(site, config.protocol)
        for entry in site.entries:
            _write_tracker(site, entry, charts)
        _write_compare(site)
        write_downloads(site)
        for folder in ("trackers", "protocols", "csv", "entries", "hub"):  # of trackers that are gone, too
            if (out / folder).is_dir():
                shutil.rmtree(out / folder)
        for path in sorted(site.out.iterdir()):
            shutil.move(path, out / path.name)
    site.out = out
    return site


# Pages ----------------------------------------------------------------------------------------------------------


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _write(site: Site, path: str, template: str, data: Any = None, **values: Any) -> None:
    from markupsafe import Markup

    from tnllt import __version__

    engine = environment(PACKAGE)
    engine.filters["number"] = _number
    root = "../" * path.count("/")
    page = engine.get_template(template).render(
        policy=_POLICY, version=__version__, root=root, board_title=site.title,
        data={} if data is None else {"board": Markup(embed({**data, "root": root}))}, **values,
    )  # fmt: skip
    write_atomic(site.out / path, page, durable=False)


def _write_assets(site: Site) -> None:
    looks = site.style.looks([e.entry.tracker for e in site.entries])
    light = [f".s{i} {{ --c: {look.colour}; }}" for i, look in enumerate(looks.values())]
    dark = [f".s{i} {{ --c: {look.bright}; }}" for i, look in enumerate(looks.values())]
    chosen = [f':root[data-theme="dark"] {rule}' for rule in dark]
    unless = [f'  :root:not([data-theme="light"]) {rule}' for rule in dark]
    rules = [*light, "@media (prefers-color-scheme: dark) {", *unless, "}", *chosen]
    write_atomic(
        site.out / "style.css", "\n".join([asset("style.css"), asset("board.css", PACKAGE), *rules]) + "\n", False
    )
    write_atomic(site.out / "board.js", script(("core.js", "charts.js", "board.js"), PACKAGE), durable=False)


def _cells(site: Site, protocol: str, entry: BoardEntry, metrics: Seq[Metric]) -> list[dict[str, Any]]:
    """Score and interval per metric; a claim where there are no boxes."""
    found = []
    for metric in metrics:
        value = low = high = None
        place = ""
        if entry.own is None:
            value = entry.entry.claims.get(protocol, {}).get(metric.name)
        else:
            scores, interval = site.scores[protocol], site.intervals[protocol][metric.name]
            k = scores.trackers.index(entry.entry.tracker)
            best = site.best[protocol][metric.name]
            value, low, high = (_known(v[k]) for v in (interval.estimate, interval.low, interval.high))
            place = ("best", "second")[best.index(value)] if value in best and len(scores.trackers) > 1 else ""
        found.append({"value": value, "low": low, "high": high, "digits": metric.digits, "place": place})
    return found


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _metrics(site: Site) -> list[Metric]:
    """Those that some tracker has under some protocol; of claims alone, those that are claimed."""
    if site.scores:
        return next(iter(site.scores.values())).metrics("all")
    claimed = {name for entry in site.entries for claims in entry.entry.claims.values() for name in claims}
    return [metric for name, metric in METRICS.items() if name in (claimed or {"success", "precision"})]


def _write_leaderboard(site: Site, protocol: str) -> None:
    rules, metrics, scores = site.examiner.protocols[protocol], _metrics(site), site.scores.get(protocol)
    rows: list[dict[str, Any]] = [
        {
            "label": label(site, entry), "slug": slug(entry.entry.tracker), "mode": entry.entry.mode,
            "level": entry.level, "rank": site.ranks.get(protocol, {}).get(entry.entry.tracker),
            "group": site.groups.get(protocol, {}).get(entry.entry.tracker, 0),
            "cells": _cells(site, protocol, entry, metrics),
        }
        for entry in site.entries
        if entry.own is not None or entry.entry.claims.get(protocol)
    ]  # fmt: skip
    rows.sort(key=lambda row: (-(row["cells"][0]["value"] or 0.0), row["label"]))
    references = {} if scores is None else {m.name: scores.reference(m) for m in metrics}
    ends = [
        (name.capitalize(), [(m, _known(references[m.name].get(name, np.nan))) for m in metrics])
        for name in ("ceiling", "floor") if scores is not None
    ]  # fmt: skip
    path = page_link(site, protocol)
    root = "../" * path.count("/")
    newest = sorted(
        (e for entries in site.history.values() for e in entries), key=lambda e: (e.entry.date, e.folder.name)
    )
    frames = sum(len(s) for s in site.examiner.sequences)
    _write(
        site, path, "leaderboard.html", _chart_data(site, protocol), title=site.title, protocol=rules, metrics=metrics,
        rows=rows, references=ends, modes=MODES, levels=LEVELS,
        facts=[("Trackers", f"{len(rows)}"), ("Sequences", f"{len(site.examiner.sequences):,}"),
               ("Frames", f"{frames:,}"), ("Annotations' SHA-256", site.examiner.digest[:16])],
        protocols=[(name, root + page_link(site, name)) for name in site.examiner.protocols],
        footnotes=[] if scores is None else footnotes(scores),
        changes=[{"date": e.entry.date, "slug": slug(e.entry.tracker), "label": label(site, e), "text": e.level}
                 for e in reversed(newest[-_LATEST:])],
    )  # fmt: skip


def _chart_data(site: Site, protocol: str, sequences: bool = False) -> dict[str, Any]:
    """What the charts of a page are drawn from: curves and attributes of success, where asked for every sequence."""
    scores = site.scores.get(protocol)
    if scores is None:
        return {"trackers": [], "attributes": [], "thresholds": [], "sequences": [], "pairs": {}}
    looks = site.style.looks([e.entry.tracker for e in site.entries])
    places = {name: i for i, name in enumerate(looks)}
    members = scores.attribute_members()
    curve, success = scores.mean_curve("success"), scores.score("success")
    found = site.attributes if protocol == site.config.protocol else scores.per_attribute("success")
    attributes = np.array(list(found.values())).reshape(len(members), len(success))
    each = scores.per_sequence("success") if sequences else None
    entries = {e.entry.tracker: e for e in site.scored}
    trackers = [
        {
            "name": label(site, entries[name]), "slug": slug(name), "look": places[name],
            "dash": " ".join(f"{3 * part:g}" for part in looks[name].dash), "score": success[k],
            "curve": np.round(curve[k], 4), "attributes": np.round(attributes[:, k], 4),
            **({} if each is None else {"sequences": each[k]}),
        }
        for k, name in ((k, scores.trackers[k]) for k in scores.ranking("success"))
    ]  # fmt: skip
    titles = [{"label": ATTRIBUTE_TITLES.get(n, n).capitalize(), "count": int(f.sum())} for n, f in members.items()]
    return {
        "trackers": trackers, "attributes": titles, "pairs": {}, "sequences": scores.sequences if sequences else [],
        "thresholds": METRICS["success"].thresholds(scores.protocol),
    }  # fmt: skip


def _write_tracker(site: Site, entry: BoardEntry, charts: Mapping[str, Any]) -> None:
    tracker, main, metrics = entry.entry.tracker, site.config.protocol, _metrics(site)
    facts = entry.own.facts if entry.own else ArchiveFacts(tracker=tracker)
    protocols = [
        {
            "name": p, "link": "../" + page_link(site, p), "rank": site.ranks.get(p, {}).get(tracker),
            "cells": _cells(site, p, entry, metrics),
        }
        for p in site.examiner.protocols
    ]  # fmt: skip
    scores, rank, place = (
        site.scores.get(main) if entry.own else None,
        site.ranks.get(main, {}).get(tracker),
        slug(tracker),
    )
    # Its own curve, and that of the best tracker.
    shown = [t for i, t in enumerate(charts["trackers"]) if i == 0 or t["slug"] == place]
    where = f"rank {rank} of {plural(len(site.scored), 'tracker')} by {main}" if rank else "not scored here"
    _write(
        site, f"trackers/{place}.html", "tracker.html",
        None if scores is None else {**charts, "trackers": shown, "attributes": []}, slug=place,
        title=label(site, entry),
        lede=f"{entry.entry.mode}, {entry.level}, {where}", protocols=protocols, metrics=metrics,
        facts=[("Mode", entry.entry.mode), ("Level", entry.level), ("Entered", entry.entry.date or "undated"),
               ("Changes of the description", str(facts.language_changes) if entry.own else "–")],
        card=[row for row in _card(entry, facts) if row[1].strip()], warnings=facts.warnings,
        attributes=_attributes(site, scores, tracker), variants=_variants(site, entry),
        history=[_past(site, e) for e in site.history[tracker]], downloads=download_links(entry, place),
    )  # fmt: skip


def _card(entry: BoardEntry, facts: ArchiveFacts) -> list[tuple[str, str, str]]:
    """(what, text, link) of what an entry states and its archive holds."""
    own = entry.entry
    speed = f"{facts.fps:.1f} frames per second on {facts.device or 'a device not named'}" if facts.fps else ""
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    agreement = "" if entry.agreement is None else f"boxes overlap by {entry.agreement:.4f} on average"
    return [
        ("Code", f"{own.repository}{own.commit and ' @ ' + own.commit}", own.repository),
        ("Paper", own.paper, own.paper), ("Weights' SHA-256", own.weights, ""), ("Training data", own.training, ""),
        ("Command", own.command, ""), ("Machine", own.machine or facts.machine, ""),
        ("Speed", speed, ""), ("Costs", facts.costs, ""), ("Versions", versions, ""),
        ("Contact", own.contact, ""),
        ("Reproduced", agreement, own.reproduced_by), ("Archive's SHA-256", entry.own.sha256 if entry.own else "", ""),
    ]  # fmt: skip


def _attributes(site: Site, scores: Scores | None, tracker: str) -> list[tuple[str, int, float | None, float | None]]:
    """(attribute, sequences, the tracker's success, the best tracker's)."""
    if scores is None:
        return []
    members, k = scores.attribute_members(), scores.trackers.index(tracker)
    return [
        (ATTRIBUTE_TITLES.get(n, n).capitalize(), int(members[n].sum()), _known(v[k]), _known(np.nanmax(v)))
        for n, v in site.attributes.items()
    ]


def _variants(site: Site, entry: BoardEntry) -> list[dict[str, Any]]:
    """The paired difference of each variant to the entry's own results."""
    if len(entry.archives) < 2:
        return []
    scores = site.examiner.scores(site.examiner.protocols[site.config.protocol], entry.archives)
    found = []
    for name in scores.trackers[1:]:
        pair = compare(scores, name, scores.trackers[0])[0]
        found.append(
            {"name": name, "score": pair.score_a, "difference": pair.difference, "low": _known(pair.low),
             "high": _known(pair.high), "p": pair.p_value}
        )  # fmt: skip
    return found


def _past(site: Site, entry: BoardEntry) -> dict[str, Any]:
    score = entry.entry.claims.get(site.config.protocol, {}).get("success")
    if entry.own is not None:
        scores = site.examiner.scores(site.examiner.protocols[site.config.protocol], [entry.own])
        score = _known(scores.score("success")[0])
    sha256 = entry.own.sha256 if entry.own else ""
    return {
        "date": entry.entry.date, "folder": entry.folder.name, "level": entry.level, "score": score, "sha256": sha256
    }  # fmt: skip


def _write_compare(site: Site) -> None:
    main = site.config.protocol
    data = _chart_data(site, main, sequences=True)
    if len(data["trackers"]) > 1:
        best = {t["slug"]: i for i, t in enumerate(data["trackers"][:PAIRED])}
        scores = site.scores[main]
        chosen = scores.select([t for t in scores.trackers if slug(t) in best])
        for pair in compare_all(chosen):  # the better one first, as the trackers are
            data["pairs"][f"{best[slug(pair.a)]}-{best[slug(pair.b)]}"] = {
                "low": pair.low, "high": pair.high, "p": pair.p_value, "holm": pair.adjusted
            }  # fmt: skip
    _write(site, "compare.html", "compare.html", data, title="Two trackers", protocol=main)
