"""A miniature repository in the baselines' shape, records for it, and images."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tnllt.tracking.baselines.bridge import BaselineTracker, tracker_class
from tnllt.tracking.baselines.record import BaselineRecord, record_from

MINI = Path(__file__).parent / "mini"
WITHOUT_TORCH = Path(__file__).parent / "without_torch"
BOX = [100.0, 50.0, 30.25, 20.125]

Make = Callable[..., BaselineTracker]


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the miniature repository."""
    return shutil.copytree(MINI, tmp_path_factory.mktemp("clones") / "mini")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that stands for weights, for trackers that only look at it."""
    file = tmp_path_factory.mktemp("weights") / "mini.pth"
    file.write_bytes(b"weights!")
    return file


def mini_record(name: str = "only_params", /, **tables: Any) -> BaselineRecord:
    """A record for one of the miniature repository's trackers; keywords replace or add tables and keys."""
    call = {"name": name, "yaml": "base", "parameter": "mini", "experiments": "mini", "constructor": ["params"]}
    table: dict[str, Any] = {
        "name": "mini",
        "title": "Mini",
        "modes": ["BB", "NL+BB"],
        "licence": "MIT",
        "citation": "",
        "repository": "https://example.org/mini",
        "text": {"key": "init_text_description"},
        "checkpoint": {"path": "checkpoints/train/mini/{yaml}/Mini_ep0002.pth.tar", "source": "from these tests"},
        "training": {"script_name": "mini"},
    }
    if name != "network":
        environment: dict[str, Any] = {"upstream": "", "python": "3", "packages": [], "modules": ["numpy", "cv2"]}
        table["environment"] = {**environment, "variables": {"PYTHONPATH": str(WITHOUT_TORCH)}}
    table.update(tables)
    table["tracker"] = {**call, **tables.get("tracker", {})}
    return record_from(table, Path("mini.toml"))


@pytest.fixture(scope="session")
def record_of() -> Callable[..., BaselineRecord]:
    return mini_record


@pytest.fixture
def make(mini: Path, weights: Path) -> Iterator[Make]:
    """Starts a tracker of the miniature repository: options as keywords, record's tables in `tables`."""
    started: list[BaselineTracker] = []

    def start(tracker: str = "only_params", tables: dict[str, Any] | None = None, **options: Any) -> BaselineTracker:
        defaults: dict[str, Any] = {"repo": mini, "python": sys.executable, "weights": weights, "device": "cpu"}
        made = tracker_class(mini_record(tracker, **(tables or {})))(**{**defaults, **options})
        started.append(made)
        return made

    yield start
    for made in started:
        made.close()


@pytest.fixture
def image() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A image whose mean is exactly 2."""
    return np.full((40, 60, 3), 2, np.uint8)
