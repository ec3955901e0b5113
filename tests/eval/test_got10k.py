"""GOT-10k's average overlap and success rates, by hand and under every protocol."""

from __future__ import annotations

import numpy as np
import pytest

from tnllt.eval import PROTOCOLS, evaluate
from tnllt.sequence import Annotation, Sequence

BOX = [10.0, 10.0, 20.0, 10.0]


def scored(boxes, truth=None, present=None, size=None, protocol="tnllt"):
    truth = np.array([BOX] * len(boxes) if truth is None else truth, float)
    sequence = Sequence("a", Annotation(truth, None if present is None else np.array(present, bool), size=size))
    scores = evaluate([sequence], {"t": {"a": np.array(boxes, float)}}, protocol)
    return [float(scores.score(f"got10k_{name}")[0]) for name in ("ao", "sr50", "sr75")]


@pytest.mark.parametrize("name", sorted(set(PROTOCOLS) - {"pytracking", "pytracking-lasot"}))
def test_frames_after_the_first_with_the_target_in_view(name):
    """Overlaps 0, 1, 1/3 and, out of view, 1: the first frame and the last one do not count."""
    boxes = [[90, 90, 9, 9], BOX, [20, 10, 20, 10], BOX]
    ao, sr50, sr75 = scored(boxes, present=[1, 1, 1, 0], protocol=name)
    assert ao == pytest.approx((1 + 1 / 3) / 2)
    assert (sr50, sr75) == (0.5, 0.5)


def test_frames_without_a_box_do_not_count():
    missing = [np.nan] * 4
    ao, _, _ = scored([BOX] * 3, truth=[BOX, missing, BOX], protocol="got10k")
    assert ao == pytest.approx(1)
    ao, _, _ = scored([BOX] * 2, truth=[BOX, missing], protocol="got10k")
    assert np.isnan(ao)


def test_boxes_are_brought_into_the_picture_where_its_size_is_known():
    """A corner left of the picture is moved to 0 and the width stays; what is beyond the right edge is cut off."""
    boxes = [BOX, [-5, 10, 20, 10], [30, 10, 50, 10]]
    truth = [BOX, [0, 10, 20, 10], [30, 10, 10, 10]]
    assert scored(boxes, truth, size=(40, 30))[0] == pytest.approx(1)
    assert scored(boxes, truth)[0] == pytest.approx((15 / 25 + 10 / 50) / 2)


def test_sequences_are_pooled_by_frames():
    one = Sequence("one", Annotation(np.array([BOX] * 2)))
    four = Sequence("four", Annotation(np.array([BOX] * 5)))
    away = np.array([BOX] + [[90.0, 90, 5, 5]] * 4)
    scores = evaluate([one, four], {"t": {"one": one.groundtruth, "four": away}})
    assert scores.score("got10k_ao")[0] == pytest.approx(1 / 5)
    assert scores.per_sequence("got10k_ao")[0].tolist() == pytest.approx([1, 0])
