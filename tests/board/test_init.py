"""`init` makes a repository; its workflow's steps, as the YAML has them, take a good entry and refuse a bad one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.board.conftest import run_board, run_eval
from tnllt.datasets import open_dataset
from tnllt.errors import DataError, UsageError
from tnllt.sequence import Annotation, Sequence

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git")
ROOT = Path(__file__).resolve().parents[2]
#: What a step of the workflow finds in GitHub's expressions.
EXPRESSIONS = {"${{ github.base_ref }}": "main"}


def shell(command: str, folder: Path, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


def run_job(job: str, repository: Path, tools: Path) -> tuple[int, str]:
    """Runs the job's `run` steps; installing and the actions of others are passed over."""
    workflow: dict[Any, Any] = yaml.safe_load((repository / ".github" / "workflows" / "board.yml").read_text())
    assert workflow[True] == {"pull_request": None, "push": {"branches": ["main"]}}  # "on" is a boolean in YAML 1.1
    said = ""
    for step in workflow["jobs"][job]["steps"]:
        if "run" not in step or step["name"] == "install":
            continue
        variables = {}
        for name, value in step.get("env", {}).items():
            for expression, text in EXPRESSIONS.items():
                value = value.replace(expression, text)
            variables[name] = value
        assert "${{" not in step["run"] + str(variables)
        path = f"{tools}:{os.environ['PATH']}"
        done = shell(step["run"], repository, {**variables, "PATH": path, "PYTHONPATH": str(ROOT)})
        said += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, said
    return 0, said


@pytest.mark.slow
def test_a_good_and_a_bad_pull_request(made: Path, tmp_path: Path) -> None:
    repository, origin, tools = tmp_path / "board", tmp_path / "origin.git", tmp_path / "tools"
    result = run_board("init", repository, "--dataset", "tnllt", "--annos", made / "annos")
    assert result.return_value is None and "entries/StaticBox/StaticBox.zip" in result.output
    tools.mkdir()
    (tools / "tnllt-board").write_text(f'#!/bin/sh\nexec {sys.executable} -m tnllt.cli.board "$@"\n')
    (tools / "tnllt-board").chmod(0o755)
    git = "git -c user.name=a -c user.email=a@example.org -c init.defaultBranch=main"
    begin = f"{git} init -q && {git} add -A && {git} commit -qm board && git init -q --bare {origin} && "
    done = shell(f"{begin} git remote add origin {origin} && git push -q origin HEAD:main && git fetch -q", repository)
    assert done.returncode == 0, done.stderr
    assert run_job("publish", repository, tools)[0] == 0
    assert "Static box" in (repository / "site" / "index.html").read_text()

    places = ["--dataset", "tnllt", "--annos", repository / "annos", "--results", made / "results"]
    run_eval("pack", "Beta", *places, "--entry", repository / "entries", "--mode", "NL+BB")
    commit = f"{git} checkout -qb pull && {git} add -A && {git} commit -qm entry"
    assert shell(commit, repository).returncode == 0
    code, said = run_job("check", repository, tools)
    assert code == 0 and "site/index.html: 2 trackers" in said, said

    moved = "mkdir entries/Other && cp entries/StaticBox/entry.toml entries/Other && git mv entries/StaticBox/*.zip"
    moved = f"{git} checkout -qb moved && {moved} entries/Other && {git} add -A && {git} commit -qm moved"
    assert shell(moved, repository).returncode == 0
    code, said = run_job("check", repository, tools)
    assert code != 0 and "::error file=entries/StaticBox,title=empty::" in said, "another entry's archive was taken"

    shutil.unpack_archive(repository / "entries" / "Other" / "StaticBox.zip", tmp_path / "results")
    (tmp_path / "results" / "StaticBox_tracking_result").rename(tmp_path / "results" / "Copy_tracking_result")
    assert shell(f"{git} checkout -q pull && {git} checkout -qb copied", repository).returncode == 0
    copied = ["--dataset", "tnllt", "--annos", repository / "annos", "--results", tmp_path / "results"]
    run_eval("pack", "Copy", *copied, "--entry", repository / "entries")
    assert shell(f"{git} add -A && {git} commit -qm copy", repository).returncode == 0
    code, said = run_job("check", repository, tools)
    assert code != 0 and "error duplicate" in said and "StaticBox" in said, "the boxes of an entry that was not changed"
    assert shell(f"{git} checkout -q pull", repository).returncode == 0

    archive = repository / "entries" / "Beta" / "Beta.zip"
    archive.write_bytes(archive.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03", 1))
    (repository / "entries" / "Beta" / "setup.sh").write_text("echo hello\n")
    assert shell(f"{git} add -A && {git} commit -qm worse", repository).returncode == 0
    code, said = run_job("check", repository, tools)
    assert code != 0
    assert "::error file=entries/Beta/setup.sh,title=stray::" in said and "title=archive::" in said

    removed = f"git checkout -q main && git merge -q pull~1 && git push -q origin main && {git} checkout -qb other"
    assert shell(f"{removed} && git rm -q entries/Beta/Beta.zip && {git} commit -qm less", repository).returncode == 0
    code, said = run_job("check", repository, tools)
    assert code != 0 and "title=empty::" in said, "an entry without its archive"
    assert shell(f"git rm -q entries/Beta/entry.toml && {git} commit -qm none", repository).returncode == 0
    assert run_job("check", repository, tools)[0] == 0, "an entry may be withdrawn"

    assert shell("git checkout -q main", repository).returncode == 0
    assert run_job("publish", repository, tools)[0] == 0
    page = (repository / "site" / "index.html").read_text()
    assert page.index(">Beta<") < page.index(">Static box<")


def test_a_board_of_other_data_does_not_go_by_the_name_of_tnllt(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made / "data", tmp_path / "birds")
    run_board("init", tmp_path / "board", "--dataset", tmp_path / "birds")
    monkeypatch.chdir(tmp_path / "board")
    run_board("build", "entries", "--out", "site")
    assert "Leaderboard of birds" in (tmp_path / "board" / "site" / "index.html").read_text()
    assert all('id: "birds"' in p.read_text() for p in Path("site/hub").rglob("*.yaml"))


def test_where_a_board_is_not_made(made: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(UsageError, match="is there already"):
        run_board("init", tmp_path, "--dataset", "tnllt", "--annos", made / "annos")
    annos = shutil.copytree(made / "annos", tmp_path / "annos")
    with pytest.raises(UsageError, match="lies within --annos"):  # found by fuzzing: a copy into itself has no end
        run_board("init", annos / "board", "--dataset", "tnllt", "--annos", annos)
    assert not (annos / "board").exists()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="loop: no such folder"):
        run_board("init", tmp_path / "board", "--dataset", "tnllt", "--annos", tmp_path / "loop")
    (annos / "link").symlink_to("nothing")
    with pytest.raises(DataError, match=r"link.*cannot be copied .*No such file"):
        run_board("init", tmp_path / "board", "--dataset", "tnllt", "--annos", annos)


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "", "..", "a\0b"])
def test_a_name_that_leads_out_of_the_folder(
    name: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = Sequence(name, Annotation(np.ones((3, 4))))
    monkeypatch.setattr("tnllt.board.init.open_configured", lambda _: [sequence])
    with pytest.raises(DataError, match="cannot be the name of a sequence") as error:
        run_board("init", tmp_path / "a" / "b" / "board", "--dataset", "tnllt", "--root", made / "data")
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_annotations_from_a_release(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files beside the frames, descriptions too; an entry packed on the release passes, and one without them."""
    run_board("init", tmp_path / "board", "--dataset", "tnllt", "--root", made / "data")
    assert open_dataset(tmp_path / "board" / "annos", split=None).name == "tnllt"
    places = ["--results", made / "results", "--no-cache", "--entry", tmp_path / "board" / "entries"]
    run_eval("pack", "Beta", "--dataset", "tnllt", "--root", made / "data", *places)
    run_eval("pack", "Gamma", "--dataset", "tnllt", "--annos", made / "annos", *places)
    monkeypatch.chdir(tmp_path / "board")
    assert run_board("check", "entries/Beta", "entries/StaticBox").return_value == 0
    assert run_board("check", "entries/Gamma").return_value == 1, "it was run without descriptions, the board has them"
    monkeypatch.chdir(tmp_path)  # away from the board's own settings
    entry = tmp_path / "board" / "entries" / "Beta"
    assert run_board("check", entry, "--dataset", "tnllt", "--annos", made / "annos").return_value == 0
