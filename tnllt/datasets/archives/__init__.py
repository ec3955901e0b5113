"""Downloads become a dataset: parts joined, sums checked, unpacked safely, resumed after any interruption."""

from __future__ import annotations

from tnllt.datasets.archives.members import Unsafe
from tnllt.datasets.archives.prepare import PrepareResult, prepare

__all__ = ["PrepareResult", "Unsafe", "prepare"]
