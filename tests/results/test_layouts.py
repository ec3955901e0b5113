"""read_results are found in every layout that trackers' code writes, in folders and in zip files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.results.layouts import find_results
from tnllt.results.reading import read_boxes, read_many, read_results

NAMES = ["bird-1", "car-2"]
ROWS = "1,2,3,4\n5,6,7,8\n"
LAYOUTS = {
    "official": ("{t}_tracking_result/{s}.txt", "ATOM"),
    "plain": ("{t}/{s}.txt", "ATOM"),
    "nested": ("tracking_results/tracking_results/{t}_tracking_result/{s}.txt", "ATOM"),
    "pytracking": ("{t}/default/{s}.txt", "ATOM_default"),
    "pytracking run": ("{t}/default_003/{s}.txt", "ATOM_default_003"),
    "ostrack": ("{t}/vitb_384/lasot/{s}.txt", "ATOM_vitb_384"),
    "ostrack above": ("test/tracking_results/{t}/vitb_384/lasot/{s}.txt", "ATOM_vitb_384"),
    "got10k": ("GOT-10k/{t}/{s}/{s}_001.txt", "ATOM"),
    "got10k otb": ("OTB100/{t}/{s}.txt", "ATOM"),
    "vot": ("{t}/baseline/{s}/{s}_001.txt", "ATOM"),
    "csv": ("{t}/{s}.csv", "ATOM"),
    "case": ("{t}/{S}.txt", "ATOM"),
}


def fill(folder: Path, pattern: str) -> None:
    for name in NAMES:
        path = folder / pattern.format(t="ATOM", s=name, S=name.upper())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ROWS)


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    return target


@pytest.mark.parametrize(("pattern", "tracker"), LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("as_zip", [False, True])
def test_layouts(tmp_path, pattern, tracker, as_zip):
    fill(tmp_path / "results", pattern)
    place = zipped(tmp_path / "results", tmp_path / "all.zip") if as_zip else tmp_path / "results"
    found = find_results(place, NAMES)
    assert list(found.trackers) == [tracker] and list(found.trackers[tracker]) == NAMES
    results = read_results(found.trackers[tracker])
    assert set(results) == set(NAMES) and results["car-2"].boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_one_trackers_own_folder_and_zips_beside_folders(tmp_path):
    fill(tmp_path / "x" / "SiamFC_tracking_result", "{s}.txt")
    assert list(find_results(tmp_path / "x" / "SiamFC_tracking_result", NAMES).trackers) == ["SiamFC"]
    fill(tmp_path / "made", "{t}/{s}.txt")
    zipped(tmp_path / "made", tmp_path / "x" / "DiMP.zip")
    zipped(tmp_path / "made" / "ATOM", tmp_path / "x" / "KCF_tracking_result.zip")
    zipped(tmp_path / "made", tmp_path / "x" / "SiamFC_tracking_result.zip")  # beside its own folder: not read twice
    assert list(find_results(tmp_path / "x", NAMES).trackers) == ["DiMP_ATOM", "KCF", "SiamFC"]


def test_what_lies_beside_is_no_result(tmp_path):
    fill(tmp_path, "{t}/{s}.txt")
    for ending in ("_time.txt", "_confidence.txt"):
        (tmp_path / "ATOM" / f"bird-1{ending}").write_text("0.5\n0.25\n")
    (tmp_path / "ATOM" / "notes.txt").write_text("hello")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "bird-1.txt").write_text(ROWS)
    found = find_results(tmp_path, NAMES)
    assert list(found.trackers) == ["ATOM"] and [Path(p).name for p in found.unknown] == ["notes.txt"]
    read = read_results(found.trackers["ATOM"])["bird-1"]
    assert read.confidence.tolist() == [0.5, 0.25] and read.seconds.tolist() == [0.5, 0.25]


def test_vot_confidence_without_a_first_value(tmp_path):
    fill(tmp_path, "{t}/longterm/{s}/{s}_001.txt")
    (tmp_path / "ATOM/longterm/bird-1/bird-1_001_confidence.value").write_text("\n0.25\n")
    assert read_results(find_results(tmp_path, NAMES).trackers["ATOM"])["bird-1"].confidence.tolist() == [1.0, 0.25]
    (tmp_path / "ATOM/longterm/bird-1/bird-1_001_confidence.value").write_text("1\n2\n3\n4\n")
    with pytest.raises(DataError, match="4 values for 2 rows"):
        read_results(find_results(tmp_path, NAMES).trackers["ATOM"])["bird-1"]


def test_each_run_has_the_confidence_of_its_own_number(tmp_path):
    for run, values in ((1, "0.5\n0.25\n"), (2, "0.25\n0.5\n"), (3, None)):
        fill(tmp_path, f"{{t}}/{{s}}/{{s}}_{run:03}.txt")
        if values is not None:
            (tmp_path / f"ATOM/bird-1/bird-1_{run:03}_confidence.value").write_text(values)
    (tmp_path / "ATOM/bird-1/bird-1_001_time.txt").write_text("1\n2\n")
    found = {t: read_results(own)["bird-1"] for t, own in find_results(tmp_path, NAMES).trackers.items()}
    assert found["ATOM"].confidence.tolist() == [0.5, 0.25] and found["ATOM"].seconds.tolist() == [1, 2]
    assert found["ATOM#2"].confidence.tolist() == [0.25, 0.5] and found["ATOM#2"].seconds is None
    assert found["ATOM#3"].confidence is None


@pytest.mark.parametrize("pattern", ["{t}/{s}.txt", "{t}/{s}_001.txt"])
@pytest.mark.parametrize("names", [["Car", "car"], ["car", "Car"]])
def test_names_that_differ_in_case_alone_stay_apart(tmp_path, names, pattern):
    for k, name in enumerate(names):
        path = tmp_path / pattern.format(t="T", s=name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{k},2,3,4\n")
        (path.parent / f"{name}_confidence.txt").write_text(f"{k}\n")
    results = read_results(find_results(tmp_path, names).trackers["T"])
    assert [results[name].boxes[0, 0] for name in names] == [0, 1]
    assert [results[name].confidence[0] for name in names] == [0, 1]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "no such results folder"),
        (lambda p: p.mkdir(), "no tracker in it"),
        (lambda p: p.write_bytes(b"PK\x03\x04 not a zip"), "neither a folder nor a zip"),
        (lambda p: (p.mkdir(), (p / "other-9.txt").write_text(ROWS)), "none is named after a sequence"),
    ],
)
def test_places_without_results(tmp_path, make, says):
    make(tmp_path / "place")
    with pytest.raises(DataError, match=says) as caught:
        find_results(tmp_path / "place", NAMES)
    assert "place" in str(caught.value)


def test_two_files_for_one_result_are_named(tmp_path):
    fill(tmp_path, "{t}_tracking_result/{s}.txt")
    fill(tmp_path, "{t}/{s}.txt")
    with pytest.raises(DataError, match="two results of 'ATOM' on 'bird-1'"):
        find_results(tmp_path, NAMES)


def test_later_runs_are_trackers_of_their_own(tmp_path):
    fill(tmp_path, "{t}/{s}/{s}_001.txt")
    fill(tmp_path, "{t}/{s}/{s}_002.txt")
    assert list(find_results(tmp_path, NAMES).trackers) == ["ATOM", "ATOM#2"]


def test_damaged_and_hostile_zips(tmp_path):
    with zipfile.ZipFile(tmp_path / "r.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../ATOM/bird-1.txt", ROWS)
        archive.writestr("ATOM/car-2.txt", ROWS * 500)
    found = find_results(tmp_path / "r.zip", NAMES)
    assert found.trackers["ATOM"]["bird-1"].read() == ROWS.encode()
    assert [p.name for p in tmp_path.rglob("*")] == ["r.zip"]  # nothing is unpacked
    raw = bytearray((tmp_path / "r.zip").read_bytes())
    at = raw.index(b"ATOM/car-2.txt") + 20
    raw[at : at + 8] = b"\xff" * 8
    (tmp_path / "r.zip").write_bytes(raw)
    with pytest.raises(DataError, match=r"r\.zip/ATOM/car-2\.txt: cannot be unpacked"):
        read_many([find_results(tmp_path / "r.zip", NAMES).trackers["ATOM"]["car-2"]])


def test_read_boxes(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf1\t2\t3\t4\r\n1e1;2,3 NaN\r\n\r\n")
    np.testing.assert_array_equal(read_boxes(tmp_path / "a.txt"), [[1, 2, 3, 4], [10, 2, 3, np.nan]])
    (tmp_path / "a.txt").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_boxes(tmp_path / "a.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path / "b.txt")
