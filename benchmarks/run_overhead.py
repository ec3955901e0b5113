"""What the harness costs: per frame beyond decoding and tracking, with one worker and two, and in memory.

    python benchmarks/run_overhead.py [--frames 3000] [--sequences 4] [--pieces overhead,workers,memory]

`overhead` takes a plain loop (decode, track) and `run_sequence` on the same JPEG frames in turns, and the fastest of
each: their difference per frame. `workers` runs the command with one worker and with two, of one thread each.
`memory` tracks 20,000 frames. Run it on a quiet machine: the load is printed with the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import Table, present, race, version

from tnllt.datasets import ImageFrames
from tnllt.processes import processors
from tnllt.sequence import Annotation, Image, Sequence
from tnllt.tracking import Prediction, Tracker, run_sequence
from tnllt.tracking.system import limit_threads, resident_mb


class Template(Tracker):
    """Normalised cross-correlation around the last place: a tracker of some milliseconds, on one core."""

    def __init__(self, repeat: int = 1) -> None:
        self.repeat = repeat

    def initialize(self, image: Image, box: object = None, language: str | None = None) -> None:
        x, y, w, h = (round(v) for v in box)  # type: ignore[attr-defined]
        self.box, self.template = (x, y, w, h), image[y : y + h, x : x + w].copy()

    def track(self, image: Image) -> Prediction:
        for _ in range(self.repeat):
            scores = cv2.matchTemplate(image, self.template, cv2.TM_CCOEFF_NORMED)
        _, best, _, (x, y) = cv2.minMaxLoc(scores)
        self.box = (x, y, *self.box[2:])
        return Prediction(self.box, best)


class Made:
    """Frames made on demand, as many as one likes."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._one = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Image:
        return np.roll(self._one, index, axis=1)


def write_sequence(folder: Path, frames: int, size: tuple[int, int] = (360, 640)) -> None:
    """Soft texture with a moving patch, as JPEG, in TNLLT's layout."""
    random = np.random.default_rng(frames)
    ground = cv2.resize(random.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8), size[::-1])
    patch = random.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    (folder / "imgs").mkdir(parents=True)
    rows = []
    for index in range(frames):
        x, y = 20 + index % 500, 100 + index % 100
        image = ground.copy()
        image[y : y + 60, x : x + 60] = patch
        cv2.imwrite(str(folder / "imgs" / f"{index + 1:05d}.jpg"), image)
        rows.append(f"{x},{y},60,60\n")
    (folder / "groundtruth.txt").write_text("".join(rows))


def overhead(folder: Path, frames: int) -> dict[str, float]:
    """Milliseconds a frame: of the plain loop, and of the harness beyond it."""
    write_sequence(folder / "one", frames)
    pictures = ImageFrames(folder / "one" / "imgs")
    truth = np.loadtxt(folder / "one" / "groundtruth.txt", delimiter=",")
    limit_threads(1)

    def plain(tracker: Tracker) -> None:
        tracker.initialize(pictures[0], truth[0].tolist())
        for index in range(1, frames):
            tracker.track(pictures[index])

    from tnllt.tracking.references import StaticBox

    sequence = Sequence("one", Annotation(truth), pictures)
    kinds = {
        "plain": lambda: plain(StaticBox()),
        "harness": lambda: run_sequence(StaticBox(), sequence, read_ahead=0),
        "harness, read ahead": lambda: run_sequence(StaticBox(), sequence),
    }
    best = dict.fromkeys(kinds, np.inf)
    cpu = dict.fromkeys(kinds, np.inf)
    for _ in range(5):
        for kind, work in kinds.items():
            begin, used = time.perf_counter(), time.process_time()
            work()
            best[kind] = min(best[kind], (time.perf_counter() - begin) / frames * 1000)
            cpu[kind] = min(cpu[kind], (time.process_time() - used) / frames * 1000)
    return {
        "plain_ms": best["plain"],
        "overhead_ms": best["harness"] - best["plain"],
        "overhead_read_ahead_ms": best["harness, read ahead"] - best["plain"],
        "overhead_processor_ms": cpu["harness"] - cpu["plain"],
        "overhead_read_ahead_processor_ms": cpu["harness, read ahead"] - cpu["plain"],
    }


def workers(folder: Path, sequences: int, frames: int) -> dict[str, float]:
    """Seconds of the whole command with one worker and with two, and their ratio; the best of three each."""
    for number in range(sequences):
        write_sequence(folder / "many" / f"s{number}", frames)
    best = {1: np.inf, 2: np.inf}
    for attempt in range(3):
        for count in best:
            results = folder / f"r{attempt}-{count}"
            words = [
                f"{Path(__file__).resolve()}:Template",
                "--dataset",
                str(folder / "many"),
                "--results",
                str(results),
            ]
            words += ["--workers", str(count), "--threads", "1", "--set", "repeat=1"]
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-m", "tnllt.cli.run", *words], check=True, capture_output=True)
            best[count] = min(best[count], time.perf_counter() - begin)
    return {"one_worker_s": best[1], "two_workers_s": best[2], "ratio": best[1] / best[2]}


def memory(frames: int = 20_000) -> dict[str, float]:
    """Resident megabytes after 2,000 frames and at the end."""
    truth = np.tile([10.0, 20.0, 30.0, 40.0], (frames, 1))
    seen: dict[int, float] = {}

    def look(track: object) -> None:
        index = track.index  # type: ignore[attr-defined]
        if index in (2_000, frames):
            seen[index] = resident_mb() or 0.0

    from tnllt.tracking.references import StaticBox

    run_sequence(StaticBox(), Sequence("long", Annotation(truth), Made(frames)), on_frame=look)
    return {"mb_at_2000": seen[2_000], "mb_at_end": seen[frames], "growth_mb": seen[frames] - seen[2_000]}


def got10k_loop(tracker_class: Any, folder: Path, box: list[float]) -> Callable[[], object]:
    """The got10k toolkit's own loop with a tracker that stays; it hands over Pillow's pictures, still undecoded."""

    class StaticBox(tracker_class):  # type: ignore[misc]
        def init(self, image: Any, box: Any) -> None:
            np.asarray(image)
            self.box = box

        def update(self, image: Any) -> Any:
            np.asarray(image)
            return self.box

    paths = sorted(str(p) for p in (folder / "imgs").iterdir())
    return lambda: StaticBox("still").track(paths, box)


def reasoning(sequence: Sequence, rounds: int) -> tuple[dict[str, tuple[float, float]], float]:
    """Milliseconds of the processor a frame of ReasoningTrack's bundled weights, and the network's part.

    The loops are a plain one, and the harness with and without reading ahead; all threads are one. {loop: (a frame,
    beyond the plain loop)}, medians of short rounds: within one, a machine whose speed changes is the same for all.
    """
    from tnllt.reasoningtrack import ReasoningTrack
    from tnllt.reasoningtrack.inference import Engine

    tracker = ReasoningTrack()
    inside = dict.fromkeys(("predict", "encode_templates", "embed_text"), 0.0)

    def timed(name: str) -> Callable[..., Any]:
        method = getattr(Engine, name)

        def run(*args: Any) -> Any:
            began = time.process_time()
            try:
                return method(*args)
            finally:
                inside[name] += time.process_time() - began

        return run

    def plain() -> None:
        tracker.initialize(sequence.frames[0], sequence.groundtruth[0].tolist(), "the patch")
        for index in range(1, len(sequence)):
            tracker.track(sequence.frames[index])
        tracker.finish()

    plain()  # the first calls of a network are slower
    spent = race(
        {
            "plain: decode, track": plain,
            "`tnllt-run`, one frame at a time": lambda: run_sequence(tracker, sequence, read_ahead=0),
            "`tnllt-run`, reading ahead": lambda: run_sequence(tracker, sequence),
        },
        rounds,
    )
    kept = {name: getattr(Engine, name) for name in inside}
    for name in inside:
        setattr(Engine, name, timed(name))
    began = time.process_time()
    plain()
    whole = time.process_time() - began
    for name, method in kept.items():
        setattr(Engine, name, method)
    each = 1e3 / len(sequence)
    base = spent["plain: decode, track"]
    return {way: (each * s.median, each * s.beyond(base)) for way, s in spent.items()}, sum(inside.values()) / whole


def section(quick: bool = False) -> Table:
    """The table of the benchmark page."""
    from tnllt.tracking.references import StaticBox

    frames = 60 if quick else 1500
    limit_threads(1)
    table = Table(
        "Harness",
        f"A tracker that stays where it is, on {frames:,} JPEG frames of 640 x 360: decoding and the harness are all "
        "there is. Processor time, best of rounds that alternate; of ReasoningTrack, the median of 30 rounds of 60 "
        "frames, and of the differences within a round.",
        ["loop", "ms a frame", "beyond the plain loop"],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "one"
        write_sequence(folder, frames)
        pictures, truth = ImageFrames(folder / "imgs"), np.loadtxt(folder / "groundtruth.txt", delimiter=",")
        sequence = Sequence("one", Annotation(truth), pictures)

        def plain() -> None:
            tracker = StaticBox()
            tracker.initialize(pictures[0], truth[0].tolist())
            for index in range(1, frames):
                tracker.track(pictures[index])

        works: dict[str, Callable[[], object]] = {
            "plain: decode, track": plain,
            "`tnllt-run`, one frame at a time": lambda: run_sequence(StaticBox(), sequence, read_ahead=0),
            "`tnllt-run`, reading ahead": lambda: run_sequence(StaticBox(), sequence),
        }
        found, table.note = present("got10k.trackers")
        if found:
            works[f"{version('got10k')}, decoding by Pillow"] = got10k_loop(found[0].Tracker, folder, truth[0].tolist())
        spent = race(works, 1 if quick else 3)
        base = spent["plain: decode, track"].best
        for way, s in spent.items():
            cells = [f"{1e3 * s.best / frames:.3f}", f"{1e3 * (s.best - base) / frames:+.3f}"]
            table.rows.append([way, *cells])
        short = 20 if quick else 60
        write_sequence(Path(name) / "short", short)
        rows = np.loadtxt(Path(name) / "short" / "groundtruth.txt", delimiter=",")
        few = Sequence("few", Annotation(rows, language="the patch"), ImageFrames(Path(name) / "short" / "imgs"))
        ways, network = reasoning(few, 1 if quick else 30)
        for way, (ms, beyond) in ways.items():
            table.rows.append([f"ReasoningTrack's bundled weights, {way}", f"{ms:.3f}", f"{beyond:+.3f}"])
        ms, beyond = ways["`tnllt-run`, one frame at a time"]
        kept = (ms - beyond) / ms
        table.note += (
            f" With ReasoningTrack's bundled weights, one frame at a time, the harness keeps {kept:.1%} of the plain "
            f"loop's frames a second; {network:.0%} of the plain loop is the network."
        )
        if processors() > 1 and not quick:
            found_ratio = workers(Path(name), 4, 500)["ratio"]
            table.note += f" Two workers of one thread finish {found_ratio:.2f} times as fast as one, by the clock."
        else:
            table.note += " Two workers were not compared with one: this run had one core."
    table.note = table.note.strip()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1500)
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--pieces", default="overhead,workers,memory")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    told: dict[str, object] = {"machine": platform.processor() or platform.machine(), "cores": processors()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "overhead" in given.pieces:
            told["overhead"] = overhead(folder, given.frames)
        if "workers" in given.pieces:
            told["workers"] = workers(folder, given.sequences, given.frames // 3)
        if "memory" in given.pieces:
            told["memory"] = memory()
    told["load"] = [round(load, 2), round(os.getloadavg()[0], 2)]
    print(json.dumps(told, indent=1, default=float))


if __name__ == "__main__":
    main()
