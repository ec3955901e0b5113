"""The correspondence loss: places worked out by hand, and attention that learns them."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from tnllt.reasoningtrack.config import Config  # noqa: E402
from tnllt.reasoningtrack.network import Network  # noqa: E402
from tnllt.training.tracker.losses import Watch, correspondence_loss, true_places  # noqa: E402
from tnllt.training.tracker.recipe import recipe  # noqa: E402
from tnllt.training.tracker.step import TrainStep  # noqa: E402


def test_places_by_hand() -> None:
    # The target fills cells 1-2 of 4 in the search region and the whole of a 2 x 2 template.
    places = true_places(torch.tensor([[[0.0, 0.0, 1.0, 1.0]]]), torch.tensor([[0.25, 0.25, 0.5, 0.5]]), (2, 4))
    assert places.shape == (1, 16, 1, 4)
    grid = places.view(4, 4, 2, 2)
    # Middle of cell (1, 1): a quarter into the target, so at the middle of the template's first token.
    assert torch.allclose(grid[1, 1], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    assert torch.allclose(grid[1, 2], torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    assert torch.allclose(grid[2, 1], torch.tensor([[0.0, 0.0], [1.0, 0.0]]))


def test_places_between_tokens_are_shared() -> None:
    # The target in the middle half of the template; the search cell's middle is the target's middle.
    places = true_places(torch.tensor([[[0.25, 0.25, 0.5, 0.5]]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), (4, 1))
    expected = torch.zeros(4, 4)
    expected[1:3, 1:3] = 0.25
    assert torch.allclose(places.view(4, 4), expected)
    assert torch.allclose(places.sum(3), torch.ones(1, 1, 1))


def test_attention_learns_the_places() -> None:
    torch.manual_seed(0)
    config = Config.make({"size": "tiny", "template_size": 32, "search_size": 64, "depths": (1, 1, 2)})
    step = TrainStep(Network(config), recipe("tiny", giou=0.0, l1=0.0, focal=0.0, correspondence=1.0))
    pattern = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    templates = pattern[:, None].expand(-1, 2, -1, -1, -1)
    searches = torch.zeros(4, 1, 64, 64, 3, dtype=torch.uint8)
    searches[:, 0, 16:48, 16:48] = pattern
    batch = {
        "templates": templates,
        "marks": torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(4, 2, 4),
        "searches": searches,
        "boxes": torch.tensor([0.25, 0.25, 0.5, 0.5]).expand(4, 1, 4),
        "text": torch.zeros(4, 1, 16, dtype=torch.int64),
    }
    optimizer = torch.optim.Adam(step.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        report = step(**batch)
        report["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(report["correspondence"].detach()))
    # Each of the four cells has its place in both templates: at best ln 2.
    assert losses[0] > 2.5
    assert losses[-1] < 1.0


def test_nothing_is_kept_where_nothing_is_learnt() -> None:
    network = Network(Config.make({"size": "tiny", "template_size": 32, "search_size": 64}))
    watch = Watch(network.backbone)
    images = torch.zeros(1, 1, 3, 32, 32), torch.zeros(1, 3, 64, 64), torch.zeros(1, 16, dtype=torch.int64)
    with torch.no_grad():
        network.eval()(*images)
    assert watch.take() == []
    network(*images)
    kept = watch.take()
    assert len(kept) == 3
    assert watch.take() == []
    loss = correspondence_loss(kept, torch.tensor([[[0, 0, 1.0, 1.0]]]), torch.tensor([[0.2, 0.2, 0.5, 0.5]]), (2, 4))
    assert torch.isfinite(loss)
