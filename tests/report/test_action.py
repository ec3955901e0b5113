"""The CI action: its scripts run as GitHub runs them, and nothing that a user gives is read as shell code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def steps() -> dict:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    return {step.get("name", step.get("uses")): step for step in action["runs"]["steps"]}


def run(step: dict, folder: Path, release: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """The step's script with the environment that its `env` asks for."""
    given = {
        "dataset": "tnllt", "root": str(release / "data"), "annos": "", "results": str(release / "results"),
        "trackers": "all", "metric": "all", "protocol": "tnllt", "baseline": "", "max-drop": "0", "fail-under": "",
        "report": "", **inputs,
    }  # fmt: skip
    wanted = {k: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], v) for k, v in step["env"].items()}
    home = {
        "RUNNER_TEMP": str(folder),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", step["run"]], env={**os.environ, **home, **wanted, "PATH": path},
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip


def test_no_input_is_pasted_into_a_script(steps: dict) -> None:
    for step in steps.values():
        assert "${{" not in step.get("run", "")
        if "run" in step:
            assert subprocess.run(["bash", "-n", "-c", step["run"]]).returncode == 0


def test_score_annotate_and_gate(steps: dict, release: Path, tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    done = run(steps["Score"], tmp_path, release, report=str(tmp_path / "report"))
    assert done.returncode == 0, done.stderr
    assert "| ReasoningTrack |" in (tmp_path / "summary").read_text()
    output = (tmp_path / "output").read_text()
    assert re.match(r"table<<(end-\w+)\n(?s:.*)\n\1\nscores=", output)
    assert (tmp_path / "tnllt" / "scores.json").is_file() and (tmp_path / "report" / "report.html").is_file()
    assert run(steps["Annotate"], tmp_path, release).returncode == 0
    assert run(steps["Gate"], tmp_path, release, **{"fail-under": "success=0.1"}).returncode == 0
    failed = run(steps["Gate"], tmp_path, release, **{"fail-under": "success=0.5"})
    assert failed.returncode == 1 and "SiamFC" in failed.stderr


def test_shell_code_in_an_input_is_a_name(steps: dict, release: Path, tmp_path: Path) -> None:
    done = run(steps["Score"], tmp_path, release, trackers='$(touch "hurt"); touch hurt; "; touch hurt; "')
    assert done.returncode == 2 and not (tmp_path / "hurt").exists()
