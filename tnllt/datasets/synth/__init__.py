"""Vision-language tracking sequences to order: planned from a seed, every fact known before a pixel is drawn.

In memory, for training: any frame, or a crop of it at the wanted scale, in any order::

    from tnllt.datasets.synth import SynthConfig as SynthConfig
from tnllt.datasets.synth import plan as plan
    scene = plan(seed=7, config=SynthConfig(frames=200))
    image, box, present, _ = scene.render(42)
    crop = scene.render(42, region=(x, y, side, side), size=128)
    scene.language, scene.description(42), scene.wrong, scene.boxes, scene.attributes
"""

from __future__ import annotations

from tnllt.datasets.synth.config import ATTRIBUTES as ATTRIBUTES
from tnllt.datasets.synth.config import FAMILIES as FAMILIES
from tnllt.datasets.synth.config import RATES as RATES
from tnllt.datasets.synth.config import FrameFormat as FrameFormat
from tnllt.datasets.synth.config import SynthConfig as SynthConfig
from tnllt.datasets.synth.config import SynthSources as SynthSources
from tnllt.datasets.synth.config import only as only
from tnllt.datasets.synth.plan import plan as plan
from tnllt.datasets.synth.scene import Layer as Layer
from tnllt.datasets.synth.scene import Rendered as Rendered
from tnllt.datasets.synth.scene import ScenePlan as ScenePlan
from tnllt.datasets.synth.sources import Library as Library
from tnllt.datasets.synth.sources import library as library
from tnllt.datasets.synth.write import demo_folder as demo_folder
from tnllt.datasets.synth.write import write_dataset as write_dataset
