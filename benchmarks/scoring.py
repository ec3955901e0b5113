"""Scoring speed: from cold text to the three official metrics, against the plain way, in one run.

    python benchmarks/scoring.py [--folder DIR] [--trackers 21] [--sequences 50] [--repeat 3]

It writes its own files (by default 21 trackers x 50 sequences, 2.5 million boxes, about 63 MB), then times, each in a
fresh process: the plain way (numpy.loadtxt per file, one comparison per threshold), `tnllt-eval` with an empty cache,
and `tnllt-eval` again from the cache. It checks that both ways give the same scores, and prints a table; `--check`
makes it fail where a promise of the documentation does not hold.
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
from pathlib import Path

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


def timed(command: list[str], env: dict[str, str]) -> tuple[float, float, str]:
    """Seconds, peak memory in MB and output of a command in a process of its own."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
    output, _ = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are made (and kept); default: a temporary folder")
    parser.add_argument("--trackers", type=int, default=21)
    parser.add_argument("--sequences", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--check", action="store_true", help="exit 1 where a promise does not hold")
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        print(json.dumps(plain(options.plain)))
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
    score = [sys.executable, "-c", "from tnllt.cli.eval import main; main()", "--annos", str(folder / "annos")]
    score += ["--results", str(folder / "results"), "--trackers", "all", "--metric", "all", "--format", "json"]
    size = sum(p.stat().st_size for p in (folder / "results").rglob("*.txt")) / 1e6
    print(f"{size:.0f} MB of results, best of {repeat}", flush=True)
    # Peaks only grow within one process, so the light one goes first.
    cold, cached, bare, helps = [], [], [], []
    for _ in range(repeat):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        cold.append(timed(score, env))
        cached.append(timed(score, env))
        bare.append(timed([sys.executable, "-c", "pass"], env))
        helps.append(timed([*score[:3], "--help"], env))
    peak = cold[-1][1]
    plains = [timed([sys.executable, __file__, "--plain", str(folder)], env) for _ in range(repeat)]
    seconds = {n: min(r[0] for r in runs) for n, runs in
               (("plain", plains), ("cold", cold), ("cached", cached), ("bare", bare), ("help", helps))}  # fmt: skip
    ours, theirs = json.loads(cold[0][2]), json.loads(plains[0][2])
    for metric, values in theirs.items():
        found = [ours["scores"][f"tracker{k:02d}"][metric] for k in range(len(values))]
        np.testing.assert_allclose(found, values, rtol=0, atol=1e-12)
    rows = (
        ("plain way (loadtxt, a comparison per threshold)", f"{seconds['plain']:.2f} s", ""),
        ("tnllt-eval, cold", f"{seconds['cold']:.2f} s", f"{seconds['plain'] / seconds['cold']:.1f} times faster"),
        ("tnllt-eval, from the cache", f"{seconds['cached']:.2f} s",
         f"{seconds['cached'] - seconds['bare']:.2f} s beyond the interpreter's start"),
        ("tnllt-eval --help", f"{seconds['help']:.2f} s", ""),
        ("peak memory, cold", f"{peak:.0f} MB", ""),
    )  # fmt: skip
    for row in rows:
        print(f"{row[0]:50} {row[1]:>9}  {row[2]}")
    kept = (
        seconds["plain"] >= 8 * seconds["cold"]
        and seconds["cached"] - seconds["bare"] < 0.5
        and peak < 600
        and seconds["help"] < 0.5
    )
    return int(check and not kept)


if __name__ == "__main__":
    main()
