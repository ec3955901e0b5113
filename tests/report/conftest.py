"""Small releases to show in reports and viewers."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

from tnllt.config import ScoreConfig
from tnllt.eval.selection import Selection
from tnllt.results.layouts import ResultFile
from tnllt.sequence import Sequence, Trajectory

sys.path.insert(0, str(Path(__file__).parent))

import report_trees as trees

TRACKERS = {"ReasoningTrack": 3.0, "OSTrack_000": 6.0, "OSTrack_001": 7.0, "SiamFC": 25.0}


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` (a TNLLT-like release) and `results` of four trackers."""
    folder = tmp_path_factory.mktemp("release")
    trees.write_release(folder / "data")
    trees.write_results(folder / "results", folder / "data", TRACKERS)
    return folder


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with names and sentences that try to do harm."""
    folder = tmp_path_factory.mktemp("hostile")
    trees.write_release(folder / "data", sentence=trees.HOSTILE_SENTENCE)
    names = dict(zip(trees.HOSTILE_TRACKERS, (3.0, 6.0, 9.0, 20.0, 21.0), strict=True))
    trees.write_results(folder / "results", folder / "data", names, hostile=True)
    return folder


def arguments(folder: Path) -> list[str]:
    return ["--dataset", "tnllt", "--root", str(folder / "data"), "--results", str(folder / "results")]


def held(sequences: list[Sequence], results: dict[str, dict[str, Trajectory]]) -> Selection:
    """A selection of results in memory."""

    def file(tracker: str, name: str, own: Trajectory) -> ResultFile:
        columns = {"rows": own.boxes, **({} if own.confidence is None else {"confidence": own.confidence[:, None]})}
        texts = {k: "\n".join(",".join(map(repr, row)) for row in v.tolist()).encode() for k, v in columns.items()}
        read = {k: partial(texts.__getitem__, k) for k in texts}
        return ResultFile(tracker, name, f"{tracker}/{name}.txt", read.pop("rows"), read)

    files = {t: {name: file(t, name, found) for name, found in own.items()} for t, own in results.items()}
    return Selection(sequences, files, ScoreConfig(cache=False))
