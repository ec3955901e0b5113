"""Vision-language tracking sequences to order: planned from a seed, every fact known before a pixel is drawn.

In memory, for training: any frame, or a crop of it at the wanted scale, in any order::

    from tnllt.datasets.synth import SynthConfig, plan
    scene = plan(seed=7, config=SynthConfig(frames=200))
    image, box, present, _ = scene.render(42)
    crop = scene.render(42, region=(x, y, side, side), size=128)
    scene.language, scene.description(42), scene.wrong, scene.boxes, scene.attributes
"""

from __future__ import annotations

from tnllt.datasets.synth.config import ATTRIBUTES, FAMILIES, RATES, FrameFormat, SynthConfig, SynthSources, only
from tnllt.datasets.synth.demo import demo_folder
from tnllt.datasets.synth.library import Library, library
from tnllt.datasets.synth.plan import plan
from tnllt.datasets.synth.scene import Layer, Rendered, ScenePlan
from tnllt.datasets.synth.write import write_dataset

__all__ = [
    "ATTRIBUTES",
    "FAMILIES",
    "RATES",
    "FrameFormat",
    "Layer",
    "Library",
    "Rendered",
    "ScenePlan",
    "SynthConfig",
    "SynthSources",
    "demo_folder",
    "library",
    "only",
    "plan",
    "write_dataset",
]
