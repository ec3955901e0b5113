"""Folders whose layout nobody stated, and those where a few lines of TOML do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from trees import number_of, rows, tnllt_sequence, write, write_images

import tnllt
from tnllt import open_dataset
from tnllt.cli.data import cli
from tnllt.datasets.benchmarks import TNLLT_ATTRIBUTES
from tnllt.datasets.reader import present_value
from tnllt.datasets.splits import packaged
from tnllt.errors import DataError, TnlltError, UsageError


def test_a_benchmark_is_recognised(tmp_path: Path):
    tnllt_sequence(tmp_path / "a")
    assert open_dataset(tmp_path).layout.attribute_names == TNLLT_ATTRIBUTES


@pytest.mark.parametrize("images", ["img", "frames", "color", "."])
@pytest.mark.parametrize("boxes", ["{name}/gt.txt", "{name}/groundtruth.txt", "{name}.txt", "anno/{name}.txt"])
def test_any_folder(tmp_path: Path, images: str, boxes: str):
    write_images(tmp_path / "one" / images, range(1, 4), "%d.jpg")
    write(tmp_path / boxes.format(name="one"), *rows(3, "; "))
    dataset = open_dataset(tmp_path)
    assert dataset.names == ["one"] and dataset.name == tmp_path.name
    assert [number_of(image) for image in dataset[0]] == [1, 2, 3] and dataset[0].present is None


def test_sequences_of_one_name_are_told_apart_by_their_path(tmp_path: Path):
    for side in ("day", "night"):
        write_images(tmp_path / side / "1", range(1, 4))
        write(tmp_path / side / "1" / "groundtruth.txt", *rows(3))
    assert open_dataset(tmp_path).names == ["day-1", "night-1"]


@pytest.mark.parametrize("absent", [0, 1])
def test_the_sense_of_flags_is_told_by_boxes_of_zero_area(tmp_path: Path, absent: int):
    for name, zero in (("a", "3,2,5,6"), ("b", "0,0,0,0")):
        write_images(tmp_path / name, range(1, 4))
        write(tmp_path / name / "groundtruth.txt", *rows(2), zero)
        write(tmp_path / name / "visible.txt", 1 - absent, 1 - absent, absent)
    a, b = open_dataset(tmp_path)
    assert a.present.tolist() == b.present.tolist() == [True, True, False]


def test_flags_whose_sense_nothing_tells_are_refused(tmp_path: Path):
    write_images(tmp_path / "a", range(1, 4))
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    write(tmp_path / "a" / "absent.txt", 0, 0, 1)
    with pytest.raises(DataError, match=r"absent\.txt: it is not stated whether 1 means present"):
        _ = open_dataset(tmp_path)[0].present
    write(tmp_path / "dataset.toml", 'sequences = "*"', 'images = "."', 'absent = "{folder}/absent.txt"', "present = 0")
    assert open_dataset(tmp_path)[0].present.tolist() == [True, True, False]


def test_real_flags_tell_their_sense(shared: Path):
    from tnllt.datasets.text import read_boxes, read_flags

    for folder, boxes, expected in (
        ("data/lasot/annos", "", 0),
        ("data/tnl2k/annos", "gt_rect", 0),
        ("golden/eval/small/annos", "", 1),
    ):
        files = sorted((shared / folder / "absent").glob("*.txt"))
        pairs = ((read_boxes(shared / folder / boxes / file.name), read_flags(file)) for file in files)
        assert present_value(pairs) == expected


def test_toml_layout(tmp_path: Path):
    write_images(tmp_path / "data" / "x" / "rgb", range(1, 4))
    write(tmp_path / "labels" / "x.csv", *("10 20 14 26",) * 3)
    write(tmp_path / "labels" / "x.words", "a bird")
    write(tmp_path / "data" / "x" / "flags.txt", 1, 0, 1)
    write(tmp_path / "data" / "x" / "tags.txt", "1 0")
    toml = write(
        tmp_path / "mine.toml",
        'name = "birds"',
        'root = "data"',
        'sequences = "*"',
        'images = "rgb"',
        'boxes = "{root}/../labels/{name}.csv"',
        'format = "xyxy"',
        'absent = "{folder}/flags.txt"',
        "present = 1",
        'language = "{root}/../labels/{name}.words"',
        'attributes = "{folder}/tags.txt"',
        'attribute_names = ["day", "night"]',
        "[splits]",
        'test = "../mine.txt"',
    )
    (sequence,) = open_dataset(toml)
    assert sequence.dataset == "birds" and sequence.groundtruth[0].tolist() == [10, 20, 4, 6]
    assert sequence.present.tolist() == [True, False, True] and sequence.language == "a bird"
    assert sequence.attributes == {"day": True, "night": False} and number_of(sequence.frames[2]) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bokses = 'x'", "unknown key 'bokses'"),
        ("format = 'xywz'", "format = 'xywz'; known are xywh"),
        ("base = 'lasott'", "base = 'lasott' is not a benchmark"),
        ("boxes = '{sequence}.txt'", "is not a template; known are {root}"),
        ("boxes = 3", "`boxes` must be a string or a list of strings"),
        ("present = 1", "name the flag file"),
        ("absent = { path = 3 }", "`absent` must be files"),
        ("parts = { a = [[1, 2, 3, 4]] }", "parts.a must be a list of [first, last]"),
        ("box_stride = '8'", "`box_stride` must be of type int"),
        ("split_folders = 3", "[split_folders] must be a table"),
        ("= 3", "not valid TOML"),
    ],
)
def test_toml_faults_are_named(tmp_path: Path, line: str, message: str):
    with pytest.raises((UsageError, DataError)) as caught:
        open_dataset(write(tmp_path / "d.toml", line))
    assert message in str(caught.value) and "d.toml" in str(caught.value)


def test_polygons_need_to_be_stated(tmp_path: Path):
    write_images(tmp_path / "a", range(1, 3))
    write(tmp_path / "a" / "groundtruth.txt", "1,1,5,1,5,4,1,4", "1,1,5,1,5,4,1,4")
    with pytest.raises(DataError, match=r'four corners\? state format = "polygon"'):
        _ = open_dataset(tmp_path)[0].groundtruth
    write(tmp_path / "dataset.toml", 'images = "."', 'format = "polygon"')
    assert open_dataset(tmp_path)[0].groundtruth[0].tolist() == [1, 1, 4, 3]


def test_a_folder_without_sequences_says_what_one_is(tmp_path: Path):
    with pytest.raises(DataError, match=r"no sequence is here: one is a folder of images .* dataset\.toml"):
        open_dataset(tmp_path)


def test_text_files_that_are_no_boxes_are_no_sequences(tmp_path: Path):
    write_images(tmp_path / "a", range(1, 4))
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    write(tmp_path / "README.txt", "Some words")
    write(tmp_path / "numbers.txt", "1,2,3,4")
    assert open_dataset(tmp_path).names == ["a"]


def test_a_folder_of_box_files_alone(tmp_path: Path):
    write(tmp_path / "README.txt", "Some words")
    write(tmp_path / "x.txt", *rows(3))
    dataset = open_dataset(tmp_path)
    assert dataset.names == ["x"] and not dataset[0].has_frames


def test_a_folder_carries_its_own_name(tmp_path: Path):
    """TNLLT's layout alone does not make a folder TNLLT; the names of its sequences do."""
    tnllt_sequence(tmp_path / "mine" / "a")
    own = open_dataset(tmp_path / "mine")
    assert (own.name, own.layout.title, own[0].dataset) == ("mine", "mine", "mine")
    assert open_dataset(tmp_path / "mine", split="all").names == ["a"]
    tnllt_sequence(tmp_path / "copy" / packaged("tnllt", "test")[0])
    assert open_dataset(tmp_path / "copy").name == "tnllt"


@pytest.mark.parametrize("name", ["TNLLT", "lasot", "demo"])
def test_a_path_is_a_folder_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    tnllt_sequence(Path(name) / "a")
    for place in (Path(name), f"./{name}"):
        assert open_dataset(place, split=None).names == ["a"]
    assert tnllt.run("still", dataset=Path(name), split="all", results="r").done == ["a"]


def test_language_in_the_layout_of_a_benchmark_without_it_is_read(tmp_path: Path):
    folder = tmp_path / "mine" / "car"
    write_images(folder / "img", range(1, 4), "%04d.jpg")
    write(folder / "groundtruth_rect.txt", *rows(3))
    write(folder / "language.txt", "the red car")
    assert open_dataset(tmp_path / "mine")[0].language == "the red car"
    assert open_dataset("otb100", tmp_path / "mine", split=None)[0].language is None, "the benchmark by name has none"
    write(tmp_path / "mine" / "dataset.toml", 'base = "otb100"', 'language = "{folder}/language.txt"')
    assert open_dataset(tmp_path / "mine")[0].language == "the red car"


def test_empty_choices_are_refused(tmp_path: Path):
    tnllt_sequence(tmp_path / "mine" / "a")
    for empty, error in (({"names": ""}, DataError), ({"attributes": ""}, UsageError), ({"split": ""}, UsageError)):
        with pytest.raises(error):
            open_dataset(tmp_path / "mine", **empty)
    for options in (["-s", ""], ["--attributes", ""], ["--split", ""], ["--sheet", "x.json"]):
        result = CliRunner().invoke(cli, ["info", str(tmp_path / "mine"), *options])
        assert isinstance(result.exception, TnlltError) and result.exception.exit_code == 2, options


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"demo dataset cannot be made here .*TNLLT_CACHE"):
        open_dataset("demo")
