"""The README word by word: its commands and programs run, in order, on a small release made for the purpose."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^## (?P<title>.+?)$|^```(?P<kind>\w+)\n(?P<code>.*?)^```", re.M | re.S)
#: Blocks that install, or show output.
NOT_RUN = {"Two commands", "Install"}


def blocks() -> list[tuple[str, str, str]]:
    """(section, language, code) of every block of the README, in order."""
    section, found = "", []
    for match in BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")):
        if match["title"]:
            section = match["title"]
        elif match["kind"] in ("bash", "python") and section not in NOT_RUN:
            found.append((section, match["kind"], match["code"]))
    return found


def shell(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "120", "MPLBACKEND": "agg"}
    return subprocess.run(["bash", "-ec", code], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader would have: a release in TNLLT/, its download, result files of a tracker."""
    folder = tmp_path_factory.mktemp("readme")
    made = shell(
        "tnllt-data synth TNLLT --count 4 --frames 12 --size 160x120\n"
        "tnllt-run groundtruth --dataset tnllt --root TNLLT --results my_results",
        folder,
    )
    assert made.returncode == 0, made.stderr
    download = folder / "downloads"
    download.mkdir()
    with tarfile.open(download / "whole.tar.gz", "w:gz") as archive:
        archive.add(folder / "TNLLT", arcname="TNLLT")
    whole = (download / "whole.tar.gz").read_bytes()
    (download / "whole.tar.gz").unlink()
    half = (len(whole) + 1) // 2
    for i, part in enumerate((whole[:half], whole[half:])):
        (download / f"TNLLT_part_a{'ab'[i]}").write_bytes(part)
    video = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (160, 120))
    for level in range(5):
        video.write(np.full((120, 160, 3), 40 * level, np.uint8))
    video.release()
    return folder


def test_the_readme_is_short() -> None:
    for section, kind, code in blocks():
        assert len([line for line in code.splitlines() if line.strip()]) <= 10, f"{section}: {kind} block too long"


@pytest.mark.slow
def test_every_block_runs(folder: Path) -> None:
    ran = 0
    for section, kind, code in blocks():
        if kind == "python" and code.startswith("# "):
            name, _, code = code[2:].partition("\n")
            (folder / name).write_text(code, encoding="utf-8")
            continue
        if kind == "python":
            (folder / "block.py").write_text(code, encoding="utf-8")
            code = "python block.py"
        done = shell(code, folder)
        assert done.returncode == 0, f"{section}:\n{code}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        ran += 1
    assert ran >= 7
    assert (folder / "report" / "report.html").is_file()
    assert (folder / "plots" / "scores.json").is_file()


def test_the_lasot_table_is_what_it_prints(shared: Path) -> None:
    data = shared / "data" / "lasot"
    done = shell(f"tnllt-eval --dataset lasot --annos {data}/annos --results {data}/results --metric success", ROOT)
    printed = done.stdout.split("\n\n")[1].strip()
    assert printed in (ROOT / "README.md").read_text(encoding="utf-8")
