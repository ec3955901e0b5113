"""Finds what is wrong with a dataset before a tracker does: stable codes, remedies, known faults named as such."""

from __future__ import annotations

from tnllt.datasets.check.findings import CHECKER
from tnllt.datasets.check.run import check_dataset

__all__ = ["CHECKER", "check_dataset"]
