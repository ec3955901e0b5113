"""Training steps of the tracking network a second, by precision and with `torch.compile`.

    python benchmarks/training.py [--config 256] [--batch 8] [--device cuda] [--steps 20]

The step is that of `tnllt-train tracker`: forward, backward, cut gradients, optimizer. One batch of the generator's
scenes is learnt again and again, so that drawing samples is left out; how many of those a second one loader process
draws stands below the table.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from network import machine

from tnllt.training.tracker.options import TrainOptions
from tnllt.training.tracker.recipe import Recipe, recipe
from tnllt.training.tracker.samples import make_source
from tnllt.training.tracker.trainer import _Run

WARM_UP = 5


def stepper(chosen: Recipe, options: TrainOptions) -> tuple[Callable[[], object], torch.device, float]:
    """A training step on one batch, the device, and the seconds that a sample took to draw."""
    AcceleratorState._reset_state(True)  # a process has one precision otherwise
    run = _Run(chosen, [(make_source("synth"), 1.0)], options, None, lambda line: None)
    started = time.process_time()
    batch = next(run._loader(0))
    drawing = (time.process_time() - started) / chosen.batch
    return lambda: run._step(0, batch, 1e-3), run.accelerator.device, drawing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="256")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", nargs="+", default=["no", "bf16", "fp16"])
    parser.add_argument("--compile", nargs="+", default=["no", "yes"], choices=["no", "yes"])
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    chosen = recipe(args.config, batch=args.batch)
    print(f"{machine()}\nconfig {args.config}, batch {args.batch}, {args.device}\n")
    print("| precision | torch.compile | steps a second | samples a second | times the first |\n|---|---|---|---|---|")
    first = drawing = None
    for compiled in args.compile:
        for precision in args.precision:
            with tempfile.TemporaryDirectory() as folder:
                step, device, drawing = stepper(
                    chosen,
                    TrainOptions(
                        Path(folder) / "run", workers=0, precision=precision, compile=compiled == "yes",
                        cpu=args.device == "cpu",
                    ),
                )  # fmt: skip
                seconds = []
                for number in range(WARM_UP + args.steps):
                    started = time.perf_counter()
                    step()
                    if device.type == "cuda":
                        torch.cuda.synchronize(device)
                    if number >= WARM_UP:
                        seconds.append(time.perf_counter() - started)
            median = statistics.median(seconds)
            first = median if first is None else first
            times = (f"{1 / median:.2f}", f"{args.batch / median:.1f}", f"{first / median:.2f}")
            print(f"| {precision} | {compiled} | {' | '.join(times)} |", flush=True)
    print(f"\nOne loader process draws {1 / drawing:.1f} samples a second (`--workers`).")


if __name__ == "__main__":
    main()
