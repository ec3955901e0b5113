"""Packing of several trackers and variants, entries of a leaderboard, and archives for a blind review."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.report.conftest import arguments
from tnllt.cli.eval import cli
from tnllt.errors import DataError, TnlltError, UsageError
from tnllt.results.blind import blinded
from tnllt.results.entry import Entry, read_entry
from tnllt.results.pack import open_pack


def run(*given: object, answers: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(map(str, given)), catch_exceptions=False, standalone_mode=False, input=answers)


@pytest.fixture
def variants(release: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    for name in ("SiamFC", "OSTrack_000"):
        shutil.copytree(release / "results" / f"{name}_tracking_result", folder / f"{name}_tracking_result")
    plain = folder / "SiamFC_tracking_result"
    shutil.copytree(plain, folder / "SiamFC@seed=1,text=none_tracking_result")
    return folder


def test_all_trackers_and_variants(release: Path, variants: Path, tmp_path: Path) -> None:
    places = [*arguments(release)[:4], "--results", variants]
    run("pack", "all", *places, "--out", tmp_path / "all")
    there = sorted(p.name for p in (tmp_path / "all").iterdir())
    assert there == ["OSTrack_000.zip", "SiamFC.zip", "SiamFC@seed=1,text=none.zip"]
    run("pack", "SiamFC@seed=1,text=none", "OSTrack*", *places, "--out", tmp_path / "two")
    assert len(list((tmp_path / "two").iterdir())) == 2
    with pytest.raises(UsageError, match="several trackers are here; name some, or all"):
        run("pack", *places)


def test_entries_from_flags(release: Path, variants: Path, tmp_path: Path) -> None:
    places = [*arguments(release)[:4], "--results", variants]
    (tmp_path / "weights.pth").write_bytes(b"w" * 100)
    facts = ["--mode", "NL+BB", "--repository", "https://example.org/x", "--commit", "0123456", "--contact", "a@b.org"]
    run("pack", "all", *places, "--entry", tmp_path / "entries", *facts, "--weights", tmp_path / "weights.pth")
    files = {str(p.relative_to(tmp_path / "entries")) for p in (tmp_path / "entries").rglob("*.*")}
    assert files == {
        "OSTrack_000/OSTrack_000.zip", "OSTrack_000/entry.toml", "SiamFC/SiamFC.zip", "SiamFC/entry.toml",
        "SiamFC/SiamFC@seed=1,text=none.zip",
    }  # fmt: skip
    entry = read_entry(tmp_path / "entries" / "SiamFC")
    assert (entry.tracker, entry.mode, entry.commit, entry.contact) == ("SiamFC", "NL+BB", "0123456", "a@b.org")
    assert entry.weights == hashlib.sha256(b"w" * 100).hexdigest()


def test_an_entry_is_asked_for_and_a_wrong_answer_is_asked_again(release: Path, variants: Path, tmp_path: Path) -> None:
    given = ["pack", "SiamFC", *arguments(release)[:4], "--results", variants, "--entry", tmp_path, "--ask"]
    answers = ['Siamese "FC"', "XY", "NL", "no link", "https://example.org/x", *[""] * 9]
    output = run(*given, "--date", "2026-01-02", answers="\n".join(answers) + "\n").output
    assert "`mode` cannot be" in output and "must be a link" in output
    entry = read_entry(tmp_path / "SiamFC")
    assert (entry.name, entry.mode, entry.repository) == ('Siamese "FC"', "NL", "https://example.org/x")
    assert entry.date == "2026-01-02"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--repository", "javascript:alert(1)"], "`repository` must be a link"),
        (["--weights", "nowhere.pth"], "--weights nowhere.pth: cannot be read"),
        (["--date", "yesterday"], "`date` must be YYYY-MM-DD"),
        (["--date", "2024-13-45"], "`date` must be YYYY-MM-DD"),
        (["--date", "9999-12-31"], "`date` must be YYYY-MM-DD"),
        (["--date", "\u0662\u0660\u0662\u0664-01-01"], "`date` must be YYYY-MM-DD"),
        (["--blind", "--contact", "me"], "--blind leaves out --contact"),
        (["--out", "x.zip"], "leave out --out"),
    ],
)
def test_what_an_entry_cannot_state(release: Path, tmp_path: Path, given: list[str], words: str) -> None:
    with pytest.raises(TnlltError, match=words):
        run("pack", "SiamFC", *arguments(release), "--entry", tmp_path, *given)


def test_a_blind_archive_does_not_say_who(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted in every field of a record and of a trace; then the archive's bytes are searched."""
    monkeypatch.setenv("USER", "annlee")
    monkeypatch.setenv("LOGNAME", "annlee")
    monkeypatch.setenv("HOME", "/home/annlee")
    results = tmp_path / "results"
    shutil.copytree(release / "results" / "SiamFC_tracking_result", results / "SiamFC_tracking_result")
    secret = [
        "/home/annlee/my weights/siam.pth", "see /scratch/lab7/x.txt, row 3", r"C:\Users\annlee\w.pth", "on gpu42",
        "ann.lee@lab7.example.org", "http://gpu42.lab7.example:8000/v1", "~annlee/code/siam.py", "/data",
    ]  # fmt: skip
    for path in (results / "SiamFC_tracking_result").glob("*.run.json"):
        record = json.loads(path.read_text())
        record["machine"] = {"host": "gpu42", "system": "Linux", "processor": "EPYC"}
        record["options"] = {f"o{i}": text for i, text in enumerate(secret)} | {"/home/annlee/key": 1}
        record["output"] = "\n".join(secret)
        path.write_text(json.dumps(record))
        trace = {"schema": "tnllt.trace/1", "event": "look", "think": " ".join(secret)}
        path.with_name(path.name.replace(".run.json", ".trace.jsonl")).write_text(json.dumps(trace) + "\n")
    given = ["SiamFC", *arguments(release)[:4], "--results", results, "--entry", tmp_path / "e", "--blind"]
    run("pack", *given)
    (archive,) = (tmp_path / "e" / "SiamFC").glob("*.zip")
    with zipfile.ZipFile(archive) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist()}
    texts["entry.toml"] = (archive.parent / "entry.toml").read_text()
    for name, text in texts.items():
        for word in ("annlee", "gpu42", "lab7", "/home", "scratch", "/data", "Users", "@", "my weights"):
            assert word not in text, (name, word)
    record = json.loads(texts["SiamFC_tracking_result/beta.run.json"])
    assert record["machine"] == {"host": "", "system": "Linux", "processor": "EPYC"}
    assert record["options"]["o0"] == "siam.pth" and record["options"]["o5"] == "http://host"
    assert "EPYC" in texts["entry.toml"]
    manifest, _ = open_pack(archive)  # its hashes are those of the blinded files
    assert manifest.tracker == "SiamFC"


def test_blinding_leaves_plain_text_alone() -> None:
    text = {"description": "the dog and/or the cat, 3/4 in view", "model": "org/model", "fps": 25.5, "none": None}
    assert json.loads(blinded(json.dumps(text).encode(), "a.run.json")) == text


def test_an_entry_comes_back(tmp_path: Path) -> None:
    entry = Entry(tracker="T", name='a "b"\n\\ \u202e', claims={"tnllt": {"success": 0.1 + 0.2}}, paper="https://a.org")
    (tmp_path / "entry.toml").write_text(entry.to_toml(), "utf-8")
    back = read_entry(tmp_path)
    assert back == entry and "\u202e" not in (tmp_path / "entry.toml").read_text("utf-8")
    (tmp_path / "entry.toml").write_text('schema = "tnllt.entry/1"\nname = "x"\n')
    with pytest.raises(DataError, match="lacks the field `tracker`"):
        read_entry(tmp_path)
