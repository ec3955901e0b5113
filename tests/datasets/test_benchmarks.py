"""Every benchmark's layout, on a small release written by the test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trees
from click.testing import CliRunner
from trees import number_of, rows, tnllt_sequence, write, write_images

from tnllt import TNLLTDataset, open_dataset
from tnllt.cli.data import cli
from tnllt.config import DatasetConfig, LocationConfig
from tnllt.datasets import BENCHMARKS
from tnllt.datasets.check import check_dataset
from tnllt.datasets.convert import convert
from tnllt.datasets.dataset import open_configured
from tnllt.datasets.splits import packaged
from tnllt.errors import DataError, DataWarning, UsageError

N = 4


def first_numbers(sequence) -> list[int]:
    return [number_of(image) for image in sequence]


def test_tnllt_release(tmp_path: Path):
    tnllt_sequence(tmp_path / "b", N, absent=(3,))
    tnllt_sequence(tmp_path / "a", N)
    dataset = TNLLTDataset(tmp_path, split=None)
    assert dataset.names == ["a", "b"]
    sequence = dataset["b"]
    assert first_numbers(sequence) == [1, 2, 3, 4]
    assert sequence.present.tolist() == [True, True, False, True]
    assert sequence.language == "the red car"
    assert [name for name, flag in sequence.attributes.items() if flag] == ["ROT", "AS"]
    assert sequence.dataset == dataset.name == "tnllt"


def test_tnllt_frames_may_be_jpg_with_eight_digits(tmp_path: Path):
    write_images(tmp_path / "s" / "imgs", range(1, 4), "%08d.jpg")
    write(tmp_path / "s" / "groundtruth.txt", *rows(3))
    assert first_numbers(TNLLTDataset(tmp_path, split=None)["s"]) == [1, 2, 3]


def test_tnllt_annotations_alone(tmp_path: Path):
    annos = tmp_path / "annos"
    write(annos / "x.txt", *rows(3))
    write(annos / "absent" / "x.txt", 1, 0, 1)
    write(annos / "att" / "x.txt", ",".join("1" + "0" * 14))
    for dataset in (TNLLTDataset(tmp_path, split=None), open_dataset("tnllt", annos=annos)):
        sequence = dataset["x"]
        assert sequence.present.tolist() == [True, False, True]
        assert sequence.attributes["CM"] and not sequence.attributes["AS"]
        assert sequence.language is None and not sequence.has_frames
        with pytest.raises(DataError, match="'x' has annotations but no frames"):
            _ = sequence.frames


def test_missing_annotation_is_none(tmp_path: Path):
    write(tmp_path / "annos" / "x.txt", *rows(3))
    sequence = TNLLTDataset(tmp_path, split=None)["x"]
    assert sequence.present is None and sequence.attributes is None and sequence.language is None
    assert sequence.descriptions is None


def test_tnl2k_one_or_two_folder_levels(tmp_path: Path):
    write_images(tmp_path / "test" / "one" / "imgs", range(7, 11), "%05d.png")
    write(tmp_path / "test" / "one" / "groundtruth.txt", *rows(N))
    write(tmp_path / "test" / "one" / "language.txt", "")
    write_images(tmp_path / "test" / "group" / "two" / "imgs", range(0, 4), "%05d.png")
    write(tmp_path / "test" / "group" / "two" / "groundtruth.txt", *rows(N))
    (tmp_path / "test" / "group" / "two" / "language.txt").write_text("a  cat on")
    write(tmp_path / "annos" / "absent" / "one.txt", 0, 0, 1, 1)
    write(tmp_path / "annos" / "gt_rect" / "one.txt", *rows(N))
    write(tmp_path / "annos" / "att" / "one_attribute.txt", *("0" * 15 + "10"))
    dataset = open_dataset("TNL2K", tmp_path)
    assert dataset.names == ["one", "two"]
    one, two = dataset
    assert first_numbers(one) == [7, 8, 9, 10] and first_numbers(two) == [0, 1, 2, 3]
    assert one.present.tolist() == [True, True, False, False] and two.present is None
    assert one.attributes["TC"] and not one.attributes["MS"]
    assert one.language is None and two.language == "a  cat on"


@pytest.mark.parametrize("name", ["lasot", "lasot_ext"])
def test_lasot_release(tmp_path: Path, name: str):
    folder = tmp_path / "cat" / "cat-1"
    write_images(folder / "img", range(1, 5))
    write(folder / "groundtruth.txt", *rows(N))
    write(folder / "full_occlusion.txt", "0,1,0,0")
    write(folder / "out_of_view.txt", "0,0,0,1")
    write(folder / "nlp.txt", "white cat")
    sequence = open_dataset(name, tmp_path, split=None)["cat-1"]
    assert first_numbers(sequence) == [1, 2, 3, 4]
    assert sequence.present.tolist() == [True, False, True, False]
    assert sequence.language == "white cat"


@pytest.mark.parametrize("gone", ["full_occlusion.txt", "out_of_view.txt"])
@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("toml", [False, True])
def test_one_of_two_presence_files_is_not_taken_for_both(tmp_path: Path, gone: str, everywhere: bool, toml: bool):
    for name in ("cat-1", "cat-2"):
        folder = tmp_path / "cat" / name
        write(folder / "groundtruth.txt", *rows(N))
        for file in {"full_occlusion.txt", "out_of_view.txt"} - ({gone} if everywhere or name == "cat-1" else set()):
            write(folder / file, *"0010")
    if toml:
        write(tmp_path / "dataset.toml", 'base = "lasot"', 'name = "mine"')
    first, second = open_dataset(tmp_path if toml else "lasot", None if toml else tmp_path, split=None)
    assert first.present is None and first.missing_presence == tmp_path / "cat" / "cat-1" / gone
    assert (second.present is None) == (second.missing_presence is not None) == everywhere
    found = check_dataset(tmp_path if toml else "lasot", None if toml else tmp_path).found
    lacking = {(f.sequence, f.text) for f in found if f.code == "flags-missing"}
    assert lacking == {(name, f"{gone} is not there") for name in ("cat-1", *(["cat-2"] if everywhere else []))}


def test_otb100_targets_clips_and_delimiters(tmp_path: Path):
    write_images(tmp_path / "Jogging" / "img", range(1, 5), "%04d.jpg")
    write(tmp_path / "Jogging" / "groundtruth_rect.1.txt", *rows(N, "\t"))
    write(tmp_path / "Jogging" / "groundtruth_rect.2.txt", *rows(N, " ", first=9))
    write_images(tmp_path / "BlurCar3" / "img", range(1, 8), "%04d.jpg")
    write(tmp_path / "BlurCar3" / "groundtruth_rect.txt", *rows(5))
    write_images(tmp_path / "Tiger1" / "img", range(1, 10), "%04d.jpg")
    write(tmp_path / "Tiger1" / "groundtruth_rect.txt", *rows(9))
    dataset = open_dataset("otb", tmp_path)
    assert dataset.names == ["BlurCar3", "Jogging-1", "Jogging-2", "Tiger1"]
    assert dataset["Jogging-2"].groundtruth[0].tolist() == [9, 2, 5, 6]
    assert first_numbers(dataset["BlurCar3"]) == [3, 4, 5, 6, 7]
    assert first_numbers(dataset["Tiger1"]) == [6, 7, 8, 9]
    assert dataset["Tiger1"].groundtruth[:, 0].tolist() == [6, 7, 8, 9]


def test_otb99_lang_splits_by_query_folder(tmp_path: Path):
    for name in ("Basketball", "Bike"):
        write_images(tmp_path / "OTB_videos" / name / "img", range(1, 5), "%04d.jpg")
        write(tmp_path / "OTB_videos" / name / "groundtruth_rect.txt", *rows(N, "\t"))
    write(tmp_path / "OTB_query_test" / "Basketball.txt", "the player")
    write(tmp_path / "OTB_query_train" / "Bike.txt", "the bike")
    assert open_dataset("OTB99-Lang", tmp_path).names == ["Basketball"]
    train = open_dataset("otb99_lang", tmp_path, split="train")
    assert train.names == ["Bike"] and train[0].language == "the bike" and train[0].present is None


def test_uav123_parts_of_videos(tmp_path: Path):
    write_images(tmp_path / "data_seq" / "UAV123" / "bird1", range(770, 790), "%06d.jpg")
    write(tmp_path / "anno" / "UAV123" / "bird1_2.txt", *rows(9), "NaN,NaN,NaN,NaN")
    write_images(tmp_path / "data_seq" / "UAV123" / "bike1", range(1, 5), "%06d.jpg")
    write(tmp_path / "anno" / "UAV123" / "bike1.txt", *rows(N))
    dataset = open_dataset("UAV123", tmp_path)
    assert dataset.names == ["bike1", "bird1_2"]
    with pytest.warns(DataWarning, match="15 frames but 10 boxes"):
        assert Path(dataset["bird1_2"].frames.path(0)).name == "000775.jpg"
    assert np.isnan(dataset["bird1_2"].groundtruth[9]).all()


@pytest.mark.parametrize("boxes", [4, 32])
def test_nfs_boxes_of_the_faster_video(tmp_path: Path, boxes: int):
    write_images(tmp_path / "ball" / "30" / "ball", range(1, 5), "%05d.jpg")
    write(tmp_path / "ball" / "30" / "ball.txt", *(f'0 {i} 2 {i + 5} 8 {i} 0 0 0 "a ball"' for i in range(boxes)))
    sequence = open_dataset("nfs", tmp_path)["ball"]
    assert len(sequence) == 4 and first_numbers(sequence) == [1, 2, 3, 4]
    assert sequence.groundtruth[1].tolist() == [boxes / 4, 2, 5, 6]


def test_trackingnet_numbers_are_not_padded_and_test_has_one_box(tmp_path: Path):
    for split in ("TRAIN_0", "TEST"):
        write_images(tmp_path / split / "frames" / f"v_{split}", range(0, 12), "%d.jpg")
    write(tmp_path / "TRAIN_0" / "anno" / "v_TRAIN_0.txt", *rows(12))
    write(tmp_path / "TEST" / "anno" / "v_TEST.txt", *rows(1))
    train = open_dataset("TrackingNet", tmp_path, split="train")
    assert train.names == ["v_TRAIN_0"] and first_numbers(train[0]) == list(range(12))
    (test,) = open_dataset("TrackingNet", tmp_path)
    assert len(test) == len(test.frames) == 12
    assert test.groundtruth[0].tolist() == [1, 2, 5, 6] and np.isnan(test.groundtruth[1:]).all()


def test_got10k_presence_and_metadata(tmp_path: Path):
    for split, count in (("val", N), ("test", 1)):
        folder = tmp_path / split / f"GOT-10k_{split}_000001"
        write_images(folder, range(1, 5))
        write(folder / "groundtruth.txt", *rows(count))
        write(folder / "meta_info.ini", "[METAINFO]", "object_class: cat", "resolution: (32, 24)")
    write(tmp_path / "val" / "GOT-10k_val_000001" / "absence.label", 0, 0, 1, 0)
    val = open_dataset("got-10k", tmp_path, split="val")
    assert val[0].present.tolist() == [True, True, False, True]
    assert val[0].size == (32, 24)
    assert val.metadata(val.names[0])["object_class"] == "cat"
    write(tmp_path / "val" / "GOT-10k_val_000001" / "cover.label", 8, 0, 0, 3)
    val = open_dataset("got-10k", tmp_path, split="val")
    assert val[0].present.tolist() == [True, False, False, True]  # the authors' toolkit goes by the visible part
    assert not [f for f in check_dataset("got10k", tmp_path).found if f.code == "flags-unreadable"]
    write(tmp_path / "val" / "GOT-10k_val_000001" / "cover.label", 8, 0, 9, 3)
    (finding,) = [f for f in check_dataset("got10k", tmp_path).found if f.code == "flags-unreadable"]
    assert "holds 9; a level is 0 to 8" in finding.text
    write(tmp_path / "val" / "GOT-10k_val_000001" / "meta_info.ini", "[METAINFO]", "resolution: large")
    with pytest.raises(DataError, match=r"meta_info\.ini.*width and height are expected"):
        open_dataset("got-10k", tmp_path, split="val")[0].groundtruth  # noqa: B018
    (test,) = open_dataset("got10k", tmp_path)
    assert len(test) == 4 and test.present is None and np.isnan(test.groundtruth[1:]).all()


def test_mgit_tables(tmp_path: Path):
    openpyxl = pytest.importorskip("openpyxl")
    write_images(tmp_path / "data" / "val" / "005" / "frame_005", range(0, 4), "%06d.jpg")
    write(tmp_path / "attribute" / "groundtruth" / "005.txt", *rows(N))
    write(tmp_path / "attribute" / "absent" / "005.txt", 0, 1, 0, 0)
    book = openpyxl.Workbook()
    for row in (
        ("level", "number", "start_frame", "end_frame", "description"),
        ("action", 1, 0, 1, "a man walks"),
        ("action", 2, 2, 2, "a man stands"),
        ("story", 1, 0, 3, "a man walks, then stands"),
    ):
        book.active.append(row)
    (tmp_path / "mgit_nlp").mkdir()
    book.save(tmp_path / "mgit_nlp" / "005.xlsx")
    (sequence,) = open_dataset("mgit", tmp_path, split="val")
    assert first_numbers(sequence) == [0, 1, 2, 3]
    assert sequence.present.tolist() == [True, False, True, True]
    assert sequence.language == "a man walks, then stands"
    assert sequence.descriptions == ("a man walks",) * 2 + ("a man stands", "")
    convert(open_dataset("mgit", tmp_path, split="val"), tmp_path / "out")
    assert open_dataset(tmp_path / "out", split=None)[0].descriptions == sequence.descriptions


def test_every_benchmark_is_listed():
    expected = "tnllt tnl2k lasot lasot_ext otb99_lang otb100 uav123 nfs trackingnet got10k mgit"
    assert set(BENCHMARKS) == set(expected.split())


def test_packaged_splits():
    train, test, everything = (packaged("tnllt", split) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (150, 50, 200)
    assert set(train) | set(test) == set(everything) and len(set(everything)) == 200
    assert len(packaged("lasot", "test")) == 280 and packaged("tnl2k", "test") is None


def test_test_split_where_all_its_names_are_there(tmp_path: Path):
    for name in packaged("tnllt", "all"):
        write(tmp_path / "annos" / f"{name}.txt", *rows(2))
    assert TNLLTDataset(tmp_path).names == list(packaged("tnllt", "test"))
    assert len(TNLLTDataset(tmp_path, split="train")) == 150
    assert len(TNLLTDataset(tmp_path, split=None)) == 200


def test_hidden_files_are_not_annotations(tmp_path: Path):
    """macOS puts `._a.txt` beside `a.txt`; `...txt` would be a sequence named `..`."""
    for file in ("a.txt", "._a.txt", "..txt", "...txt"):
        write(tmp_path / "annos" / file, *rows(3))
    assert open_dataset("tnllt", tmp_path, split=None).names == ["a"]


def test_partial_download_uses_what_is_annotated_and_says_so(tmp_path: Path):
    names = [*packaged("tnllt", "test")[:2], "other"]
    for name in names:
        write(tmp_path / "annos" / f"{name}.txt", *rows(2))
    with pytest.warns(DataWarning, match="48 of the 50 sequences of split 'test'"):
        assert set(TNLLTDataset(tmp_path).names) == set(names)


def test_own_splits_beat_the_packaged_ones(tmp_path: Path):
    for name in packaged("tnllt", "all"):
        write(tmp_path / "annos" / f"{name}.txt", *rows(2))
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.txt").write_text("JE_Muma_24\r\nje_horse_03", encoding="utf-8")
    assert TNLLTDataset(tmp_path).names == ["JE_Muma_24", "JE_Horse_03"]


def test_unknown_split_is_an_error(tmp_path: Path):
    tnllt_sequence(tmp_path / "a")
    with pytest.raises(DataError, match="no split 'dev'"):
        TNLLTDataset(tmp_path, split="dev")


def test_choosing_sequences(tmp_path: Path):
    for name in ("cat-1", "cat-2", "dog-1"):
        tnllt_sequence(tmp_path / name, 2)
    write(tmp_path / "dog-1" / "attributes.txt", ",".join("1" * 15))
    dataset = TNLLTDataset(tmp_path, split=None)
    assert dataset["cat*"].names == ["cat-1", "cat-2"]
    assert dataset[1:].names == ["cat-2", "dog-1"] and dataset[-1].name == "dog-1"
    assert dataset[["dog-1", "cat-1"]].names == ["dog-1", "cat-1"]
    assert dataset["CAT-1"].name == "cat-1" and "dog-1" in dataset and dataset[0] is dataset[0]
    assert TNLLTDataset(tmp_path, attributes="OV").names == ["dog-1"]
    assert TNLLTDataset(tmp_path, attributes=["ROT", "AS"]).names == ["cat-1", "cat-2", "dog-1"]
    listed = trees.write(tmp_path / "mine.txt", "dog-1", "cat-2")
    assert TNLLTDataset(tmp_path, names=listed).names == ["dog-1", "cat-2"]
    with pytest.raises(DataError, match="did you mean 'cat-1'"):
        dataset["cat-11"]
    with pytest.raises(DataError, match="no sequence matches 'x\\*'"):
        dataset["x*"]
    with pytest.raises(DataError, match="'ABC' is not an attribute of tnllt; known are CM ROT"):
        dataset.select(attributes="ABC")


def test_where_nothing_is(tmp_path: Path):
    with pytest.raises(UsageError, match="did you mean 'lasot'"):
        open_dataset("lasott")
    with pytest.raises(UsageError, match="where is LaSOT"):
        open_dataset("lasot")
    with pytest.raises(DataError, match="no such folder"):
        open_dataset("lasot", tmp_path / "nowhere")
    with pytest.raises(DataError, match="no TNLLT sequence is here"):
        open_dataset("tnllt", tmp_path)


def test_a_folder_inside_a_folder_is_seen_through(tmp_path: Path):
    tnllt_sequence(tmp_path / "TNLLT" / "a")
    write(tmp_path / "annos" / "annos" / "a.txt", *rows(N, first=7))
    sequence = TNLLTDataset(tmp_path, split=None)["a"]
    assert sequence.has_frames and sequence.groundtruth[0, 0] == 7


def test_names_that_differ_in_case_alone(tmp_path: Path):
    write_images(tmp_path / "CarDark" / "imgs", range(1, 3))
    write(tmp_path / "annos" / "carDark.txt", *rows(2))
    (sequence,) = TNLLTDataset(tmp_path, split=None)
    assert sequence.name == "carDark" and sequence.has_frames


def test_the_same_name_twice_warns(tmp_path: Path):
    for side in ("x", "y"):
        write_images(tmp_path / "test" / side / "s" / "imgs", range(1, 3))
        write(tmp_path / "test" / side / "s" / "groundtruth.txt", *rows(2))
    with pytest.warns(DataWarning, match="a second sequence named 's'"):
        assert open_dataset("tnl2k", tmp_path).names == ["s"]


def test_lasot_train_is_what_the_test_list_leaves(tmp_path: Path):
    for name in (*packaged("lasot", "test"), "airplane-2"):
        write(tmp_path / "annos" / f"{name}.txt", *rows(2))
    assert open_dataset("lasot", tmp_path, split="train").names == ["airplane-2"]
    assert len(open_dataset("lasot", tmp_path)) == 280


def test_a_folder_without_splits_is_one_for_any_use(tmp_path: Path):
    write_images(tmp_path / "a", range(1, 4))
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    with pytest.warns(DataWarning, match="lists no splits: all 1 sequences are used for 'train'"):
        assert open_dataset(tmp_path, split="train").names == ["a"]


def test_the_environment_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tnllt_sequence(tmp_path / "a")
    monkeypatch.setenv("TNLLT_ROOT", str(tmp_path))
    assert TNLLTDataset(split=None).names == ["a"]


@pytest.mark.parametrize(
    ("given", "dataset", "file", "used"),
    [
        (None, "", "", "tnllt"),
        ("TNLLT", "", "", "TNLLT"),
        ("lasot", "", "", ""),
        ("lasot", "LaSOT", "", "lasot"),
        (None, "lasot", "", "lasot"),
        ("lasot", "", "lasot", "lasot"),
        ("tnllt", "", "lasot", ""),
        ("a/folder", "", "", ""),
        ("demo", "", "", ""),
    ],
)
def test_the_environment_is_of_one_dataset(
    given: str | None, dataset: str, file: str, used: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for variable, value in (("ROOT", "r"), ("ANNOS", "a"), ("RESULTS", "t"), ("DATASET", dataset)):
        monkeypatch.setenv(f"TNLLT_{variable}", value)
    config = write(tmp_path / "tnllt.toml", *([f'dataset = "{file}"'] if file else []))
    found = LocationConfig(given, config=config).locate()
    paths = (Path("r"), Path("a"), Path("t")) if used else (None, None, None)
    assert (found.root, found.annos, found.results) == paths
    assert found.dataset.casefold() == (used or str(given)).casefold()


def test_annotations_of_the_environment_are_not_those_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tnllt_sequence(tmp_path / "mine" / "a")
    monkeypatch.setenv("TNLLT_ANNOS", str(write(tmp_path / "annos" / "a.txt", "1,2,3,4").parent))
    card = CliRunner().invoke(cli, ["info", str(tmp_path / "mine"), "--format", "json"])
    assert card.exit_code == 0 and '"frames": 4,' in card.output, card.output


def test_demo_has_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TNLLT_DATASET", "demo")
    monkeypatch.setenv("TNLLT_ROOT", str(tmp_path))
    monkeypatch.setenv("TNLLT_RESULTS", "runs")
    config = write(tmp_path / "tnllt.toml", 'root = "elsewhere"')
    found = LocationConfig(config=config).locate()
    assert (found.dataset, found.root, found.results) == ("demo", None, Path("runs"))
    assert len(open_configured(DatasetConfig("demo", config=config)))


def test_a_missing_presence_file_is_noted_on_the_sequence(tmp_path: Path) -> None:
    """Where the benchmark has presence files, or other sequences of the dataset have one."""
    annos = tmp_path / "annos"
    for name in ("airplane-1", "airplane-9"):
        write(annos / f"{name}.txt", "1,2,3,4", "2,3,4,5")
    for sequence in open_dataset("lasot", annos=annos):
        assert sequence.present is None
        assert sequence.missing_presence == annos / "absent" / f"{sequence.name}.txt"
    write(annos / "absent" / "airplane-1.txt", "0", "1")
    first, second = open_dataset("lasot", annos=annos)
    assert first.missing_presence is None and second.missing_presence == annos / "absent" / "airplane-9.txt"
    tnllt_sequence(tmp_path / "mine" / "a")
    tnllt_sequence(tmp_path / "mine" / "b")
    (tmp_path / "mine" / "b" / "absent_label.txt").unlink()
    a, b = open_dataset(tmp_path / "mine")
    assert a.missing_presence is None and b.missing_presence == tmp_path / "mine" / "b" / "absent_label.txt"
    assert open_dataset(tmp_path / "mine")[["b"]][0].missing_presence == b.missing_presence


def test_presence_is_not_missed_where_nothing_promises_it(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "mine" / name / "groundtruth.txt", "1,2,3,4")
    assert all(sequence.missing_presence is None for sequence in open_dataset(tmp_path / "mine"))
    write(tmp_path / "mine" / "dataset.toml", 'base = "tnllt"', 'name = "mine"')
    assert all(sequence.missing_presence is None for sequence in open_dataset(tmp_path / "mine"))
    write(tmp_path / "mine" / "dataset.toml", 'absent = "{folder}/absent.txt"', "present = 0")
    paths = [sequence.missing_presence for sequence in open_dataset(tmp_path / "mine")]
    assert paths == [tmp_path / "mine" / name / "absent.txt" for name in "ab"]
