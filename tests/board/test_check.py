"""What a pull request may bring: every kind of tampered, incomplete or hostile entry is refused, with its reason."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.board.conftest import NAMES
from tests.report import report_trees as trees
from tnllt.board.entries import check_entry
from tnllt.board.examine import Examiner
from tnllt.datasets.convert import format_boxes
from tnllt.errors import UsageError
from tnllt.eval.protocols import PROTOCOLS
from tnllt.results.entry import Entry
from tnllt.results.layouts import ResultFile
from tnllt.results.pack import MANIFEST, pack
from tnllt.results.records import RunRecord
from tnllt.sequence import Annotation, Sequence

ARCHIVE = Path("Beta/Beta.zip")
MEMBER = "Beta_tracking_result/seq03.txt"


def members(archive: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def write(archive: Path, files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED, again: str = "") -> None:
    with zipfile.ZipFile(archive, "w", how) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
        if again:
            packed.writestr(again, files[again])


def repacked(folder: Path, change: Callable[[dict[str, bytes], dict[str, Any]], None], archive: Path = ARCHIVE) -> None:
    """The archive with changed files, whose manifest is right again: what somebody would do who knows the format."""
    files = members(folder / archive)
    manifest = json.loads(files.pop(MANIFEST))
    change(files, manifest)
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
    }
    write(folder / archive, {MANIFEST: json.dumps(manifest).encode(), **files})


def edit_rows(edit: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        files[MEMBER] = "\n".join(edit(files[MEMBER].decode().splitlines())).encode() + b"\n"
        del files[MEMBER.replace(".txt", ".run.json")]

    return lambda folder: repacked(folder, change)


def edit_manifest(**values: Any) -> Callable[[Path], None]:
    return lambda folder: repacked(folder, lambda files, manifest: manifest.update(values))


def edit_claim(folder: Path) -> None:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["scores"]["success"] += 2e-9

    repacked(folder, change)


def tamper(**change: bytes | None) -> Callable[[Path], None]:
    """Changes members without the manifest."""

    def edit(folder: Path) -> None:
        files = members(folder / ARCHIVE)
        for name, data in change.items():
            files.pop(name.replace("MEMBER", MEMBER), None)
            if data is not None:
                files[name.replace("MEMBER", MEMBER)] = data
        write(folder / ARCHIVE, files)

    return edit


def as_ground_truth(folder: Path) -> None:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        for number, name in enumerate(NAMES):
            truth, _ = trees.truth_of(number, 60)
            files[f"Beta_tracking_result/{name}.txt"] = "\n".join(",".join(map(str, r)) for r in truth).encode()
        manifest["scores"] = {}

    repacked(folder, change)


def as_oracle(folder: Path) -> None:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        for name in [n for n in files if n.endswith(".run.json")]:
            files[name] = json.dumps({**json.loads(files[name]), "oracle": True}).encode()

    repacked(folder, change)


def other_annotations(folder: Path) -> None:
    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["dataset"]["sha256"] = "0" * 64

    repacked(folder, change)


def left_out(folder: Path) -> None:
    repacked(folder, lambda files, manifest: [files.pop(n) for n in list(files) if "seq03" in n])  # type: ignore[arg-type, return-value]


def other_first_row(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """Worth a warning."""
    name = next(name for name in files if name.endswith("seq03.txt"))
    files[name] = b"9,9,9,9\n" + files[name].partition(b"\n")[2]
    manifest["scores"] = {}


def variant_with_a_warning(folder: Path) -> None:
    (folder / "Alpha" / "Alpha.zip").unlink()
    repacked(folder, other_first_row, Path("Alpha/Alpha@text=none.zip"))


def toml(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "Beta" / "entry.toml").write_text(text) and None


def add_toml(line: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "Beta" / "entry.toml"
        path.write_text(path.read_text() + line + "\n")

    return edit


def bomb(folder: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(MANIFEST, "{}")
        for i in range(3):
            packed.writestr(f"Beta_tracking_result/{i}.txt", bytes(60 << 20))
    (folder / ARCHIVE).write_bytes(stream.getvalue())


def copy_of_another(folder: Path) -> None:
    """Gamma's boxes under Beta's name, every number written otherwise."""
    other = members(folder / "Gamma" / "Gamma.zip")

    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        for name in NAMES:
            rows = other[f"Gamma_tracking_result/{name}.txt"].decode().splitlines()
            text = "\n".join(" ".join(f"{float(v):.6f}" for v in row.split(",")) for row in rows)
            files[f"Beta_tracking_result/{name}.txt"] = text.encode()
        manifest["scores"] = {}

    repacked(folder, change)


def reproduced(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """A reproduction of Beta: its own archive, changed."""

    def change(folder: Path) -> None:
        add_toml('reproduced_by = "https://example.org/again"')(folder)
        (folder / "Beta" / "reproduced").mkdir()
        (folder / "Beta" / "reproduced" / "again.zip").write_bytes(edit((folder / ARCHIVE).read_bytes()))

    return change


def without_records(folder: Path) -> None:
    """Its own archive as a reproduction, every number written otherwise and without the run records."""

    def change(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        for name in list(files):
            if name.endswith(".txt"):
                files[name] = files[name].replace(b",", b" ")
            elif name.endswith(".run.json"):
                del files[name]

    original = (folder / ARCHIVE).read_bytes()
    repacked(folder, change)
    changed = (folder / ARCHIVE).read_bytes()
    (folder / ARCHIVE).write_bytes(original)
    reproduced(lambda _: changed)(folder)


CASES: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "a script in the folder": ("stray", "run.py", lambda f: (f / "Beta" / "run.py").write_text("1") and None),
    "a page in the folder": ("stray", "index.html", lambda f: (f / "Beta" / "index.html").write_text("x") and None),
    "a link out of the folder": ("stray", "x.zip", lambda f: (f / "Beta" / "x.zip").symlink_to("/etc/passwd")),
    "a folder in the folder": ("stray", ".git", lambda f: (f / "Beta" / ".git").mkdir()),
    "a folder called as an archive": ("stray", "tools.zip", lambda f: (f / "Beta" / "tools.zip").mkdir()),
    "a folder in a reproduction": ("stray", "tools.zip", lambda f: (f / "Beta/reproduced/tools.zip/deep").mkdir(
        parents=True)),
    "a pipe in a reproduction": ("stray", "a.zip", lambda f: (
        (f / "Beta" / "reproduced").mkdir(), os.mkfifo(f / "Beta" / "reproduced" / "a.zip"))[-1]),
    "a reproduction that is a link": ("stray", "reproduced", lambda f: (f / "Beta" / "reproduced").symlink_to("/etc")),
    "an entry that is a link": ("stray", "Beta", lambda f: (f / "Beta").rename(f.parent / "x") and (
        f / "Beta").symlink_to(f.parent / "x")),
    "no entry.toml": ("entry", "holds no file entry.toml", lambda f: (f / "Beta" / "entry.toml").unlink()),
    "entry.toml is not TOML": ("entry", "is not valid TOML", toml("= =")),
    "entry.toml of a newer version": ("entry", "update tnllt", toml('schema = "tnllt.entry/9"\ntracker = "Beta"\n')),
    "an unknown field": ("entry", "unknown field `rank`", add_toml("rank = 1")),
    "a mode that is not one": ("entry", "`mode` cannot be", toml(
        'schema = "tnllt.entry/1"\ntracker = "Beta"\nmode = "ALL"\n')),
    "a link that runs": ("entry", "must be a link", add_toml('paper = "javascript:alert(1)"')),
    "a text without end": ("entry", "longer than 1,000", add_toml(f'contact = "{"x" * 2000}"')),
    "a tracker's name that leads out": ("entry", "cannot be the name", toml(
        'schema = "tnllt.entry/1"\ntracker = "../Beta"\n')),
    "a claim by no protocol": ("entry", "not a known protocol", add_toml("[claims.mine]\nsuccess = 0.5")),
    "nothing at all": ("empty", "no archive", lambda f: (f / ARCHIVE).unlink()),
    "claims without a score": ("empty", "no archive", lambda f: (
        (f / ARCHIVE).unlink(), add_toml("[claims.tnllt]")(f))[-1]),
    "not a zip file": ("archive", "damaged zip file", lambda f: (f / ARCHIVE).write_bytes(b"x" * 99) and None),
    "cut short": ("archive", "damaged zip", lambda f: (f / ARCHIVE).write_bytes(
        (f / ARCHIVE).read_bytes()[:-50]) and None),
    "a file that leads out": ("archive", "does not list", tamper(**{"../../out.txt": b"1,2,3,4"})),
    "a listed file that leads out": ("archive", "cannot be the name", lambda f: repacked(
        f, lambda files, m: files.update({"Beta_tracking_result/../../out.txt": b"1"}))),
    "a script that the manifest lists": ("archive", "is not a result", lambda f: repacked(
        f, lambda files, m: files.update({"Beta_tracking_result/run.py": b"1"}))),
    "changed boxes": ("archive", "SHA-256 differs", tamper(MEMBER=b"1,2,3,4\n" * 60)),
    "a file removed": ("archive", "missing from it", tamper(MEMBER=None)),
    "no manifest": ("archive", "'manifest.json' is missing", tamper(**{MANIFEST: None})),
    "a manifest that is not one": ("archive", "none of tnllt's files", tamper(**{MANIFEST: b"{}"})),
    "unpacks to gigabytes": ("archive", "would unpack", bomb),
    "two files of one name": ("archive", "two files of one name", lambda f: write(
        f / ARCHIVE, members(f / ARCHIVE), again=MEMBER)),
    "packed with LZMA": ("archive", "LZMA", lambda f: write(f / ARCHIVE, members(f / ARCHIVE), zipfile.ZIP_LZMA)),
    "another tracker's archive": ("tracker", "holds results of Gamma", lambda f: (f / ARCHIVE).write_bytes(
        (f / "Gamma" / "Gamma.zip").read_bytes()) and None),
    "variants alone": ("tracker", "variants alone", lambda f: (f / "Alpha" / "Alpha.zip").unlink()),
    "variants alone, with a warning": ("tracker", "variants alone", variant_with_a_warning),
    "other annotations": ("annotations", "other annotations", other_annotations),
    "a sequence left out": ("incomplete", "seq03: no result", left_out),
    "rows left out": ("incomplete", "59 rows for 60 frames", edit_rows(lambda rows: rows[:-1])),
    "a row of NaN": ("incomplete", "row 8 is not four finite numbers", edit_rows(
        lambda rows: [*rows[:7], "nan,nan,nan,nan", *rows[8:]])),
    "a row of words": ("boxes", "row 8", edit_rows(lambda rows: [*rows[:7], "a,b,c,d", *rows[8:]])),
    "the ground truth": ("boxes", "the ground truth's", as_ground_truth),
    "divided by the image's size": ("boxes", "all numbers lie between", edit_rows(
        lambda rows: [",".join(str(float(v) / 300) for v in row.split(",")) for row in rows])),
    "a tracker that was shown the annotation": ("oracle", "was shown the annotation", as_oracle),
    "rules of another version": ("rules", "other rules", edit_manifest(protocol={"name": "tnllt", "digest": "0"})),
    "a score too high by 2e-9": ("claim", "they differ by -2e-09", edit_claim),
    "a claim beside the boxes": ("claim", "they differ by", add_toml("[claims.got10k]\nsuccess = 0.99")),
    "another's boxes": ("duplicate", "the same scores on every sequence", copy_of_another),
    "a result that no sequence has": ("archive", "a result of 'pad0'", lambda f: repacked(
        f, lambda files, m: files.update({"Beta_tracking_result/pad0.txt": b"1,2,3,4\n" * 60}))),
    "reproduced by itself": ("reproduction", "the entry's own results", reproduced(bytes)),
    "reproduced by itself with a comment": ("reproduction", "the entry's own results", reproduced(
        lambda data: data[:-2] + b"\x01\x00x")),
    "reproduced by itself without records": ("reproduction", "the entry's own results", without_records),
    "reproduced by nobody": ("reproduction", "both", add_toml('reproduced_by = "https://example.org/again"')),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_with_its_reason(case: str, entries: Path, board: Callable[..., Any], tmp_path: Path) -> None:
    code, words, change = CASES[case]
    change(entries)
    before = set(tmp_path.rglob("*"))
    given = [entries / "Gamma", entries / ("Alpha" if code == "tracker" and "variants" in words else "Beta")]
    result = board("check", *given, "--format", "json")
    assert result.return_value == 1, result.output
    found = json.loads(result.output)["findings"]
    assert (code, True) in {(f["code"], words in f["text"]) for f in found if f["severity"] == "error"}, found
    assert set(tmp_path.rglob("*")) == before, "nothing was unpacked"


def test_a_refused_entry_stops_the_build(entries: Path, board: Callable[..., Any], tmp_path: Path) -> None:
    edit_claim(entries)
    refused = board("build", entries, "--out", tmp_path / "site")
    assert refused.return_value == 1 and "error claim: Beta" in refused.stderr and not (tmp_path / "site").exists()


@pytest.mark.parametrize("kept", [None, b"", b"{}", b"[]", b'{"tracker": 1}', b'{"fps": "Infinity"}', b"\xff{"])
def test_what_is_known_of_an_archive_changes_no_verdict(
    kept: bytes | None, entries: Path, board: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warnings come from the cache, too; a damaged file in it (`kept`) is as good as none."""
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tnllt.board.examine.PROTOCOLS", {"tnllt": PROTOCOLS["tnllt"]})
    repacked(entries, other_first_row)
    said = [board("check", entries / "Beta", "--strict")]
    if kept is not None:
        (facts,) = (tmp_path / "cache" / "board").iterdir()
        facts.write_bytes(kept)
    said += [board("check", entries / "Beta", "--strict")]
    assert [one.return_value for one in said] == [1, 1] and said[0].output == said[1].output, said[1].output
    assert said[0].output.endswith("1 entry: 1 warning\n")


def test_a_good_entry_and_a_reproduction(entries: Path, board: Callable[..., Any], made: Path) -> None:
    again = entries / "Beta" / "reproduced"
    again.mkdir()
    add_toml('reproduced_by = "https://example.org/again"')(entries)

    def shift(files: dict[str, bytes], manifest: dict[str, Any]) -> None:
        rows = files[MEMBER].decode().splitlines()
        files[MEMBER] = "\n".join([rows[0], *(r.replace(r.split(",")[0], f"{float(r.split(',')[0]) + 1e-3:.4f}", 1)
                                              for r in rows[1:])]).encode()  # fmt: skip
        manifest["scores"] = {}

    original = (entries / ARCHIVE).read_bytes()
    repacked(entries, shift)
    (entries / ARCHIVE).rename(again / "again.zip")
    (entries / ARCHIVE).write_bytes(original)
    result = board("check", *sorted(entries.iterdir()))
    assert result.return_value == 0, result.output
    board("build", entries, "--out", entries.parent / "site")
    page = (entries.parent / "site" / "trackers" / "Beta.html").read_text()
    assert "BB, reproduced, rank 2" in page and "boxes overlap by 1.0000" in page


@pytest.mark.parametrize(("noise", "words"), [(0.0, None), (4.0, "on average, not by 0.98"), (None, "own results")])
def test_agreement_is_over_annotated_frames(noise: float | None, words: str | None, tmp_path: Path) -> None:
    """Rows of a sequence with one annotated frame count for nothing, however many; equal boxes count with other times.

    `noise`: pixels between the two runs; None: the same run.
    """
    sequences = [Sequence(name, Annotation(trees.truth_of(0, frames)[0])) for name, frames in (("a", 60), ("b", 1))]

    def packed(path: Path, shift: float, seconds: float, rows: int) -> Path:
        files = {}
        for sequence, length in zip(sequences, (60, rows), strict=True):
            boxes = np.repeat(sequence.groundtruth[:1], length, axis=0)
            boxes[1:60, 0] += 3 + shift
            record = RunRecord("T", sequence.name, frames=length, seconds={"track": [seconds] * length})
            beside: dict[str, Callable[[], bytes]] = {"record": record.to_json}
            text = partial(bytes, format_boxes(boxes).encode())
            files[sequence.name] = ResultFile("T", sequence.name, f"{sequence.name}.txt", text, beside)
        pack(path, "T", sequences, files)
        return path

    first = packed(tmp_path / "T" / "T.zip", 0.0, 0.1, 9)
    again = packed(tmp_path / "T" / "reproduced" / "T.zip", noise or 0.0, 0.1 if noise is None else 0.2, 5000)
    if noise is None:
        again.write_bytes(first.read_bytes())
    own = Entry(tracker="T", reproduced_by="https://example.org/again")
    (tmp_path / "T" / "entry.toml").write_text(own.to_toml())
    entry, found = check_entry(tmp_path / "T", Examiner(sequences))
    if words is None:
        assert entry is not None and entry.agreement == 1.0
    else:
        assert entry is None and words in found.render()


@pytest.mark.parametrize(("date", "blamed"), [("2026-01-01", "Gamma"), ("2026-02-01", "0copy"), ("", "0copy")])
def test_of_two_entries_with_the_same_boxes_the_later_is_refused(
    date: str, blamed: str, entries: Path, board: Callable[..., Any]
) -> None:
    """By their dates, not by their folders' names."""
    copy_of_another(entries)
    (entries / "Beta").rename(entries / "0copy")
    for name, day in (("0copy", date), ("Gamma", "2026-01-15")):
        path = entries / name / "entry.toml"
        path.write_text(path.read_text().replace("2026-03-01", day))
    found = json.loads(board("check", entries / "0copy", entries / "Gamma", "--format", "json").output)["findings"]
    assert [(f["code"], f["entry"]) for f in found] == [("duplicate", blamed)]


@pytest.mark.parametrize("names", [("My Tracker", "My-Tracker-dd694e"), ("Paper", "paper")])
def test_a_name_that_is_anothers_on_the_site_is_refused(
    names: tuple[str, str], entries: Path, board: Callable[..., Any], tmp_path: Path
) -> None:
    for folder, tracker, date in zip(("Paper", "Attack"), names, ("2026-01-01", "2026-02-01"), strict=True):
        (entries / folder).mkdir(exist_ok=True)
        entry = Entry(tracker=tracker, date=date, claims={"tnllt": {"success": 0.5}})
        (entries / folder / "entry.toml").write_text(entry.to_toml())
    given = [entries / "Attack", entries / "Paper"]
    found = json.loads(board("check", *given, "--format", "json").output)["findings"]
    assert [(f["code"], f["entry"]) for f in found] == [("name", "Attack")] and repr(names[0]) in found[0]["text"]
    assert board("build", entries, "--out", tmp_path / "site").return_value == 1


def test_a_claim_of_the_entry_is_compared_beside_that_of_the_manifest(entries: Path, board: Callable[..., Any]) -> None:
    with (entries / "Beta" / "entry.toml").open("a") as file:
        file.write("\n[claims.tnllt]\nsuccess = 0.6\n")
    done = board("check", entries / "Beta")
    assert done.return_value == 1 and "success by tnllt is claimed as 0.6, but the boxes give" in done.output


def test_the_folder_of_all_entries_is_no_entry(entries: Path, board: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="holds entries and is none; give its folders"):
        board("check", entries)


def test_how_much_a_claim_differs_is_a_github_annotation(entries: Path, board: Callable[..., Any]) -> None:
    edit_claim(entries)
    output = board("check", entries / "Beta", "--format", "github").output
    assert output.startswith("::error file=") and "they differ by -2e-09" in output
