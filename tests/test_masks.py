"""Masks: boxes of hand-made ones, and COCO's run lengths both ways."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from tnllt.errors import DataError
from tnllt.masks import decode_mask, encode_mask, mask_box


def drawn(*rows: str) -> np.ndarray:
    return np.array([[c == "#" for c in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "whole", "largest"),
    [
        (drawn("......", ".####.", ".#..#.", ".####."), (1, 1, 4, 3), (1, 1, 4, 3)),  # a hole
        (drawn("#.....", "...##.", "...##.", "......"), (0, 0, 5, 3), (3, 1, 2, 2)),  # a stray pixel
        (drawn("##...#", "##...#", ".....#", "....##"), (0, 0, 6, 4), (4, 0, 2, 4)),  # two parts
        (drawn("#...", ".#..", "..#."), (0, 0, 3, 3), (0, 0, 3, 3)),  # corners touch: one part
        (drawn("......", "......"), None, None),
        (drawn("###", "###"), (0, 0, 3, 2), (0, 0, 3, 2)),
        (drawn("...", "..#"), (2, 1, 1, 1), (2, 1, 1, 1)),
    ],
    ids=["hole", "stray", "parts", "diagonal", "empty", "full", "pixel"],
)
def test_boxes_of_masks(mask: np.ndarray, whole: object, largest: object) -> None:
    assert mask_box(mask) == whole
    assert mask_box(mask, "largest") == largest


@pytest.mark.parametrize(
    ("mask", "counts"),
    [  # as pycocotools 2.0 writes them
        (np.zeros((4, 5), bool), "d0"),
        (np.ones((4, 5), bool), "0d0"),
        (np.eye(3, dtype=bool), "013000"),
        (drawn(".##..", "#...#", "..##."), "111010O010O00"),
    ],
)
def test_run_lengths_as_coco_writes_them(mask: np.ndarray, counts: str) -> None:
    assert encode_mask(mask) == {"size": list(mask.shape), "counts": counts}


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.booleans()))
def test_run_lengths_lead_back_to_the_mask(mask: np.ndarray) -> None:
    assert np.array_equal(decode_mask(encode_mask(mask)), mask)


@pytest.mark.parametrize("table", [None, {}, {"size": [2, 2], "counts": "0"}, {"size": [9**9, 9**9], "counts": "1"}])
def test_what_is_not_a_mask_is_refused(table: object) -> None:
    with pytest.raises(DataError, match="mask"):
        decode_mask(table)
