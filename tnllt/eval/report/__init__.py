"""One self-contained HTML file that shows everything about a set of scores."""

from tnllt.eval.report.write import check_size, report_details, write_report, write_tabs

__all__ = ["check_size", "report_details", "write_report", "write_tabs"]
