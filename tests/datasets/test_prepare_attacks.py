"""`prepare` against archives that mean harm and records that are not true."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from trees import write

from tnllt.datasets.archives import Unsafe, prepare
from tnllt.errors import DataError


def zipped(path: Path, members: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return path


def unpacked(root: Path) -> dict[str, str]:
    found = (p for p in root.rglob("*") if p.is_file() and ".tnllt-prepare" not in p.parts)
    return {p.relative_to(root).as_posix(): p.read_text() for p in found}


SEQUENCES = {f"T/s{i}/groundtruth.txt": f"{i},2,3,4\n" for i in range(5)}
TREE = {name.removeprefix("T/"): text for name, text in SEQUENCES.items()}


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A download of one archive."""
    data = zipped(tmp_path / "whole.zip", SEQUENCES)
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.move(data, folder / "T.zip")
    return folder


def test_a_mark_alone_does_not_put_a_file_in_place(download: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(download, out)
    assert '"verified": true' in (out / ".tnllt-prepare" / "T.zip.plan.jsonl").read_text()
    shutil.rmtree(out / "s0")
    assert prepare(download, out).archives == {"T.zip": 1} and unpacked(out) == TREE
    shutil.rmtree(out / "s0")
    write(out / "s1" / "groundtruth.txt", "9,9,9,9,9")
    with pytest.raises(DataError, match="groundtruth"):
        prepare(download, out)
    assert (download / "T.zip").is_file()


def test_two_archives_that_disagree_are_named(download: Path, tmp_path: Path) -> None:
    zipped(download / "U.zip", {"U/s0/groundtruth.txt": "7,7,7,7\n", "U/s9/groundtruth.txt": "7,7,7,7\n"})
    with pytest.raises(DataError, match=r"s0/groundtruth\.txt: differs"):
        prepare(download, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize(
    "name",
    [
        "T/.tnllt-prepare/done.json",
        ".tnllt-prepare/done.json",
        "T/U/.tnllt-prepare/T.zip.plan.jsonl",
        "T/s1/.TNLLT-Prepare/x",
        "T/s1/x.tnllt-draft",
        "T/s1/x.Tnllt-Draft",
        "T/s1/.tnllt-12-abcd",
        "annos/annos.tnllt-draft/a.txt",
        "T/c:/x",
    ],
)
@pytest.mark.parametrize("archive", ["T.zip", "annos.zip"])
def test_names_of_our_own_records_are_refused(tmp_path: Path, name: str, archive: str) -> None:
    zipped(tmp_path / "in" / archive, {**SEQUENCES, name: "{}"})
    with pytest.raises(Unsafe, match=r"keeps for its own|every system"):
        prepare(tmp_path / "in", tmp_path / "out")
    assert unpacked(tmp_path / "out") == {}


def test_the_target_must_be_a_folder(download: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"T\.zip: is not a folder"):
        prepare(download, download / "T.zip")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        prepare(download, tmp_path / "file" / "below")


def test_a_download_is_not_overwritten_by_what_another_holds(tmp_path: Path) -> None:
    """The tree is the folder of downloads itself, and a member bears the name of an archive."""
    folder = tmp_path / "in"
    whole = zipped(folder / "T.zip", SEQUENCES).read_bytes()
    zipped(folder / "U.zip", {"s8/groundtruth.txt": "1,2,3,4", "T.zip": "gone", "s9/groundtruth.txt": "1,2,3,4"})
    for overwrite in (False, True):
        with pytest.raises(DataError, match=r"T\.zip"):
            prepare(folder, folder, overwrite=overwrite)
        assert (folder / "T.zip").read_bytes() == whole and (folder / "U.zip").is_file()


def test_long_names_are_unpacked(tmp_path: Path) -> None:
    """The name of a draft is not longer than the file's own."""
    name = "x" * 251 + ".txt"
    zipped(tmp_path / "in" / "T.zip", {f"s/{name}": "1", "s/groundtruth.txt": "1,2,3,4"})
    prepare(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "s" / name).read_text() == "1"
    zipped(tmp_path / "in" / "T.zip", {"s/" + "y/" * 600 + "x.txt": "1"})
    with pytest.raises(Unsafe, match="every system"):
        prepare(tmp_path / "in", tmp_path / "out")
