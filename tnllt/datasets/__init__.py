"""Sequences come in: readers of the benchmarks and of any folder, frames, split lists, checks, archives."""

from __future__ import annotations

from tnllt.datasets.benchmarks import LAYOUTS as BENCHMARKS
from tnllt.datasets.dataset import Dataset, TNLLTDataset, open_dataset
from tnllt.datasets.frames import ArrayFrames, ImageFrames, VideoFrames, prefetch

__all__ = [
    "BENCHMARKS",
    "ArrayFrames",
    "Dataset",
    "ImageFrames",
    "TNLLTDataset",
    "VideoFrames",
    "open_dataset",
    "prefetch",
]
