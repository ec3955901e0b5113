"""A small board: annotations of twelve sequences, entries of four trackers with boxes, one with a paper's numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.report import report_trees as trees
from tnllt.cli.board import cli as board_cli
from tnllt.cli.eval import cli as eval_cli

NAMES = tuple(f"seq{i:02}" for i in range(12))
TRACKERS = {"Alpha": 2.0, "Alpha@text=none": 5.0, "Beta": 4.0, "Gamma": 12.0}


def run_eval(*given: object) -> Result:
    return CliRunner().invoke(eval_cli, list(map(str, given)), catch_exceptions=False, standalone_mode=False)


def run_board(*given: object) -> Result:
    return CliRunner().invoke(board_cli, list(map(str, given)), catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data`, `results` and `entries`."""
    folder = tmp_path_factory.mktemp("board")
    trees.write_release(folder / "data", NAMES, pictures=False)
    for name in NAMES:  # as the evaluation toolkit has them
        for source, place in (("groundtruth", "annos"), ("absent_label", "annos/absent"), ("attributes", "annos/att")):
            (folder / place).mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "data" / name / f"{source}.txt", folder / place / f"{name}.txt")
    trees.write_results(folder / "results", folder / "data", TRACKERS)
    facts = ["--repository", "https://example.org/code", "--date", "2026-03-01", "--no-cache"]
    places = ["--dataset", "tnllt", "--root", folder / "data", "--results", folder / "results"]
    run_eval("pack", "all", *places, "--entry", folder / "entries", *facts)
    paper = folder / "entries" / "Paper"
    paper.mkdir()
    (paper / "entry.toml").write_text(
        'schema = "tnllt.entry/1"\ntracker = "Paper"\nmode = "NL"\n[claims.tnllt]\nsuccess = 0.5\n'
    )
    return folder


@pytest.fixture
def entries(made: Path, tmp_path: Path) -> Path:
    """A copy of the entries that a test may change."""
    shutil.copytree(made / "entries", tmp_path / "entries")
    return tmp_path / "entries"


@pytest.fixture
def board(made: Path) -> Callable[..., Result]:
    """`board("check", folder, ...)` runs the command on the small board's annotations."""

    def run(command: str, *given: object) -> Result:
        return run_board(command, *given, "--dataset", "tnllt", "--root", made / "data")

    return run
