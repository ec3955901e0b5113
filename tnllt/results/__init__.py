"""Results: reads every layout, checks and packs results, stores them with their run records."""

from tnllt.results.layouts import FoundResults, ResultFile, find_results
from tnllt.results.reading import Results, read_boxes

__all__ = ["FoundResults", "ResultFile", "Results", "find_results", "read_boxes"]
