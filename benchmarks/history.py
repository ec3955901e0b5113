"""What the history of templates costs: one crop per frame, any of which may be asked for again.

    python benchmarks/history.py [--frames 20000]

Each way runs in a process of its own: `TemplateHistory` (a file that is read and written), a list of arrays, a memory
map, and an HDF5 data set where h5py is installed. Per frame one crop of 128 x 128 is kept and this frame's three
templates are read back, as the tracker does. Told are processor time per frame, the growth of the process's own
(anonymous) memory, and of all its resident memory, which counts mapped pages too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from common import Table

from tnllt.reasoningtrack.memory import TemplateHistory, template_indices

SIZE = 128


class History(Protocol):
    def append(self, crop: Any, /) -> None: ...
    def __getitem__(self, frame: int, /) -> Any: ...


class Mapped:
    """A memory map of known length."""

    def __init__(self, frames: int, folder: str) -> None:
        self.map = np.memmap(Path(folder) / "map", np.uint8, "w+", shape=(frames, SIZE, SIZE, 3))
        self.count = 0

    def append(self, crop: Any) -> None:
        self.map[self.count] = crop
        self.count += 1

    def __getitem__(self, frame: int) -> Any:
        return np.array(self.map[frame])


class Hdf5:
    """A chunked HDF5 data set, a chunk per crop."""

    def __init__(self, frames: int, folder: str) -> None:
        import h5py

        shape = (SIZE, SIZE, 3)
        self.file = h5py.File(Path(folder) / "crops.h5", "w")
        self.data = self.file.create_dataset("crops", (frames, *shape), np.uint8, chunks=(1, *shape))
        self.count = 0

    def append(self, crop: Any) -> None:
        self.data[self.count] = crop
        self.count += 1

    def __getitem__(self, frame: int) -> Any:
        return self.data[frame]


WAYS = {
    "TemplateHistory": lambda frames, folder: TemplateHistory(SIZE, folder),
    "list of arrays": lambda frames, folder: [],
    "numpy.memmap": Mapped,
    "h5py": Hdf5,
}


def memory() -> tuple[float, float]:
    """Anonymous and resident memory of this process, MB."""
    fields = dict(ln.split(":", 1) for ln in Path("/proc/self/status").read_text().splitlines() if ":" in ln)
    return float(fields["RssAnon"].split()[0]) / 1024, float(fields["VmRSS"].split()[0]) / 1024


def crops(frames: int) -> Iterator[np.ndarray[Any, Any]]:
    one = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    for index in range(frames):
        one[0, 0] = index % 256
        yield one.copy()


def worker(way: str, frames: int) -> None:
    # Not in /tmp, which is memory on many machines.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        history: History = WAYS[way](frames, folder)  # type: ignore[assignment]
        before, busy = memory(), time.process_time()
        for index, crop in enumerate(crops(frames), start=1):
            history.append(crop)
            for template in template_indices(index):
                history[template]
        after = memory()
        told = {
            "ms": 1e3 * (time.process_time() - busy) / frames,
            "anon": after[0] - before[0],
            "all": after[1] - before[1],
        }
        print(json.dumps(told))


def section(quick: bool = False, frames: int = 20_000) -> Table:
    frames = 500 if quick else frames
    table = Table(
        "Template history",
        f"{frames:,} frames of one sequence, a crop of {SIZE} x {SIZE} kept and three read back per frame "
        f"({frames * SIZE * SIZE * 3 / 1e6:,.0f} MB in all). Processor time; memory at the end beyond the start.",
        ["kept in", "ms a frame", "own memory, MB", "resident, MB"],
    )
    for way in WAYS:
        command = [sys.executable, __file__, "--way", way, "--frames", str(frames)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            table.note += f"{way} was left out: {(done.stderr.strip().splitlines() or ['?'])[-1]}. "
            continue
        told = json.loads(done.stdout)
        table.rows.append([f"`{way}`", f"{told['ms']:.3f}", f"{told['anon']:,.1f}", f"{told['all']:,.1f}"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        worker(options.way, options.frames)
    else:
        print(section(frames=options.frames).markdown())


if __name__ == "__main__":
    main()
