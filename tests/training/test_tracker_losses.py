"""Losses of the tracking network against values worked out by hand."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from tnllt.training.tracker.losses import (  # noqa: E402
    LossWeights,
    all_boxes,
    cells_inside,
    center_maps,
    focal_loss,
    gaussian_radius,
    giou,
    in_view,
    tracking_loss,
)


def test_giou_of_known_pairs() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[1.0, 0.0, 3.0, 2.0], [2.0, 0.0, 3.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    generalised, iou = giou(a, b)
    # 2 of 6 shared and a hull without gaps; apart by one unit: hull 3, union 2; the same box.
    assert torch.allclose(iou, torch.tensor([1 / 3, 0.0, 1.0]))
    assert torch.allclose(generalised, torch.tensor([1 / 3, -1 / 3, 1.0]))


def test_gaussian_radius_is_centernets() -> None:
    # Both corners outside, 4 x 4 cells, overlap 0.7: a = 2.8, b = -11.2, c = -4.8.
    expected = (-11.2 + math.sqrt(11.2**2 + 4 * 2.8 * 4.8)) / 2
    assert float(gaussian_radius(torch.tensor(4.0), torch.tensor(4.0))) == pytest.approx(expected, rel=1e-5)


def test_center_map_peaks_in_the_cell_of_the_centre() -> None:
    boxes = torch.tensor([[0.5, 0.25, 0.25, 0.25]])  # centre (0.625, 0.375): cell (10, 6) of 16
    maps = center_maps(boxes, 16)
    assert maps.shape == (1, 1, 16, 16)
    assert maps[0, 0, 6, 10] == 1
    assert (maps == 1).sum() == 1
    # Radius 1: sigma is half a cell, so one cell beside the peak stands at exp(-2).
    assert float(maps[0, 0, 6, 11]) == pytest.approx(math.exp(-2))
    assert maps[0, 0, 6, 12] == 0


def test_center_outside_the_map_is_kept_at_its_edge() -> None:
    assert center_maps(torch.tensor([[1.2, -0.5, 0.1, 0.1]]), 8)[0, 0, 0, 7] == 1


def test_focal_loss_by_hand() -> None:
    target = torch.zeros(1, 1, 2, 2)
    target[0, 0, 0, 0] = 1
    target[0, 0, 0, 1] = 0.5
    score = torch.full((1, 1, 2, 2), 0.3)
    by_hand = -(math.log(0.3) * 0.7**2) - math.log(0.7) * 0.3**2 * (0.5**4 + 2)
    assert float(focal_loss(score, target)) == pytest.approx(by_hand, rel=1e-5)


def test_boxes_are_read_where_asked() -> None:
    size = torch.arange(8.0).view(1, 2, 2, 2) / 10
    offset = torch.full((1, 2, 2, 2), 0.5)
    box = all_boxes(size, offset)[:, 2]  # cell x = 0, y = 1
    assert torch.allclose(box, torch.tensor([[0.25, 0.75, 0.2, 0.6]]))


def test_right_maps_cost_least_and_give_iou_one() -> None:
    boxes = torch.tensor([[0.5, 0.25, 0.25, 0.25]])
    score = center_maps(boxes, 16).clamp(1e-4, 1 - 1e-4)
    size = torch.full((1, 2, 16, 16), 0.25)
    offset = torch.zeros(1, 2, 16, 16)  # the centre lies on the cell's corner: (10, 6) / 16
    for where in ("peak", "target"):
        loss, report = tracking_loss(score, size, offset, boxes, LossWeights(), where)
        assert float(report["iou"]) == pytest.approx(1.0, abs=1e-5)
        assert float(report["l1"]) == pytest.approx(0.0, abs=1e-6)
        shifted, _ = tracking_loss(score.roll(3, -1), size, offset, boxes, LossWeights(), where)
        assert float(shifted) > float(loss) + 1


def test_weights_multiply_the_parts() -> None:
    torch.manual_seed(0)
    maps = torch.rand(2, 1, 8, 8), torch.rand(2, 2, 8, 8), torch.rand(2, 2, 8, 8)
    boxes = torch.tensor([[0.2, 0.3, 0.4, 0.2], [0.1, 0.1, 0.3, 0.5]])
    total, parts = tracking_loss(*maps, boxes, LossWeights(2, 5, 1))
    assert float(total) == pytest.approx(2 * float(parts["giou"]) + 5 * float(parts["l1"]) + float(parts["focal"]))


def test_every_cell_in_the_box_regresses_it() -> None:
    """With `inside`, a cell next to the centre that has the right box costs nothing, a wrong one costs."""
    side, boxes = 8, torch.tensor([[0.25, 0.25, 0.375, 0.25]])
    score = torch.full((1, 1, side, side), 0.01)
    size = boxes[:, 2:, None, None].expand(1, 2, side, side).clone()
    cells = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="xy"))[None]
    offset = (boxes[:, :2] + boxes[:, 2:] / 2)[:, :, None, None] * side - cells
    none = LossWeights(focal=0)
    right, _ = tracking_loss(score, size, offset, boxes, none, "inside")
    assert float(right) == pytest.approx(0, abs=1e-5)
    size[0, 0, 2, 2] = 0.9  # in the box, not its centre cell
    assert float(tracking_loss(score, size, offset, boxes, none, "inside")[0]) > 0.01
    assert float(tracking_loss(score, size, offset, boxes, none, "target")[0]) == pytest.approx(0, abs=1e-5)
    inside = cells_inside(boxes, side).view(side, side)
    assert inside.nonzero().tolist() == [[r, c] for r in (2, 3) for c in (2, 3, 4)]


def test_without_the_target_only_the_score_counts() -> None:
    torch.manual_seed(0)
    maps = [torch.rand(2, n, 8, 8).clamp(0.05, 0.95).requires_grad_() for n in (1, 2, 2)]
    boxes = torch.tensor([[0.2, 0.3, 0.4, 0.2], [1.2, 0.1, 0.3, 0.5]])
    assert in_view(boxes).tolist() == [True, False]
    for where in ("peak", "target", "inside"):
        loss, report = tracking_loss(*maps, boxes, LossWeights(), where)
        _, seen = tracking_loss(*(m[:1] for m in maps), boxes[:1], LossWeights(), where)
        for name in ("giou", "l1", "iou"):
            assert float(report[name]) == pytest.approx(float(seen[name]), abs=1e-5)
        assert float(report["focal"]) > float(seen["focal"])
        score, size, offset = torch.autograd.grad(loss, maps)
        assert not size[1].any() and not offset[1].any()
        assert (score[1] > 0).all(), "every cell's score should fall"
    quiet, _ = tracking_loss(torch.full((1, 1, 8, 8), 1e-4), *(m[1:] for m in maps[1:]), boxes[1:], LossWeights())
    assert float(quiet.detach()) == pytest.approx(0, abs=1e-5)
