"""Any dataset in TNLLT's layout; PNG as JPEG with the saving and the loss."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from trees import SIZE, number_of, picture, rows, tnllt_sequence, write, write_images

from tnllt import TNLLTDataset, open_dataset
from tnllt.datasets.convert import annotation_files, convert, format_boxes, format_conversion
from tnllt.errors import DataError
from tnllt.sequence import Annotation


def same(a, b) -> None:
    assert a.names == b.names
    for one, two in zip(a, b, strict=True):
        np.testing.assert_array_equal(one.groundtruth, two.groundtruth)
        assert (one.present is None) == (two.present is None)
        assert one.present is None or (one.present == two.present).all()
        assert one.language == two.language and one.attributes == two.attributes


def test_other_polarity_other_attributes_other_names(tmp_path: Path):
    folder = tmp_path / "in" / "cat" / "cat-1"
    write_images(folder / "img", range(1, 5))
    write(folder / "groundtruth.txt", "1,2,3,4", "1.1,2,3,4", "0,0,0,0", "NaN,NaN,NaN,NaN")
    write(folder / "full_occlusion.txt", "0,0,1,0")
    write(folder / "out_of_view.txt", "0,0,0,1")
    write(tmp_path / "in" / "annos" / "att" / "cat-1.txt", ",".join("01" * 7))
    write(tmp_path / "in" / "annos" / "cat-1.txt", "1,2,3,4", "1.1,2,3,4", "0,0,0,0", "NaN,NaN,NaN,NaN")
    source = open_dataset("lasot", tmp_path / "in", split=None)
    convert(source, tmp_path / "out", split="test")
    assert (tmp_path / "out" / "cat-1" / "absent_label.txt").read_text() == "1\n1\n0\n0\n"
    for opened in (open_dataset(tmp_path / "out"), open_dataset("tnllt", tmp_path / "out")):
        same(source, opened)
        assert [number_of(image) for image in opened[0]] == [1, 2, 3, 4]
    assert (tmp_path / "out" / "cat-1" / "imgs" / "00001.jpg").read_bytes() == (
        folder / "img" / "00000001.jpg"
    ).read_bytes()


def test_any_name_of_an_attribute_comes_back(tmp_path: Path):
    """In dataset.toml, which a name must not write into."""
    write(tmp_path / "in" / "a" / "groundtruth.txt", *rows(3))
    write(tmp_path / "in" / "a" / "attributes.txt", "1,0")
    name = r"say \"hi\"\nroot = \"/etc\""
    write(tmp_path / "in" / "dataset.toml", 'base = "tnllt"', f'name = "{name}"', f'attribute_names = ["{name}", "B"]')
    source = open_dataset(tmp_path / "in", split=None)
    convert(source, tmp_path / "out")
    back = open_dataset(tmp_path / "out", split=None)
    same(source, back)
    assert back.name == source.name == 'say "hi"\nroot = "/etc"'


def test_line_breaks_in_descriptions_become_blanks(tmp_path: Path):
    annotation = Annotation(np.ones((3, 4)), language="a red\ncar", descriptions=("a\r\nb", "two  blanks", "\u2028c\n"))
    for name, text in annotation_files(annotation):
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a" / name).write_text(text, encoding="utf-8")
    (sequence,) = TNLLTDataset(tmp_path, split=None)
    assert sequence.language == "a red car" and sequence.descriptions == ("a b", "two  blanks", "c")


def test_tnllt_round_trip_and_the_toolkit_folder(tmp_path: Path):
    tnllt_sequence(tmp_path / "in" / "a", 4, absent=(2,))
    source = TNLLTDataset(tmp_path / "in", split=None)
    convert(source, tmp_path / "out", split="test")
    same(source, TNLLTDataset(tmp_path / "out"))
    assert not (tmp_path / "out" / "dataset.toml").exists()
    alone = open_dataset("tnllt", annos=tmp_path / "out" / "annos")
    assert alone[0].present.tolist() == [True, False, True, True] and alone[0].attributes == source[0].attributes


def test_what_is_not_said_is_not_written(tmp_path: Path):
    write_images(tmp_path / "in" / "a" / "img", range(1, 7))
    write(tmp_path / "in" / "a" / "groundtruth_rect.txt", *rows(4))
    with pytest.warns(UserWarning):
        convert(open_dataset(tmp_path / "in"), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out" / "a").iterdir()) == ["groundtruth.txt", "imgs"]
    assert len(list((tmp_path / "out" / "a" / "imgs").iterdir())) == 4, "the annotated frames"


def test_png_to_jpeg_states_saving_and_loss(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 4)
    folder = tmp_path / "in" / "a" / "imgs"
    folder.mkdir(parents=True)
    for i in range(1, 4):
        cv2.imwrite(str(folder / f"{i:05}.png"), noise if i == 2 else smooth)
    write(tmp_path / "in" / "a" / "groundtruth.txt", *rows(3))
    result = convert(TNLLTDataset(tmp_path / "in", split=None), tmp_path / "out", images="jpeg", quality=80)
    files = sorted((tmp_path / "out" / "a" / "imgs").iterdir())
    assert [p.name for p in files] == ["00001.jpg", "00002.jpg", "00003.jpg"]
    assert result.bytes_after == sum(p.stat().st_size for p in files) < result.bytes_before
    psnr = [cv2.PSNR(cv2.imread(str(p)), noise if i == 1 else smooth) for i, p in enumerate(files)]
    assert result.psnr == pytest.approx(psnr, abs=1e-3)
    assert result.worst == (pytest.approx(psnr[1], abs=1e-3), "a", 2)
    text = format_conversion(result)
    assert "saved" in text and f"worst {psnr[1]:.1f} dB (a, frame 2)" in text


def test_a_video_becomes_frames(tmp_path: Path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, SIZE[::-1])
    for number in range(1, 11):
        writer.write(picture(number)[..., ::-1])
    writer.release()
    write(tmp_path / "clip.txt", *rows(10))
    convert(open_dataset(tmp_path / "clip.avi"), tmp_path / "out", images="png")
    (sequence,) = TNLLTDataset(tmp_path / "out", split=None)
    assert [number_of(image) for image in sequence] == list(range(1, 11))


def test_interrupted_conversion_goes_on(tmp_path: Path):
    for name in "abc":
        tnllt_sequence(tmp_path / "in" / name, 3)
    broken = tmp_path / "in" / "b" / "imgs" / "00002.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40])
    source = TNLLTDataset(tmp_path / "in", split=None)
    with pytest.raises(DataError, match=r"00002\.png"):
        convert(source, tmp_path / "out", images="jpeg")
    assert TNLLTDataset(tmp_path / "out", names="a", split=None).names == ["a"]
    assert not (tmp_path / "out" / "b").exists()
    broken.write_bytes(whole)
    result = convert(source, tmp_path / "out", images="jpeg")
    assert (result.sequences, result.skipped) == (2, 1)
    same(source, TNLLTDataset(tmp_path / "out", split=None))
    assert not list((tmp_path / "out").glob("*draft*"))


def test_boxes_are_written_exactly():
    boxes = np.array([[0.1, 1 / 3, 1e-7, 123456789.125], [1, -2, 3.5, np.nan]])
    text = format_boxes(boxes)
    assert text.splitlines()[1] == "1,-2,3.5,NaN"
    read = np.array([[float(v) for v in row.split(",")] for row in text.splitlines()])
    np.testing.assert_array_equal(read, boxes)


def test_the_longest_names_are_converted(tmp_path: Path):
    name = "x" * 251
    tnllt_sequence(tmp_path / "in" / name, 2)
    convert(open_dataset(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out" / name / "imgs" / "00002.png").is_file() and not list((tmp_path / "out").glob(".*"))


def test_jpeg_files_are_copied_byte_for_byte(tmp_path: Path):
    folder = tmp_path / "in" / "a" / "imgs"
    folder.mkdir(parents=True)
    picture_ = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name, flags in (("00001.jpeg", [cv2.IMWRITE_JPEG_QUALITY, 60]), ("00002.JPG", [])):
        (folder / name).write_bytes(cv2.imencode(".jpg", picture_, flags)[1].tobytes())
    cv2.imwrite(str(folder / "00003.png"), picture_)
    write(tmp_path / "in" / "a" / "groundtruth.txt", *rows(3))
    result = convert(TNLLTDataset(tmp_path / "in", split=None), tmp_path / "out", images="jpeg")
    out = tmp_path / "out" / "a" / "imgs"
    assert (out / "00001.jpg").read_bytes() == (folder / "00001.jpeg").read_bytes()
    assert (out / "00002.jpg").read_bytes() == (folder / "00002.JPG").read_bytes()
    assert len(result.psnr) == 1, "only the PNG was encoded"
