"""A report as text for a terminal: errors first, one line a finding, the remedy once per kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tnllt.datasets.check.findings import CODES, Finding, Report, Severity

_FEW = 5


def format_report(report: Report, *, verbose: bool = False) -> str:
    """The report in words. Of each kind of finding the first five are named, all with `verbose`."""
    return "\n".join(_lines(report, verbose))


def _lines(report: Report, verbose: bool) -> Iterator[str]:
    pictures = f"{report.with_frames:,} with frames" if report.with_frames else "annotations alone"
    decoded = f"; {report.images_decoded:,} images decoded" if report.images_decoded else ""
    yield f"{report.title}: {report.sequences:,} sequences ({pictures}), {report.boxes:,} boxes{decoded}"
    yield f"{report.root}"
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in report.findings:
        kinds[finding.code].append(finding)
    for severity in Severity:
        for name in (code for code in CODES if CODES[code].severity is severity and code in kinds):
            yield ""
            yield from _kind(kinds[name], verbose)
    yield ""
    yield _summary(report)


def _kind(findings: list[Finding], verbose: bool) -> Iterator[str]:
    code = CODES[findings[0].code]
    times = f" ({len(findings)})" if len(findings) > 1 else ""
    yield f"{code.severity.value.upper():7}  {code.name}{times}: {code.title}"
    # A known fault must not hide behind the first few.
    ordered = sorted(findings, key=lambda finding: finding.known is None)
    shown = ordered if verbose else ordered[:_FEW]
    said = None
    for finding in shown:
        yield f"         {finding.sequence + ': ' if finding.sequence else ''}{finding.message}"
        if finding.known and finding.known != said:
            said = finding.known
            yield f"         known fault: {finding.known}"
    if len(findings) > len(shown):
        yield f"         ... and {len(findings) - len(shown)} more (--verbose names all)"
    if code.remedy != "none needed":
        yield f"         remedy: {code.remedy}"


def _summary(report: Report) -> str:
    counts = [(report.count(severity), severity.value) for severity in Severity]
    words = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)
    return "Nothing found." if not report.findings else words
