"""`tnllt-train tracker` with one more kind of source, `photos:FOLDER`, that the bundled weights were trained with.

python recipes/train.py --config tiny --out RUN --data "photos:PHOTOS*0.35" --data "synth:patch=0.5*0.65"
"""

from __future__ import annotations

from pathlib import Path

from photos import PhotoSource

from tnllt.cli.common import run_command
from tnllt.cli.train import tracker
from tnllt.training.tracker.samples import KINDS

KINDS["photos"] = lambda folder, name: PhotoSource(Path(folder), name)

if __name__ == "__main__":
    run_command(tracker, "recipes/train.py")
