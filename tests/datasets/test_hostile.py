"""Whatever a file holds, reading it gives what it says or one clear error."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tnllt.datasets import text
from tnllt.datasets.archives.members import Archive, Unsafe, safe_path
from tnllt.datasets.archives.prepare import destinations
from tnllt.datasets.check.sequences import odd_description
from tnllt.datasets.frames import frame_order, image_size, is_truncated, read_image
from tnllt.errors import DataError

_any = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_digits = st.text(alphabet="0123456789.,-+eENa \t\n;", max_size=80).map(str.encode)


@_any
@given(data=st.one_of(st.binary(max_size=200), _digits))
def test_annotation_files(tmp_path: Path, data: bytes):
    path = tmp_path / "x.txt"
    path.write_bytes(data)
    for form in text.BOX_FORMATS:
        try:
            boxes = text.read_boxes(path, form)
        except DataError as error:
            assert "x.txt" in str(error)
        else:
            assert boxes.ndim == 2 and boxes.shape[1] == 4
    try:
        assert text.read_flags(path).ndim == 1
    except DataError as error:
        assert "x.txt" in str(error)
    sentence = text.read_first_line(path)
    assert sentence is None or sentence.strip()
    odd_description(sentence or "")


@_any
@given(data=st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(lambda b: b"\xff\xd8" + b)))
def test_image_files(tmp_path: Path, data: bytes):
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    is_truncated(data)
    for read in (read_image, image_size):
        try:
            read(path)
        except DataError as error:
            assert "x.jpg" in str(error)


@_any
@given(name=st.one_of(st.text(max_size=60), st.text(alphabet="./\\ab:~", max_size=30)))
def test_no_member_path_leads_outside(name: str):
    try:
        path = safe_path(name, Archive("x", (Path("x.tar"),), "sequences"))
    except Unsafe:
        return
    assert not path.is_absolute() and ".." not in path.parts and path.parts
    root = Path("/somewhere/root")
    assert root in (root / path).resolve().parents


@_any
@given(
    st.lists(st.lists(st.sampled_from(["annos", "TNLLT", "s", "imgs", "a.txt"]), min_size=1, max_size=5), max_size=8)
)
def test_no_destination_leads_outside(paths: list[list[str]]):
    names = ["/".join(parts) for parts in paths]
    for kind in ("sequences", "annos", "tracking_results"):
        for target in destinations(list(dict.fromkeys(names)), kind).values():
            assert isinstance(target, PurePosixPath) and not target.is_absolute() and ".." not in target.parts
            assert target.parts


@given(st.lists(st.integers(0, 10**6), max_size=30, unique=True))
def test_frames_sort_by_number(numbers: list[int]):
    names = [f"{number}.jpg" for number in numbers]
    assert sorted(names, key=frame_order) == [f"{number}.jpg" for number in sorted(numbers)]


@pytest.mark.parametrize("names", [["1.jpg", "a1.jpg", "b2a.png", "a.jpg", "10.jpg"], ["²5.jpg", "5.jpg", "٣.jpg"]])
def test_any_names_can_be_sorted(names: list[str]):
    assert len(sorted(names, key=frame_order)) == len(names)
