"""Downloads: joined, verified, unpacked safely; killed at any moment and run again."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import signal
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from trees import tnllt_sequence, write

from tnllt import TNLLTDataset
from tnllt.datasets.archives import Unsafe, prepare
from tnllt.errors import DataError, UsageError
from tnllt.locks import sole_writer


def pack(source: Path, wrapper: str = "TNLLT") -> bytes:
    """A folder as the bytes of a tar.gz."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz", compresslevel=1) as tar:
        tar.add(source, wrapper)
    return data.getvalue()


def split(data: bytes, folder: Path, parts: int = 4) -> None:
    folder.mkdir(exist_ok=True)
    size = -(-len(data) // parts)
    for i in range(parts):
        (folder / f"TNLLT_part_a{chr(97 + i)}").write_bytes(data[i * size : (i + 1) * size])


def files(folder: Path) -> dict[str, bytes]:
    """Content of every visible file below a folder."""
    found = {str(p.relative_to(folder)): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: p.read_bytes() for name, p in found.items() if not name.startswith(".tnllt-prepare")}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A small release, not packed."""
    for name in ("JE_a", "JE_b", "JE_c"):
        tnllt_sequence(tmp_path / "release" / name, 5, absent=(2,))
        (tmp_path / "release" / name / "noise.bin").write_bytes(random.Random(name).randbytes(20_000))
    return tmp_path / "release"


@pytest.fixture
def downloads(release: Path) -> Path:
    folder = release.parent / "downloads"
    data = pack(release)
    split(data, folder)
    write(folder / "TNLLT.tar.gz.md5", f"{hashlib.md5(data).hexdigest()}  TNLLT.tar.gz")
    return folder


def test_parts_become_a_dataset(release: Path, downloads: Path, tmp_path: Path):
    result = prepare(downloads, tmp_path / "out")
    assert files(tmp_path / "out") == files(release)
    assert result.archives == {"TNLLT": 30} and len(result.md5["TNLLT"]) == 32
    assert TNLLTDataset(tmp_path / "out", split=None).names == ["JE_a", "JE_b", "JE_c"]
    assert len(list(downloads.iterdir())) == 5, "nothing is deleted"
    assert not prepare(downloads, tmp_path / "out").archives


def test_annotations_and_results_go_where_they_are_looked_for(release: Path, downloads: Path, tmp_path: Path):
    with zipfile.ZipFile(downloads / "annos.zip", "w") as file:
        file.writestr("annos/annos/JE_a.txt", "1,2,3,4\n" * 5)
        file.writestr("annos/annos/absent/JE_a.txt", "1\n" * 5)
        file.writestr("__MACOSX/annos/._JE_a.txt", "junk")
    with zipfile.ZipFile(downloads / "tracking_results.zip", "w") as file:
        file.writestr("tracking_results/tracking_results/X_tracking_result/JE_a.txt", "1,2,3,4\n" * 5)
    out = tmp_path / "out"
    prepare(downloads, out)
    assert (out / "annos" / "absent" / "JE_a.txt").is_file() and not (out / "annos" / "annos").exists()
    assert (out / "tracking_results" / "X_tracking_result" / "JE_a.txt").is_file()
    assert not list(out.rglob("__MACOSX")) and not list(out.rglob("._*"))
    assert TNLLTDataset(out, split=None)["JE_a"].groundtruth[0].tolist() == [1, 2, 3, 4]


def test_a_deleted_file_comes_back_and_an_edited_one_is_never_lost(downloads: Path, tmp_path: Path):
    out = tmp_path / "out"
    prepare(downloads, out)
    (out / "JE_a" / "language.txt").unlink()
    assert prepare(downloads, out).archives == {"TNLLT": 1}
    (out / "JE_b" / "language.txt").write_text("my own words, which are longer\n")
    with pytest.raises(DataError, match=r"JE_b/language\.txt: is in the way"):
        prepare(downloads, out)
    assert (out / "JE_b" / "language.txt").read_text().startswith("my own")
    prepare(downloads, out, overwrite=True)
    assert (out / "JE_b" / "language.txt").read_text() == "the red car\n"


def test_a_file_of_the_right_size_with_another_content_is_found(downloads: Path, release: Path, tmp_path: Path):
    out = tmp_path / "out"
    write(out / "JE_a" / "noise.bin", "")
    (out / "JE_a" / "noise.bin").write_bytes(bytes(20_000))
    for _ in range(2):
        with pytest.raises(DataError, match=r"noise\.bin: differs from the archive's"):
            prepare(downloads, out)
    prepare(downloads, out, overwrite=True)
    assert files(out) == files(release)
    assert not prepare(downloads, out).archives


def test_a_single_sequence_keeps_its_folder(release: Path, tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "example.tar.gz").write_bytes(pack(release / "JE_a", "JE_a"))
    prepare(tmp_path / "d", tmp_path / "out")
    assert TNLLTDataset(tmp_path / "out", split=None).names == ["JE_a"]


@pytest.mark.parametrize("which", [0, 1, 3])
def test_a_truncated_part_is_named(downloads: Path, tmp_path: Path, which: int):
    part = sorted(downloads.glob("TNLLT_part_*"))[which]
    part.write_bytes(part.read_bytes()[:-1000])
    with pytest.raises(DataError) as caught:
        prepare(downloads, tmp_path / "out")
    assert caught.value.path == part and "download" in str(caught.value)
    assert not files(tmp_path / "out")


def test_a_missing_part_is_named(downloads: Path, tmp_path: Path):
    (downloads / "TNLLT_part_ab").unlink()
    with pytest.raises(DataError, match="TNLLT_part_ac: the part before it is missing"):
        prepare(downloads, tmp_path / "out")


def test_wrong_md5(downloads: Path, tmp_path: Path):
    write(downloads / "TNLLT.tar.gz.md5", "0" * 32)
    with pytest.raises(DataError, match=r"md5 of the 4 files of TNLLT together is .*nothing was unpacked"):
        prepare(downloads, tmp_path / "out")
    assert not files(tmp_path / "out")


def test_a_flipped_bit_is_found_and_its_part_named(downloads: Path, tmp_path: Path):
    (downloads / "TNLLT.tar.gz.md5").unlink()
    part = downloads / "TNLLT_part_ac"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 0xFF
    part.write_bytes(data)
    with pytest.raises(DataError, match="is damaged or broke off, at byte"):
        prepare(downloads, tmp_path / "out")
    assert not files(tmp_path / "out")


def tar_with(tmp_path: Path, *infos: tuple[tarfile.TarInfo, bytes]) -> Path:
    folder = tmp_path / "d"
    folder.mkdir()
    with tarfile.open(folder / "x.tar.gz", "w:gz") as tar:
        good = tarfile.TarInfo("good/imgs/1.txt")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        for info, data in infos:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return folder


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (tarfile.TarInfo("../evil.txt"), "leads outside"),
        (tarfile.TarInfo("good/../../evil.txt"), "leads outside"),
        (tarfile.TarInfo("/tnllt-evil.txt"), "absolute path"),
        (tarfile.TarInfo("C:/evil.txt"), "absolute path"),
        (tarfile.TarInfo("..\\evil.txt"), "leads outside"),
        (tarfile.TarInfo("good/\x1b[2J.txt"), "no file can have"),
        (link("good/out", "/etc/passwd"), "is a link to '/etc/passwd'"),
        (link("good/out", "../../.."), "is a link"),
        (link("good/hard", "../evil.txt", tarfile.LNKTYPE), "is a link"),
        (link("good/fifo", "", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (link("good/null", "", tarfile.CHRTYPE), "neither a file nor a folder"),
    ],
)
def test_members_that_would_land_outside_are_refused(tmp_path: Path, info: tarfile.TarInfo, reason: str):
    folder = tar_with(tmp_path, (info, b"evil" if info.isreg() else b""))
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(Unsafe) as caught:
        prepare(folder, tmp_path / "out")
    assert reason in str(caught.value) and "x.tar.gz" in str(caught.value)
    assert not files(tmp_path / "out"), "not even the good member before it"
    assert sorted(p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "out")) == before
    assert not Path("/tnllt-evil.txt").exists()


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt"])
def test_zip_members_outside_are_refused(tmp_path: Path, name: str):
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "annos.zip", "w") as file:
        file.writestr("annos/good.txt", "1,2,3,4")
        file.writestr(name, "evil")
    with pytest.raises(Unsafe):
        prepare(tmp_path / "d", tmp_path / "out")
    assert not files(tmp_path / "out") and not (tmp_path / "evil.txt").exists()


def test_zip_links_are_refused(tmp_path: Path):
    (tmp_path / "d").mkdir()
    info = zipfile.ZipInfo("annos/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "d" / "annos.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(Unsafe, match="is a link"):
        prepare(tmp_path / "d", tmp_path / "out")


def test_an_archive_that_fills_the_disk_is_refused(tmp_path: Path):
    (tmp_path / "d").mkdir()
    with tarfile.open(tmp_path / "d" / "bomb.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("seq/imgs/0.png")
        info.size = 70 << 20
        tar.addfile(info, _Zeros())
    with pytest.raises(Unsafe, match="a disk-filling archive, refused"):
        prepare(tmp_path / "d", tmp_path / "out")
    assert not files(tmp_path / "out")


class _Zeros(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return bytes(size)


def test_no_room_is_said_before_anything_is_written(downloads: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(DataError, match="nothing was unpacked"):
        prepare(downloads, tmp_path / "out")
    assert not files(tmp_path / "out")


def test_a_link_in_the_tree_is_not_followed_out_of_it(downloads: Path, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "JE_a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unsafe, match="leads out of the folder"):
        prepare(downloads, tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_an_empty_folder_of_downloads(tmp_path: Path):
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="holds no archive"):
        prepare(tmp_path / "d", tmp_path / "out")


#: Rounds of kills; more by TNLLT_KILL_ROUNDS=30.
ROUNDS = int(os.environ.get("TNLLT_KILL_ROUNDS", "3"))


def start(downloads: Path, out: Path, **options: bool) -> int:
    """`prepare` in a forked child, which ends with 0 where it succeeds; its process id."""
    child = os.fork()
    if child == 0:
        try:
            prepare(downloads, out, **options)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


def ended(child: int, seconds: float) -> bool:
    """Whether the child ends by itself in this time, and well; else it is killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, "a rerun after a kill fails"
            return True
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_at_any_moment_and_run_again(tmp_path: Path, seed: int):
    """kill -9 at random moments, under changing options, until a run ends by itself.

    Whatever is in the tree is whole, and in the end the tree is the release, byte for byte.
    """
    rng = random.Random(seed)
    source, downloads, out = tmp_path / "release", tmp_path / "downloads", tmp_path / "out"
    for i in range(8):
        tnllt_sequence(source / f"JE_{i:02}", 30)
        (source / f"JE_{i:02}" / "noise.bin").write_bytes(random.Random(i).randbytes(400_000))
    split(pack(source), downloads, parts=7)
    with zipfile.ZipFile(downloads / "annos.zip", "w") as file:
        for i in range(200):
            file.writestr(f"annos/annos/JE_{i:03}.txt", "1,2,3,4\n")
    annos = {f"annos/JE_{i:03}.txt": b"1,2,3,4\n" for i in range(200)}
    wanted = files(source) | annos
    begun = time.monotonic()
    shutil.copytree(downloads, tmp_path / "copy")
    assert ended(start(tmp_path / "copy", tmp_path / "first"), 120)
    whole_run, kills = time.monotonic() - begun, 0
    for _ in range(60):
        if ended(start(downloads, out, overwrite=rng.random() < 0.3), rng.uniform(0, 0.7 * whole_run)):
            if kills:
                break
            shutil.rmtree(out)  # it was much faster than the whole run
            continue
        kills += 1
        there = {name: data for name, data in files(out).items() if ".tnllt-" not in name}
        assert all(wanted[name] == data for name, data in there.items()), "whole"
    assert kills >= 1
    assert ended(start(downloads, out), 120)
    assert files(out) == wanted


def test_two_at_once_are_refused(downloads: Path, tmp_path: Path):
    with (
        sole_writer(tmp_path / "out" / ".tnllt-prepare"),
        pytest.raises(UsageError, match="being written by another run"),
    ):
        prepare(downloads, tmp_path / "out")


def test_command_says_what_it_did_and_what_comes_next(downloads: Path, tmp_path: Path):
    from click.testing import CliRunner

    from tnllt.cli.data import cli

    done = CliRunner().invoke(cli, ["prepare", str(downloads), str(tmp_path / "out")], standalone_mode=False)
    assert done.exit_code == 0 and "TNLLT: 30 files written, md5 " in done.stdout
    assert f"tnllt-data check {tmp_path / 'out'} --dataset tnllt" in done.stdout
    again = CliRunner().invoke(cli, ["prepare", str(downloads), str(tmp_path / "out")], standalone_mode=False)
    assert "Nothing to do: everything is in place." in again.stdout
