"""Scoring speed: from cold text to the three official metrics, against the plain way, in one run.

    python benchmarks/scoring.py [--folder DIR] [--trackers 21] [--sequences 50] [--repeat 3] [--check]

It writes its own files (by default 21 trackers x 50 sequences, 2.5 million boxes, about 68 MB), then runs, each in a
process of its own and in turn: the plain way (numpy.loadtxt per file, a comparison per threshold), tnllt without a
cache, and the command `tnllt-eval` from the cache. The first two are timed from the first file's opening to the last
score, without imports; the command from start to end. Both ways must give the same scores. `--check` makes it fail
where a promise of the documentation does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 2381  # 21 x 50 x 2381 = 2.5 million boxes


def make(folder: Path, trackers: int, sequences: int) -> None:
    """Annotations as random walks, results as noisy copies that lose the target for a while."""
    rng = np.random.default_rng(0)
    (folder / "annos" / "absent").mkdir(parents=True)
    (folder / "annos" / "att").mkdir()
    for s in range(sequences):
        walk = np.cumsum(rng.normal(0, 3, (FRAMES, 4)), axis=0)
        truth = np.abs(walk + np.array([500, 300, 120, 90])) + 5
        present = rng.random(FRAMES) > 0.03
        np.savetxt(folder / "annos" / f"seq-{s:02d}.txt", truth, fmt="%d", delimiter=",")
        np.savetxt(folder / "annos" / "absent" / f"seq-{s:02d}.txt", present, fmt="%d")
        np.savetxt(folder / "annos" / "att" / f"seq-{s:02d}.txt", rng.random((1, 15)) < 0.5, fmt="%d", delimiter=",")
        for k in range(trackers):
            boxes = truth + rng.normal(0, 4 + k, (FRAMES, 4))
            lost = rng.integers(0, FRAMES)
            boxes[lost : lost + rng.integers(0, 600)] += 400
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
            results = folder / "results" / f"tracker{k:02d}_tracking_result"
            results.mkdir(parents=True, exist_ok=True)
            write(results / f"seq-{s:02d}.txt", boxes)


def write(path: Path, boxes: np.ndarray) -> None:
    cells = np.char.mod("%.2f", boxes)
    path.write_text("\n".join(",".join(row) for row in cells.tolist()) + "\n")


def plain(folder: Path) -> dict[str, list[float]]:
    """What everyone writes first: a loop over files, numpy.loadtxt, a comparison for each threshold."""
    names = sorted(p.stem for p in (folder / "annos").glob("*.txt"))
    scores: dict[str, list[float]] = {"success": [], "precision": [], "normalized_precision": []}
    overlaps_at, pixels_at, normal_at = np.arange(21) * 0.05, np.arange(51), np.arange(51) / 100
    for tracker in sorted((folder / "results").iterdir()):
        success, precision, normal = [], [], []
        for name in names:
            truth = np.loadtxt(folder / "annos" / f"{name}.txt", delimiter=",")
            present = np.loadtxt(folder / "annos" / "absent" / f"{name}.txt") > 0
            boxes = np.loadtxt(tracker / f"{name}.txt", delimiter=",")
            for i in np.flatnonzero(np.isnan(boxes).any(1) | (boxes[:, 2:] <= 0).any(1)):
                boxes[i] = boxes[max(i - 1, 0)]
            boxes[0] = truth[0]
            count, truth, boxes = len(truth), truth[present], boxes[present]
            right = np.minimum(truth[:, :2] + truth[:, 2:] - 1, boxes[:, :2] + boxes[:, 2:] - 1)
            shared = np.maximum(0, right - np.maximum(truth[:, :2], boxes[:, :2]) + 1).prod(1)
            overlap = shared / (truth[:, 2:].prod(1) + boxes[:, 2:].prod(1) - shared)
            a, b = truth[:, :2] + (truth[:, 2:] - 1) / 2, boxes[:, :2] + (boxes[:, 2:] - 1) / 2
            error = np.sqrt(((b - a) ** 2).sum(1))
            normalized = np.sqrt(((b / truth[:, 2:] - a / truth[:, 2:]) ** 2).sum(1))
            bad = ~(truth > 0).all(1)
            overlap[bad], error[bad], normalized[bad] = -1, -1, -1
            success.append([np.sum(overlap > t) / count for t in overlaps_at])
            precision.append([np.sum(error <= t) / count for t in pixels_at])
            normal.append([np.sum(normalized <= t) / count for t in normal_at])
        scores["success"].append(float(np.mean(success)))
        scores["precision"].append(float(np.mean(precision, 0)[20]))
        scores["normalized_precision"].append(float(np.mean(normal, 0)[20]))
    return scores


def tnllt_way(folder: Path) -> dict[str, list[float]]:
    """The same by the toolkit, without its cache."""
    from tnllt.cli.loading import Options, load
    from tnllt.config import Locations

    scores = load(Options(Locations("tnllt", None, folder / "annos", folder / "results"), cache=False)).score()
    order = np.argsort(scores.trackers)
    return {m: scores.score(m)[order].tolist() for m in ("success", "precision", "normalized_precision")}


def worker(way: str, folder: Path) -> None:
    """Prints seconds, peak memory in MB and scores of one way."""
    if way == "tnllt":  # imports are not what is measured
        import tnllt.cli.loading
        import tnllt.datasets
        import tnllt.eval.folders  # noqa: F401
    start, busy = time.perf_counter(), time.process_time()
    scores = plain(folder) if way == "plain" else tnllt_way(folder)
    seconds, processor = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak, "scores": scores}))


def run_worker(way: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def timed(command: list[str], env: dict[str, str]) -> float:
    """Seconds of a command from start to end."""
    start = time.perf_counter()
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are made (and kept); default: a temporary folder")
    parser.add_argument("--trackers", type=int, default=21)
    parser.add_argument("--sequences", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--check", action="store_true", help="exit 1 where a promise does not hold")
    parser.add_argument("--way", choices=["plain", "tnllt"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        worker(options.way, options.folder)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tnllt-scoring-"))
    if not (folder / "results").is_dir():
        make(folder, options.trackers, options.sequences)
    try:
        raise SystemExit(report(folder, options.repeat, options.check))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def report(folder: Path, repeat: int, check: bool) -> int:
    env = {**os.environ, "TNLLT_CACHE": str(folder / "cache")}
    shutil.rmtree(folder / "cache", ignore_errors=True)
    command = [sys.executable, "-c", "from tnllt.cli.eval import main; main()"]
    score = [*command, "--annos", str(folder / "annos"), "--results", str(folder / "results"), "--trackers", "all"]
    score += ["--metric", "success,precision,normalized-precision", "--no-intervals"]
    size = sum(p.stat().st_size for p in (folder / "results").rglob("*.txt")) / 1e6
    print(f"{size:.0f} MB of results, {os.cpu_count()} cores, best of {repeat}", flush=True)
    first = timed(score, env)
    # In turn, so that other work on the machine disturbs all alike.
    bare_command, help_command = [sys.executable, "-c", "pass"], [*command, "--help"]
    ways = (partial(run_worker, "plain", folder), partial(run_worker, "tnllt", folder), partial(timed, score, env))
    ways += (partial(timed, bare_command, env), partial(timed, help_command, env))
    runs = [[way() for way in ways] for _ in range(repeat)]
    for metric, values in runs[0][0]["scores"].items():
        np.testing.assert_allclose(runs[0][1]["scores"][metric], values, rtol=0, atol=1e-12)
    plain_way, ours = (min(run[i]["seconds"] for run in runs) for i in (0, 1))
    plain_cpu, our_cpu = (min(run[i]["processor"] for run in runs) for i in (0, 1))
    cached, bare, help_ = (min(run[i] for run in runs) for i in (2, 3, 4))
    peak = max(run[1]["peak"] for run in runs)
    for name, value, note in (
        ("plain way, text to metrics", f"{plain_way:.2f} s", "numpy.loadtxt, a comparison per threshold"),
        ("tnllt, text to metrics", f"{ours:.2f} s", f"{plain_way / ours:.1f} times faster, peak memory {peak:.0f} MB"),
        (
            "processor time of both",
            f"{plain_cpu:.2f} s",
            f"against {our_cpu:.2f} s, {plain_cpu / our_cpu:.1f} times less",
        ),
        ("tnllt-eval, cache empty", f"{first:.2f} s", "start to end"),
        ("tnllt-eval, from the cache", f"{cached:.2f} s", f"{cached - bare:.2f} s beyond the interpreter's start"),
        ("tnllt-eval --help", f"{help_:.2f} s", ""),
    ):
        print(f"{name:28} {value:>8}  {note}")
    kept = plain_way >= 8 * ours and cached - bare < 0.5 and peak < 600 and help_ < 0.5
    return int(check and not kept)


if __name__ == "__main__":
    main()
