"""What the report makes of results beside scores is kept: nothing unchanged is read again, nothing stale is shown."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.report.test_report import embedded
from tnllt.config import ScoreConfig, cache_folder
from tnllt.errors import DataError
from tnllt.eval import selection as selection_module
from tnllt.eval.report import report_details, write, write_report
from tnllt.eval.report.overlaps import LEVELS, NOTHING, thinned
from tnllt.eval.selection import Selection, select
from tnllt.results.store import ResultStore


@pytest.fixture
def folder(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(release, tmp_path / "release"))


class Made:
    """The page of a folder's results, and which trackers' results were parsed for it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.parsed = folder, set[str]()
        read_many = selection_module.read_many

        def watched(files: list, raws: list | None = None) -> list:
            self.parsed.update(file.tracker for file in files)
            return read_many(files, raws)

        monkeypatch.setattr(selection_module, "read_many", watched)

    def select(self, cache: bool = True) -> Selection:
        return select(ScoreConfig("tnllt", root=self.folder / "data", results=self.folder / "results", cache=cache))

    def page(self, cache: bool = True) -> str:
        self.parsed.clear()
        selection = self.select(cache)
        details = report_details(selection)
        path = write_report(selection.score(details), self.folder / "out", details)
        return path.read_text("utf-8")


@pytest.fixture
def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(folder, monkeypatch)


def test_an_unchanged_report_parses_nothing(made: Made) -> None:
    first = made.page()
    assert made.parsed == {"ReasoningTrack", "OSTrack_000", "OSTrack_001", "SiamFC"}
    assert made.page() == first and not made.parsed
    assert made.page(cache=False) == first, "the same as without a cache"
    selection = made.select(cache=False)
    alone = write_report(selection.score(), made.folder / "alone", selection)
    assert alone.read_text("utf-8") == first, "and as of results that are read for the page alone"


@pytest.mark.parametrize("zipped", [False, True])
def test_processes_that_share_the_work_find_the_same(made: Made, zipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if zipped:
        shutil.make_archive(str(made.folder / "all"), "zip", made.folder / "results")
        shutil.rmtree(made.folder / "results")
        (made.folder / "results").mkdir()
        (made.folder / "all.zip").rename(made.folder / "results/all.zip")
    first = made.page(cache=False)
    for name in ("_BLOCK_FRAMES", "_WORTH_A_FORK", "_WORTH_A_PROCESS"):
        monkeypatch.setattr(selection_module, name, 1)
    for _ in range(2):  # the second finds both scores and details in the cache
        details = report_details(selection := made.select())
        path = write_report(selection.score(details, workers=2), made.folder / "shared", details)
        assert path.read_text("utf-8") == first
    (made.folder / "results/SiamFC_tracking_result").mkdir(exist_ok=True)
    (made.folder / "results/SiamFC_tracking_result/alpha.txt").write_text("1,2,3,4\n1,2,x,4\n")
    if not zipped:
        with pytest.raises(DataError, match="row 2: 'x' is not a number") as caught:
            made.select().score(workers=2)
        assert caught.value.row == 2


def test_what_changed_is_parsed_again(made: Made) -> None:
    first = made.page()
    store = ResultStore(made.folder / "results")
    path = store.path("SiamFC", "alpha")
    boxes = np.loadtxt(path, delimiter=",")
    boxes[:, 2] = np.nan
    np.savetxt(path, boxes, delimiter=",", fmt="%.4f")
    second = made.page()
    assert made.parsed == {"SiamFC"} and "rows with NaN" in second and "rows with NaN" not in first
    assert made.page(cache=False) == second
    trace = path.with_name("alpha.trace.jsonl")
    trace.write_text(trace.read_text("utf-8").replace("brighter", "darker"), "utf-8")
    third = made.page()
    assert made.parsed == {"SiamFC"} and "darker" in third and "darker" not in second


def test_a_damaged_entry_counts_as_none(made: Made) -> None:
    first = made.page()
    entries = sorted(cache_folder().glob("scores/*/*.npz"), key=lambda path: path.stat().st_size)
    for path in entries:
        path.write_bytes(path.read_bytes()[:-100])
    assert made.page() == first and len(made.parsed) == 4
    for path in entries:
        path.write_bytes(path.read_bytes().replace(b'"faults"', b'"fault_"').replace(b"|u1", b"|i1"))
    assert made.page() == first and len(made.parsed) == 4


def test_findings_are_those_of_lint(made: Made) -> None:
    shutil.copytree(made.folder / "results/SiamFC_tracking_result", made.folder / "results/Copy_tracking_result")
    (made.folder / "results/SiamFC_tracking_result/typo.txt").write_text("1,2,3,4\n")
    selection = made.select()
    details = report_details(selection)
    selection.score(details)
    found, expected = details.findings(), selection.lint()
    assert found.found == expected.found and (found.looked_at, found.facts) == (expected.looked_at, expected.facts)
    assert {"duplicate", "unknown-file"} <= {finding.code for finding in found.found}


def test_thinning_by_hand() -> None:
    codes = np.array([[10, 20, NOTHING, 40, NOTHING, NOTHING, 7, LEVELS, LEVELS]], np.uint8)
    assert thinned(codes, np.array([0, 2, 4, 6, 7])).tolist() == [[15, 40, NOTHING, 7, LEVELS]]
    assert thinned(codes, np.arange(9)) is codes


def test_a_page_of_many_numbers_holds_them_deflated(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    made.page()
    plain = embedded(made.folder / "out/report.html", "scores")
    monkeypatch.setattr(write, "MAX_BYTES", 100_000)
    made.page()
    found = embedded(made.folder / "out/report.html", "scores")
    assert list(found) == ["deflate"]
    assert json.loads(zlib.decompress(base64.b64decode(found["deflate"]))) == plain
