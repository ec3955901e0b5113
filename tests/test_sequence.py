"""A sequence is indexed and iterated frame by frame, with its images or without."""

from __future__ import annotations

import numpy as np
import pytest

from tnllt.errors import DataError
from tnllt.sequence import Annotation, Sequence

IMAGES = [np.full((2, 3, 3), number, np.uint8) for number in range(5)]


def test_a_sequence_is_indexed_by_frame() -> None:
    sequence = Sequence("s", Annotation(np.ones((3, 4))), frames=IMAGES, dataset="d")
    assert [int(sequence[i][0, 0, 0]) for i in (0, 2, -1, np.int64(1))] == [0, 2, 2, 1]
    assert [int(image[0, 0, 0]) for image in sequence] == [0, 1, 2], "the annotated frames alone"
    for index in (3, -4):
        with pytest.raises(IndexError, match="'s' has 3 annotated frames"):
            sequence[index]
    with pytest.raises(TypeError):
        sequence[:2]  # type: ignore[index]
    assert repr(sequence) == "Sequence('s', dataset='d')"


def test_annotations_alone_have_no_frames() -> None:
    sequence = Sequence("s", Annotation(np.ones((3, 4))))
    assert not sequence.has_frames and len(sequence) == 3
    with pytest.raises(DataError, match="no frames here"):
        sequence[0]
