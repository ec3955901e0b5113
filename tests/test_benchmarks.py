"""`make bench` in small: every benchmark runs, agrees with what it compares with, and the page is written."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_every_benchmark_runs(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--quick", "--out", str(tmp_path / "page.md")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    committed = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", page, flags=re.M)
    assert len(headings) == 10
    assert headings == re.findall(r"^## (.+)$", committed, flags=re.M), "docs/benchmarks.md: run `make bench`"


def test_the_bridge_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """No part of `make bench`."""
    spec = importlib.util.spec_from_file_location("bridge_benchmark", ROOT / "benchmarks" / "bridge.py")
    assert spec is not None and spec.loader is not None
    bridge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bridge)
    monkeypatch.setattr(bridge, "FRAMES", 2)
    bridge.main()
    assert re.findall(r"^(\d+x\d+): best ", capsys.readouterr().out, flags=re.M) == ["320x240", "1280x720", "1920x1080"]
