"""Runs every benchmark and writes docs/benchmarks.md.

    python benchmarks/run.py [--only NAME,NAME] [--quick] [--out FILE]

Each benchmark is a script of its own beside this one, run in a process of its own, one after the other; its `section()`
makes one table. What it compares with comes from the `bench` dependency group (`make bench` installs it); an
alternative that is not installed is named in the page as left out. `--quick` shrinks the work until nothing can be
learned from the figures: it shows that everything runs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

from common import Table, machine

HERE = Path(__file__).resolve().parent
NAMES = ("scoring", "parsing", "readers", "run_overhead", "network", "sam", "history", "synth", "reporting")
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

<!-- Made by benchmarks/run.py; edit that. -->

`make bench` runs all of this and writes this page. Every script under `benchmarks/` makes its own input and compares
like with like in one run, with the rounds of all contestants alternating, so that what else the machine does disturbs
all alike. Quote ratios: absolute times belong to a machine. "Processor time" is what the process itself used, which a
busy machine lengthens less than the clock; where a ratio is below 1, the other was faster.

Measured on {machine}{load}.
"""


def run_one(name: str, quick: bool) -> Table:
    """One benchmark's table, made in a process of its own. Raises RuntimeError where it fails."""
    began = time.monotonic()
    command = [sys.executable, __file__, "--one", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"benchmarks/{name}.py failed:\n{done.stderr}")
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return Table(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(NAMES), help="names, comma-separated; the page is only printed then")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="the page; default: docs/benchmarks.md")
    parser.add_argument("--one", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(importlib.import_module(options.one).section(options.quick))))
        return
    names = options.only.split(",")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = f" while other work ran on it (load average {load:.1f})" if load > 1.5 else ""
    page = HEAD.format(machine=machine(), load=busy)
    for name in names:
        page += f"\n{run_one(name, options.quick).markdown()}"
        page += f"\n`python benchmarks/{name}.py` runs this alone.\n"
    page += """
## Elsewhere

* `python benchmarks/scoring.py --official DIR`: `tnllt-eval` beside the official code under GNU Octave.
* `python benchmarks/scale.py`: time and memory of scoring by boxes, and a run that is killed and resumed;
  with `--commands 100x280`, what `tnllt-run status` and `tnllt-eval report` take on a large results folder.
* `python benchmarks/training.py`: [training steps a second](training.md), by precision and with `torch.compile`.
* `python benchmarks/bridge.py`: what a frame costs on its way to a baseline's own environment and back.
* `python benchmarks/language.py`: [whether language helps](training.md), in scores and not in seconds.
* `python benchmarks/claim.py --out DIR`: [whether a reasoner helps](reasoners.md#does-it-help).
"""
    if set(names) == set(NAMES) and (options.out or not options.quick):
        (options.out or PAGE).write_text(page, encoding="utf-8")
    else:
        print(page)


if __name__ == "__main__":
    main()
