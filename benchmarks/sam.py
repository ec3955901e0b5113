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
from common import Table
from transformers import Sam2VideoConfig, Sam2VideoModel

from tnllt.foundation.sam import Sam2


class Timed(torch.nn.Module):
    """The model, its seconds counted."""

    def __init__(self, model: Any, clock: Any) -> None:
        super().__init__()
        self.model, self.config, self.clock, self.seconds = model, model.config, clock, 0.0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        begin = self.clock()
        output = self.model(*arguments, **named)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += self.clock() - begin
        return output


def measure(frames: int, device: str, clock: Any) -> dict[str, Any]:
    """Median seconds of a frame of 1280 x 720, and the time beyond the model as a fraction of the model's own."""
    torch.manual_seed(0)
    model = Sam2VideoModel(Sam2VideoConfig())  # transformers' defaults are those of sam2.1-hiera-tiny
    parameters = sum(p.numel() for p in model.parameters())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tracker = Sam2(folder, device=device)
    session = tracker._session
    timed = Timed(tracker._model, clock)
    tracker._session = lambda _, image: session(timed.model, image)  # type: ignore[method-assign]
    tracker._model = timed
    random = np.random.default_rng(0)
    whole, inside = [], []
    for i in range(frames + 2):
        image = random.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
        timed.seconds, begin = 0.0, clock()
        if i == 0:
            tracker.initialize(image, [400.0, 200.0, 300.0, 250.0])
        else:
            tracker.track(image)
        if i > 1:
            whole.append(clock() - begin)
            inside.append(timed.seconds)
    beyond = (np.array(whole) - inside) / inside
    return {
        "parameters": parameters,
        "device": str(tracker.device),
        "seconds_per_frame": round(float(np.median(whole)), 4),
        "beyond_the_model": round(float(np.median(beyond)), 4),
    }


def section(quick: bool = False) -> Table:
    """The table of the benchmark page: CPU, one thread."""
    torch.set_num_threads(1)
    table = Table(
        "SAM adapter",
        "The tracker `sam2` with the configuration of sam2.1-hiera-tiny and random weights, on frames of 1280 x 720: "
        "all of `track` (resizing, model, mask, box, forgetting) against the model's own forward pass inside it. "
        "Processor time per frame, CPU, one thread.",
        ["parameters, M", "ms a frame", "beyond the model"],
    )
    found = measure(1 if quick else 2, "cpu", time.process_time)
    row = f"{found['parameters'] / 1e6:.1f}", f"{1000 * found['seconds_per_frame']:.0f}"
    table.rows.append([*row, f"{found['beyond_the_model']:.2%}"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    print(json.dumps(measure(options.frames, options.device, time.perf_counter)))


if __name__ == "__main__":
    main()
