"""The checker, on trees built with each fault that the releases are known for."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from trees import rows, tnllt_sequence, write, write_images

from tnllt.cli.data import cli
from tnllt.datasets.check import CHECKER, check_dataset
from tnllt.datasets.check.sequences import odd_description
from tnllt.datasets.frames import image_size


def codes(*args, **options) -> dict[str, list[str]]:
    """{code: [messages]} of a check."""
    found: dict[str, list[str]] = {}
    for finding in check_dataset(*args, **options).found:
        found.setdefault(finding.code, []).append(f"{finding.sequence}: {finding.text}")
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two faultless sequences of TNLLT; what the flags mean is told by the absent frame's empty box."""
    tnllt_sequence(tmp_path / "a", 6, absent=(3,), language="the red car on the road")
    tnllt_sequence(tmp_path / "b", 5, language="a small dog")
    return tmp_path


def test_nothing_wrong(tree: Path):
    assert codes("tnllt", tree, decode=True) == {
        "flags-sense": [": 1 = present fits 1 of the 1 boxes of zero area; so they are read"]
    }


def test_more_frames_than_boxes_and_fewer(tree: Path):
    write(tree / "a" / "groundtruth.txt", *rows(5))
    write(tree / "b" / "groundtruth.txt", *rows(8))
    write(tree / "b" / "absent_label.txt", *[1] * 8)
    found = codes("tnllt", tree)
    assert found["frames-more"] == ["a: 6 frames, 5 boxes"] and found["boxes-more"] == ["b: 8 boxes, 5 frames"]


def test_flags_that_do_not_fit_the_boxes(tree: Path):
    write(tree / "a" / "absent_label.txt", *[1] * 7)
    write(tree / "b" / "absent_label.txt", *[1] * 4)
    found = codes("tnllt", tree)
    assert found["flags-more"] == ["a: 7 flags, 6 boxes"] and found["flags-fewer"] == ["b: 4 flags, 5 boxes"]
    write(tree / "b" / "absent_label.txt", 1, 1, 2, 1, 1)
    assert codes("tnllt", tree)["flags-unreadable"] == ["b: absent_label.txt holds 2; a flag is 0 or 1"]


def test_flags_of_the_other_sense(tree: Path):
    write(tree / "a" / "absent_label.txt", 0, 0, 1, 0, 0, 0)
    (message,) = codes("tnllt", tree)["flags-polarity"]
    assert "0 = present fits 1 of the 1 boxes of zero area, but they are read as 1 = present" in message


def test_empty_missing_and_odd_language(tree: Path):
    tnllt_sequence(tree / "c", 3, language="the  man in the")
    (tree / "a" / "language.txt").write_text("")
    (tree / "b" / "language.txt").unlink()
    found = codes("tnllt", tree)
    assert found["language-empty"] == ["a: language.txt is empty"]
    assert found["language-missing"] == ["b: 2 other sequences have one"]
    assert "two spaces" in found["language-odd"][0] and "cut off? it ends with 'the'" in found["language-odd"][0]


@pytest.mark.parametrize("sentence", ["the red car", "a man's hat, black", "左边的人", "player number 10."])
def test_sound_sentences(sentence: str):
    assert odd_description(sentence) == []


@pytest.mark.parametrize(
    ("sentence", "fault"),
    [
        ("the man with", "cut off"),
        ("the red,", "cut off"),
        ("???", "no letter"),
        ("the the car", "twice"),
        ("a\x00b car", "control"),
        ("car \ufffd", "undecodable"),
        ("x" * 600, "600 characters"),
    ],
)
def test_odd_descriptions(sentence: str, fault: str):
    assert any(fault in found for found in odd_description(sentence))


def test_broken_images_and_other_sizes(tree: Path):
    images = tree / "a" / "imgs"
    (images / "00002.png").write_bytes((images / "00002.png").read_bytes()[:-20])
    (images / "00003.png").write_bytes(b"not an image")
    (images / "00004.png").write_bytes(b"")
    data = bytearray((images / "00005.png").read_bytes())
    data[len(data) // 2] ^= 0xFF  # inside the picture: only the checksum tells
    (images / "00005.png").write_bytes(data)
    cv2.imwrite(str(images / "00006.png"), np.zeros((10, 10, 3), np.uint8))
    write_images(tree / "c" / "imgs", range(1, 4), "%05d.jpg")
    jpeg = tree / "c" / "imgs" / "00002.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:-30])
    write(tree / "c" / "groundtruth.txt", *rows(3))
    found = codes("tnllt", tree, decode=True, workers=2)
    assert [m.split(",")[0] for m in found["image-truncated"]] == [
        "a: frame 2 (00002.png)", "a: frame 5 (00005.png)", "c: frame 2 (00002.jpg)",
    ]  # fmt: skip
    assert [m.split(",")[0] for m in found["image-undecodable"]] == ["a: frame 3 (00003.png)", "a: frame 4 (00004.png)"]
    assert found["image-size"] == ["a: 32x24, but 10x10 from frame 6"]
    assert not {"image-truncated", "image-undecodable"} & set(codes("tnllt", tree)), "not without --decode"


def test_boxes_outside_empty_unannotated(tree: Path):
    write(tree / "a" / "groundtruth.txt", "1,2,5,6", "40,2,5,6", "0,0,0,0", "5,5,0,6", "NaN,NaN,NaN,NaN", "-2,3,9,30")
    write(tree / "b" / "groundtruth.txt", "0,0,0,0", *rows(4))
    found = codes("tnllt", tree)
    assert found["box-outside"] == ["a: 1 frame with their box outside the 32x24 image (2)"]
    assert found["box-overhang"] == ["a: 1 frame with their box over the border of 32x24 (6)"]
    assert found["box-empty"][0] == "a: 1 frame flagged present with a box of no area (4)"
    assert found["box-unannotated"] == ["a: 1 frame without a box (5)"]
    assert found["box-corner"] == ["a: 1 frame with x or y not above 0 (6)"]
    assert found["first-box"] == ["b: row 1 is [0.0, 0.0, 0.0, 0.0]"]


def test_unreadable_and_missing_files(tree: Path):
    write(tree / "a" / "groundtruth.txt", "1,2,3,4", "1,2,x,4")
    (tree / "b" / "groundtruth.txt").unlink()
    write(tree / "b" / "attributes.txt", "0,1,0")
    found = codes("tnllt", tree)
    assert "groundtruth.txt, row 2" in found["boxes-unreadable"][0]
    assert found["boxes-missing"] == ["b: has no box file"]
    assert "has 3 attribute flags; TNLLT has 15" in found["attributes-unreadable"][0]


def test_a_folder_without_pictures_and_a_gap(tree: Path):
    for path in (tree / "a" / "imgs").iterdir():
        path.unlink()
    (tree / "b" / "imgs" / "00003.png").unlink()
    found = codes("tnllt", tree)
    assert found["frames-missing"] == ["a: its folder holds no images"]
    assert found["frames-gap"] == ["b: file numbers jump 1 times: 2 -> 4"]


def test_case_twins_and_copies(tree: Path):
    tnllt_sequence(tree / "A", 4)
    tnllt_sequence(tree / "copy", 5)
    found = codes("tnllt", tree)
    assert found["name-case"] == ["A: A, a differ in case alone"]
    assert found["content-twice"] == ["b: same boxes as copy"]


def test_a_folder_spelled_otherwise_than_its_annotation(tmp_path: Path):
    write_images(tmp_path / "CarDark" / "imgs", range(1, 4))
    write(tmp_path / "annos" / "carDark.txt", *rows(3))
    assert codes("tnllt", tmp_path)["name-case"] == ["carDark: annotated as carDark, its folder is CarDark"]


def test_two_targets_in_one_video(tmp_path: Path):
    write_images(tmp_path / "Jogging" / "img", range(1, 5))
    write(tmp_path / "Jogging" / "groundtruth_rect.1.txt", *rows(4))
    write(tmp_path / "Jogging" / "groundtruth_rect.2.txt", *rows(4, first=7))
    assert codes("otb100", tmp_path)["frames-shared"] == ["Jogging-1: same frames as Jogging-2"]


def test_previews(tree: Path):
    write_images(tree / "a", range(1), "firstFrame_bbox%d.jpg")
    assert codes("tnllt", tree)["image-preview"] == ["a: firstFrame_bbox0.jpg"]


def test_split_lists(tree: Path):
    (tree / "splits").mkdir()
    (tree / "splits" / "test.txt").write_text("a\nghost\na")
    write(tree / "splits" / "train.txt", "a")
    found = codes("tnllt", tree)
    assert "test: 1 of 3 names of the folder's own list are not here (ghost)" in found["split-missing"][0]
    assert found["split-twice"] == [": test: a"] and found["split-newline"] == [": test.txt"]
    assert "1 names in both train and test: a" in found["split-overlap"][0]
    assert found["split-unlisted"] == [": 1 sequences: b"]


def test_nested_folders_and_differing_annotations(tree: Path):
    write(tree / "annos" / "annos" / "a.txt", *rows(6))
    write(tree / "annos" / "annos" / "b.txt", *rows(4))
    found = codes("tnllt", tree)
    assert found["folder-nested"] == [": annos/annos"]
    assert "a: 1 frame differ from" in found["annos-differ"][0]
    assert "b: 4 boxes here, 5 in" in found["annos-differ"][1]


def test_two_folders_of_one_name(tmp_path: Path):
    for side in "xy":
        write_images(tmp_path / "test" / side / "s" / "imgs", range(1, 4))
        write(tmp_path / "test" / side / "s" / "groundtruth.txt", *rows(3))
    with pytest.warns(UserWarning):
        assert codes("tnl2k", tmp_path)["name-twice"] == ["s: 2 folders of this name"]


def test_known_faults_are_named_with_their_remedy(tmp_path: Path):
    folder = tmp_path / "test" / "test_015_Sord_video_Q01_done"
    write_images(folder / "imgs", range(1, 4), "%05d.png")
    (folder / "imgs" / "00002.png").write_bytes(b"x")
    write(folder / "groundtruth.txt", *rows(3))
    (folder / "language.txt").write_text("")
    report = check_dataset("tnl2k", tmp_path, decode=True)
    text = report.render()
    assert "known fault: frame 492 of the TNL2K release is broken for everyone" in text
    assert "known fault: the TNL2K release has empty language files" in text


def test_codes_have_a_remedy_and_stay():
    assert all(code.title and code.remedy for code in CHECKER.kinds.values())
    assert {"frames-more", "boxes-more", "flags-more", "language-empty", "image-undecodable"} <= set(CHECKER.kinds)


def test_command_text_json_and_exit_codes(tree: Path, tmp_path: Path):
    run = CliRunner().invoke
    good = run(cli, ["check", str(tree)], standalone_mode=False)
    assert good.return_value == 0 and ": 2 sequences (2 with frames), 11 boxes: 1 note" in good.output
    (tree / "a" / "imgs" / "00001.png").write_bytes(b"x")
    bad = run(cli, ["check", str(tree), "--decode", "--format", "json"], standalone_mode=False)
    assert bad.return_value == 1
    data = json.loads(bad.stdout)
    (fault,) = [f for f in data["findings"] if f["severity"] == "error"]
    assert fault["code"] == "image-undecodable" and fault["sequence"] == "a" and fault["frames"] == [1]
    assert data["counts"]["error"] == 1 and data["images_decoded"] == 11
    written = tmp_path / "report.json"
    run(cli, ["check", str(tree), "--format", "json", "-o", str(written)], standalone_mode=False)
    assert json.loads(written.read_text())["schema"] == "tnllt.check/1"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_size_from_the_header(tmp_path: Path, suffix: str):
    path = tmp_path / f"x{suffix}"
    cv2.imwrite(str(path), np.zeros((37, 53, 3), np.uint8))
    assert image_size(path) == (37, 53)


def test_the_real_clips(shared: Path):
    report = check_dataset(shared / "data" / "otb", decode=True)
    assert [report.facts[key] for key in ("sequences", "boxes", "images_decoded")] == [5, 632, 639]
    assert report.count("error") == 0
    (fault,) = [f for f in report.found if f.code == "frames-more"]
    assert (fault.sequence, fault.text) == ("Football1", "81 frames, 74 boxes") and "first 74" in fault.remedy


def test_the_real_annotations(shared: Path):
    tnl2k = check_dataset("tnl2k", annos=shared / "data" / "tnl2k" / "annos")
    assert tnl2k.facts["sequences"] == 700 and tnl2k.count("error") == 0
    assert sum(f.count for f in tnl2k.found if f.code == "box-corner") == 14_555
    (fault,) = [f for f in tnl2k.found if f.code == "flags-more"]
    assert (fault.sequence, fault.text) == ("advSamp_monitor_bikeyellow", "930 flags, 929 boxes")
    lasot = check_dataset("lasot", annos=shared / "data" / "lasot" / "annos")
    assert (lasot.facts["sequences"], lasot.facts["boxes"]) == (280, 685_360) and lasot.count("error") == 0
    previews = check_dataset(shared / "data" / "tnl2k" / "sequences")
    assert previews.facts["sequences"] == 12
    assert sum(f.code == "image-preview" for f in previews.found) == 12


def test_every_code_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
    for code in CHECKER.kinds.values():
        assert f"| `{code.code}` | {code.severity} | {code.title} | {code.remedy} |" in page


def test_a_video_that_ends_before_its_header_says(tmp_path: Path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in range(40):
        writer.write(np.random.default_rng(number).integers(0, 255, (48, 64, 3), np.uint8))
    writer.release()
    write(tmp_path / "clip.txt", *rows(40))
    assert "image-truncated" not in codes(tmp_path, decode=True)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (message,) = codes(tmp_path, decode=True).get("image-truncated") or codes(tmp_path, decode=True)["boxes-more"]
    assert "frames" in message
