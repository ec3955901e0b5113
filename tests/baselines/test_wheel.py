"""What is installed from a built wheel, away from the checkout: all the records, the worker, the commands."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tnllt.tracking.baselines import names

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment that has tnllt from its wheel, and the packages that it needs from this one."""
    pytest.importorskip("hatchling")
    place = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", place, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = place.glob("tnllt-*.whl")
    venv.create(place / "env", symlinks=True)
    python = place / "env" / "bin" / "python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    (site,) = (place / "env" / "lib").glob("python*/site-packages")
    # A folder named in a .pth file does not have its own .pth files read: no checkout comes in that way.
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "env" / "bin"


def run(installed: Path, command: str, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    line = [str(installed / command), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_all_baselines_are_in_the_wheel(installed: Path, tmp_path: Path) -> None:
    where = run(installed, "python", "-c", "import tnllt; print(tnllt.__file__)", folder=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(installed.parent), "not the checkout"
    listed = run(installed, "tnllt-run", "list", "--baselines", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    shown = [line.split()[0] for line in listed.stdout.splitlines()[1:29]]
    assert shown == list(names()) and len(shown) == 28


def test_the_wheel_has_the_bundled_weights_and_no_image(installed: Path) -> None:
    (package,) = (installed.parent / "lib").glob("python*/site-packages/tnllt")
    assert (package / "reasoningtrack" / "weights" / "tiny.safetensors").is_file()
    assert not [path for path in package.rglob("*") if path.suffix in (".png", ".jpg")]
    templates = {path.name for path in (package / "eval" / "report" / "templates").iterdir()}
    assert {"frame.html", "components.html", "report.html", "style.css", "core.js"} <= templates
    board = {path.name for path in (package / "board" / "templates").rglob("*")}
    assert {"board.html", "board.js", "board.css", "board.yml", "README.md", "gitignore"} <= board
    assert not (package.parent / "recipes").exists()
    assert not [path for path in (package / "training").rglob("*.py") if path.stem in ("label", "photos", "curves")]


def test_doctor_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    doctor = run(installed, "tnllt-run", "doctor", "ostrack", "--device", "cpu", folder=tmp_path)
    assert doctor.returncode == 1, doctor.stderr
    assert "git clone https://github.com/botaoye/OSTrack" in doctor.stdout
    assert "tnllt/_baselines/ostrack.toml" in doctor.stdout


def test_the_worker_runs_from_the_wheel(installed: Path, mini: Path, weights: Path, tmp_path: Path) -> None:
    synth = ["synth", "clips", "-n", 1, "-t", 4, "--size", "160x120"]
    made = run(installed, "tnllt-data", *synth, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    which = ["--repo", mini, "--tracker", "with_dataset", "--yaml", "base", "--set", f"weights={weights}"]
    where = ["-d", "./clips", "--split", "all", "--results", "results", "--device", "cpu"]
    done = run(installed, "tnllt-run", *which, *where, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (boxes,) = (tmp_path / "results" / "with_dataset_tracking_result").glob("*.txt")
    assert len(boxes.read_text().splitlines()) == 4
