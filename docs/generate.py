"""Writes the pages that are made from the code: `python docs/generate.py`. A test fails where one is out of date."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tnllt.config import read_toml
from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES, LAYOUTS
from tnllt.datasets.layout import Layout
from tnllt.datasets.splits import packaged
from tnllt.errors import UsageError
from tnllt.eval.metrics import METRICS
from tnllt.eval.protocols import FAMILIES, PROTOCOLS, TNLLT

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
from baselines_page import baselines_page  # noqa: E402


def protocols_page() -> str:
    """Every protocol: its summary, and the rules in which it differs from the official one."""
    official = {rule: value for rule, _, value, _ in TNLLT.card()}
    families = [
        f"`{name}` is " + ", ".join(f"`{other}` on `{dataset}`" for dataset, other in own.items())
        for name, own in FAMILIES.items()
    ]
    lines = [
        "# Protocols",
        "",
        "<!-- Made by docs/generate.py from tnllt/eval/protocols.py; edit those. -->",
        "",
        "A protocol is the scoring rule of one toolkit, as data. `--protocol NAME` scores with it;",
        "`tnllt-eval explain A B` explains the difference between two, rule by rule.",
        "",
        "The code of some toolkits scores some datasets by another rule. `--protocol` follows it, and the output names",
        f"the rule: {'; '.join(families)}. `explain` takes names as they are.",
        "",
    ]
    for protocol in PROTOCOLS.values():
        aliases = f" (also `{'`, `'.join(protocol.aliases)}`)" if protocol.aliases else ""
        lines += [f"## `{protocol.name}`{aliases}", "", protocol.summary, ""]
        rows = [(label, value, why) for rule, label, value, why in protocol.card() if value != official[rule]]
        if protocol is TNLLT:
            rows = [(label, value, why) for _, label, value, why in protocol.card()]
        if rows:
            lines += ["| rule | here | why it matters |", "|---|---|---|"]
            lines += [f"| {_cell(label)} | {_cell(value)} | {_cell(why)} |" for label, value, why in rows]
            lines.append("")
    lines += ["## Metrics", "", "| `--metric` | column | what it is |", "|---|---|---|"]
    lines += [f"| `{m.option}` | {_cell(m.short)} | {_cell(m.description)} |" for m in METRICS.values()]
    return "\n".join(lines) + "\n"


FACTS = ("what", "size", "source", "licence", "checked")


def cards_page() -> str:
    """A card per benchmark: what docs/datasets.toml says of it, and what its layout says of its files."""
    facts = read_toml(DOCS / "datasets.toml")
    if set(facts) != set(LAYOUTS):
        raise UsageError(f"docs/datasets.toml: cards and layouts differ: {sorted(set(facts) ^ set(LAYOUTS))}")
    lines = [
        "# Dataset cards",
        "",
        "<!-- Made by docs/generate.py from docs/datasets.toml and tnllt/datasets/benchmarks.toml; edit those. -->",
        "",
        "What [the readers](datasets.md) know of each benchmark, and what was checked: *real* means files as their",
        "authors published them, *built* means trees that the tests make after the authors' description.",
        "Paths are below the root; `{annos}` is a folder of annotations alone, `{split}` the split's folder.",
        "",
    ]
    for name, layout in LAYOUTS.items():
        fact = facts[name]
        if set(fact) != set(FACTS):
            raise UsageError(f"docs/datasets.toml: [{name}] needs {', '.join(FACTS)}")
        rows = [("size", fact["size"]), ("where", fact["source"]), ("licence", fact["licence"])]
        rows += [(label, value) for label, value in layout_rows(layout) if value]
        rows.append(("checked", fact["checked"]))
        lines += [f"## {layout.title}", "", fact["what"], "", f"| open it as | `{name}` |", "|---|---|"]
        lines += [f"| {label} | {_cell(value)} |" for label, value in rows]
        lines.append("")
    lines += [
        "## Anything else",
        "",
        "VOT's sequences, and any folder of images or videos with boxes (rectangles, corners, centres, polygons of",
        "four corners), are read [by looking, or by a few lines of TOML](datasets.md#your-own-data); results in VOT's",
        "layout are read as they are.",
    ]
    return "\n".join(lines) + "\n"


def layout_rows(layout: Layout) -> list[tuple[str, str]]:
    """What a layout says of the files, in a reader's words."""
    kind = "folders" if layout.split_folders else "lists"
    found = layout.split_folders or layout.split_lists
    splits = [f"`{split}`: {kind} {_code(patterns)}" for split, patterns in found.items()]
    shipped = [s for s in ("train", "test") if packaged(layout.name, s)]
    files = [file for group in layout.absent for file in group]
    flags = [f"`{_path(f.path)}` ({'above 0' if f.highest > 1 else f.present} = in view)" for f in files]
    names = [f"{a} {ATTRIBUTE_TITLES[a]}" for a in layout.attribute_names]
    forms = {"xywh": "`x,y,w,h`", "vatic": "VATIC rows (corners, flags, label)"}
    first = f"; the first alone in {_code(layout.first_box_only)}" if layout.first_box_only else ""
    return [
        ("sequences", _code(_path(p) for p in layout.sequences)),
        ("frames", "the sequence's folder" if layout.images == (".",) else _code(layout.images)),
        ("boxes", f"{_code(_path(p) for p in layout.boxes)}, as {forms[layout.box_format]}{first}"),
        ("presence", ", ".join(flags)),
        ("language", _code(_path(p) for p in layout.language)),
        ("attributes", f"{_code(_path(p) for p in layout.attributes)}: {', '.join(names)}" if names else ""),
        ("splits", "; ".join([*splits, *[f"`{s}`: else the packaged list" for s in shipped]])),
    ]


def _code(texts: Iterable[str]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _path(template: str) -> str:
    return template.replace("{root}/", "").replace("{folder}", "<sequence>").replace("{name}", "<sequence>")


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


PAGES = {"protocols.md": protocols_page, "dataset-cards.md": cards_page, "baselines.md": baselines_page}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
