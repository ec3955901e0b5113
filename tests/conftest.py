"""Fixtures that every area's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Tests must not see a user's own settings, nor fill a user's cache.
for name in ("TNLLT_ROOT", "TNLLT_ANNOS", "TNLLT_RESULTS", "TNLLT_DATASET", "TNLLT_CONFIG"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference data that is not part of the project; tests that need it skip where it is not there."""
    folder = ROOT.parent / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"reference data not found at {folder.name}/ beside the project")
    return folder


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["TNLLT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
