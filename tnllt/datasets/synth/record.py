"""What is written about a sequence beside its annotation: how it was made, and what is to be seen when."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.config import ATTRIBUTES
from tnllt.datasets.synth.scene import ScenePlan

#: Version of the generator: the same number, seed, options and sources give the same bytes.
GENERATOR = 1


def sequence_name(number: int, scene: ScenePlan) -> str:
    """`synth_0007_red_car`: the number (from 1), colour and kind of the target."""
    look = scene.layers[scene.target].look(0)
    kind = look.kind if look.family not in ("emoji", "file", "patch") else look.words(False)
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in f"{look.main} {kind}").split()
    return "_".join(["synth", f"{number:04d}", *words[:5]]).lower()[:100]


def sequence_record(scene: ScenePlan) -> dict[str, Any]:
    """The record of one sequence, as plain data.

    `shown` gives, per attribute, the frames (numbered from 0, both ends included) in which it is to be seen;
    `phrases` the frames from which on each description is true; `wrong` a description that is true of a distractor.
    """
    frames = scene.measures.per_frame()
    return {
        "generator": GENERATOR,
        "seed": scene.seed,
        "frames": len(scene),
        "size": [scene.width, scene.height],
        "language": scene.language,
        "language_true": spans(scene.language_true),
        "wrong": scene.wrong,
        "phrases": [[first, phrase] for first, phrase in scene.phrases],
        "attributes": [name for name in ATTRIBUTES if scene.attributes[name]],
        "shown": {name: spans(frames[name]) for name in ATTRIBUTES if scene.attributes[name]},
        "absent": spans(~scene.present),
        "distractors": [layer.look(0).words(not scene.grey) for layer in scene.layers if layer.role == "distractor"],
        "motion_from": scene.track or None,
        "picture": scene.library.background_name(scene.background_index),
        "grey": scene.grey,
        "sources": scene.library.describe(),
    }


def spans(flags: NDArray[np.bool_]) -> list[list[int]]:
    """Runs of True in flags (T,), as [first, last]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [[int(a), int(b) - 1] for a, b in zip(edges[::2], edges[1::2], strict=True)]
