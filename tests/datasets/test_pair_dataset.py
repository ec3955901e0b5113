"""Template and search crops for training: where the target is, what is present, and the example of docs/datasets.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tests.datasets.trees import tnllt_sequence  # noqa: E402
from tnllt.datasets import ArrayFrames  # noqa: E402
from tnllt.datasets.sampling import CropRecipe  # noqa: E402
from tnllt.datasets.torch import PairDataset  # noqa: E402
from tnllt.errors import DataError, UsageError  # noqa: E402
from tnllt.sequence import Annotation, Sequence  # noqa: E402

DOCS = Path(__file__).resolve().parents[2] / "docs" / "datasets.md"


def video(name: str, level: int, count: int = 30) -> Sequence:
    """A square of one level that moves over black by two pixels a frame; it is out of view in frames 10 to 14."""
    images = np.zeros((count, 120, 160, 3), np.uint8)
    boxes = np.array([[20 + 2 * i, 40, 24, 20] for i in range(count)], float)
    for image, (x, y, w, h) in zip(images, boxes.astype(int), strict=True):
        image[y : y + h, x : x + w] = level
    present = np.ones(count, bool)
    present[10:15] = False
    descriptions = tuple(f"{name} in frame {i}" for i in range(count))
    return Sequence(name, Annotation(boxes, present, name, descriptions=descriptions), ArrayFrames(images))


DATA = [video("dim", 100), video("bright", 250)]


def bright_box(crop: Any, level: int) -> list[float]:
    """x, y, w, h of the square in a crop (3, s, s), as fractions, by its pixels."""
    rows, columns = np.nonzero(crop[0].numpy() > level / 2)
    size = crop.shape[-1]
    return [columns.min() / size, rows.min() / size, np.ptp(columns) / size, np.ptp(rows) / size]


def test_boxes_are_where_the_target_is() -> None:
    pairs = PairDataset(DATA, CropRecipe(templates=2, searches=2, max_gap=9, template_jitter=0.1), length=40)
    for item in (pairs[i] for i in range(40)):
        level = 100 if item["sequence"] == "dim" else 250
        assert item["template"].shape == (2, 3, 128, 128) and item["search"].shape == (2, 3, 256, 256)
        for crops, boxes in (("template", "template_box"), ("search", "search_box")):
            for crop, box in zip(item[crops], item[boxes], strict=True):
                clipped = np.clip([box[0], box[1], box[0] + box[2], box[1] + box[3]], 0, 1)
                seen = [*clipped[:2], *(clipped[2:] - clipped[:2])]
                if min(seen[2:]) > 0.05:
                    assert bright_box(crop, level) == pytest.approx(seen, abs=0.03)
        frames = item["frames"].tolist()
        assert frames == sorted(set(frames)) and frames[-1] - frames[0] <= 9 and not {*range(10, 15)} & {*frames}
        assert item["text"] == [f"{item['sequence']} in frame {frame}" for frame in frames[2:]]
    assert {pairs[i]["sequence"] for i in range(20)} == {"dim", "bright"}


def test_without_jitter_the_target_is_in_the_middle() -> None:
    item = PairDataset(DATA, CropRecipe(center_jitter=0, scale_jitter=0))[0]
    x, y, w, h = item["search_box"][0].tolist()
    assert (x + w / 2, y + h / 2) == pytest.approx((0.5, 0.5), abs=0.02)
    assert w * h == pytest.approx(1 / 16, rel=0.05), "a square of four times the root of the area"


def test_negatives_have_no_target() -> None:
    positive, negative = (PairDataset(DATA, CropRecipe(center_jitter=1, negative_prob=p)) for p in (0.0, 1.0))
    for i in range(20):
        assert positive[i]["present"].tolist() == [True]
        item = negative[i]
        assert item["present"].tolist() == [False] and item["search"].max() == 0
    mixed = PairDataset(DATA, CropRecipe(negative_prob=0.3, center_jitter=1))
    assert 15 <= sum(not mixed[i]["present"][0] for i in range(80)) <= 35


def test_items_depend_on_seed_epoch_and_number_alone() -> None:
    pairs = PairDataset(DATA, length=6)
    first = [pairs[i]["search"] for i in range(6)]
    again = [item["search"][0] for item in torch.utils.data.DataLoader(pairs, num_workers=1)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    pairs.epoch = 1
    assert not all(torch.equal(a, pairs[i]["search"]) for i, a in enumerate(first))
    assert not torch.equal(PairDataset(DATA, seed=1)[0]["search"], first[0])


def test_what_cannot_be_sampled_is_said() -> None:
    for change in ({"negative_prob": 1.5}, {"templates": 0}, {"center_jitter": -1}, {"search_size": float("nan")}):
        with pytest.raises(UsageError, match=next(iter(change))):
            CropRecipe(**change)
    with pytest.raises(DataError, match="no usable pair"):
        PairDataset([video("short", 100, 1)])[0]
    with pytest.raises(DataError, match="no sequence"):
        PairDataset([])
    with pytest.raises(IndexError):
        PairDataset(DATA, length=3)[3]
    assert PairDataset(DATA, transform=lambda item: {"only": item["text"]})[0].keys() == {"only"}


def test_the_documented_example_runs(tmp_path: Path) -> None:
    tnllt_sequence(tmp_path / "a", 5)
    (code,) = re.findall(r'```python title="pairs.py"\n(.*?)```', DOCS.read_text(encoding="utf-8"), re.DOTALL)
    shown: dict[str, Any] = {}
    exec(
        code.replace('"demo"', repr(str(tmp_path)))
        .replace("length=1_000", "length=32")
        .replace("num_workers=2", "num_workers=0"),
        shown,
    )
    batch = shown["batch"]
    assert batch["template"].shape == (32, 1, 3, 128, 128) and batch["search"].shape == (32, 1, 3, 256, 256)
    assert batch["search_box"].shape == (32, 1, 4) and batch["present"].shape == (32, 1)
    assert len(batch["text"]) == 1 and len(batch["text"][0]) == 32
