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
from common import Table, present, race, ratio, version

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
    """200 sequences under TNLLT's names; one image, linked, so that decoding and not the disk is measured."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 255, (360, 640, 3), np.uint8), (0, 0), 2)
    images = {}
    for suffix in (".jpg", ".png"):
        images[suffix] = root / f"frame{suffix}"
        images[suffix].write_bytes(cv2.imencode(suffix, image)[1].tobytes())
    for number, name in enumerate(packaged("tnllt", "all") or ()):
        folder = root / name
        (folder / "imgs").mkdir(parents=True)
        suffix = ".png" if number % 2 else ".jpg"
        for i in range(1, frames + 1):
            os.link(images[suffix], folder / "imgs" / f"{i:05}{suffix}")
        boxes = rng.integers(1, 500, (frames, 4))
        (folder / "groundtruth.txt").write_text("".join(",".join(map(str, row)) + "\n" for row in boxes))
        (folder / "absent_label.txt").write_text("1\n" * frames)
        (folder / "language.txt").write_text("the target\n")
        (folder / "attributes.txt").write_text(",".join("0" * 15) + "\n")
    for path in images.values():
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


def loadtxt_everything(root: Path) -> None:
    """What a reader written in an afternoon does: numpy.loadtxt for every file, whether asked for or not."""
    for folder in sorted(root.iterdir()):
        np.loadtxt(folder / "groundtruth.txt", delimiter=",")
        np.loadtxt(folder / "absent_label.txt")
        np.loadtxt(folder / "attributes.txt", delimiter=",")
        (folder / "language.txt").read_text(encoding="utf-8")
        sorted(p.name for p in (folder / "imgs").iterdir())


def decoders() -> tuple[dict[str, Callable[[str], object]], str]:
    """Readers of one image file to RGB, by name."""
    ways: dict[str, Callable[[str], object]] = {
        f"OpenCV {cv2.__version__}, `imread` and `cvtColor`": lambda p: cv2.cvtColor(cv2.imread(p), cv2.COLOR_BGR2RGB)
    }
    found, why = present("PIL.Image")
    for pillow in found:
        ways[version("pillow")] = lambda p, pillow=pillow: np.asarray(pillow.open(p).convert("RGB"))
    return ways, why


def section(quick: bool = False) -> Table:
    """The table of the benchmark page."""
    cv2.setNumThreads(1)
    frames, images, rounds = (20, 5, 1) if quick else (500, 100, 3)
    table = Table(
        "Reading a dataset",
        f"A release of 200 sequences of {frames} frames, 640 x 360, made for the purpose. Processor time on one "
        "thread, best of rounds that alternate.",
        ["work", "tnllt", "the other", "its figure", "times faster"],
    )
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_release(root, frames)
        spent = race(
            {
                "list": lambda: open_dataset("tnllt", root, split=None).names,
                "ours": lambda: [s.annotation for s in open_dataset("tnllt", root, split=None)],
                "other": lambda: loadtxt_everything(root),
            },
            rounds,
        )
        table.rows.append(["list the sequences", f"{1e3 * spent['list'].best:.0f} ms", "", "", ""])
        ours, other = spent["ours"].best, spent["other"].best
        cells = [f"{1e3 * ours:.0f} ms", "`numpy.loadtxt` per file", f"{1e3 * other:.0f} ms", ratio(other, ours)]
        table.rows.append(["list them and parse all annotations", *cells])
        dataset = open_dataset("tnllt", root, split=None)
        ways, table.note = decoders()
        for kind, sequence in (("JPEG", dataset[0]), ("PNG", dataset[1])):
            paths = [str(sequence.frames.path(i)) for i in range(min(len(sequence), images))]  # type: ignore[union-attr]
            works: dict[str, Callable[[], object]] = {
                "ours": lambda s=sequence, ps=paths: [s.frames[i] for i in range(len(ps))] and None
            }
            for way, read in ways.items():
                works[way] = lambda r=read, ps=paths: [r(p) for p in ps] and None
            spent = race(works, rounds)
            for way in ways:
                ours, other = (len(paths) / spent[w].best for w in ("ours", way))
                cells = [f"{ours:.0f} a second", way, f"{other:.0f} a second", ratio(ours, other)]
                table.rows.append([f"decode {kind}", *cells])
    return table


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
