"""How fast the synthetic generator is, on one core.

    python benchmarks/synth.py [--size 640x360] [--scenes 12] [--frames 200] [--motion-from ANNOS]

Four figures, each in processor seconds of this process (so that a busy machine does not count) and by the clock:
planning a scene, whole frames drawn, whole frames drawn and written as JPEG, and square crops drawn as training takes
them. Sources are procedural alone, so that every machine draws the same; images are drawn before the clock starts,
as a long run has them.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from common import Table, race

from tnllt.datasets.synth import FrameFormat, ScenePlan, SynthConfig, SynthSources, library, plan
from tnllt.datasets.synth.write import draw_frames


def measure(label: str, unit: str, work: Callable[[], int]) -> float:
    """Runs `work`, which returns how many it did; prints and returns how many a processor second."""
    clock, processor = time.perf_counter(), time.process_time()
    count = work()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(
        f"{label:34s} {count / processor:8.0f} {unit} per core second   {1e3 * processor / count:7.2f} ms   "
        f"({count / clock:.0f} a second by the clock)"
    )
    return count / processor


def draw(scenes: list[ScenePlan], step: int) -> int:
    count = 0
    for scene in scenes:
        for index in range(0, len(scene), step):
            scene.render(index)
            count += 1
    return count


def write(scenes: list[ScenePlan], step: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        for scene in scenes:
            draw_frames(Path(folder), scene, range(0, len(scene), step), FrameFormat())
        return len(list(Path(folder).rglob("*.jpg"))) * len(scenes)


def crops(scenes: list[ScenePlan], factor: float, size: int, step: int) -> int:
    count = 0
    for scene in scenes:
        for index in np.flatnonzero(scene.present)[::step]:
            x, y, w, h = scene.boxes[index]
            side = factor * np.sqrt(w * h)
            scene.render(int(index), region=(x + w / 2 - side / 2, y + h / 2 - side / 2, side, side), size=size)
            count += 1
    return count


def section(quick: bool = False) -> Table:
    """The table of the benchmark page."""
    cv2.setNumThreads(1)
    count, frames, step = (2, 24, 8) if quick else (6, 200, 8)
    config = SynthConfig(frames=frames, width=640, height=360, sources=SynthSources(24))
    pool = library(config.sources)
    preload = race({"pool": pool.preload}, 1)["pool"].best
    plan(0, config)
    planned = race({"plan": lambda: [plan(seed, config) for seed in range(count)]}, 1)["plan"].best
    scenes = [plan(seed, config) for seed in range(count)]
    draw(scenes, frames)
    images = [scene.render(i).image for scene in scenes for i in range(0, len(scene), step)]
    spent = race(
        {
            "drawn": lambda: draw(scenes, step),
            "written": lambda: write(scenes, step),
            "floor": lambda: [cv2.imencode(".jpg", image)[1] for image in images] and None,
            "crops": lambda: crops(scenes, 4.0, 256, step),
        },
        1 if quick else 3,
    )
    cropped = sum(len(range(0, int(s.present.sum()), step)) for s in scenes)
    table = Table(
        "Synthetic sequences",
        f"{count} sequences of 640 x 360, procedural sources, one core. Processor time, best of rounds that alternate. "
        "Nothing that installs from a registry does the same work; encoding the finished frames is the least that any "
        "generator of JPEG files needs.",
        ["work", "a second", "ms each"],
    )
    for label, number, seconds in (
        ("backgrounds drawn, once per process", pool.backgrounds, preload),
        ("sequences planned", count, planned),
        ("frames drawn", len(images), spent["drawn"].best),
        ("frames drawn and written as JPEG files", len(images), spent["written"].best),
        ("finished frames encoded as JPEG by OpenCV, nothing else", len(images), spent["floor"].best),
        ("search crops of 256 pixels, as training takes them", cropped, spent["crops"].best),
    ):
        table.rows.append([label, f"{number / seconds:,.0f}", f"{1e3 * seconds / number:.2f}"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--motion-from")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    width, height = (int(v) for v in options.size.split("x"))
    sources = SynthSources(24, motion_from=options.motion_from)
    config = SynthConfig(frames=options.frames, width=width, height=height, sources=sources)
    pool = library(sources)
    measure("backgrounds, drawn once", "images", lambda: [pool.preload()] and pool.backgrounds)
    seeds = range(options.scenes)
    measure("scenes planned, sprites not drawn", "scenes", lambda: len([plan(s, config) for s in seeds]))
    measure("scenes planned, sprites at hand", "scenes", lambda: len([plan(s, config) for s in seeds]))
    scenes = [plan(s, config) for s in seeds]
    draw(scenes, options.frames)  # clutter is painted on first use
    measure(f"frames {options.size}", "frames", lambda: draw(scenes, 8))
    measure(f"frames {options.size}, as JPEG files", "frames", lambda: write(scenes, 8))
    for label, factor, size in (("template 64", 2.0, 64), ("search 128", 4.0, 128), ("search 256", 4.0, 256)):
        measure(f"crops, {label}", "crops", lambda f=factor, s=size: crops(scenes, f, s, 5))  # type: ignore[misc]
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}")


if __name__ == "__main__":
    main()
