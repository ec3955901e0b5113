"""Trajectories come in and go out: tolerant reading of every layout, checks, the result store, run records."""

from tnllt.results.layouts import FoundResults, ResultFile, find_results
from tnllt.results.reading import Results, read_boxes

__all__ = ["FoundResults", "ResultFile", "Results", "find_results", "read_boxes"]
