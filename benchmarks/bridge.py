"""What a frame costs on its way to a baseline's worker and back, beyond upstream's own work.

python benchmarks/bridge.py

The tracker at the other end, a miniature one of the tests, takes the mean of the image; that is measured here, too,
and subtracted. Each figure is the best and the median of 200 frames, in milliseconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.tracking.baselines.bridge import tracker_class
from tnllt.tracking.baselines.record import record_from

MINI = Path(__file__).resolve().parents[1] / "tests" / "baselines" / "mini"
FRAMES = 200


def milliseconds(action: Callable[[], Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    spent = np.zeros(FRAMES)
    for i in range(FRAMES):
        begin = time.perf_counter()
        action()
        spent[i] = (time.perf_counter() - begin) * 1e3
    return spent


def main() -> None:
    table = {
        "name": "mini",
        "title": "Mini",
        "modes": ["BB"],
        "licence": "MIT",
        "citation": "",
        "repository": str(MINI),
        "tracker": {
            "name": "only_params",
            "yaml": "base",
            "parameter": "mini",
            "experiments": "mini",
            "constructor": ["params"],
        },
        "text": {"key": "init_text_description"},
        "checkpoint": {"path": "x", "source": "-"},
    }
    with tempfile.NamedTemporaryFile() as weights:
        options = {"python": sys.executable, "weights": Path(weights.name), "device": "cpu"}
        tracker = tracker_class(record_from(table, Path("mini.toml")))(**options)
        for height, width in ((240, 320), (720, 1280), (1080, 1920)):
            image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
            tracker.initialize(image, [1, 2, 3, 4], "")
            there, own = milliseconds(lambda image=image: tracker.track(image)), milliseconds(image.mean)
            best, median = there.min() - own.min(), np.median(there) - np.median(own)
            print(f"{width}x{height}: best {best:.2f}, median {median:.2f}")
        tracker.close()


if __name__ == "__main__":
    main()
