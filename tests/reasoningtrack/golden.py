"""Golden cases: weights and inputs by formula, the expected values from files.

`tests/data/reasoningtrack` has the network's small cases, made by an independent implementation of the published
tracker, and one of the loop (`loop_256.npz`). The reference's own clips of the loop need its images, which are beside
the project and not in it; the loop that made `loop_256.npz` equals them. Made again by

    python -m tests.reasoningtrack.golden
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.config import Config
from tnllt.reasoningtrack.network import Network
from tnllt.reasoningtrack.reasoners import Reasoning

DATA = Path(__file__).parents[1] / "data" / "reasoningtrack"
FloatArray = np.ndarray[Any, Any]


def named_weight(name: str, shape: tuple[int, ...], calm: float | None = None) -> FloatArray:
    """The float32 tensor that `name` has in every golden case.

    `calm` is the search factor, for the clips whose head's last layers are flattened, so that the box stays near its
    place and size.
    """
    if calm and name.startswith("box_head.conv5_"):
        if name == "box_head.conv5_size.bias":
            return np.full(shape, -np.log(calm - 1), np.float32)
        if name == "box_head.conv5_offset.bias":
            return np.full(shape, 0.5, np.float32)
        return np.float32(0.004) * named_weight(name, shape)
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if name.endswith("running_var"):
        return 1 + 0.1 * np.abs(noise)
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + 0.1 * noise
    if len(shape) == 1 and "gamma" in name:
        return 0.1 + 0.02 * noise
    if len(shape) == 1:
        return 0.02 * noise
    if len(shape) == 4:
        return noise / np.float32(np.sqrt(shape[1] * shape[2] * shape[3]))
    if "embed" in name or "token" in name:
        return 0.02 * noise
    return noise / np.float32(np.sqrt(shape[-1]))


def inputs(seed: int, template_size: int, search_size: int, templates: int, searches: int) -> tuple[Any, Any]:
    """Normalised crops (1, 3, size, size) float32: the templates, then the search regions."""
    rng = np.random.default_rng(seed)
    sizes = [template_size] * templates + [search_size] * searches
    crops = [rng.standard_normal((1, 3, size, size)).astype(np.float32) for size in sizes]
    return crops[:templates], crops[templates:]


def golden_state(config: Config, calm: float | None = None) -> dict[str, Tensor]:
    """`named_weight` for every tensor that a network of this config has; counters are zero."""
    with torch.device("meta"):
        empty = Network(config).state_dict()
    return {
        name: torch.from_numpy(named_weight(name, tuple(tensor.shape), calm))
        if tensor.is_floating_point()
        else torch.zeros(tensor.shape, dtype=tensor.dtype)
        for name, tensor in empty.items()
    }


def state_table(path: Path) -> list[tuple[str, str, str]]:
    with path.open(newline="") as file:
        return [(row["name"], row["shape"], row["dtype"]) for row in csv.DictReader(file)]


# --- the loop ---------------------------------------------------------------------------------------------------------


@dataclass
class Scripted:
    """Answers as the golden case was recorded with; counts the questions."""

    own: str
    answers: list[tuple[bool, str]]
    asked: int = 0

    def describe(self, first: Any, second: Any, description: str) -> Reasoning:
        assert description == self.own
        update, text = self.answers[self.asked]
        self.asked += 1
        return Reasoning(None, update, text, "scripted", 0.0)


@dataclass(frozen=True)
class Case:
    golden: Any
    config: Config
    weights: dict[str, Any]
    frames: list[FloatArray]
    own: str
    answers: list[tuple[bool, str]]


def drive(case: Case, tracker: ReasoningTrack, frames: int) -> Iterator[FloatArray]:
    """The tracker's own answers; after each frame its box is put to the forced one, else the golden one."""
    golden = case.golden
    forced = golden["forced"] if "forced" in golden else golden["boxes"]
    tracker.initialize(case.frames[0], golden["boxes"][0], case.own)
    for n in range(1, frames):
        yield np.asarray(tracker.track(case.frames[n]).box)
        tracker.box = forced[n]
    tracker.finish()


def made_case(golden: Any = None, frames: int = 34) -> Case:
    """A clip by formula: blocks of noise move to the left; the target grows and leaves the image at the bottom."""
    config = Config.make({"size": 256, "depths": (1, 1, 2)})
    noise = np.random.default_rng(7).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    wall = np.kron(noise, np.ones((16, 16, 1), np.uint8))
    images = [np.roll(wall, -3 * n, axis=1) for n in range(frames)]
    forced = np.array([[90 - 1.5 * n, 60 + 4.25 * n, 30 + 1.25 * n, 44 + 0.5 * n] for n in range(frames)])
    answers = [(True, "a car seen from behind"), (False, "not used"), (True, "a car at the left edge")]
    case = Case({"boxes": forced, "forced": forced}, config, golden_state(config, config.search_factor), images,
                "the wooden car", answers)  # fmt: skip
    return case if golden is None else Case(golden, *list(vars(case).values())[1:])


def _record() -> None:
    case, events = made_case(), []
    tracker = ReasoningTrack(case.config, case.weights, Scripted(case.own, case.answers), device="cpu")
    tracker.emit = events.append
    forced = case.golden["forced"]
    boxes = np.array([forced[0], *drive(case, tracker, len(forced))])
    refreshes = [event for event in events if event["event"] == "refresh"]
    np.savez_compressed(
        DATA / "loop_256.npz",
        boxes=boxes,
        forced=forced,
        updates=[event["frame"] for event in refreshes],
        descriptions=[event["after"] for event in refreshes],
    )
    print([(event["frame"], event["after"]) for event in refreshes])


if __name__ == "__main__":
    _record()
