"""`prepare` against archives that mean harm, and against its own death: nothing is lost, nothing unread is deleted."""

from __future__ import annotations

import json
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
    """A download in two parts, each of the same size."""
    data = zipped(tmp_path / "whole.zip", SEQUENCES)
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.move(data, folder / "T.zip")
    return folder


def in_parts(tmp_path: Path) -> Path:
    import io
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, text in SEQUENCES.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    data, folder = stream.getvalue(), tmp_path / "parts"
    folder.mkdir()
    size = -(-len(data) // 4)
    for k in range(4):
        (folder / f"TNLLT_part_a{'abcd'[k]}").write_bytes(data[k * size : (k + 1) * size])
    return folder


def test_what_was_verified_once_is_not_deleted_later(download: Path, tmp_path: Path) -> None:
    """The tree is emptied and the archive copied back: the former verification says nothing about this state."""
    out, kept = tmp_path / "out", tmp_path / "kept.zip"
    shutil.copy2(download / "T.zip", kept)
    prepare(download, out, delete=True)
    assert not list(download.iterdir())
    for path in out.iterdir():
        if path.name != ".tnllt-prepare":
            shutil.rmtree(path)
    shutil.copy2(kept, download / "T.zip")
    result = prepare(download, out)
    assert result.deleted == [] and (download / "T.zip").is_file()
    assert unpacked(out) == TREE


@pytest.mark.parametrize("mark", ["verified", "deleting"])
@pytest.mark.parametrize("delete", [False, True])
def test_a_mark_alone_deletes_nothing(download: Path, tmp_path: Path, mark: str, delete: bool) -> None:
    out = tmp_path / "out"
    prepare(download, out)
    record = out / ".tnllt-prepare" / "done.json"
    table = json.loads(record.read_text())
    table["T.zip"][mark] = True
    record.write_text(json.dumps(table))
    shutil.rmtree(out / "s0")
    write(out / "s1" / "groundtruth.txt", "9,9,9,9")
    with pytest.raises(DataError, match="groundtruth"):
        prepare(download, out, delete=delete)
    assert (download / "T.zip").is_file()


def test_nothing_is_deleted_where_two_archives_disagree(download: Path, tmp_path: Path) -> None:
    zipped(download / "U.zip", {"U/s0/groundtruth.txt": "7,7,7,7\n", "U/s9/groundtruth.txt": "7,7,7,7\n"})
    with pytest.raises(DataError, match=r"s0/groundtruth\.txt: differs"):
        prepare(download, tmp_path / "out", delete=True, overwrite=True)
    assert {p.name for p in download.iterdir()} == {"T.zip", "U.zip"}


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Deletion of the part behind the first `count` fails, as for a run that is killed there."""
    deleted = []
    unlink = Path.unlink

    def dies(path: Path, missing_ok: bool = False) -> None:
        if "part" in path.name:
            if len(deleted) == count:
                raise KeyboardInterrupt
            deleted.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", dies)


def test_a_deletion_that_was_killed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download, out = in_parts(tmp_path), tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 2)
        prepare(download, out, delete=True)
    left = sorted(p.name for p in download.iterdir())
    assert len(left) == 2
    assert prepare(download, out).deleted == [] and sorted(p.name for p in download.iterdir()) == left
    assert prepare(download, out, delete=True).deleted == left
    assert not list(download.iterdir()) and unpacked(out) == TREE


def test_a_deletion_that_was_killed_stops_where_the_tree_was_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download, out = in_parts(tmp_path), tmp_path / "out"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_after(patch, 1)
        prepare(download, out, delete=True)
    left = sorted(p.name for p in download.iterdir())
    write(out / "s3" / "groundtruth.txt", "9,9,9,9")
    for delete in (False, True):
        with pytest.raises(DataError, match=r"part.*missing|s3/groundtruth\.txt"):
            prepare(download, out, delete=delete)
    assert sorted(p.name for p in download.iterdir()) == left


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


@pytest.mark.parametrize("options", [{}, {"delete": True}, {"overwrite": True}])
def test_a_run_killed_while_flattening_goes_on(tmp_path: Path, options: dict[str, bool]) -> None:
    out = tmp_path / "out"
    zipped(tmp_path / "in" / "annos.zip", {"annos/annos/a.txt": "1,2,3,4\n", "annos/annos/b.txt": "1,2,3,4\n"})
    write(out / "annos" / "annos.tnllt-draft" / "a.txt", "1,2,3,4")
    write(out / "annos" / "annos.tnllt-draft" / "c.txt", "5,6,7,8")
    for _ in range(2):
        prepare(tmp_path / "in", out, **options)
        assert unpacked(out) == {
            "annos/a.txt": "1,2,3,4\n",
            "annos/b.txt": "1,2,3,4\n",
            "annos/c.txt": "5,6,7,8\n",
        }
        zipped(tmp_path / "in" / "annos.zip", {"annos/annos/a.txt": "1,2,3,4\n", "annos/annos/b.txt": "1,2,3,4\n"})


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
            prepare(folder, folder, overwrite=overwrite, delete=True)
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
