"""Finds out by looking how a folder of sequences is laid out."""

from __future__ import annotations

from pathlib import Path

from tnllt.datasets.benchmarks import LAYOUTS
from tnllt.datasets.layout import Layout
from tnllt.datasets.places import Place, find_places


def look(folder: Path, annos: Path | None = None) -> tuple[Layout, list[Place]]:
    for name in ("otb100",):
        layout = LAYOUTS[name]
        return layout, find_places(layout, folder, annos)
    raise AssertionError


def video_place(path: Path, annos: Path | None = None) -> Place:
    raise NotImplementedError
