"""One table over several benchmarks: each cell is the score of its own protocol, or reported and marked, or a dash."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.eval.eval_trees import save, write_tree
from tnllt.cli.eval import cli
from tnllt.errors import DataError
from tnllt.eval.paper import load_paper, paper_table
from tnllt.eval.selection import score


def write_got10k(folder: Path, seed: int = 3) -> None:
    """`folder/val` and `folder/results` in GOT-10k's layouts: two sequences, trackers t0 and other."""
    rng = np.random.default_rng(seed)
    for name in ("GOT-10k_Val_000001", "GOT-10k_Val_000002"):
        truth = np.abs(np.cumsum(rng.normal(0, 2, (15, 4)), axis=0) + np.array([200, 150, 60, 50]))
        save(folder / "val" / name / "groundtruth.txt", truth)
        save(folder / "val" / name / "absence.label", np.zeros((15, 1)), "%d")
        save(folder / "val" / name / "cover.label", np.full((15, 1), 8), "%d")
        (folder / "val" / name / "meta_info.ini").write_text("[METAINFO]\n")
        for tracker in ("t0", "other"):
            save(folder / "results" / "GOT-10k" / tracker / name / f"{name}_001.txt", truth + rng.normal(0, 3, (15, 4)))


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    for name, trackers in (("one", 3), ("two", 2)):
        annos = write_tree(tmp_path / name, trackers=trackers, seed=trackers) / "annos"
        shutil.rmtree(annos / "att")
        for file in (annos / "absent").iterdir():  # LaSOT and TNL2K: 1 = absent
            save(file, 1 - np.loadtxt(file)[:, None], "%d")
    (annos / "gt_rect").mkdir()
    for name in ("s0", "s1", "s2"):
        (annos / f"{name}.txt").rename(annos / "gt_rect" / f"{name}.txt")
    write_got10k(tmp_path / "three")
    text = """
        percent = true
        [[benchmark]]
        dataset = "lasot"
        annos = "one/annos"
        results = "one/results"
        protocol = "ostrack"
        metrics = ["AUC", "P_Norm", "P"]
        names = { t1 = "Mine_1" }
        reported = { OSTrack = { AUC = 96.1, P = 99.2 }, t0 = { AUC = 0.5 } }
        [[benchmark]]
        dataset = "tnl2k"
        annos = "two/annos"
        results = "two/results"
        metrics = ["AUC", "P"]
        names = { t1 = "Mine_1" }
        reported = { OSTrack = { AUC = 54.3 } }
        [[benchmark]]
        title = "GOT-10k val"
        dataset = "got10k"
        root = "three"
        results = "three/results"
        split = "val"
        metrics = ["got10k-ao", "got10k-sr50"]
        [style]
        order = ["OSTrack"]
        trackers.t2.name = "Tracker & 2"
    """
    path = tmp_path / "paper.toml"
    path.write_text(text)
    return path


@pytest.mark.filterwarnings("ignore::tnllt.errors.DataWarning")
def test_every_cell_is_the_score_of_its_own_protocol(paper):
    folder = paper.parent
    table = paper_table(load_paper(paper), folder)
    assert table.names == ["OSTrack", "t0", "t0 (reported)", "Mine_1", "Tracker & 2", "other"]
    lasot = score("lasot", annos=folder / "one/annos", results=folder / "one/results", protocol="stark-lasot")
    tnl2k = score("tnl2k", annos=folder / "two/annos", results=folder / "two/results", protocol="tnllt")
    got = score("got10k", root=folder / "three", results=folder / "three/results", split="val", protocol="got10k")
    expected = np.full((6, 7), np.nan)
    for row, tracker in {1: "t0", 3: "t1", 4: "t2"}.items():
        k = lasot.trackers.index(tracker)
        expected[row, :3] = [lasot.score(m)[k] for m in ("success", "normalized_precision", "precision")]
    for row, tracker in {1: "t0", 3: "t1"}.items():
        k = tnl2k.trackers.index(tracker)
        expected[row, 3:5] = [tnl2k.score(m)[k] for m in ("success", "precision")]
    for row, tracker in {1: "t0", 5: "other"}.items():
        k = got.trackers.index(tracker)
        expected[row, 5:] = [got.score(m)[k] for m in ("got10k_ao", "got10k_sr50")]
    expected[0, [0, 2, 3]] = 0.961, 0.992, 0.543
    expected[2, 0] = 0.5
    np.testing.assert_allclose(table.values, expected, atol=1e-12)
    assert table.groups == (("LaSOT", 3), ("TNL2K", 2), ("GOT-10k val", 2))
    assert table.headings == ["AUC", "P_Norm", "P", "AUC", "P", "AO", "SR50"]
    assert any("LaSOT: protocol stark-lasot, 3 sequences" in note for note in table.footnotes)


@pytest.mark.filterwarnings("ignore::tnllt.errors.DataWarning")
def test_formats_mark_reported_numbers_and_missing_cells(paper, tmp_path):
    def run(form: str) -> str:
        done = CliRunner().invoke(cli, ["table", str(paper), "--format", form], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    text = run("text")
    line = next(line for line in text.splitlines() if line.startswith("OSTrack"))
    assert line.split() == ["OSTrack", "96.1†", "–", "99.2†", "54.3†", "–", "–", "–"]
    assert "† as reported, not computed." in text
    assert "**96.1†**" in run("markdown") and "LaSOT AUC" in run("markdown")
    assert "<strong>96.1†</strong>" in run("html") and '<th colspan="3">LaSOT</th>' in run("html")
    rows = list(csv.DictReader(io.StringIO(run("csv"))))
    own = next(row for row in rows if row["Tracker"] == "OSTrack")
    assert (own["LaSOT AUC"], own["LaSOT P_Norm"], own["Reported"]) == ("0.961", "", "LaSOT AUC; LaSOT P; TNL2K AUC")
    latex = run("latex")
    assert r"OSTrack & \textbf{96.1$^\dagger$} & -- & \textbf{99.2$^\dagger$}" in latex and r"Tracker \& 2" in latex
    assert r"\multicolumn{3}{c}{LaSOT}" in latex and r"P$_\mathrm{Norm}$" in latex
    if shutil.which("pdflatex"):
        page = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + latex + r"\end{document}"
        (tmp_path / "page.tex").write_text(page)
        command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("percent = true", "lacks the field `benchmark`"),
        ("benchmark = []", r"no \[\[benchmark\]\]"),
        ('[[benchmark]]\ndataset = "lasot"\nmetric = ["AUC"]', r"did you mean 'metrics'\?"),
        ("[[benchmark]]\npercent = 1", "unknown field"),
        ('[[benchmark]]\nmetrics = ["AUC"]', "needs a dataset, or a title"),
    ],
)
def test_faults_of_the_file_are_named(tmp_path, text, message):
    (tmp_path / "paper.toml").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_paper(tmp_path / "paper.toml")
    assert "paper.toml" in str(error.value)


def test_a_reported_metric_needs_a_column(tmp_path):
    (tmp_path / "paper.toml").write_text(
        '[[benchmark]]\ntitle = "X"\nmetrics = ["AUC"]\nreported = { A = { P = 0.5 } }'
    )
    with pytest.raises(DataError, match="A reports P, which is not among its metrics"):
        paper_table(load_paper(tmp_path / "paper.toml"), tmp_path)
