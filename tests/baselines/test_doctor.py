"""Doctor: what is missing, what differs from the record, and the three forms of its output."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tnllt.cli.run import cli
from tnllt.findings import Finding
from tnllt.tracking.baselines import BaselineRecord, get_baseline
from tnllt.tracking.baselines.doctor import examine, foreign_paths

#: Importing torch and its like to look at their versions takes seconds.
NO_PYTHON = ["--set", "python=/no/python"]
Record = Callable[..., BaselineRecord]
YAML = """
MODEL:
  BACKBONE:
    TYPE: itpn_base
    BERT_DIR: '/home/local_data/lxh/data/bert-base-cased'   # theirs
    BLIP_DIR: "/home/local_data/lxh/data/blip"
  PRETRAIN_FILE: DUTrack_Pretrained_256_full.pth.tar
DATA:
  MEAN:
  - 0.485
  ROOT: /
TEST:
  EPOCH: 1
"""


def found(record: BaselineRecord, severity: str, **options: Any) -> dict[str, Finding]:
    return {f.code: f for f in examine(record, **options).found if f.severity == severity}


def test_paths_of_the_authors_machine_are_found() -> None:
    theirs = "/home/local_data/lxh/data/"
    assert foreign_paths(YAML, {}) == {
        "MODEL.BACKBONE.BERT_DIR": f"{theirs}bert-base-cased",
        "MODEL.BACKBONE.BLIP_DIR": f"{theirs}blip",
    }
    assert not foreign_paths(YAML, {"MODEL.BACKBONE.BERT_DIR": "bert-base-uncased", "MODEL.BACKBONE.BLIP_DIR": "/tmp"})
    mistaken = {"MODEL.BACKBONE.BERT_DIR": "/no/such/folder", "MODEL.BACKBONE.BLIP_DIR": "/tmp"}
    assert foreign_paths(YAML, mistaken) == {"MODEL.BACKBONE.BERT_DIR": "/no/such/folder"}


def test_dutrack_is_not_ready_while_its_yaml_names_them(tmp_path: Path) -> None:
    for file in ("lib/test/tracker/dutrack.py", "experiments/dutrack/dutrack_256_full.yaml", "w.pth.tar"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(YAML if file.endswith("yaml") else "PK")
    here = {"repo": tmp_path, "weights": tmp_path / "w.pth.tar", "python": "/no/python", "device": "cpu"}
    error = found(get_baseline("dutrack"), "error", **here)["path"]
    assert "/home/local_data/lxh/data/blip, which does not exist here" in error.text
    assert error.remedy == "--set cfg=MODEL.BACKBONE.BLIP_DIR=PATH"
    everything = examine(get_baseline("dutrack"), **here)
    assert not [f for f in everything.found if "upstream fetches" in f.text]  # from a folder that is not here
    blip = found(get_baseline("dutrack"), "error", **here)["file"]
    assert blip.text.startswith("MODEL.BACKBONE.BLIP_DIR does not lead to blip-image-captioning-base")
    mended = "MODEL.BACKBONE.BERT_DIR=bert-base-uncased,MODEL.BACKBONE.BLIP_DIR=Salesforce/blip"
    assert not {"path", "file"} & set(found(get_baseline("dutrack"), "error", **here, cfg=mended))


def test_an_edited_clone_is_named(record_of: Record, mini: Path, weights: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(mini, tmp_path / "clone")
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    here = {"repo": clone, "weights": weights, "python": "/no/python", "device": "cpu"}
    assert not found(record_of(), "warning", **here)
    with (clone / "lib/test/tracker/only_params.py").open("a") as file:
        file.write("# edited\n")
    warning = found(record_of(), "warning", **here)["changed"]
    assert "lib/test/tracker/only_params.py: not as in the commit; runs are recorded as changed" in warning.text


def test_an_edited_clone_is_recorded(make: Any, mini: Path, tmp_path: Path) -> None:
    clone = shutil.copytree(mini, tmp_path / "clone")
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    (clone / "lib/test/tracker/positional.py").write_text("# edited\n")
    facts = make(repo=clone, cfg="TEST.STEP=2").info()
    assert len(facts["commit"]) == 40 and facts["changed"] == ["lib/test/tracker/positional.py"]
    assert facts["cfg"] == {"TEST.STEP": 2}


def test_where_all_in_ones_training_reads_its_encoder() -> None:
    """lib/models/ostrack/ostrack.py joins its own folder, not the clone's, with pretrained_models."""
    record = get_baseline("allinone")
    assert record.weights[0].path == "lib/models/ostrack/pretrained_models/mae_pretrain_vit_base.pth"
    for name in ("allinone", "sutrack", "uvltrackBB", "uvltrackNL", "uvltrackNLBB"):  # lib/train/dataset/refer.py
        environment = get_baseline(name).environment
        assert environment is not None
        assert "scikit-image" in environment.packages and "skimage" in environment.modules


def test_forms_of_output(tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli, ["doctor", "ostrack", *NO_PYTHON, *arguments], standalone_mode=False)

    table = json.loads(run("--format", "json").output)
    assert table["schema"] == "tnllt.doctor/1" and table["baseline"] == "ostrack" and table["counts"]["error"] >= 2
    assert any(line.startswith("::error title=clone::") for line in run("--format", "github").output.splitlines())
    assert run("--out", str(tmp_path / "found.txt")).output == ""
    assert "-> git clone https://github.com/botaoye/OSTrack" in (tmp_path / "found.txt").read_text()
    assert "trap" in run("--codes").output


@pytest.mark.parametrize("name", ["uvltrackNL", "mixformer", "sutrack"])
def test_a_file_that_is_set_elsewhere_is_not_missing(name: str) -> None:
    record = get_baseline(name)
    (weight,) = [w for w in record.weights if w.setting.endswith(("PRETRAINED_PATH", "PRETRAIN_TYPE"))]
    missing = [f.text for f in examine(record, python="/no/python").found if f.code == "file" and weight.path in f.text]
    assert missing == [f"the clone has no {weight.path} ({weight.what})"] or weight.needed == "train"
    there = [f for f in examine(record, python="/no/python", cfg=f"{weight.setting}=/x").found if f.code == "file"]
    assert [f.severity for f in there if weight.path in f.text] == ["ok"]
