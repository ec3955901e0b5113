"""`tnllt-eval lint`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from collections.abc import Sequence as Seq
from pathlib import Path

import click

from tnllt.cli.common import printable
from tnllt.cli.loading import Options, load, scoring_options
from tnllt.errors import EXIT_GATE
from tnllt.results.lint import CODES, Finding
from tnllt.results.lint import lint as lint_results


@click.command()
@scoring_options
@click.option("--format", "format_", type=click.Choice(["text", "json", "github"]), default="text", help="Format.")
@click.option("--verbose", "-v", is_flag=True, help="Name every finding, not the first three of a kind.")
@click.option("--strict", is_flag=True, help="Warnings, too, make the exit code 1.")
@click.option("--codes", is_flag=True, help="List every code with its meaning and remedy.")
def lint(options: Options, format_: str, verbose: bool, strict: bool, codes: bool) -> int:
    """Find what is wrong with result files: missing or short ones, broken rows, wrong formats, copies.

    Exit code 1 where an error is found (with --strict: a warning), else 0. --format github prints annotations that
    GitHub shows beside the files.
    """
    if codes:
        for code in CODES.values():
            click.echo(f"{code.name:18} {code.severity:8} {code.title}: {code.remedy}")
        return 0
    loaded = load(options)
    found = lint_results(loaded.sequences, loaded.files, loaded.unknown)
    if format_ == "json":
        table = {
            "schema": "tnllt.lint/1",
            "trackers": list(loaded.files),
            "sequences": len(loaded.sequences),
            "findings": [f.as_dict() for f in found],
        }
        click.echo(json.dumps(table, indent=2, ensure_ascii=False))
    elif format_ == "github":
        # GitHub shows only the first few of a step; notes would push out what matters.
        for finding in found:
            if finding.severity != "note":
                click.echo(_annotation(finding))
    else:
        click.echo(printable("\n".join(_text(found, len(loaded.files), len(loaded.sequences), verbose))))
    bad = {"error", "warning"} if strict else {"error"}
    return EXIT_GATE if any(f.severity in bad for f in found) else 0


def _text(found: Seq[Finding], trackers: int, sequences: int, verbose: bool) -> Iterable[str]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        groups.setdefault((finding.code, finding.tracker), []).append(finding)
    for (name, tracker), group in groups.items():
        code = CODES[name]
        many = f"{len(group)} files" if len(group) > 1 else "1 file"
        yield f"{code.severity} {name}: {tracker + ': ' if tracker else ''}{code.title} ({many}); {code.remedy}"
        shown = group if verbose else [] if code.severity == "note" else group[:3]
        for finding in shown:
            place = finding.file or finding.sequence
            yield f"    {place}{f':{finding.row}' if finding.row else ''}: {_brief(finding)}"
        if len(group) > len(shown) > 0:
            yield f"    and {len(group) - len(shown)} more (--verbose names them)"
    counts = {s: sum(f.severity == s for f in found) for s in ("error", "warning", "note")}
    said = ", ".join(f"{n} {s}{'s' if n != 1 else ''}" for s, n in counts.items() if n) or "nothing found"
    yield f"{trackers} trackers on {sequences} sequences: {said}"


def _brief(finding: Finding) -> str:
    """What was found, without the place that an unreadable file's message begins with."""
    return finding.text.removeprefix(f"{finding.file}, row {finding.row}: ").removeprefix(f"{finding.file}: ")


def _annotation(finding: Finding) -> str:
    """A GitHub workflow command; what would end it early or begin another is escaped."""
    level = {"error": "error", "warning": "warning", "note": "notice"}[finding.severity]
    place = Path(finding.file)
    if place.is_absolute() and place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    properties = {"file": str(place) if finding.file else "", "line": str(finding.row or ""), "title": finding.code}
    joined = ",".join(f"{k}={_escape(v, True)}" for k, v in properties.items() if v)
    where = f"{finding.tracker} on {finding.sequence}: " if finding.tracker else ""
    return f"::{level} {joined}::{_escape(where + _brief(finding) + '; ' + finding.remedy, False)}"


def _escape(text: str, is_property: bool) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text
