"""Fixtures that every area's tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.browsers import browser, watch

__all__ = ["browser", "watch"]  # fixtures
ROOT = Path(__file__).resolve().parents[1]

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("tnllt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tnllt")

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


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random Qwen2.5-VL (see tiny_vlm.py); skips where transformers is missing."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vlm") / "tiny"
    script = Path(__file__).with_name("tiny_vlm.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder
