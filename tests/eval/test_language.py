"""The language audit: its verdicts on trackers whose reading is known, what it refuses, and how often it is wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

import tnllt
from benchmarks.language_audit import texts, verdict
from tests.tracking.conftest import TRACKERS
from tnllt.cli.eval import cli
from tnllt.config import ScoreConfig
from tnllt.datasets.synth.colours import COLOURS
from tnllt.errors import DataError, UsageError
from tnllt.eval.language import audit, judge, refuse_other_differences
from tnllt.eval.selection import select
from tnllt.results.store import ResultStore

BOUNDS = np.array([[-0.5, 0.5]])


def toy(folder: Path, sequences: int, frames: int = 4) -> Path:
    """Sequences in which the target moves steadily; the description names the sequence."""
    for number in range(sequences):
        place = folder / f"s{number}"
        (place / "imgs").mkdir(parents=True)
        for index in range(frames):
            cv2.imwrite(str(place / "imgs" / f"{index + 1:05d}.png"), np.full((40, 60, 3), number % 200, np.uint8))
        (place / "groundtruth.txt").write_text("".join(f"{10 + 2 * i},12,9,8\n" for i in range(frames)))
        (place / "absent_label.txt").write_text("1\n" * frames)
        (place / "language.txt").write_text(f"thing s{number}\n")
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Forty toy sequences and the results of three trackers, each told three texts."""
    folder = tmp_path_factory.mktemp("language")
    data, results = toy(folder / "data", 40), folder / "results"
    for tracker in ("still", "MIL", f"{TRACKERS}:Sometimes"):
        tnllt.run(tracker, data, results=results, split="all", text="own,none,shuffled")
    return data, results


def test_trackers_that_read_nothing(small: tuple[Path, Path]) -> None:
    data, results = small
    scores = tnllt.score(data, results=results, split="all", trackers="still,MIL")
    for found in audit(scores):
        assert found.verdict == "does not" and found.changed == 0 and found.sequences == 40
        assert [(c.b, c.difference, c.p_value) for c in found.comparisons] == [("none", 0, 1), ("shuffled", 0, 1)]
        assert "does not read its text" in found.words


def test_a_tracker_that_reads_on_a_tenth(small: tuple[Path, Path]) -> None:
    """With a tenth, seven sequences and so about seventy in all are the fewest that a sign test can tell."""
    data, results = small
    scores = tnllt.score(data, results=results, split="all", trackers="Sometimes")
    for count in (10, 20, 40):
        few = scores.select(sequences=[f"s{i}" for i in range(count)])
        (found,) = audit(few)
        assert found.verdict == "cannot tell" and found.needed is not None and 60 <= found.needed <= 75
        assert found.words == f"cannot tell with {count} sequences; it would take about {found.needed}"
        assert found.changed == count // 10 and found.most[0][0] in ("s0", "s10", "s20", "s30")


@pytest.mark.slow
def test_a_tenth_is_told_above_the_stated_number(tmp_path: Path) -> None:
    data = toy(tmp_path / "data", 200)
    tnllt.run(f"{TRACKERS}:Sometimes", data, results=tmp_path / "r", split="all", text="own,none,shuffled")
    scores = tnllt.score(data, results=tmp_path / "r", split="all")
    verdicts = {}
    for count in (20, 40, 60, 80, 120, 200):
        (found,) = audit(scores.select(sequences=[f"s{i}" for i in range(count)]))
        verdicts[count] = found.verdict
    assert verdicts == {**dict.fromkeys((20, 40, 60), "cannot tell"), **dict.fromkeys((80, 120, 200), "reads")}


def test_a_tracker_that_reads_colours(tmp_path: Path) -> None:
    """The target and a distractor of another colour move on grey ground, in opposite directions."""
    names, data = list(COLOURS)[:6], tmp_path / "data"
    for number in range(30):
        place, told = data / f"s{number}", names[number % len(names)]
        (place / "imgs").mkdir(parents=True)
        rows = []
        for index in range(6):
            image = np.full((60, 90, 3), 140, np.uint8)
            for name, x in ((names[(number + 1) % len(names)], 50 - 4 * index), (told, 20 + 4 * index)):
                image[20:32, x : x + 12] = COLOURS[name][::-1]
            cv2.imwrite(str(place / "imgs" / f"{index + 1:05d}.png"), image)
            rows.append(f"{20 + 4 * index},20,12,12\n")
        (place / "groundtruth.txt").write_text("".join(rows))
        (place / "absent_label.txt").write_text("1\n" * len(rows))
        (place / "language.txt").write_text(f"the {told} square\n")
    run = tnllt.run(f"{TRACKERS}:ByColour", data, results=tmp_path / "r", split="all", text="own,none,shuffled")
    assert not run.failed
    (found,) = audit(tnllt.score(data, results=tmp_path / "r", split="all"))
    assert found.words == "reads its text"
    assert all(c.significant and c.difference > 0.1 for c in found.controls)


@pytest.mark.parametrize(
    ("p_values", "bounds", "changed", "sequences", "expected"),
    [
        ([0.04, 1.0], BOUNDS, 5, 50, "reads"),
        ([0.06, 1.0], BOUNDS, 0, 28, "cannot tell"),
        ([1.0, 1.0], BOUNDS, 0, 29, "does not"),  # 0.9 ** 29 < 0.05
        ([1.0], BOUNDS, 1, 45, "cannot tell"),
        ([1.0], BOUNDS, 1, 46, "does not"),  # 0.9**46 + 46 * 0.1 * 0.9**45 < 0.05
        ([1.0], BOUNDS, 50, 50, "cannot tell"),
        ([1.0], np.array([[-0.009, 0.002]]), 19, 50, "cannot tell"),
        ([1.0], np.array([[-0.009, 0.002]]), 20, 50, "does not"),
        ([1.0], np.array([[-0.011, 0.002]]), 20, 50, "cannot tell"),
        ([1.0], np.array([[np.nan, np.nan]]), 2, 2, "cannot tell"),
    ],
)
def test_the_rule(p_values: list[float], bounds: np.ndarray, changed: int, sequences: int, expected: str) -> None:
    assert judge(p_values, bounds, changed, sequences) == expected


@pytest.mark.slow
@pytest.mark.parametrize("sequences", [20, 50])
def test_false_verdicts_are_rare(sequences: int) -> None:
    """The 1,000 audits of the documentation are `python benchmarks/language_audit.py`; these are 200 of them."""
    rng = np.random.default_rng(sequences)
    reads = sum(verdict(texts("no effect", sequences, rng)) == "reads" for _ in range(200))
    silent = sum(verdict(texts("a tenth", sequences, rng)) == "does not" for _ in range(200))
    assert reads <= 18 and silent <= 18  # 5 % of 200, and four standard deviations


def test_the_command(small: tuple[Path, Path], tmp_path: Path) -> None:
    data, results = small
    words = ["language", "-d", data, "--results", results, "--split", "all", "-o", tmp_path / "out"]
    printed = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert printed.exit_code == 0, printed.output
    assert (
        "cannot tell with 40 sequences" in printed.output
        and "does not read its text: it changes 0 of 40" in printed.output
    )
    assert not re.search(r"\d+ sequences.*; \d+ sequences", printed.output), "the count stands once"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        f"language_success.{ending}" for ending in ("txt", "md", "tex", "json", "pdf", "png", "svg")
    }
    table = json.loads((tmp_path / "out" / "language_success.json").read_text())
    rows = {row["tracker"]: row for row in table["trackers"]}
    assert rows["still"]["verdict"] == "does not" and len(rows["MIL"]["comparisons"]) == 2
    assert (tmp_path / "out" / "language_success.tex").read_text().count(r"\\") == 4


def test_runs_that_differ_in_more_are_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = small
    told = f"{TRACKERS}:Told"
    store = tmp_path / "r"

    def check() -> None:
        refuse_other_differences(select(ScoreConfig(data, results=store, split="all", sequences="s1,s2")).files)

    def run(text: str, **more: object) -> None:
        tnllt.run(told, data, results=store, split="all", sequences=["s1", "s2"], text=text, again=True, **more)

    run("own")
    run("none")
    check()
    run("none", options={"step": 2.0})  # the other run does not name the option
    with pytest.raises(UsageError, match=r"differ in more than the text \(s1: step None, now 2.0"):
        check()
    run("none", seed=5)
    with pytest.raises(UsageError, match="seed 0, now 5"):
        check()
    run("none", mode="BB")
    with pytest.raises(UsageError, match=r"NL\+BB"):
        check()
    run("none")
    (store / "Told@text=none_tracking_result" / "s1.txt").unlink()
    with pytest.raises(UsageError, match=r"other sequences \(s1"):
        check()
    run("none")
    with (store / "Told@text=none_tracking_result" / "s1.txt").open("a") as other:
        other.write("1,2,3,4\n")
    with pytest.raises(DataError, match="no run record of its own"):
        check()
    run("none")
    (store / "Told@text=none_tracking_result" / "s1.run.json").unlink()
    with pytest.raises(DataError, match="no run record"):
        check()


def test_a_plain_run_counts_as_told_its_own(small: tuple[Path, Path], tmp_path: Path) -> None:
    data, results = small
    shutil.copytree(results / "still@text=none_tracking_result", tmp_path / "still@text=none_tracking_result")
    tnllt.run("still", data, results=tmp_path, split="all")
    assert ResultStore(tmp_path).trackers() == ["still", "still@text=none"]
    config = ScoreConfig(data, results=tmp_path, split="all")
    refuse_other_differences(select(config).files)
    (found,) = audit(select(config).score())
    assert found.tracker == "still" and found.verdict == "does not"


def test_without_other_texts_there_is_nothing_to_audit(small: tuple[Path, Path]) -> None:
    data, results = small
    with pytest.raises(UsageError, match="tnllt-run NAME --text own,none,shuffled"):
        audit(tnllt.score(data, results=results, split="all", trackers="still@text=own"))


def test_group_by_gives_mean_and_deviation_over_seeds(small: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = small
    tnllt.run(
        f"{TRACKERS}:Drift", data, results=tmp_path, split="all", sequences="s1,s2,s3",
        grid={"step": [1, 3], "seed": [1, 2, 3]},
    )  # fmt: skip
    where = ["-d", data, "--results", tmp_path, "--split", "all", "-s", "s1,s2,s3", "-m", "success", "--format", "json"]
    grouped = json.loads(CliRunner().invoke(cli, [*map(str, where), "--group-by", "step"]).output)
    scores = tnllt.score(data, results=tmp_path, split="all", sequences="s1,s2,s3")
    known = dict(zip(scores.trackers, scores.score("success").tolist(), strict=True))
    for row in grouped["rows"]:
        own = [value for name, value in known.items() if name.split(",")[-1] == row["name"].partition("@")[2]]
        assert row["runs"] == 3 and row["AUC"] == pytest.approx(np.mean(own))
        assert row["AUC dev."] == pytest.approx(np.std(own, ddof=1))
    assert sorted(row["name"] for row in grouped["rows"]) == ["Drift@step=1", "Drift@step=3"]
    refused = CliRunner().invoke(cli, [*map(str, where), "--group-by", "stride"])
    assert isinstance(refused.exception, UsageError) and "there are: seed, step" in str(refused.exception)
