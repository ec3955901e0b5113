"""What is wrong with a dataset's files is said with file and remedy: reading, checking, converting, unpacking."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from trees import rows, tnllt_sequence, write, write_images

from tnllt import TNLLTDataset, open_dataset
from tnllt.datasets import text
from tnllt.datasets.archives.members import Archive
from tnllt.datasets.archives.prepare import DRAFT, make_plan, prepare, unpack, verify
from tnllt.datasets.card import Card, format_card, make_card
from tnllt.datasets.check import check_dataset
from tnllt.datasets.convert import convert, format_conversion
from tnllt.datasets.frames import (
    ArrayFrames,
    ImageFrames,
    VideoFrames,
    examine,
    image_size,
    is_truncated,
    prefetch,
    read_image,
)
from tnllt.datasets.reader import read_groundtruth, read_metadata
from tnllt.errors import DataError, TnlltError, UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tnllt_sequence(tmp_path / "tree" / "a", 6, absent=(3,), language="the red car on the road")
    return tmp_path / "tree"


def codes(tree: Path) -> dict[str, str]:
    return {f.code: f.text for f in check_dataset("tnllt", tree).found if f.code != "flags-sense"}


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "lines", "words"),
    [
        ("groundtruth.txt", [""], "groundtruth.txt: is empty; a box file has a row"),
        ("groundtruth.txt", ["1,2,3"], r"row 1: has 3 values, a box has 4"),
        ("groundtruth.txt", ["1,2,3,4,5,6,7,8"], 'four corners\\? state format = "polygon"'),
        ("absent_label.txt", [1, 1], "absent_label.txt: has 2 flags for 6 boxes"),
        ("absent_label.txt", [1, 0.5, 1, 1, 1, 1], "row 2: 0.5 is not a flag"),
        ("attributes.txt", ["CM NOPE"], "'NOPE' is not an attribute; known are CM"),
        ("attributes.txt", ["0,1"], "has 2 attribute flags; TNLLT has 15"),
    ],
)
def test_a_sequence_with_a_bad_file(tree: Path, file: str, lines: list[object], words: str) -> None:
    write(tree / "a" / file, *lines)
    with pytest.raises(DataError, match=words):
        _ = TNLLTDataset(tree, split=None)[0].annotation


def test_a_sequence_without_boxes(tree: Path) -> None:
    (place,) = TNLLTDataset(tree, split=None).places
    bare = replace(place, layout=replace(place.layout, boxes=("{folder}/other.txt",)))
    with pytest.raises(DataError, match=r"sequence 'a' has no box file \(looked for: .*/a/other\.txt"):
        read_groundtruth(bare)


def test_sentences_per_frame_must_be_as_many(tmp_path: Path) -> None:
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    write_images(tmp_path / "a" / "img", range(1, 4))
    write(tmp_path / "dataset.toml", 'descriptions = "{folder}/words.txt"')
    write(tmp_path / "a" / "words.txt", "a car", "a van")
    with pytest.raises(DataError, match=r"words\.txt: has 2 descriptions for 3 frames"):
        _ = open_dataset(tmp_path)[0].annotation
    write(tmp_path / "a" / "words.txt", "a car", "a van", "a car")
    dataset = open_dataset(tmp_path)
    assert dataset[0].descriptions == ("a car", "a van", "a car")
    assert dataset.metadata("a") == {} and read_metadata(dataset.places[0]) == {}
    convert(dataset, tmp_path / "out")
    assert (tmp_path / "out" / "a" / "descriptions.txt").read_text() == "a car\na van\na car\n"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a car\n\n\n", ("a car", "", "")),
        ("\n\n\n", ("", "", "")),
        ("a car\n\na van\n\n\n", ("a car", "", "a van")),
        ("a car\r\n\r\n\r\n", ("a car", "", "")),
        ("a car\r\ra van\r", ("a car", "", "a van")),
        ("a car\n\n", None),
    ],
)
def test_descriptions_of_three_frames(tmp_path: Path, written: str, read: tuple[str, ...] | None) -> None:
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    (tmp_path / "a" / "descriptions.txt").write_bytes(written.encode())
    if read is None:
        with pytest.raises(DataError, match=r"descriptions\.txt: has 2 descriptions for 3 frames"):
            _ = open_dataset(tmp_path, split=None)[0].annotation
        return
    dataset = open_dataset(tmp_path, split=None)
    assert dataset[0].descriptions == read
    convert(dataset, tmp_path / "out")
    assert open_dataset(tmp_path / "out", split=None)[0].descriptions == read


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['absent = "{folder}/a.txt"', "present = 2"], "present = 2: the flag"),
        (["present = 1"], "name the flag file"),
        (["splits = 3"], r"\[splits\] must be a table"),
        (["root = 3"], "`root` must be a string"),
        (["boxes = 3"], "`boxes` must be a string or a list"),
        (['format = "odd"'], "known are xywh"),
        (['base = "odd"'], "is not a benchmark"),
        (["odd = 1"], "unknown key 'odd'"),
    ],
)
def test_layouts_that_cannot_be_meant(tmp_path: Path, lines: list[str], words: str) -> None:
    write(tmp_path / "a" / "groundtruth.txt", *rows(3))
    with pytest.raises(UsageError, match=words):
        open_dataset(write(tmp_path / "dataset.toml", *lines))


def test_box_formats(tmp_path: Path) -> None:
    path = write(tmp_path / "x.txt", "10,20,4,6")
    assert text.read_boxes(path, "cxcywh").tolist() == [[8, 17, 4, 6]]
    assert text.read_boxes(path, "xyxy").tolist() == [[10, 20, -6, -14]]
    with pytest.raises(DataError, match="unknown box format 'odd'"):
        text.read_boxes(path, "odd")
    write(path, '0 1 2 3 4 0 "car"', '0 1 2 three 4 0 "car"')
    with pytest.raises(DataError, match=r"x\.txt, row 2: needs `id x1 y1 x2 y2"):
        text.read_boxes(path, "vatic")


def test_what_is_no_dataset(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither a folder, a \.toml file nor a video"):
        open_dataset(write(tmp_path / "notes.txt", "no dataset"))
    with pytest.raises(DataError, match=r"none of the 150 sequences of split 'train' is annotated here"):
        open_dataset("tnllt", tree, split="train")
    (tree / "a" / "attributes.txt").unlink()
    with pytest.raises(DataError, match="cannot be chosen by attribute"):
        TNLLTDataset(tree, split=None, attributes="CM")
    assert repr(TNLLTDataset(tree, split=None)) == "<TNLLT: 1 sequences>"
    (tree / "a" / "groundtruth.txt").unlink()
    with pytest.raises(DataError, match="1 sequences are here but none has its box file"):
        open_dataset("tnllt", tree, split=None)


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    frames = ImageFrames(tmp_path / "none")
    assert repr(frames) == f"ImageFrames('{tmp_path}/none')"
    with pytest.raises(DataError, match="none: folder of frames cannot be listed"):
        len(frames)
    for read in (read_image, image_size):
        with pytest.raises(DataError, match=r"x\.png: (frame )?cannot be read"):
            read(tmp_path / "x.png")
    assert examine(tmp_path / "x.png") == ("image-undecodable", None)
    with pytest.raises(ValueError, match="at least 1"):
        prefetch(ArrayFrames([]), ahead=0)


def test_videos_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.avi"
    frames = VideoFrames(path)
    assert repr(frames) == f"VideoFrames('{path}')"
    with pytest.raises(DataError, match=r"x\.avi: video cannot be opened"):
        len(frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 24))
    for _ in range(30):
        writer.write(np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8))
    writer.release()
    assert len(VideoFrames(path)) == 30
    data = path.read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(data[: len(data) // 2])
    frames = VideoFrames(cut)
    with pytest.raises(DataError, match=r"cut\.avi: (frame \d+ cannot be decoded|has \d+ frames|video )"):
        _ = [frames[i] for i in range(30)]


def test_pngs_that_break_off(tmp_path: Path) -> None:
    whole = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    assert (
        not is_truncated(whole) and is_truncated(whole[:-12]) and is_truncated(whole[:-4]) and is_truncated(whole[:8])
    )
    assert not is_truncated(b"BM and more")


# --- checking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "lines", "code", "words"),
    [
        ("groundtruth.txt", ["1,2,3,x"] * 6, "boxes-unreadable", "'x' is not a number"),
        ("absent_label.txt", ["x"] * 6, "flags-unreadable", "'x' is not a number"),
        ("language.txt", ["the red car", "another line"], "language-odd", "more than one line"),
    ],
)
def test_the_check_names_bad_files(tree: Path, file: str, lines: list[object], code: str, words: str) -> None:
    write(tree / "a" / file, *lines)
    assert words in codes(tree)[code]


def test_the_card_of_little(tree: Path) -> None:
    empty = make_card(TNLLTDataset(tree, split=None)[:0])
    assert (empty.sequences, empty.frames, empty.side) == (0, 0, None)
    (tree / "a" / "imgs" / "00001.png").write_bytes(b"no picture")
    assert make_card(TNLLTDataset(tree, split=None)).resolutions == {"unreadable": 1}
    shown = format_card(Card("x", "X", sequences=3, with_frames=2, frames=9))
    assert "with frames   2" in shown and "unknown: no presence files" in shown


# --- converting -------------------------------------------------------------------------------------------------------


def test_converting_says_what_it_cannot(tree: Path, tmp_path: Path) -> None:
    dataset = TNLLTDataset(tree, split=None)
    with pytest.raises(UsageError, match="images = 'odd'; known are keep, jpeg, png"):
        convert(dataset, tmp_path / "out", images="odd")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TnlltError, match="file"):
        convert(dataset, tmp_path / "file")
    convert(dataset, tmp_path / "out")
    assert "; 1 were there already" in format_conversion(convert(dataset, tmp_path / "out"))


# --- archives ---------------------------------------------------------------------------------------------------------


def archive(tmp_path: Path, data: bytes, name: str = "annos.zip") -> Archive:
    path = tmp_path / name
    path.write_bytes(data)
    return Archive(name, (path,), "annos")


def zipped(*members: tuple[str, bytes], **changes: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            file.writestr(info, data)
    return stream.getvalue()


GOOD = (("annos/a.txt", b"1,2,3,4\n"), ("annos/b.txt", b"5,6,7,8\n"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zipped(("a", b"1"), ("a", b"2")), "holds 'a' twice, with different content"),
        (zipped(("annos/a", b"1"), ("a", b"2")), "would be one file or folder"),
        (zipped(("a", b"1"), ("a/b", b"2")), "would be one file or folder"),
        (zipped(("x" * 300, b"1")), "not every system can write"),
        (zipped(("con.txt", b"1")), "not every system can write"),
        (zipped(("fifo", b""), external_attr=0o010644 << 16), "neither a file nor a folder"),
    ],
)
def test_archives_that_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make_plan(archive(tmp_path, data), tmp_path)


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    data = bytearray(zipped(*GOOD))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    with pytest.raises(DataError, match=r"annos/a\.txt' is encrypted"):
        make_plan(archive(tmp_path, bytes(data)), tmp_path)


def test_zip_files_in_parts_are_refused(tmp_path: Path) -> None:
    for part in ("aa", "ab"):
        (tmp_path / f"x_part_{part}").write_bytes(zipped(*GOOD))
    with pytest.raises(DataError, match="zip file in parts cannot be read"):
        prepare(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match="no such folder of downloads"):
        prepare(tmp_path / "nothing", tmp_path / "out")


def test_what_goes_on_behind_a_tar_is_bounded(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as file:
        info = tarfile.TarInfo("a.txt")
        file.addfile(info, io.BytesIO())
        file.fileobj.write(bytes(1024))  # tar's end; the padding behind it goes on and on
        for _ in range(70):
            file.fileobj.write(bytes(1 << 20))
    with pytest.raises(DataError, match="goes on behind its last member"):
        make_plan(archive(tmp_path, stream.getvalue(), "x.tar.gz"), tmp_path)


def test_unpacking_into_a_tree_that_resists(tmp_path: Path) -> None:
    plan = make_plan(archive(tmp_path, zipped(*GOOD)), tmp_path)
    root = tmp_path / "out"
    (root / "annos").mkdir(parents=True)
    (root / "annos" / "a.txt").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"annos/a\.txt: is a link where a file of the archive belongs"):
        unpack(plan, root)
    (root / "annos" / "a.txt").unlink()
    assert unpack(plan, root) == 2
    (root / "annos" / "b.txt").unlink()
    with pytest.raises(DataError, match=r"b\.txt: cannot be read back"):
        verify(plan, root)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "annos").write_text("a file where a folder belongs")
    with pytest.raises(DataError, match="annos: folder cannot be made"):
        unpack(plan, blocked)


def test_an_archive_that_changes_while_it_is_unpacked(tmp_path: Path) -> None:
    where = archive(tmp_path, zipped(*GOOD))
    plan = make_plan(where, tmp_path)
    (tmp_path / "out").mkdir()
    where.parts[0].write_bytes(zipped(("annos/a.txt", b"9,9,9,9\n"), GOOD[1]))
    with pytest.raises(DataError, match=r"a\.txt: the archive has changed while it was unpacked"):
        unpack(plan, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(f"*{DRAFT}")) and not list((tmp_path / "out").rglob("*.txt"))


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(archive(tmp_path, zipped(*GOOD)), tmp_path)
    (tmp_path / "out").mkdir()
    real = Path.open

    def full(path: Path, *args: object, **more: object) -> object:
        if path.name.endswith(DRAFT):
            raise OSError(28, os.strerror(28))
        return real(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\); make room"):
        unpack(plan, tmp_path / "out")


def test_the_draft_of_a_killed_run_is_written_anew(tmp_path: Path) -> None:
    archive(tmp_path, zipped(*GOOD))
    (tmp_path / "out" / "annos").mkdir(parents=True)
    draft = tmp_path / "out" / "annos" / f"{zlib.crc32(b'a.txt'):08x}{DRAFT}"
    draft.write_bytes(b"1,2")
    prepare(tmp_path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(f"*{DRAFT}"))
    assert (tmp_path / "out" / "annos" / "a.txt").read_bytes() == GOOD[0][1]


# --- tables of sentences ----------------------------------------------------------------------------------------------


def table(tmp_path: Path, *rows_: tuple[object, ...]) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows_:
        book.active.append(row)
    book.save(tmp_path / "x.xlsx")
    return tmp_path / "x.xlsx"


HEAD = ("level", "start_frame", "end_frame", "description")


def test_tables_of_sentences(tmp_path: Path) -> None:
    path = table(
        tmp_path, HEAD, ("action", 1, 2, "runs"), ("action", 3, 99, None), ("story", 0, 9, "a  dog"), ("action",)
    )
    assert text.read_story(path) == "a dog"
    assert text.read_descriptions(path, 4) == ("", "runs", "runs", "")
    with pytest.raises(DataError, match=r"x\.xlsx, row 1: needs the columns"):
        text.read_spans(table(tmp_path, ("a", "b")))
    for odd in ("soon", None, 1e400):
        with pytest.raises(DataError, match=r"x\.xlsx, row 2: start_frame and end_frame|no xlsx table"):
            text.read_spans(table(tmp_path, HEAD, ("action", odd, 2, "runs")))


def test_a_table_that_unpacks_to_too_much(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    with zipfile.ZipFile(tmp_path / "x.xlsx", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/workbook.xml", bytes(65 << 20))
    with pytest.raises(DataError, match=r"x\.xlsx: unpacks to more than 64 MB"):
        text.read_spans(tmp_path / "x.xlsx")


def test_a_table_of_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_MOST_ROWS", 4)
    rows_ = [("action", i, i, "runs") for i in range(4)]
    assert len(text.read_spans(table(tmp_path, HEAD, *rows_[:3]))) == 3
    with pytest.raises(DataError, match=r"x\.xlsx: has more than 4 rows"):
        text.read_spans(table(tmp_path, HEAD, *rows_))
