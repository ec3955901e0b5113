"""Writes the pages that are made from the code: `python docs/generate.py`. A test fails where one is out of date."""

from __future__ import annotations

from pathlib import Path

from tnllt.eval.metrics import METRICS
from tnllt.eval.protocols import PROTOCOLS, TNLLT
from tnllt.eval.rule_text import protocol_card

DOCS = Path(__file__).parent


def protocols_page() -> str:
    """Every protocol: its sentence, and the rules in which it differs from the official one."""
    official = {rule: value for rule, _, value, _ in protocol_card(TNLLT)}
    lines = [
        "# Protocols",
        "",
        "<!-- Made by docs/generate.py from tnllt/eval/protocols.py; edit those. -->",
        "",
        "A protocol is the scoring rule of one toolkit, as data. `--protocol NAME` scores with it;",
        "`tnllt-eval explain A B` takes the gap between two apart.",
        "",
    ]
    for protocol in PROTOCOLS.values():
        aliases = f" (also `{'`, `'.join(protocol.aliases)}`)" if protocol.aliases else ""
        lines += [f"## `{protocol.name}`{aliases}", "", protocol.summary, ""]
        rows = [(label, value, why) for rule, label, value, why in protocol_card(protocol) if value != official[rule]]
        if protocol is TNLLT:
            rows = [(label, value, why) for _, label, value, why in protocol_card(protocol)]
        if rows:
            lines += ["| rule | here | why it matters |", "|---|---|---|"]
            lines += [f"| {_cell(label)} | {_cell(value)} | {_cell(why)} |" for label, value, why in rows]
            lines.append("")
    lines += ["## Metrics", "", "| `--metric` | column | what it is |", "|---|---|---|"]
    lines += [f"| `{m.option}` | {_cell(m.short)} | {_cell(m.description)} |" for m in METRICS.values()]
    return "\n".join(lines) + "\n"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


PAGES = {"protocols.md": protocols_page}


def main() -> None:
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
