"""Findings: what a check of results, a dataset, a tracker or a baseline found, as text, JSON or GitHub annotations.

Every checker has its table of kinds, each with a stable code, and returns one `Findings`. The commands `tnllt-eval
lint`, `tnllt-data check`, `tnllt-run check` and `tnllt-run doctor` print it here and take their exit code from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import EXIT_GATE, EXIT_OK
from tnllt.files import to_json
from tnllt.text import one_line, printable

Severity = Literal["error", "warning", "note", "ok"]

_WEIGHTS: dict[str, int] = {"error": 0, "warning": 1, "note": 2, "ok": 3}
_LEVELS = {"error": "error", "warning": "warning"}


@dataclass(frozen=True)
class Kind:
    """A kind of finding. Its code never changes and is never used again for something else."""

    code: str
    severity: Severity
    title: str
    remedy: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        code: of its kind.
        severity: "error", "warning", "note", or "ok" for what was looked at and is as it should be.
        text: what was found, with figures.
        subject: what was checked, such as a tracker; "" where there is only one.
        sequence: name, or "".
        file: the file at fault, or "".
        row: the first row or frame concerned, counted from 1, or None.
        count: how many rows or frames are concerned.
        remedy: how to mend it, or "".
        details: further facts for JSON.
    """

    code: str
    severity: Severity
    text: str
    subject: str = ""
    sequence: str = ""
    file: str = ""
    row: int | None = None
    count: int = 0
    remedy: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def brief(self) -> str:
        """The text without the place that an error's message begins with."""
        return self.text.removeprefix(f"{self.file}, row {self.row}: ").removeprefix(f"{self.file}: ")


class Checker:
    """A check, with the kinds of what it can find.

    Args:
        name: names it in JSON, whose schema is `tnllt.<name>/1`.
        kinds: in the order in which findings are shown.
        subject: what a finding's subject is called in JSON.
    """

    def __init__(self, name: str, kinds: Iterable[Kind], subject: str = "subject") -> None:
        self.name, self.subject = name, subject
        self.kinds = {kind.code: kind for kind in kinds}
        self._order = {code: i for i, code in enumerate(self.kinds)}

    def finding(self, code: str, text: str, **more: Any) -> Finding:
        """A finding of a kind, whose severity and remedy it has where `more` does not give others."""
        kind = self.kinds[code]
        return Finding(code, text=text, **{"severity": kind.severity, "remedy": kind.remedy, **more})

    def sorted(self, findings: Iterable[Finding]) -> list[Finding]:
        """Worst first, then in the order of the kinds, of subjects and of sequences."""
        return sorted(findings, key=lambda f: (_WEIGHTS[f.severity], self._order[f.code], f.subject, f.sequence))

    def listing(self) -> str:
        """Every kind with its meaning and remedy, one a line."""
        width = max(map(len, self.kinds))
        rows = (f"{k.code:{width}} {k.severity:8} {k.title}{k.remedy and ': ' + k.remedy}" for k in self.kinds.values())
        return "\n".join(rows)


@dataclass(frozen=True)
class Findings:
    """All that one check found.

    Attributes:
        checker: which check.
        found: the findings, in the order in which they are shown.
        looked_at: what was checked, in words ("3 trackers on 50 sequences"); begins the last line.
        facts: what was checked, for JSON.
        checklist: whether every finding gets a line of its own, in place of groups of a kind.
    """

    checker: Checker
    found: Seq[Finding]
    looked_at: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    checklist: bool = False

    def count(self, severity: Severity) -> int:
        return sum(f.severity == severity for f in self.found)

    def exit_code(self, strict: bool = False) -> int:
        """1 where there is an error (where `strict`: or a warning), else 0."""
        return EXIT_GATE if self.count("error") or (strict and self.count("warning")) else EXIT_OK

    def render(self, form: str = "text", verbose: bool = False, most: int = 3) -> str:
        """The findings as "text", "json" or "github".

        Args:
            form: see above.
            verbose: whether text names every finding, not the first `most` of a kind, and no note about a place.
            most: see `verbose`.
        """
        if form == "json":
            return to_json(self.as_dict())
        if form == "github":
            # GitHub shows only the first few annotations of a step; notes would displace the errors.
            return "\n".join(_annotation(f) for f in self.found if f.severity in _LEVELS)
        lines = self._checklist() if self.checklist else self._groups(verbose, most)
        return printable("\n".join([*lines, self._last_line()]))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: what was checked, how many findings of each severity, and the findings."""
        counts = {severity: self.count(severity) for severity in ("error", "warning", "note")}
        found = []
        for finding in self.found:
            table = dict(vars(finding))
            details = table.pop("details")
            found.append({self.checker.subject: table.pop("subject"), **table, **details})
        return {"schema": f"tnllt.{self.checker.name}/1", **self.facts, "counts": counts, "findings": found}

    def _groups(self, verbose: bool, most: int) -> Iterator[str]:
        groups: dict[tuple[str, str, str, str], list[Finding]] = {}
        for finding in self.found:
            groups.setdefault((finding.code, finding.severity, finding.subject, finding.remedy), []).append(finding)
        for (code, severity, subject, remedy), group in groups.items():
            title = f"{severity} {code}: {subject and one_line(subject) + ': '}{self.checker.kinds[code].title}"
            yield f"{title} ({len(group)}){remedy and '; ' + remedy}"
            # A note about a place is one of many; one about the whole says what was found out.
            told = [f for f in group if severity != "note" or not (f.file or f.sequence)]
            shown = group if verbose else told[:most]
            for finding in shown:
                place = finding.file or finding.sequence
                row = f":{finding.row}" if finding.row else ""
                yield f"    {one_line(place) + row + ': ' if place else ''}{one_line(finding.brief)}"
            if len(group) > len(shown) > 0:
                yield f"    and {len(group) - len(shown)} more (--verbose names them)"

    def _checklist(self) -> Iterator[str]:
        width = max((len(f.sequence or f.code) for f in self.found), default=0)
        for finding in self.found:
            yield f"{finding.severity:8} {one_line(finding.sequence or finding.code):{width}}  {one_line(finding.text)}"
            if finding.remedy:
                yield f"{'':{width + 9}}  -> {one_line(finding.remedy)}"

    def _last_line(self) -> str:
        counts = [(self.count(severity), severity) for severity in ("error", "warning", "note")]
        shown = ", ".join(f"{n} {severity}{'s' if n != 1 else ''}" for n, severity in counts if n)
        return f"{self.looked_at}: {shown or 'nothing wrong'}"


def _annotation(finding: Finding) -> str:
    """A GitHub workflow command; characters that would end it early or begin another are escaped."""
    place = Path(finding.file)
    if place.is_absolute() and place.is_relative_to(Path.cwd()):
        place = place.relative_to(Path.cwd())
    properties = {"file": str(place) if finding.file else "", "line": str(finding.row or ""), "title": finding.code}
    joined = ",".join(f"{k}={_escape(v, True)}" for k, v in properties.items() if v)
    where = " on ".join(filter(None, (finding.subject, finding.sequence)))
    text = f"{where and where + ': '}{finding.brief}{finding.remedy and '; ' + finding.remedy}"
    return f"::{_LEVELS[finding.severity]} {joined}::{_escape(text, False)}"


def _escape(text: str, is_property: bool) -> str:
    text = printable(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))
    return text.replace(":", "%3A").replace(",", "%2C") if is_property else text
