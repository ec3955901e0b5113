"""How fast sequences are listed, annotations parsed and frames decoded.

python benchmarks/readers.py                       a synthetic release made for the occasion
python benchmarks/readers.py ROOT [--dataset NAME] your own data
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tnllt import open_dataset
from tnllt.datasets import Dataset, prefetch
from tnllt.datasets.splits import packaged


def seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """The best of a few runs: what the machine can do when nothing else runs."""
    best = float("inf")
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best


def make_release(root: Path, frames: int) -> None:
    """200 sequences under TNLLT's names; one picture, linked, so that decoding and not the disk is measured."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (360, 640, 3), np.uint8), (0, 0), 2)
    pictures = {}
    for suffix in (".jpg", ".png"):
        pictures[suffix] = root / f"frame{suffix}"
        pictures[suffix].write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    for number, name in enumerate(packaged("tnllt", "all") or ()):
        folder = root / name
        (folder / "imgs").mkdir(parents=True)
        suffix = ".png" if number % 2 else ".jpg"
        for i in range(1, frames + 1):
            os.link(pictures[suffix], folder / "imgs" / f"{i:05}{suffix}")
        boxes = rng.integers(1, 500, (frames, 4))
        (folder / "groundtruth.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in boxes))
        (folder / "absent_label.txt").write_text("1\n" * frames)
        (folder / "language.txt").write_text("the target\n")
        (folder / "attributes.txt").write_text(",".join("0" * 15) + "\n")
    for path in pictures.values():
        path.unlink()


def measure(open_it: Callable[[], Dataset]) -> None:
    dataset = open_it()
    print(f"{len(dataset)} sequences, {os.cpu_count()} cores, OpenCV {cv2.__version__}\n")
    print(f"list all sequences            {seconds(lambda: list(open_it())) * 1e3:9.1f} ms")
    total = sum(len(sequence) for sequence in dataset)
    parse = seconds(lambda: [sequence.annotation for sequence in open_it()])
    print(f"list and parse annotations    {parse * 1e3:9.1f} ms   {total / parse / 1e6:.2f} million rows a second")
    pictured = [sequence for sequence in dataset if sequence.has_frames]
    if not pictured:
        return
    for sequence in {Path(s.frames.names[0]).suffix: s for s in pictured if hasattr(s.frames, "names")}.values():
        count = min(len(sequence), 200)
        height, width, _ = sequence.frames[0].shape
        kind = f"{Path(sequence.frames.names[0]).suffix[1:]} {width}x{height}"
        direct = count / seconds(lambda s=sequence, n=count: [s.frames[i] for i in range(n)])
        print(f"\n{kind:14} one by one     {direct:9.0f} frames a second")
        for workers in (1, 2, 4):
            ahead = count / seconds(lambda s=sequence, n=count, w=workers: list_drop(prefetch(s, stop=n, workers=w)))
            print(f"{kind:14} ahead, {workers} thread{'s' * (workers > 1):1} {ahead:9.0f} frames a second")


def list_drop(frames: object) -> None:
    for _ in frames:  # type: ignore[attr-defined]
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--dataset", default="tnllt")
    parser.add_argument("--frames", type=int, default=200, help="per sequence of the made release")
    options = parser.parse_args()
    if options.root is not None:
        measure(lambda: open_dataset(options.dataset, options.root, split=None))
        return
    with tempfile.TemporaryDirectory() as folder:
        make_release(Path(folder), options.frames)
        measure(lambda: open_dataset("tnllt", folder, split=None))


if __name__ == "__main__":
    main()
