"""Results: reads every layout, checks and packs results, stores them with their run records."""

from tnllt.results.layouts import FoundResults, ResultFile, find_results
from tnllt.results.reading import read_boxes, read_results

__all__ = ["FoundResults", "ResultFile", "find_results", "read_boxes", "read_results"]
