"""One self-contained HTML file that shows everything about a set of scores."""

from tnllt.eval.report.write import write_report

__all__ = ["write_report"]
