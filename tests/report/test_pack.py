"""Archives of results: whole or refused, proven by their manifest, and safe to unpack."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.report.conftest import arguments
from tnllt.cli.eval import cli
from tnllt.errors import DataError, IncompleteError, TnlltError, UsageError
from tnllt.results.layouts import find_results
from tnllt.results.pack import MANIFEST, check_complete, open_pack, read_manifest, unpack
from tnllt.results.reading import read_boxes
from tnllt.sequence import Annotation, Sequence, Trajectory


def run(*given: str) -> Result:
    return CliRunner().invoke(cli, list(given), catch_exceptions=False, standalone_mode=False)


@pytest.fixture(scope="module")
def archive(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "rt.zip"
    run("pack", "ReasoningTrack", *arguments(release), "--out", str(path))
    return path


def test_packed_and_unpacked_is_the_same(release: Path, archive: Path, tmp_path: Path) -> None:
    places = arguments(release)[:4]
    out = run("unpack", str(archive), "--verify").output
    assert out.endswith("annotations not checked: give --annos, --root or --dataset\n")
    out = run("unpack", str(archive), "--verify", "--dataset", str(release / "data")).output
    assert out.endswith("annotations: the same\nscores: the same\n")
    out = run("unpack", str(archive), "--verify", *places, "--out", str(tmp_path / "back")).output
    assert "annotations: the same" in out and "scores: the same" in out
    folder = release / "results" / "ReasoningTrack_tracking_result"
    back = tmp_path / "back" / "ReasoningTrack_tracking_result"
    assert {p.name: p.read_bytes() for p in back.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}
    table = json.loads(zipfile.ZipFile(archive).read(MANIFEST))
    assert table["schema"] == "tnllt.pack/1" and table["dataset"]["frames"] == 240
    assert set(table["versions"]) == {"tnllt", "python", "numpy"} and table["protocol"]["name"] == "tnllt"
    assert len(table["files"]) == 12


def test_equal_results_make_equal_archives(release: Path, archive: Path, tmp_path: Path) -> None:
    run("pack", "ReasoningTrack", *arguments(release), "--out", str(tmp_path / "again.zip"))
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_incomplete_results_are_refused(release: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(release / "results", results)
    folder = results / "SiamFC_tracking_result"
    for file in folder.glob("*.run.json"):
        file.unlink()
    (folder / "beta.txt").unlink()
    (folder / "alpha.txt").write_text("\n".join((folder / "alpha.txt").read_text().split("\n")[:30]))
    for form in ("tnllt", "trackingnet"):
        out = tmp_path / f"{form}.zip"
        given = (
            "pack",
            "SiamFC",
            *arguments(release)[:4],
            "--results",
            str(results),
            "--out",
            str(out),
            "--format",
            form,
        )
        with pytest.raises(IncompleteError, match="beta: no result") as caught:
            run(*given)
        assert "alpha: 30 rows for 60 frames" in str(caught.value)
        assert caught.value.exit_code == 3 and not out.exists()


def test_rows_that_are_no_numbers_are_refused() -> None:
    sequence = Sequence("s", Annotation(np.ones((3, 4))))
    boxes = np.ones((3, 4))
    boxes[1, 2] = np.nan
    with pytest.raises(IncompleteError, match="row 2"):
        check_complete([sequence], {"s": None}, {"s": Trajectory(boxes)})  # type: ignore[dict-item]


def test_got10k_and_trackingnet(release: Path, tmp_path: Path) -> None:
    run("pack", "OSTrack", *arguments(release), "--format", "got10k", "--out", str(tmp_path / "g.zip"))
    with zipfile.ZipFile(tmp_path / "g.zip") as packed:
        assert len(packed.namelist()) == 12
        first = np.loadtxt(io.BytesIO(packed.read("beta/beta_001.txt")), delimiter=",")
        second = np.loadtxt(io.BytesIO(packed.read("beta/beta_002.txt")), delimiter=",")
        times = np.loadtxt(io.BytesIO(packed.read("beta/beta_time.txt")), delimiter=",")
    for boxes, run_name in ((first, "OSTrack_000"), (second, "OSTrack_001")):
        own = read_boxes(release / "results" / f"{run_name}_tracking_result" / "beta.txt")
        assert np.abs(boxes - own).max() < 6e-4
    assert times.shape == (60, 2)
    run("pack", "SiamFC", *arguments(release), "--format", "trackingnet", "--out", str(tmp_path / "t.zip"))
    with zipfile.ZipFile(tmp_path / "t.zip") as packed:
        assert sorted(packed.namelist()) == ["alpha.txt", "beta.txt", "delta.txt", "gamma.txt"]
        assert packed.read("beta.txt").split(b"\n")[0].count(b".") == 4


def test_got10k_without_times_is_refused(release: Path, tmp_path: Path) -> None:
    results = tmp_path / "results" / "plain"
    shutil.copytree(release / "results" / "SiamFC_tracking_result", results)
    for file in results.glob("*.run.json"):
        file.unlink()
    given = ("pack", "plain", *arguments(release)[:4], "--results", str(tmp_path / "results"), "--format", "got10k")
    with pytest.raises(IncompleteError, match="no times"):
        run(*given, "--out", str(tmp_path / "x.zip"))


def rewritten(archive: Path, path: Path, change: dict[str, bytes | None]) -> Path:
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if change.get(name, b"") is not None:
                new.writestr(name, change.pop(name, None) or old.read(name))
        for name, data in change.items():
            if data is not None:
                new.writestr(name, data)
    return path


MEMBER = "ReasoningTrack_tracking_result/beta.txt"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({MEMBER: b"1,2,3,4\n"}, "SHA-256"),
        ({MEMBER: None}, "missing"),
        ({"extra.txt": b"x"}, "does not list"),
        ({"../../out.txt": b"x"}, "does not list"),
        ({MANIFEST: b"{}"}, "none of tnllt's files"),
        ({MANIFEST: b"not json"}, "manifest.json: is not JSON"),
        ({MANIFEST: b'{"schema": "tnllt.pack/9"}'}, "update tnllt"),
        ({MANIFEST: None}, "missing"),
    ],
)
def test_tampered_archives_are_named(archive: Path, tmp_path: Path, change: dict, words: str) -> None:
    path = rewritten(archive, tmp_path / "bad.zip", dict(change))
    with pytest.raises(DataError, match=words):
        run("unpack", str(path), "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.txt",
        "/etc/evil.txt",
        "a/../../evil.txt",
        "a\\..\\evil.txt",
        ".ssh/x",
        "a/b/c.txt",
        "C:/x",
        "x",
        "torch/__init__.py",
        "ReasoningTrack_tracking_result/evil.py",
        "ReasoningTrack_tracking_result/.txt",
        "ReasoningTrack_tracking_result/a/b.txt",
        "ReasoningTrack_tracking_result/..\\x.txt",
        "Other_tracking_result/s.txt",
        "ReasoningTrack_tracking_result/../../x.txt",
        "ReasoningTrack_tracking_result/.writer.txt",
        "manifest.json.txt",
        "ReasoningTrack_tracking_result/a\x1b[2J.txt",
        "ReasoningTrack_tracking_result/conftest.py",
    ],
)
def test_names_that_lead_outside_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    table = json.loads(zipfile.ZipFile(archive).read(MANIFEST))
    table["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    path = rewritten(archive, tmp_path / "bad.zip", {MANIFEST: json.dumps(table).encode(), name: b"x"})
    with pytest.raises(DataError, match=r"not a result of|plain file name"):
        open_pack(path)


@pytest.mark.parametrize("tracker", ["..", "a/b", ".x", "", "/", "a\\b", 3])
def test_trackers_that_lead_outside_are_refused(archive: Path, tmp_path: Path, tracker: object) -> None:
    table = json.loads(zipfile.ZipFile(archive).read(MANIFEST))
    name = f"{tracker}_tracking_result/s.txt"
    table |= {"tracker": tracker, "files": {name: {"sha256": "0" * 64, "bytes": 1}}}
    with pytest.raises(DataError, match=r"bad\.zip|plain file name"):
        read_manifest(json.dumps(table).encode(), tmp_path / "bad.zip")


def test_an_archive_cannot_swell(archive: Path, tmp_path: Path) -> None:
    table = json.loads(zipfile.ZipFile(archive).read(MANIFEST))
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(MANIFEST, json.dumps(table))
        for member in table["files"]:
            packed.writestr(member, b"0" * 5_000_000)
    with pytest.raises(DataError, match="larger than its manifest says"):
        open_pack(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("more.txt", b"0" * 20_000_000)
    with pytest.raises(DataError, match=r"would unpack from .* MB to .* MB"):
        open_pack(path)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 not really", b"\x00" * 100])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(TnlltError, match=r"x\.zip"):
        run("unpack", str(tmp_path / "x.zip"), "--verify")


def test_nothing_is_overwritten(archive: Path, tmp_path: Path) -> None:
    _, members = open_pack(archive)
    unpack(members, tmp_path)
    unpack(members, tmp_path)  # the same again is well
    (tmp_path / MEMBER).write_text("mine")
    with pytest.raises(DataError, match="already"):
        unpack(members, tmp_path)
    assert (tmp_path / MEMBER).read_text() == "mine"


def test_other_annotations_are_noticed(release: Path, archive: Path, tmp_path: Path) -> None:
    shutil.copytree(release / "data", tmp_path / "data")
    file = tmp_path / "data" / "beta" / "groundtruth.txt"
    rows = file.read_text().split("\n")
    rows[5] = "1,1,5,5"
    file.write_text("\n".join(rows))
    with pytest.raises(DataError, match="other annotations"):
        run("unpack", str(archive), "--verify", "--dataset", "tnllt", "--root", str(tmp_path / "data"))


def test_which_tracker(release: Path) -> None:
    for given in (["pack"], ["pack", "nosuch"]):
        with pytest.raises(UsageError, match="OSTrack_000"):
            run(*given, *arguments(release))
    with pytest.raises(UsageError, match="--out"):
        run("unpack", "x.zip")


def test_the_unpacked_folder_is_a_results_folder(archive: Path, tmp_path: Path) -> None:
    _, members = open_pack(archive)
    unpack(members, tmp_path)
    assert list(find_results(tmp_path, ["alpha", "beta", "gamma", "delta"]).trackers) == ["ReasoningTrack"]
