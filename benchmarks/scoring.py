"""Scoring speed: from cold text to metrics, against the plain way and other toolkits, in one run.

    python benchmarks/scoring.py [--folder DIR] [--trackers 21] [--sequences 50] [--repeat 3] [--check]
    python benchmarks/scoring.py --official LaSOT_Evaluation_Toolkit/utils

It writes its own files (by default 21 trackers x 50 sequences, 2.5 million boxes, about 68 MB), then runs, each in a
process of its own and in turn: the plain way (numpy.loadtxt per file, a comparison per threshold), the got10k and VOT
toolkits where they are installed, tnllt without a cache by the same rules, and the command `tnllt-eval` from the
cache. All but the command are timed from the first file's opening to the last score, without imports; the command from
start to end. Ways that do the same must give the same scores. `--check` makes it fail where a promise of the
documentation does not hold. `--official` also times the official code, once for errors in pixels and once for
normalised ones, without figures, under GNU Octave (`octave-cli`); the folder is that of its `eval_tracker.m`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, ratio, version

Scores = dict[str, list[float]]
FRAMES = 2381  # 21 x 50 x 2381 = 2.5 million boxes


def make(folder: Path, trackers: int, sequences: int) -> None:
    """Annotations as random walks, results as noisy copies that lose the target for a while."""
    rng = np.random.default_rng(0)
    for s in range(sequences):
        truth = annotate(folder / "annos", f"seq-{s:02d}", FRAMES, rng)
        for k in range(trackers):
            boxes = truth + rng.normal(0, 4 + k, (FRAMES, 4))
            lost = rng.integers(0, FRAMES)
            boxes[lost : lost + rng.integers(0, 600)] += 400
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
            results = folder / "results" / f"tracker{k:02d}_tracking_result"
            results.mkdir(parents=True, exist_ok=True)
            write(results / f"seq-{s:02d}.txt", boxes)


def annotate(annos: Path, name: str, frames: int, rng: np.random.Generator) -> np.ndarray:
    """Writes a random walk with its presence and attributes in TNLLT's layout; returns its boxes."""
    for folder in ("absent", "att"):
        (annos / folder).mkdir(parents=True, exist_ok=True)
    walk = np.cumsum(rng.normal(0, 3, (frames, 4)), axis=0)
    truth = np.abs(walk + np.array([500, 300, 120, 90])) + 5
    present = rng.random(frames) > 0.03
    np.savetxt(annos / f"{name}.txt", truth, fmt="%d", delimiter=",")
    np.savetxt(annos / "absent" / f"{name}.txt", present, fmt="%d")
    np.savetxt(annos / "att" / f"{name}.txt", rng.random((1, 15)) < 0.5, fmt="%d", delimiter=",")
    return truth


def write(path: Path, boxes: np.ndarray) -> None:
    cells = np.char.mod("%.2f", boxes)
    path.write_text("\n".join(",".join(row) for row in cells.tolist()) + "\n")


def plain(folder: Path) -> Scores:
    """What everyone writes first: a loop over files, numpy.loadtxt, a comparison for each threshold."""
    names = sorted(p.stem for p in (folder / "annos").glob("*.txt"))
    scores: Scores = {"success": [], "precision": [], "normalized_precision": []}
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


def tnllt_way(folder: Path, protocol: str = "tnllt", trackers: str = "all") -> Scores:
    """The same by the toolkit, without its cache."""
    import tnllt

    places = {"annos": folder / "annos", "results": folder / "results"}
    scores = tnllt.score("tnllt", **places, trackers=trackers, protocol=protocol, cache=False)
    order = np.argsort(scores.trackers)
    return {m: scores.score(m)[order].tolist() for m in ("success", "precision", "normalized_precision")}


def got10k_way(folder: Path) -> Scores:
    """ExperimentOTB of the got10k toolkit, its own reading, curves and report; only its plots are left undrawn."""
    from got10k.experiments import ExperimentOTB

    class Annotations:
        seq_names = sorted(p.stem for p in (folder / "annos").glob("*.txt"))

        def __len__(self) -> int:
            return len(self.seq_names)

        def __getitem__(self, index: int) -> tuple[list[str], np.ndarray]:
            return [], np.loadtxt(folder / "annos" / f"{self.seq_names[index]}.txt", delimiter=",")

    experiment = ExperimentOTB.__new__(ExperimentOTB)  # its constructor looks for OTB and downloads it
    experiment.dataset, experiment.nbins_iou, experiment.nbins_ce = Annotations(), 21, 51
    experiment.result_dir, experiment.report_dir = str(folder / "results"), str(folder / "got10k")
    experiment.plot_curves = lambda names: None
    names = sorted(p.name for p in (folder / "results").iterdir())
    with contextlib.redirect_stdout(io.StringIO()):
        found = experiment.report(names)
    return {m: [found[n]["overall"][f"{m}_score"] for n in names] for m in ("success", "precision")}


def vot_way(folder: Path) -> Scores:
    """VOT's regions and overlaps of one tracker, made a success curve of."""
    from vot.region import calculate_overlaps
    from vot.region.io import read_trajectory

    tracker = min((folder / "results").iterdir())
    curves = []
    for path in sorted((folder / "annos").glob("*.txt")):
        truth, boxes = read_trajectory(str(path)), read_trajectory(str(tracker / path.name))
        overlaps = np.array(calculate_overlaps([truth[0], *boxes[1:]], truth))
        curves.append((overlaps[:, None] > np.arange(21) * 0.05).mean(0))
    return {"success": [float(np.mean(curves))]}


WAYS: dict[str, Callable[[Path], Scores]] = {
    "plain": plain,
    "tnllt": tnllt_way,
    "tnllt, got10k's rule": partial(tnllt_way, protocol="got10k"),
    "tnllt, one tracker": partial(tnllt_way, protocol="got10k", trackers="tracker00"),
    "got10k": got10k_way,
    "vot-toolkit": vot_way,
}


def worker(way: str, folder: Path) -> None:
    """Prints seconds, peak memory in MB and scores of one way."""
    if way.startswith("tnllt"):  # imports are not what is measured
        import tnllt.eval.selection  # noqa: F401
    elif way != "plain":
        importlib.import_module({"got10k": "got10k.experiments", "vot-toolkit": "vot.region.io"}[way])
    if way == "vot-toolkit":  # nor is compiling
        region = importlib.import_module("vot.region.shapes").Rectangle(1, 2, 3, 4)
        importlib.import_module("vot.region").calculate_overlaps([region], [region])
    start, busy = time.perf_counter(), time.process_time()
    scores = WAYS[way](folder)
    seconds, processor = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "processor": processor, "peak": peak, "scores": scores}))


def run_worker(way: str, folder: Path) -> dict[str, Any]:
    """What `worker` tells, from a process of its own; raises RuntimeError with the last line of its complaint."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["?"])[-1])
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


OFFICIAL = """
warning('off', 'all');  % one a frame would take as long as the work
addpath('{utils}');
sequences = dir('{folder}/official/*.txt');
sequences = cellfun(@(name) name(1:end - 4), {{sequences.name}}, 'UniformOutput', false);
names = dir('{folder}/results/*_tracking_result');
names = cellfun(@(name) strrep(name, '_tracking_result', ''), {{names.name}}, 'UniformOutput', false);
trackers = cellfun(@(name) struct('name', name), names, 'UniformOutput', false);
for normalised = [false true]
  eval_tracker(sequences, trackers, 'OPE', names, ['{folder}/official/scores' num2str(normalised) '/'], ...
               '{folder}/official/', '{folder}/results/', normalised);
end
exit(0);
"""


def run_official(utils: Path, folder: Path) -> dict[str, Any]:
    """Seconds of the official code; its flags say where the target is absent, TNLLT's where it is present."""
    (folder / "official/absent").mkdir(parents=True, exist_ok=True)
    for boxes in (folder / "annos").glob("*.txt"):
        shutil.copy(boxes, folder / "official")
        flags = (folder / "annos/absent" / boxes.name).read_text()
        (folder / "official/absent" / boxes.name).write_text(flags.translate(str.maketrans("01", "10")))
    program = OFFICIAL.format(utils=utils.resolve(), folder=folder.resolve())
    return run_command(["octave-cli", "--quiet", "--eval", program], dict(os.environ))


def run_command(command: list[str], env: dict[str, str]) -> dict[str, Any]:
    """Seconds of a command from start to end."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - start, "processor": processor}


def measure(folder: Path, repeat: int, official: Path | None = None) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Best seconds and scores of every way, rounds in turn; and why ways were left out."""
    env = {**os.environ, "TNLLT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", "from tnllt.cli.eval import main; main()"]
    score = [*command, "--annos", str(folder / "annos"), "--results", str(folder / "results"), "--trackers", "all"]
    score += ["--metric", "success,precision,normalized-precision", "--no-intervals"]
    works: dict[str, Callable[[], dict[str, Any]]] = {way: partial(run_worker, way, folder) for way in WAYS}

    def cold() -> dict[str, Any]:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        return run_command(score, env)

    works["command, cold"] = cold
    works["command, cached"] = partial(run_command, score, env)
    works["interpreter"] = partial(run_command, [sys.executable, "-c", "pass"], env)
    works["--help"] = partial(run_command, [*command, "--help"], env)
    best: dict[str, dict[str, Any]] = {}
    missing = []
    if official is not None:
        best["official, Octave"] = run_official(official, folder)
    for _ in range(repeat):
        for name in list(works):
            try:
                found = works[name]()
            except RuntimeError as error:
                missing.append(f"{name} was left out: {error}.")
                del works[name]
                continue
            old = best.get(name, found)
            best[name] = found | {k: min(old[k], found[k]) for k in ("seconds", "processor")}
    same_scores(best)
    return best, missing


def same_scores(best: dict[str, dict[str, Any]]) -> None:
    """Raises AssertionError where ways that should agree do not; VOT counts whole pixels."""
    for one, other, allowed in (
        ("plain", "tnllt", 1e-12),
        ("got10k", "tnllt, got10k's rule", 1e-12),
        ("vot-toolkit", "tnllt, one tracker", 0.02),
    ):
        for metric, values in best.get(one, {"scores": {}})["scores"].items():
            np.testing.assert_allclose(best[other]["scores"][metric], values, rtol=0, atol=allowed)


def section(quick: bool = False) -> Table:
    """The table of the benchmark page."""
    with tempfile.TemporaryDirectory(prefix="tnllt-scoring-") as name:
        folder = Path(name)
        trackers, sequences = (3, 4) if quick else (21, 50)
        make(folder, trackers, sequences)
        best, missing = measure(folder, 1 if quick else 2)
    boxes = trackers * sequences * FRAMES / 1e6
    table = Table(
        "Scoring",
        f"{trackers} trackers on {sequences} sequences, {boxes:.1f} million boxes, from text files to scores. "
        "Processor time without imports, best of rounds that alternate, each in a process of its own; the commands by "
        "the clock from start to end, with imports. Ways that do the same work give the same scores (to 1e-12; VOT's "
        "overlaps count pixels and agree to 0.02).",
        ["the work", "the other", "s", "tnllt, s", "times faster"],
    )
    for work, other, ours in (
        ("official rule, three metrics", "plain", "tnllt"),
        ("got10k's rule, success and precision", "got10k", "tnllt, got10k's rule"),
        ("success of one tracker", "vot-toolkit", "tnllt, one tracker"),
    ):
        if other in best:
            them, us = best[other]["processor"], best[ours]["processor"]
            label = "`numpy.loadtxt`, a comparison per threshold" if other == "plain" else version(other)
            table.rows.append([work, label, f"{them:.2f}", f"{us:.2f}", ratio(them, us)])
    for name, work in (("command, cold", "`tnllt-eval`, cache empty"), ("command, cached", "`tnllt-eval`, cached")):
        table.rows.append([work, "", "", f"{best[name]['seconds']:.2f}", ""])
    table.rows.append(["`tnllt-eval --help`", "", "", f"{best['--help']['seconds']:.2f}", ""])
    table.note = " ".join([f"Peak memory: {best['tnllt']['peak']:.0f} MB.", *missing])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the files are made (and kept); default: a temporary folder")
    parser.add_argument("--trackers", type=int, default=21)
    parser.add_argument("--sequences", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--official", type=Path, metavar="DIR", help="where the official code's eval_tracker.m is")
    parser.add_argument("--check", action="store_true", help="exit 1 where a promise does not hold")
    parser.add_argument("--way", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        worker(options.way, options.folder)
        return
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tnllt-scoring-"))
    if not (folder / "results").is_dir():
        make(folder, options.trackers, options.sequences)
    try:
        raise SystemExit(report(folder, options.repeat, options.check, options.official))
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def report(folder: Path, repeat: int, check: bool, official: Path | None = None) -> int:
    size = sum(p.stat().st_size for p in (folder / "results").rglob("*.txt")) / 1e6
    print(f"{size:.0f} MB of results, {os.cpu_count()} cores, best of {repeat}", flush=True)
    best, missing = measure(folder, repeat, official)
    print(f"{'':28} {'seconds':>8} {'processor':>10}")
    for name, found in best.items():
        print(f"{name:28} {found['seconds']:8.2f} {found['processor']:10.2f}")
    print("\n".join(missing))
    ours, cached = best["tnllt"], best["command, cached"]["seconds"] - best["interpreter"]["seconds"]
    faster = best["plain"]["seconds"] / ours["seconds"]
    print(
        f"{faster:.1f} times faster than the plain way; cached {cached:.2f} s beyond the interpreter's start; "
        f"peak memory {ours['peak']:.0f} MB"
    )
    if official is not None:
        times = best["official, Octave"]["seconds"] / best["command, cold"]["seconds"]
        print(f"tnllt-eval, cache empty: {times:.0f} times as fast as the official code")
    kept = faster >= 8 and cached < 0.5 and ours["peak"] < 600 and best["--help"]["seconds"] < 0.5
    return int(check and not kept)


if __name__ == "__main__":
    main()
