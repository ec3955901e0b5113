"""The published layout: identical sequences here and over HTTP, and a description that mlcroissant takes."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from click.testing import CliRunner, Result
from trees import rows, tnllt_sequence, write, write_images

import tnllt
from tnllt import open_dataset
from tnllt.cli.data import cli
from tnllt.datasets import Dataset, splits
from tnllt.datasets.convert import convert
from tnllt.datasets.publish import read_about
from tnllt.datasets.synth import SynthConfig, write_dataset
from tnllt.errors import DataError, DataWarning, UsageError
from tnllt.results.pack import dataset_digest

pytest.importorskip("pyarrow", reason="pyarrow is not installed")


def run(*given: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, given)), catch_exceptions=False, standalone_mode=False)


def same(source: Dataset, back: Dataset) -> None:
    """Equal in every part of the annotation and every pixel."""
    assert source.names == back.names and len(back)
    assert dataset_digest(source) == dataset_digest(back)
    for one, two in zip(source, back, strict=True):
        first, second = one.annotation, two.annotation
        np.testing.assert_array_equal(first.groundtruth, second.groundtruth)
        assert (first.present is None) == (second.present is None)
        assert first.present is None or (first.present == second.present).all()
        assert (first.language, first.attributes, first.descriptions, first.size) == (
            second.language, second.attributes, second.descriptions, second.size,
        )  # fmt: skip
        assert (first.missing_presence is None) == (second.missing_presence is None)
        assert one.has_frames == two.has_frames and one.dataset == two.dataset
        if one.has_frames:
            assert len(one.frames) == len(two.frames)
            assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.fixture(scope="module")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "data"
    write_dataset(folder, SynthConfig(frames=12, width=96, height=64), sequences=3, seed=5)
    return folder


@pytest.fixture(scope="module")
def published(synth: Path) -> Path:
    out = synth.parent / "published"
    result = run("publish", synth, out, "--dataset", "tnllt", "--split", "all")
    assert "not stated (--about FILE.toml): license, url, creator" in result.stderr
    return out


class Parts(http.server.SimpleHTTPRequestHandler):
    """A file server that gives parts of files, as hubs do; `asked` counts the bytes of the parts."""

    folder, asked, whole = "", 0, False
    paths: ClassVar[list[str]] = []

    def __init__(self, *args: object, **how: object) -> None:
        super().__init__(*args, directory=self.folder, **how)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        self.paths.append(self.path)
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if part is None or Parts.whole or not path.is_file():
            super().do_GET()
            return
        data = path.read_bytes()
        start, end = int(part[1]), min(int(part[2]), len(data) - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(data[start : end + 1])
        Parts.asked += end - start + 1


@pytest.fixture
def server(published: Path) -> Iterator[str]:
    Parts.folder, Parts.asked, Parts.whole = str(published), 0, False
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Parts) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_a_synthetic_set_comes_back(synth: Path, published: Path) -> None:
    source = open_dataset("tnllt", synth, split=None)
    same(source, open_dataset(published, split=None))
    same(source, open_dataset("tnllt", published, split=None))
    same(source[[source.names[1]]], open_dataset(published, split=None, names=[source.names[1]]))
    name = next(n for n, holds in (source[0].attributes or {}).items() if holds)
    assert open_dataset(published, split=None, attributes=name).names == source.select(attributes=name).names


def test_it_streams_from_a_url(synth: Path, published: Path, server: str) -> None:
    same(open_dataset("tnllt", synth, split=None), open_dataset(server, split=None))
    size = sum(path.stat().st_size for path in published.rglob("*.tar"))
    assert 0 < Parts.asked <= size, "no byte of a frame came twice"
    Parts.asked = 0
    card = run("info", "--dataset", server, "--format", "json")
    assert json.loads(card.output)["sequences"] == 3
    Parts.whole = True
    with pytest.raises(DataError, match="does not give parts of files"):
        open_dataset(server, split=None)[0][0]


def test_annotations_at_a_url_are_asked_for_again(tmp_path: Path) -> None:
    """Another version is seen, an unchanged one is not fetched twice, and one that was fetched serves offline."""
    for number, out in enumerate(("one", "two")):
        write(tmp_path / "in" / "a" / "groundtruth.txt", *rows(3, first=1 + number))
        run("publish", tmp_path / "in", tmp_path / out, "--dataset", "tnllt", "--split", "all")
    served = tmp_path / "served"
    shutil.copytree(tmp_path / "one", served)
    Parts.folder, Parts.whole, Parts.paths = str(served), True, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Parts) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_address[1]}"

        def first_box() -> float:
            return float(open_dataset(url, split=None)[0].groundtruth[0, 0])

        assert [first_box(), first_box()] == [1, 1] and Parts.paths.count("/annotations.parquet") == 1
        shutil.copytree(tmp_path / "two", served, dirs_exist_ok=True)
        assert [first_box(), first_box()] == [2, 2] and Parts.paths.count("/annotations.parquet") == 2
        write(served / "SHA256SUMS", "0" * 64 + "  annotations.parquet")
        with pytest.raises(DataError, match=f"not {'0' * 64}; it was removed"):
            first_box()
        (served / "SHA256SUMS").write_text("nothing")
        with pytest.warns(DataWarning, match=r"SHA256SUMS: does not name annotations\.parquet; .* are used"):
            assert first_box() == 2
        running.shutdown()
    with pytest.warns(DataWarning, match=r"SHA256SUMS: cannot be fetched \(.*\); .* fetched before are used"):
        assert first_box() == 2


def test_annotations_at_a_url_without_sums(published: Path, server: str, tmp_path: Path) -> None:
    for file in ("annotations.parquet", "frames"):
        (tmp_path / file).symlink_to(published / file)
    Parts.folder = str(tmp_path)
    assert len(open_dataset(server, split=None)) == 3
    assert not list((Path(os.environ["TNLLT_CACHE"]) / "published").glob("*/new-*"))


def test_every_command_takes_a_url(
    published: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = tnllt.run("still", dataset=server, threads=1)
    assert len(done.done) == 3 and done.results.parent == tmp_path / "runs"
    assert tnllt.run("still", dataset=str(published), results=done.results, threads=1).before == done.done
    assert "3 sequences" in run("convert", server, "converted").output
    assert json.loads(run("info", server, "--format", "json").output)["sequences"] == 3
    for given, says in (
        (("check", server), "is a published dataset, and the files"),
        (("check", published), "is a published dataset, and the files"),
        (("info", server, "--dataset", "lasot"), "is a URL, and a file or folder is needed"),
        (("convert", published, server), "is a URL, and a file or folder is needed"),
    ):
        with pytest.raises(UsageError, match=says):
            run(*given)


def test_what_a_benchmark_lacks_stays_away(tmp_path: Path) -> None:
    """Presence of one sequence alone, NaN rows, no frames, other attributes, a file name with a blank."""
    lasot = tmp_path / "lasot"
    write_images(lasot / "cat" / "cat 1" / "img", range(1, 5))
    write(lasot / "cat" / "cat 1" / "groundtruth.txt", "1,2,3,4", "NaN,NaN,NaN,NaN", "0,0,0,0", "1.25,2,3,4")
    write(lasot / "annos" / "cat 1.txt", "1,2,3,4", "NaN,NaN,NaN,NaN", "0,0,0,0", "1.25,2,3,4")
    write(lasot / "annos" / "absent" / "cat 1.txt", *"0010")
    write(lasot / "annos" / "dog-2.txt", *rows(3))
    source = open_dataset("lasot", lasot, split=None)
    run("publish", lasot, tmp_path / "out", "--dataset", "lasot", "--split", "all")
    same(source, open_dataset(tmp_path / "out", split=None))
    tnllt_sequence(tmp_path / "png" / "a", 4, absent=(2,))
    run("publish", tmp_path / "png", tmp_path / "second", "--dataset", "tnllt", "--split", "all")
    run("publish", tmp_path / "second", tmp_path / "third", "--split", "all")  # and from a published one again
    same(open_dataset("tnllt", tmp_path / "png", split=None), open_dataset(tmp_path / "third", split=None))
    convert(open_dataset(tmp_path / "third", split=None), tmp_path / "back", images="png")
    same(open_dataset("tnllt", tmp_path / "png", split=None), open_dataset("tnllt", tmp_path / "back", split=None))


def test_checksums_and_tar_files_are_others_too(published: Path) -> None:
    for line in (published / "SHA256SUMS").read_text().splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == digest
    path = next(published.glob("frames/*.tar"))
    with tarfile.open(path) as tar:
        assert [m.name for m in tar.getmembers()] == [f"{i:05d}.jpg" for i in range(1, 13)]
        assert all(m.mtime == 0 and m.uid == 0 and m.uname == "" for m in tar.getmembers())
    front = (published / "README.md").read_text("utf-8").split("---")[1]
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [{"split": "all", "path": "annotations.parquet"}]


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("sequence", "../../escaped", "cannot be the name of a sequence"),
        ("sequence", "/escaped", "cannot be the name of a sequence"),
        ("sequence", None, "cannot be the name of a sequence"),
        ("frames_file", "../../etc/passwd", "is not frames/NAME.tar"),
        ("frames_file", "frames/../../x.tar", "is not frames/NAME.tar"),
        ("frame_bytes", [1 << 40] * 12, "is said to have"),
        ("frame_offsets", [1 << 40] * 12, "ends before frame 1"),
        ("frame_offsets", [-5] * 12, "is said to have"),
        ("groundtruth", [1.0, 2.0], "publish it again"),
        ("present", [True], "publish it again"),
    ],
)
def test_hostile_rows(published: Path, tmp_path: Path, column: str, value: object, words: str) -> None:
    import pyarrow
    from pyarrow.parquet import read_table, write_table

    table = read_table(published / "annotations.parquet")
    changed = [{**row, column: value} for row in table.to_pylist()]
    write_table(pyarrow.Table.from_pylist(changed, table.schema), tmp_path / "annotations.parquet")
    (tmp_path / "frames").symlink_to(published / "frames")
    with pytest.raises(DataError, match=words):
        sequence = open_dataset(tmp_path, split=None)[0]
        _ = sequence.groundtruth, sequence[0]


@pytest.mark.parametrize("name", ["../splits/lasot", "x" * 300, "a\0b"])
def test_a_dataset_s_name_is_no_part_of_a_path(name: str) -> None:
    assert splits.packaged("lasot", "test") and splits.packaged(name, "test") is None


def test_a_table_without_rows_is_refused_by_name(tmp_path: Path, published: Path) -> None:
    from pyarrow.parquet import read_table, write_table

    write_table(read_table(published / "annotations.parquet").slice(0, 0), tmp_path / "annotations.parquet")
    with pytest.raises(DataError, match=r"annotations\.parquet: holds no sequence"):
        open_dataset(tmp_path, split=None)


def test_files_that_are_not_published_ones(tmp_path: Path, published: Path) -> None:
    (tmp_path / "annotations.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match="cannot be read as a published dataset"):
        open_dataset(tmp_path, split=None)
    with pytest.raises(UsageError, match="not empty"):
        run("publish", published, tmp_path)


ABOUT = """
name = "A synthetic set"
license = "cc-by-4.0"
url = "https://example.org/set"
creator = "Nobody"
citation = "@misc{x}"
date = "2026-01-02"
[rai]
data_biases = "Drawn shapes alone."
"""


def test_mlcroissant_validates_and_loads_records(synth: Path, published: Path, tmp_path: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    about = write(tmp_path / "about.toml", ABOUT)
    file = tmp_path / "croissant.json"
    result = run("info", synth, "--croissant", file, "--about", about)
    assert "not stated (--about FILE.toml): rai.data_collection" in result.stderr
    dataset = mlcroissant.Dataset(jsonld=file)
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    assert dataset.metadata.data_biases == ["Drawn shapes alone."] or dataset.metadata.data_biases == (
        "Drawn shapes alone."
    )
    source = open_dataset("tnllt", synth, split=None)
    for record, sequence in zip(dataset.records("sequences"), source, strict=True):
        assert record["sequences/sequence"] in (sequence.name, sequence.name.encode())
        assert record["sequences/frames"] == len(sequence)
    dataset = mlcroissant.Dataset(jsonld=published / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    for record, sequence in zip(dataset.records("sequences"), source, strict=True):
        assert record["sequences/sequence"].decode() == sequence.name
        np.testing.assert_array_equal(np.array(record["sequences/groundtruth"]), sequence.groundtruth.ravel())
        assert record["sequences/prompt"].decode() == sequence.language


def test_what_authors_state_is_checked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"unknown field `rai\.biases`"):
        read_about(write(tmp_path / "about.toml", "[rai]", 'biases = "x"'))
    with pytest.raises(DataError, match="must begin with http"):
        read_about(write(tmp_path / "about.toml", 'url = "javascript:x"'))
