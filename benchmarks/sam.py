"""What the SAM adapter costs beyond the model's own forward pass: `python benchmarks/sam.py [--frames 6]`.

The model has the configuration of sam2.1-hiera-tiny and random weights. Per frame the time of the whole `track` is
compared with the time that it spends inside the model, on frames of 1280 x 720 pixels.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from typing import Any

import numpy as np
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from tnllt.foundation.sam import Sam2


class Timed(torch.nn.Module):
    """The model, its seconds counted."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config, self.seconds = model, model.config, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        output = self.model(*arguments, **named)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - begin
        return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Sam2VideoModel(Sam2VideoConfig())  # transformers' defaults are those of sam2.1-hiera-tiny
    parameters = sum(p.numel() for p in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tracker = Sam2(folder, device=options.device)
    session = tracker._session
    timed = Timed(tracker._model)
    tracker._session = lambda _, image: session(timed.model, image)  # type: ignore[method-assign]
    tracker._model = timed
    random = np.random.default_rng(0)
    whole, inside = [], []
    for i in range(options.frames + 2):
        image = random.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
        timed.seconds, begin = 0.0, time.perf_counter()
        if i == 0:
            tracker.initialize(image, [400.0, 200.0, 300.0, 250.0])
        else:
            tracker.track(image)
        if i > 1:
            whole.append(time.perf_counter() - begin)
            inside.append(timed.seconds)
    beyond = (np.array(whole) - inside) / inside
    print(
        json.dumps(
            {
                "parameters": parameters,
                "device": str(tracker.device),
                "seconds_per_frame": round(float(np.median(whole)), 4),
                "beyond_the_model": round(float(np.median(beyond)), 4),
            }
        )
    )


if __name__ == "__main__":
    main()
