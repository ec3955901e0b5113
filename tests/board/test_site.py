"""The site: its numbers are tnllt-eval's, only what changed is scored, hubs read what it offers."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.board.conftest import run_board, run_eval
from tests.board.test_check import repacked
from tests.report import report_trees as trees
from tnllt.board import downloads, examine
from tnllt.board.entries import BoardEntry
from tnllt.board.examine import Examiner
from tnllt.board.model import Site
from tnllt.config import BoardConfig
from tnllt.datasets import open_dataset
from tnllt.errors import UsageError
from tnllt.eval.compare import compare_all, groups
from tnllt.eval.evaluate import evaluate
from tnllt.eval.protocols import PROTOCOLS
from tnllt.eval.style import Style
from tnllt.results.entry import Entry
from tnllt.results.pack import open_pack
from tnllt.sequence import Annotation, Sequence


class Table(HTMLParser):
    """Rows of the first table, as {column: data-v or text}."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(page[page.index("<table") : page.index("</table>")])

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.value = dict(attributes).get("data-v")
            self.rows[-1].append(self.value or "")

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1] and self.value is None:
            self.rows[-1][-1] += data.strip()


@pytest.fixture(scope="module")
def site(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    given = ["--title", "Test board", "--url", "https://example.org/board", "--organisation", "Test", "--hub", "o/d"]
    result = run_board("build", made / "entries", "--dataset", "tnllt", "--root", made / "data", "--out", out, *given)
    assert result.return_value == 0, result.output
    return out


def test_archives_scored_at_once_score_as_alone(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examine, "BATCH", 3)
    sequences = list(open_dataset("tnllt", made / "data", split=None))
    paths = sorted((made / "entries").glob("*/*.zip"))
    together, alone = Examiner(sequences), Examiner(sequences)
    together.prepare((path, "") for path in paths)
    assert len(paths) == 4 and len(together.scored) == 4
    for path in paths:
        first, second = together.examine(path), alone.examine(path)
        assert (first.name, first.facts, first.found) == (second.name, second.facts, second.found)
        for protocol, own in first.curves.items():
            for measure, array in own.arrays.items():
                np.testing.assert_array_equal(array, second.curves[protocol].arrays[measure])


@pytest.mark.slow
def test_numbers_equal_tnllt_evals_for_every_protocol(made: Path, site: Path, tmp_path: Path) -> None:
    everything = json.loads((site / "scores.json").read_text())
    for name in PROTOCOLS:
        places = ["--dataset", "tnllt", "--root", made / "data", "--results", made / "results"]
        run_eval(*places, "--protocol", name, "--trackers", "Alpha,Beta,Gamma", "--no-plots", "--out", tmp_path / name)
        scores = json.loads((tmp_path / name / "scores.json").read_text())
        for key in ("scores", "intervals", "references", "per_attribute"):
            assert everything["protocols"][name][key] == scores[key], (name, key)
        page = (site / ("index.html" if name == "tnllt" else f"protocols/{name}.html")).read_text("utf-8")
        rows = {row[2]: row for row in Table(page).rows}
        heads = ["success", "precision", "normalized_precision", "op50", "op75", "average_overlap"]
        for tracker in ("Alpha", "Beta", "Gamma"):
            shown = dict(zip(heads, rows[tracker][5:], strict=True))
            assert {m: float(v) for m, v in shown.items()} == {m: scores["scores"][tracker][m] for m in heads}
        table = list(csv.reader(io.StringIO((site / "csv" / f"{name}.csv").read_text("utf-8"))))
        assert [row[0] for row in table[1:4]] == ["Alpha", "Beta", "Gamma"]


def test_a_claim_is_shown_only_by_its_protocol(site: Path) -> None:
    rows = {row[2]: row for row in Table((site / "index.html").read_text("utf-8")).rows}
    assert rows["Paper"][1:6] == ["999", "Paper", "NL", "claimed", "0.5"] and rows["Paper"][6] == "–"
    assert "Paper" not in (site / "protocols" / "got10k.html").read_text("utf-8").partition("Latest entries")[0]


def test_variants_are_audited(site: Path) -> None:
    page = (site / "trackers" / "Alpha.html").read_text("utf-8")
    row = re.search(r"Alpha@text=none</th>(.*?)</tr>", page, re.DOTALL)
    assert row is not None
    score, difference = (float(v) for v in re.findall(r'data-v="([-0-9.e]+)"', row[1]))
    own = json.loads((site / "scores.json").read_text())["protocols"]["tnllt"]["scores"]["Alpha"]["success"]
    assert difference == pytest.approx(score - own, abs=1e-12) and difference < 0


def test_pages_name_nothing_elsewhere(site: Path) -> None:
    for path in [*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.js")]:
        text = path.read_text("utf-8")
        assert not re.findall(r'(?:src|@import|url\(|action)=?["\'(]?(?:https?:)?//', text), path
        loaded = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', text)
        assert all((path.parent / link).is_file() or link == "data:," for link in loaded), path


def test_every_link_inside_the_site_leads_somewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        for link in re.findall(r'<a [^>]*href="([^"#]+)', path.read_text("utf-8")):
            assert link.startswith("https://") or (path.parent / link).is_file(), (path, link)


def test_only_what_changed_is_scored(
    entries: Path, board: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    gamma = (entries / "Gamma").rename(tmp_path / "Gamma")
    first = board("build", entries, "--out", tmp_path / "site")
    assert "3 archives scored" in first.output
    assert "0 archives scored" in board("build", entries, "--out", tmp_path / "site").output
    gamma.rename(entries / "Gamma")
    assert "1 archives scored" in board("build", entries, "--out", tmp_path / "site").output
    fresh = board("build", entries, "--out", tmp_path / "fresh", "--no-cache")
    assert "4 archives scored" in fresh.output
    files = {p.relative_to(tmp_path / "site"): p.read_bytes() for p in (tmp_path / "site").rglob("*") if p.is_file()}
    again = {p.relative_to(tmp_path / "fresh"): p.read_bytes() for p in (tmp_path / "fresh").rglob("*") if p.is_file()}
    assert files == again


def test_times_that_no_clock_measures(
    entries: Path, board: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rate is infinite, which JSON cannot hold."""
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))

    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        for name in [n for n in files if n.endswith(".run.json")]:
            record = json.loads(files[name])
            files[name] = json.dumps({**record, "seconds": {"track": [1e-320] * record["frames"]}}).encode()

    repacked(entries, change)
    for _ in range(2):
        assert board("build", entries, "--out", tmp_path / "site").return_value == 0
    assert "frames per second" not in (tmp_path / "site" / "trackers" / "Beta.html").read_text()


def test_a_newer_entry_replaces_an_older_one(entries: Path, board: Callable[..., Any], tmp_path: Path) -> None:
    text = (entries / "Beta" / "entry.toml").read_text()
    (entries / "Beta-new").mkdir()
    (entries / "Beta-new" / "entry.toml").write_text(text.replace("2026-03-01", "2026-04-01"))
    (entries / "Beta-new" / "Beta.zip").write_bytes((entries / "Beta" / "Beta.zip").read_bytes())
    board("build", entries, "--out", tmp_path / "site")
    page = (tmp_path / "site" / "trackers" / "Beta.html").read_text()
    history = page[page.index('id="history"') :]
    assert history.index("Beta-new") < history.index(">Beta<")
    feed = ElementTree.fromstring((tmp_path / "site" / "feed.xml").read_text())
    atom = "{http://www.w3.org/2005/Atom}"
    assert next(e.findtext(f"{atom}updated") for e in feed.iter(f"{atom}entry")) == "2026-04-01T00:00:00Z"
    assert len({e.findtext(f"{atom}id") for e in feed.iter(f"{atom}entry")}) == 4


@pytest.mark.parametrize("place", ["_write_assets", "_write_tracker", "write_downloads"])
def test_a_build_that_fails_leaves_the_site_as_it_was(
    place: str, entries: Path, board: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (tmp_path / "site").rglob("*") if path.is_file()}

    (tmp_path / "site").mkdir()
    board("build", entries, "--out", tmp_path / "site")
    (tmp_path / "site" / "CNAME").write_text("example.org")
    before, beside = files(), set(tmp_path.iterdir())

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as failing:
        failing.setattr(f"tnllt.board.site.{place}", fail)
        with pytest.raises(OSError, match="no space left"):
            board("build", entries, "--out", tmp_path / "site")
    assert files() == before and set(tmp_path.iterdir()) == beside
    shutil.rmtree(entries / "Beta")
    board("build", entries, "--out", tmp_path / "site")
    assert set(before) - set(files()) == {path for path in before if "Beta" in path.name}


def test_nothing_but_a_site_is_replaced(entries: Path, board: Callable[..., Any]) -> None:
    """`--out .` in the repository of a board would remove its entries."""
    with pytest.raises(UsageError, match="holds something else than a board's site"):
        board("build", entries, "--out", entries.parent)
    assert (entries / "Beta" / "Beta.zip").is_file()


def test_an_empty_board(made: Path, tmp_path: Path) -> None:
    (tmp_path / "entries").mkdir()
    places = ["--dataset", "tnllt", "--root", made / "data"]
    result = run_board("build", tmp_path / "entries", *places, "--out", tmp_path / "site")
    assert result.return_value == 0 and "No entry yet." in (tmp_path / "site" / "index.html").read_text()


def test_the_archive_offered_is_the_entrys(made: Path, site: Path) -> None:
    for name in ("Alpha/Alpha", "Beta/Beta"):
        assert (site / "entries" / f"{name}.zip").read_bytes() == (made / "entries" / f"{name}.zip").read_bytes()
    assert zipfile.is_zipfile(next((site / "entries" / "Alpha").glob("Alpha-*.zip")))
    open_pack(site / "entries" / "Beta" / "Beta.zip")


def test_hugging_face_reads_the_eval_results(site: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    hub = pytest.importorskip("huggingface_hub", minversion="1.0", reason="huggingface_hub is not installed")
    table = yaml.safe_load((site / "hub" / "Beta.eval_results.yaml").read_text("utf-8"))
    results = hub.parse_eval_result_entries(table)
    scores = json.loads((site / "scores.json").read_text())["protocols"]
    assert len(results) == len(PROTOCOLS) * 6
    for result in results:
        protocol, metric = result.task_id.split("/")
        assert result.dataset_id == "o/d" and result.value == scores[protocol]["scores"]["Beta"][metric]
        assert result.source_url == "https://example.org/board/trackers/Beta.html"
    assert hub.eval_result_entries_to_yaml(results) == [{**row, "date": row["date"]} for row in table]


def test_every_eval_ever_takes_the_results(site: Path) -> None:
    """By its own schema, where its package is installed (it needs Python 3.12)."""
    document = json.loads((site / "hub" / "Beta.every_eval_ever.json").read_text("utf-8"))
    assert document["schema_version"] == "0.3.0" and len(document["evaluation_results"]) == len(PROTOCOLS) * 6
    scores = json.loads((site / "scores.json").read_text())["protocols"]
    for result in document["evaluation_results"]:
        protocol, metric = result["evaluation_result_id"].split("/")
        assert result["score_details"]["score"] == scores[protocol]["scores"]["Beta"][metric]
    schema = pytest.importorskip("every_eval_ever.schema", reason="every-eval-ever is not installed")
    pytest.importorskip("jsonschema").validate(document, schema.schema_json())


def test_hubs_are_told_how_intervals_are_computed(tmp_path: Path) -> None:
    """By the sequences that enter each tracker's score: 25, 15 and 2, as the others are missed throughout."""
    later = np.arange(60) > 0  # the first frame, which is the annotation's, is no hit then
    sequences = [Sequence(f"s{i}", Annotation(trees.truth_of(i, 60)[0], later)) for i in range(25)]
    results = {
        name: {s.name: s.groundtruth + (3 + i % 5 if i < hit else 900) for i, s in enumerate(sequences)}
        for name, hit in (("a", 25), ("b", 15), ("c", 2))
    }
    site = Site(tmp_path, Examiner(sequences), BoardConfig(), Style(), {})
    site.add("tnllt", evaluate(sequences, results))
    said = {}
    for name in results:
        document = json.loads(downloads._every_eval_ever(site, BoardEntry(tmp_path, Entry(tracker=name))))
        said[name] = document["evaluation_results"][0]["score_details"]["uncertainty"]
    methods = [said[name].get("confidence_interval", {}).get("method") for name in results]
    assert methods == ["studentised bootstrap over sequences", "Student's t over sequences", None]
    assert [said[name]["num_samples"] for name in results] == [25, 15, 2]
    assert [said[name].get("num_bootstrap_samples") for name in results] == [10_000, None, None]
    assert "nan" not in downloads._hugging_face(site, BoardEntry(tmp_path, Entry(tracker="c")))


def test_groups_hold_who_cannot_be_told_apart() -> None:
    """Five trackers, two of them almost alike: the borders are where the test against the group's best says so."""
    rng = np.random.default_rng(3)
    sequences = [Sequence(f"s{i}", Annotation(trees.truth_of(i, 60)[0])) for i in range(30)]
    results = {
        name: {s.name: s.groundtruth + np.r_["1", rng.normal(0, noise, (60, 2)), np.zeros((60, 2))] for s in sequences}
        for name, noise in (("a", 1.0), ("b", 1.02), ("c", 6.0), ("d", 6.1), ("e", 15.0))
    }
    scores = evaluate(sequences, results)
    assert groups(scores).tolist() == [1, 1, 2, 2, 3]
    alone = {frozenset((c.a, c.b)): c.p_value for c in compare_all(scores)}
    assert alone[frozenset("ab")] > 0.05 > alone[frozenset("ac")]


@pytest.mark.slow
def test_real_trackers_on_lasot(shared: Path, tmp_path: Path) -> None:
    lasot = shared / "data" / "lasot"
    places = ["--dataset", "lasot", "--annos", lasot / "annos"]
    run_eval("pack", "all", *places, "--results", lasot / "results", "--entry", tmp_path / "entries")
    assert run_board("build", tmp_path / "entries", *places, "--out", tmp_path / "site").return_value == 0
    scores = json.loads((tmp_path / "site" / "scores.json").read_text())["protocols"]["tnllt"]["scores"]
    expected = json.loads((lasot / "expected_scores.json").read_text())
    for tracker, own in expected.items():
        assert scores[tracker]["success"] == pytest.approx(own["success_auc"], abs=1e-12)
    assert (tmp_path / "site" / "index.html").stat().st_size < 1_000_000
