"""What the board offers to other programs: archives, CSV, one JSON, an Atom feed, and the formats of two hubs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tnllt import __version__
from tnllt.board.entries import BoardEntry, slug
from tnllt.board.model import Site, label
from tnllt.eval.metrics import Metric
from tnllt.eval.score_table import WRITERS
from tnllt.eval.statistics import CONFIDENCE, interval_method
from tnllt.eval.tables import make_table, summary
from tnllt.files import to_json, write_atomic
from tnllt.text import one_line

SCHEMA = "tnllt.board/1"
#: Version of Every Eval Ever's schema that is written.
EVERY_EVAL_EVER = "0.3.0"


def write_downloads(site: Site) -> None:
    """Writes everything beside the pages: `scores.json`, `feed.xml`, `csv/`, `entries/` and `hub/`."""
    everything: dict[str, Any] = {
        "schema": SCHEMA, "tnllt": __version__, "annotations": site.examiner.digest,
        "protocol": site.config.protocol, "entries": [_entry(site, entry) for entry in site.entries], "protocols": {},
    }  # fmt: skip
    for name, scores in site.scores.items():
        table = summary(scores, scores.metrics("all"), site.intervals[name])
        if name != site.config.protocol:  # scores of single sequences would be most of the file
            del table["per_sequence"]
        everything["protocols"][name] = table
        rows = make_table(scores, scores.metrics("all"), intervals=site.intervals[name], references=False)
        write_atomic(site.out / "csv" / f"{name}.csv", WRITERS["csv"](rows), durable=False)
    write_atomic(site.out / "scores.json", to_json(everything, None) + "\n", durable=False)
    write_atomic(site.out / "feed.xml", _feed(site), durable=False)
    for entry in site.entries:
        place = slug(entry.entry.tracker)
        for archive in entry.archives:
            target = site.out / "entries" / place / f"{slug(archive.name)}.zip"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(archive.path, target)
        if entry.own is not None:
            write_atomic(site.out / "hub" / f"{place}.eval_results.yaml", _hugging_face(site, entry), durable=False)
            write_atomic(
                site.out / "hub" / f"{place}.every_eval_ever.json", _every_eval_ever(site, entry), durable=False
            )


def download_links(entry: BoardEntry, place: str) -> list[tuple[str, str]]:
    """(text, link) of a tracker's page."""
    found = [(f"Results: {a.name}.zip", f"../entries/{place}/{slug(a.name)}.zip") for a in entry.archives]
    if entry.own is not None:
        found.append(("Hugging Face eval results (YAML)", f"../hub/{place}.eval_results.yaml"))
        found.append(("Every Eval Ever (JSON)", f"../hub/{place}.every_eval_ever.json"))
    return found


def _entry(site: Site, entry: BoardEntry) -> dict[str, Any]:
    facts = {"level": entry.level, "agreement": entry.agreement, "folder": entry.folder.name}
    archives = {archive.name: archive.sha256 for archive in entry.archives}
    groups = {name: own[entry.entry.tracker] for name, own in site.groups.items() if entry.entry.tracker in own}
    return {**vars(entry.entry), **facts, "archives": archives, "groups": groups}


def _scores(site: Site, entry: BoardEntry) -> Iterator[tuple[str, Metric, float, float, float, int]]:
    """(protocol, metric, score, low, high, sequences that enter) of everything that an entry is scored by."""
    for name, scores in site.scores.items():
        k = scores.trackers.index(entry.entry.tracker)
        for metric in scores.metrics("all"):
            interval = site.intervals[name][metric.name]
            if interval.estimate[k] == interval.estimate[k]:
                bounds = float(interval.low[k]), float(interval.high[k])
                yield name, metric, float(interval.estimate[k]), *bounds, int(site.kept[name][metric.name][k])


def _link(site: Site, entry: BoardEntry) -> str:
    return f"{site.config.url.rstrip('/')}/trackers/{slug(entry.entry.tracker)}.html"


def _feed(site: Site) -> str:
    """Atom (RFC 4287), the newest entry first; entries without a date are left out."""
    dated = [e for entries in site.history.values() for e in entries if e.entry.date]
    dated.sort(key=lambda e: (e.entry.date, e.folder.name), reverse=True)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>', '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{_xml(site.title)}</title><id>urn:sha256:{site.examiner.digest}</id>",
        f"<updated>{dated[0].entry.date if dated else '1970-01-01'}T00:00:00Z</updated>",
        f"<author><name>{_xml(site.config.organisation or site.title)}</name></author>",
    ]  # fmt: skip
    for entry in dated:
        own = f"{entry.own.sha256 if entry.own else ''}:{slug(entry.folder.name)}"
        page = f"trackers/{slug(entry.entry.tracker)}.html" if not site.config.url else _link(site, entry)
        lines.append(
            f"<entry><title>{_xml(label(site, entry))}: {entry.level}</title><id>urn:tnllt:entry:{own}</id>"
            f"<updated>{entry.entry.date}T00:00:00Z</updated><link href={quoteattr(page)}/>"
            f"<summary>{_xml(entry.entry.mode)}, {entry.level}</summary></entry>"
        )
    return "\n".join([*lines, "</feed>"]) + "\n"


def _xml(text: str) -> str:
    return escape(one_line(text))


def _hugging_face(site: Site, entry: BoardEntry) -> str:
    """`.eval_results/*.yaml` of a model's repository on Hugging Face; every text is a JSON string, which YAML takes."""
    lines = []
    dataset = json.dumps(site.config.hub or site.scores[site.config.protocol].dataset)
    for protocol, metric, value, low, high, _ in _scores(site, entry):
        interval = f"; 95 % interval {low:.4f} to {high:.4f}" if low <= high else ""
        lines += [
            f"- dataset:\n    id: {dataset}\n    task_id: {json.dumps(f'{protocol}/{metric.name}')}",
            f"  value: {value!r}",
            f"  notes: {json.dumps(f'{metric.label}, {entry.entry.mode}{interval}')}",
        ]
        lines += [f'  date: "{entry.entry.date}T00:00:00Z"'] if entry.entry.date else []
        if site.config.url:
            lines.append(f"  source:\n    url: {json.dumps(_link(site, entry))}\n    name: {json.dumps(site.title)}")
    return "\n".join(lines) + "\n"


def _every_eval_ever(site: Site, entry: BoardEntry) -> str:
    """One document of Every Eval Ever's schema: https://github.com/evaleval/every_eval_ever."""
    own, scores = entry.entry, site.scores[site.config.protocol]
    day = datetime.strptime(own.date or "1970-01-01", "%Y-%m-%d").replace(tzinfo=timezone.utc)
    when = f"{day.timestamp():.1f}"
    dataset = {
        "dataset_name": scores.dataset or "not named", "source_type": "other",
        "additional_details": {"annotations_sha256": site.examiner.digest, "sequences": str(len(scores.sequences))},
    }  # fmt: skip
    results = [
        {
            "evaluation_result_id": f"{protocol}/{metric.name}",
            "evaluation_name": f"{metric.label}, protocol {protocol}",
            "source_data": dataset,
            "metric_config": {
                "evaluation_description": metric.description, "metric_id": metric.name, "metric_name": metric.label,
                "lower_is_better": not metric.higher_is_better, "score_type": "continuous", "min_score": 0.0,
                "max_score": 1.0, "additional_details": {"protocol": protocol},
            },
            "score_details": {"score": value, "uncertainty": _uncertainty(metric, low, high, kept)},
        }
        for protocol, metric, value, low, high, kept in _scores(site, entry)
    ]  # fmt: skip
    developer = slug(site.config.organisation or "unknown")
    model = f"{developer}/{slug(own.tracker)}"
    stated = {
        name: getattr(own, name) for name in ("repository", "commit", "weights", "training", "mode", "command", "paper")
    }
    details = {"deployment_type": "self_deployed", "model_availability": "unknown"}
    details |= {name: text for name, text in stated.items() if text}
    document = {
        "schema_version": EVERY_EVAL_EVER,
        "evaluation_id": f"{scores.dataset or 'tracking'}/{model}/{when}",
        "evaluation_timestamp": when, "retrieved_timestamp": when,
        "source_metadata": {
            "source_name": site.title, "source_type": "evaluation_run",
            "source_organization_name": site.config.organisation or "unknown", "evaluator_relationship": "third_party",
            "additional_details": {"level": entry.level, "archive_sha256": entry.own.sha256 if entry.own else ""},
        },
        "eval_library": {"name": "tnllt", "version": __version__},
        "model_info": {"name": label(site, entry), "id": model, "additional_details": details},
        "evaluation_results": results,
    }  # fmt: skip
    return to_json(document) + "\n"


def _uncertainty(metric: Metric, low: float, high: float, kept: int) -> dict[str, Any]:
    """The interval, and the method by which `tnllt.eval.intervals` computes it over so many sequences."""
    if not low <= high:  # NaN: too few sequences
        return {"num_samples": kept}
    method = interval_method(kept, metric.is_mean)
    interval = {"lower": low, "upper": high, "confidence_level": CONFIDENCE, "method": f"{method} over sequences"}
    resamples = {"num_bootstrap_samples": metric.resamples} if "bootstrap" in method else {}
    return {"confidence_interval": interval, "num_samples": kept, **resamples}
