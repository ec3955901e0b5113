"""One self-contained HTML file that shows everything about a set of scores."""

from tnllt.eval.report.build import report_content
from tnllt.eval.report.write import write_report

__all__ = ["report_content", "write_report"]
