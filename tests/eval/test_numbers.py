"""Text to numbers: every value equals Python's float() of its text, however the text is laid out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tnllt import numbers
from tnllt.errors import DataError
from tnllt.numbers import parse_table, parse_tables

PLAIN = st.from_regex(r"-?([0-9]{1,9}(\.[0-9]{0,6})?|\.[0-9]{1,6})", fullmatch=True)
LONG = st.from_regex(r"-?[0-9]{1,18}\.[0-9]{1,18}", fullmatch=True)
ODD = st.one_of(
    st.floats().map(repr), st.sampled_from(["NaN", "nan", "-inf", "1e5", "+3", "-0", "-0.0", "1E-320", "007"])
)
SEPARATORS = st.sampled_from([",", "\t", " ", ";", ", ", " ,  ", "   ", "; "])


def same(found: np.ndarray, texts: list[list[str]]) -> bool:
    expected = np.array([[float(t) for t in row] for row in texts])
    signs = np.array_equal(np.signbit(found[~np.isnan(expected)]), np.signbit(expected[~np.isnan(expected)]))
    return np.array_equal(found, expected, equal_nan=True) and signs


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(st.lists(st.one_of(PLAIN, PLAIN, PLAIN, LONG, ODD), min_size=4, max_size=4), min_size=1, max_size=8),
    separators=st.lists(SEPARATORS, min_size=1, max_size=4),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    last=st.sampled_from(["", "\n", "\n\n", "\r\n  \n"]),
    mark=st.booleans(),
)
def test_values_equal_float_of_their_text(rows, separators, end, last, mark):
    lines = ["".join(c + (separators[i % len(separators)] if i < 3 else "") for i, c in enumerate(r)) for r in rows]
    text = ("\ufeff" if mark else "") + end.join(lines) + last
    assert same(parse_table(text), rows)
    assert same(parse_tables([text.encode()] * 2, 4)[1], rows)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(PLAIN, min_size=4, max_size=4), min_size=1, max_size=30))
def test_plain_files_take_the_fast_way_and_are_exact(rows):
    rows = [[c if len(c.lstrip("-").replace(".", "")) <= 15 else "1" for c in row] for row in rows]
    text = "\n".join(",".join(r) for r in rows).encode() + b"\n"
    table = numbers._fast([text, text], 4)
    assert table is not None and same(table[0], rows) and same(table[1], rows)


def test_many_files_across_chunks(monkeypatch):
    monkeypatch.setattr(numbers, "_CHUNK", 300)
    rng = np.random.default_rng(1)
    tables = [rng.integers(-9999, 99999, (int(n), 4)) / 100 for n in rng.integers(1, 30, 40)]
    texts = ["\n".join(",".join(map(repr, r)) for r in t.tolist()).encode() for t in tables]
    texts[7] = texts[7].replace(b",", b"  ")
    for found, expected in zip(parse_tables(texts, 4), tables, strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "row", "says"),
    [
        (b"1,2,3,4\n1,2,3\n", 2, "3 numbers instead of 4"),
        (b"1,2,3,4\n1,2,3,4,5\n", 2, "5 numbers instead of 4"),
        (b"1,2,3,4\n7\n", 2, "1 number instead of 4"),
        (b"1,2,3,4\n\n1,2,3,4\n", 2, "blank"),
        (b"1,2,,4\n", 1, "'' is not a number"),
        (b"1,,2,3,4\n", 1, "5 numbers"),
        (b"1,2,three,4\n", 1, "'three' is not a number"),
        (b"1,2,3,4\n1.2.3,1,1,1\n", 2, "'1.2.3'"),
        (b"1,2-3,3,4\n", 1, "'2-3'"),
        (b"1,--2,3,4\n", 1, "'--2'"),
        (b"1,.,3,4\n", 1, "'.'"),
        (b"1,2.-5,3,4\n", 1, "'2.-5'"),
        (b"1,2,3,4/5\n", 1, "'4/5'"),
        (b"1,2,3,#\n", 1, "'#'"),
        (b"1 2 3 4\x0c\n\x0c\n1 2 3 4\n", 2, "blank"),
    ],
)
def test_bad_rows_are_named(text, row, says):
    with pytest.raises(DataError) as caught:
        parse_table(text, 4, "boxes.txt")
    assert caught.value.row == row and says in str(caught.value) and f"boxes.txt, row {row}" in str(caught.value)
    with pytest.raises(DataError, match=r"boxes\.txt"):
        parse_tables([b"1,2,3,4\n", text], 4, ["good.txt", "boxes.txt"])


@pytest.mark.parametrize("raw", [b"\x89PNG\r\n\x1a\n\0\0", b"1,2\0,3,4", b"\xff\xfe1\x00,\x00"])
def test_binary_files_are_refused(raw):
    with pytest.raises(DataError, match="not text"):
        parse_table(raw, 4, "x.txt")


def test_empty_and_widths():
    assert parse_table(b"", 4).shape == (0, 4) and parse_table(b"\n \n").shape == (0, 0)
    assert parse_table("0,1,0\n1,1,0\n").tolist() == [[0, 1, 0], [1, 1, 0]]
    assert parse_table("1\n0\n1\n").shape == (3, 1)
    assert parse_table("1,2,3,4,\n").tolist() == [[1, 2, 3, 4]]
    assert math.copysign(1, parse_table("-0.0")[0, 0]) == -1


def test_a_dot_counts_for_its_own_number_alone():
    # As many dots as numbers, and one before the last two digits of each: but 2.5. has the one that 7 lacks.
    with pytest.raises(DataError, match=r"'2\.5\.' is not a number"):
        parse_table(b"1.25,2.5.,7,8.25\n", 4)
    assert parse_table(b"1.25,.25,-.75,8.25\n", 4).tolist() == [[1.25, 0.25, -0.75, 8.25]]
