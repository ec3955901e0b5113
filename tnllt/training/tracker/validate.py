"""Validation by tracking: the mean overlap of the current network on held-out sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tnllt.boxes import overlap
from tnllt.sequence import Annotation, Boxes, Image
from tnllt.sequence import Sequence as Video

if TYPE_CHECKING:
    from tnllt.datasets.synth import ScenePlan, SynthConfig
    from tnllt.reasoningtrack.network import Network

#: First generator seed of held-out scenes; training uses smaller ones.
HELD_OUT = 1_000_000_000


class SceneFrames:
    """A planned scene's frames, each painted when it is read."""

    def __init__(self, scene: ScenePlan) -> None:
        self._scene = scene

    def __len__(self) -> int:
        return len(self._scene.boxes)

    def __getitem__(self, index: int) -> Image:
        return np.asarray(self._scene.render(index).image, np.uint8)


def scene_sequence(scene: ScenePlan, name: str) -> Video:
    """A planned scene as a `Sequence`, with the description that is true on each frame."""
    texts = tuple(scene.description(i) for i in range(len(scene.boxes)))
    boxes = np.where(scene.present[:, None], scene.boxes, np.nan)
    return Video(name, Annotation(boxes, scene.present, scene.language, None, texts), SceneFrames(scene), "synth")


def held_out(config: SynthConfig, count: int) -> list[Video]:
    """`count` sequences that training does not use."""
    from tnllt.datasets.synth import plan

    return [scene_sequence(plan(HELD_OUT + k, config), f"held-out-{k}") for k in range(count)]


def track_sequence(network: Network, sequence: Video) -> Boxes:
    """The boxes (T, 4) of the network on one sequence, as the tracker runs, without a reasoner."""
    from tnllt.reasoningtrack import ReasoningTrack

    tracker = ReasoningTrack(config=network.config, weights=network.state_dict())
    boxes = np.array(sequence.groundtruth)
    tracker.initialize(sequence.frames[0], [float(v) for v in boxes[0]], sequence.language)
    try:
        for i in range(1, len(sequence)):
            boxes[i] = np.asarray(tracker.track(sequence.frames[i]).box)
    finally:
        tracker.finish()
    return boxes


def success(boxes: Boxes, sequence: Video) -> float:
    """Mean overlap on the frames with the target in view: the area under the success curve, but for its steps."""
    seen = np.array(np.isfinite(sequence.groundtruth).all(axis=1))
    seen[0] = False
    return float(np.mean(overlap(boxes[seen], sequence.groundtruth[seen]))) if seen.any() else float("nan")


def validator(sequences: Sequence[Video]) -> Callable[[Network], Mapping[str, float]]:
    """A function (network) -> {"AO": mean overlap} over the sequences, for `trainer.train`."""

    def validate(network: Network) -> Mapping[str, float]:
        return {"AO": float(np.nanmean([success(track_sequence(network, s), s) for s in sequences]))}

    return validate
