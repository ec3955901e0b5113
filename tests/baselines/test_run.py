"""Baselines through `tnllt-run`: the same store, resuming and records as any tracker's; trackers that users plug in."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from tnllt.cli.run import cli
from tnllt.errors import UsageError
from tnllt.tracking.baselines import BaselineError, get_baseline
from tnllt.tracking.baselines.installation import worker_environment
from tnllt.tracking.registry import find_tracker

DESCRIPTION = "a red kite"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences of four grey images, with boxes and descriptions."""
    root = tmp_path_factory.mktemp("clips")
    for name in ("one", "two"):
        (root / name / "img").mkdir(parents=True)
        for frame in range(4):
            cv2.imwrite(str(root / name / "img" / f"{frame:04}.png"), np.full((40, 60, 3), 2, np.uint8))
        (root / name / "groundtruth.txt").write_text("5,6,7,8\n" * 4)
        (root / name / "language.txt").write_text(DESCRIPTION + "\n")
    return root


@pytest.fixture
def record(mini: Path, tmp_path: Path) -> Path:
    """A user's record, without torch."""
    file = tmp_path / "mine.toml"
    file.write_text(
        f"""
name = "mine"
title = "Mine"
repository = "https://example.org/mine"
licence = "MIT"
citation = ""
modes = ["BB", "NL+BB"]
[tracker]
name = "with_dataset"
yaml = "base"
experiments = "mini"
score = "best_score"
config = {{ "TEST.USE_NLP.TNLLT" = true }}
[text]
key = "init_nlp"
[checkpoint]
path = "x.pth"
source = "here"
[environment]
upstream = ""
python = "3"
packages = []
modules = ["numpy", "cv2"]
[environment.variables]
PYTHONPATH = "{Path(__file__).parent / "without_torch"}"
"""
    )
    return file


def run(clips: Path, results: Path, *arguments: object) -> tuple[int, str]:
    places = ["--dataset", clips, "--results", results, "--device", "cpu", "--threads", "1"]
    done = CliRunner().invoke(cli, [str(part) for part in (*arguments, *places)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return int(done.return_value or 0), done.output


def rows(file: Path) -> list[list[float]]:
    return [[float(v) for v in line.split(",")] for line in file.read_text().splitlines()]


def test_own_record(clips: Path, record: Path, mini: Path, weights: Path, tmp_path: Path) -> None:
    options = ["--set", f"repo={mini}", "--set", f"weights={weights}", "--set", f"python={sys.executable}"]
    results = tmp_path / "results"
    assert run(clips, results, "--baseline", record, *options, "--workers", 2)[0] == 0
    shift = 1.0 + len(DESCRIPTION)
    for name in ("one", "two"):
        boxes = rows(results / "mine_tracking_result" / f"{name}.txt")
        assert boxes == [[5 + i * shift, 6 + i * 2.0, 7, 8] for i in range(4)]
        facts: Any = json.loads((results / "mine_tracking_result" / f"{name}.run.json").read_text())
        assert facts["mode"] == "NL+BB" and facts["info"]["baseline"] == "mine"
        assert len(facts["info"]["weights"]["sha256"]) == 64
        assert facts["confidence"][1:] == pytest.approx([1.0, 0.5, 0.3333], abs=1e-4)
    written = (results / "mine_tracking_result" / "one.txt").stat().st_mtime_ns
    assert run(clips, results, "--baseline", record, *options)[0] == 0
    assert (results / "mine_tracking_result" / "one.txt").stat().st_mtime_ns == written, "a second run leaves it alone"


def test_a_failure_is_kept_and_tried_again(
    clips: Path, record: Path, mini: Path, weights: Path, tmp_path: Path
) -> None:
    options = ["--set", f"repo={mini}", "--set", f"weights={weights}", "--set", f"python={sys.executable}"]
    results = tmp_path / "results"
    broken = [*options, "--set", 'cfg=TEST.FAULT="track"', "-s", "one"]
    code, said = run(clips, results, "--baseline", record, *broken)
    assert code == 3 and "lost at frame 3" in said
    assert run(clips, results, "--baseline", record, *options)[0] == 0
    assert len(rows(results / "mine_tracking_result" / "one.txt")) == 4


def test_what_upstream_prints_is_in_the_record(
    clips: Path, record: Path, mini: Path, weights: Path, tmp_path: Path
) -> None:
    options = ["--set", f"repo={mini}", "--set", f"weights={weights}", "--set", f"python={sys.executable}"]
    assert (
        run(clips, tmp_path, "--baseline", record, *options, "--set", 'cfg=TEST.FAULT="chatter"', "-s", "one")[0] == 0
    )
    facts: Any = json.loads((tmp_path / "mine_tracking_result" / "one.run.json").read_text())
    assert "more" in facts["output"]


def test_spaces_and_other_letters_in_every_path(
    clips: Path, record: Path, mini: Path, weights: Path, tmp_path: Path
) -> None:
    home = tmp_path / "größe & 'mehr' 日本"
    repo, file = shutil.copytree(mini, home / "my clone"), shutil.copy(weights, home / "my weights.pth")
    data, own = shutil.copytree(clips, home / "my clips"), shutil.copy(record, home / "my record.toml")
    python = home / "python 3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    options = ["--set", f"repo={repo}", "--set", f"weights={file}", "--set", f"python={python}"]
    assert run(data, home / "results", "--baseline", own, *options, "-s", "one")[0] == 0
    assert len(rows(home / "results" / "mine_tracking_result" / "one.txt")) == 4
    options[1] = f"repo={home}"
    with pytest.raises(UsageError, match="is not a clone of Mine"):
        run(data, home / "results", "--baseline", own, *options, "-s", "two")


def test_any_clone_of_that_shape(clips: Path, mini: Path, weights: Path, tmp_path: Path) -> None:
    which = ["--repo", mini, "--tracker", "with_dataset", "--yaml", "base", "--name", "theirs"]
    assert run(clips, tmp_path, *which, "--set", f"weights={weights}")[0] == 0
    assert rows(tmp_path / "theirs_tracking_result" / "two.txt")[3] == [8.0, 12.0, 7.0, 8.0]


def test_a_record_that_knows_where_things_are(
    clips: Path, record: Path, mini: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"beside the record")
    with record.open("a") as file:
        file.write(f'[options]\nrepo = "{mini}"\nweights = "weights.pth"\ncfg = "TEST.STEP=3"\n')
    assert run(clips, tmp_path, "--baseline", record, "--mode", "BB", "-s", "one")[0] == 0
    assert rows(tmp_path / "mine_tracking_result" / "one.txt")[1] == [8.0, 8.0, 7.0, 8.0]
    again = ["--set", "cfg=TEST.STEP=4", "--name", "other"]
    assert run(clips, tmp_path, "--baseline", record, "--mode", "BB", "-s", "one", *again)[0] == 0
    assert rows(tmp_path / "other_tracking_result" / "one.txt")[1] == [9.0, 8.0, 7.0, 8.0]


def test_doctor_starts_it_where_asked(record: Path, mini: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.pth"
    weights.write_bytes(b"PK\x03\x04")
    options = ["--set", f"repo={mini}", "--set", f"weights={weights}", "--device", "cpu", "--start"]
    done = CliRunner().invoke(cli, ["doctor", "--baseline", str(record), *options], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "upstream's code imports and the weights load" in done.output and "mine: " in done.output
    broken = [*options, "--set", 'cfg=TEST.FAULT="constructor"']
    done = CliRunner().invoke(cli, ["doctor", "--baseline", str(record), *broken])
    assert isinstance(done.exception, BaselineError) and "the constructor broke" in str(done.exception)


def test_paths_hold_in_another_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on another machine, or a later `retry`, is elsewhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "python").symlink_to(sys.executable)
    spec = find_tracker("ostrack", {"python": "./python", "yaml": "own.yaml", "repo": "clone"})
    here = {"python": f"{tmp_path}/python", "yaml": f"{tmp_path}/own.yaml", "repo": f"{tmp_path.resolve()}/clone"}
    assert spec.options == here
    assert find_tracker("ostrack", {"python": "python3.8", "yaml": "base"}).options["python"] == "python3.8"
    assert find_tracker("ostrack", {"python": "~/env/python"}).options["python"] == "/home/me/env/python"


def test_results_only_says_why(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lmtrack cannot be run: its repository held a README alone"):
        run(clips, tmp_path, "lmtrack")


def test_workers_share_the_list_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    record = get_baseline("ostrack")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert worker_environment(record, "cuda:1")["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in worker_environment(record, "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert worker_environment(record, "cuda:1")["CUDA_VISIBLE_DEVICES"] == "7"
    assert worker_environment(record, "cuda")["CUDA_VISIBLE_DEVICES"] == "4,7"
    with pytest.raises(UsageError, match="shows only 2"):
        worker_environment(record, "cuda:2")


def test_other_content_under_the_same_names_is_not_mixed(
    clips: Path, record: Path, mini: Path, weights: Path, tmp_path: Path
) -> None:
    """Neither weights that changed under their path nor a setting that changed in the TOML."""
    own = Path(shutil.copy(weights, tmp_path / "w.pth"))
    options = ["--set", f"repo={mini}", "--set", f"weights={own}", "--set", f"python={sys.executable}"]
    assert run(clips, tmp_path, "--baseline", record, *options, "-s", "one")[0] == 0
    own.write_bytes(b"others!!")
    with pytest.raises(UsageError, match="weights"):
        run(clips, tmp_path, "--baseline", record, *options)
    own.write_bytes(weights.read_bytes())
    record.write_text(record.read_text().replace("config = {", 'config = { "TEST.STEP" = 2.0,'))
    with pytest.raises(UsageError, match=r"TEST\.STEP None, now 2\.0"):
        run(clips, tmp_path, "--baseline", record, *options)
