"""Scoring at the size of a large laboratory's archive: time and memory by boxes, and a run that is killed and resumed.

    python benchmarks/scale.py [--sizes 30x100,60x150,100x200] [--frames 2000]
    python benchmarks/scale.py --sizes 300x1000      600 million boxes, 15 GB of text
    python benchmarks/scale.py --commands 100x280    what `tnllt-run status` and `tnllt-eval report` take

Each size is trackers x sequences. Result files are hard links to a hundred drawn ones, so that they need no disk; each
is read and parsed as a file of its own. Every size is scored without a cache, in a process of its own. The first is
then scored with one, killed when half of its trackers are done, and started again.

The commands are measured from start to end, over results with run records that hold each frame's times and confidence,
as a run with `--profile` leaves them; records are hard links, too. `status` is started three times on the same folder,
and once more after every tracker got a sequence anew.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scoring
from common import Table

#: Annotations that are drawn, and results of each; a file system allows 65,000 links to one file.
TRUTHS, KINDS = 20, 5
SIZES = "30x100,60x150,100x200"


def make(folder: Path, trackers: int, sequences: int, frames: int) -> None:
    """Annotations and results of so many trackers in TNLLT's layout."""
    rng = np.random.default_rng(0)
    for t in range(TRUTHS):
        truth = scoring.annotate(folder / "drawn", f"t{t}", frames, rng)
        for kind in range(KINDS):
            boxes = truth + rng.normal(0, 4 + 4 * kind, truth.shape)
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
            scoring.write(folder / "drawn" / f"t{t}-{kind}.txt", boxes)
    places = [folder / "annos" / name for name in ("", "absent", "att")]
    results = [folder / "results" / f"tracker{k:03d}_tracking_result" for k in range(trackers)]
    for place in (*places, *results):
        place.mkdir(parents=True, exist_ok=True)
    kinds = rng.integers(KINDS, size=(sequences, trackers))  # no two trackers are the same
    for s in range(sequences):
        drawn, name = s % TRUTHS, f"seq-{s:04d}.txt"
        for place in places:
            os.link(folder / "drawn" / place.relative_to(folder / "annos") / f"t{drawn}.txt", place / name)
        for k, place in enumerate(results):
            os.link(folder / "drawn" / f"t{drawn}-{kinds[s, k]}.txt", place / name)


def add_records(folder: Path, frames: int) -> None:
    """A run record beside every result, and the identity of the run that they are of."""
    from tnllt.results.records import IDENTITY_FILE, RunIdentity, RunRecord

    rng = np.random.default_rng(1)
    run = RunIdentity({"tracker": "drawn", "options": {"step": 2.0}, "mode": "BB", "seed": 0})
    records: dict[int, Path] = {}
    for path in sorted((folder / "drawn").glob("*.txt")):
        record = RunRecord("drawn", path.stem, frames=frames, identity=run.facts)
        times = {name: rng.gamma(4, 0.002, frames).round(6).tolist() for name in ("read", "track")}
        record.seconds = {"load": 1.0, "total": 30.0, "read": times["read"], "track": times["track"]}
        record.confidence = rng.random(frames).tolist()
        record.costs = {"parameters": 9e7, "flops": 2e10, "joules": 900.0}
        record.memory_mb = {"start": 400.0, "end": 900.0, "peak": 950.0}
        record.sha256 = {"result": hashlib.sha256(path.read_bytes()).hexdigest()}
        records[path.stat().st_ino] = path.with_suffix(".run.json")
        records[path.stat().st_ino].write_bytes(record.to_json())
    for place in (folder / "results").iterdir():
        (place / IDENTITY_FILE).write_text(run.to_json())
        for path in place.glob("*.txt"):
            os.link(records[path.stat().st_ino], path.with_suffix(".run.json"))


def commands(size: str, frames: int) -> Table:
    """What the commands take that look at a whole results folder."""
    table = Table(
        "A large results folder",
        f"{size} results of {frames:,} frames with run records; each command from start to end.",
        ["command", "clock, s", "processor, s", "peak memory, MB", "page, MB"],
    )
    trackers, sequences = map(int, size.split("x"))
    with tempfile.TemporaryDirectory(prefix="tnllt-scale-") as name:
        folder = Path(name)
        make(folder, trackers, sequences, frames)
        add_records(folder, frames)
        places = ["--annos", folder / "annos", "--results", folder / "results"]
        status = ["tnllt-run", "status", *places]
        report = ["tnllt-eval", "report", *places, "--out", folder / "report"]
        page = folder / "report" / "report.html"

        def measure(what: str, command: list[str | Path]) -> None:
            began = time.perf_counter()
            env = {**os.environ, "TNLLT_CACHE": str(folder / "cache")}
            pid = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=env).pid
            _, code, used = os.wait4(pid, 0)
            if code:
                raise RuntimeError(f"{what} ended with code {os.waitstatus_to_exitcode(code)}")
            took = [f"{time.perf_counter() - began:.1f}", f"{used.ru_utime + used.ru_stime:.1f}"]
            mb = f"{page.stat().st_size / 1e6:.1f}" if page.exists() else ""
            table.rows.append([what, *took, f"{used.ru_maxrss / 1024:.0f}", mb])

        time.sleep(3)  # what changed less than two seconds ago is not remembered
        measure("`tnllt-run status`, the first time", status)
        measure("`tnllt-run status`, the second time", status)
        measure("`tnllt-run status`, the third time", status)
        for place in (folder / "results").iterdir():
            for suffix in (".txt", ".run.json"):
                path = place / f"seq-0000{suffix}"
                data = path.read_bytes()
                path.unlink()
                path.write_bytes(data)
        measure("`tnllt-run status`, a sequence of each tracker anew", status)
        measure("`tnllt-eval report`, nothing in the cache", report)
        measure("`tnllt-eval report`, scores in the cache", report)
    return table


def worker(folder: Path, cache: bool) -> None:
    """Scores the folder by as many processes as `tnllt-eval` takes; prints seconds, those of the processors, and the
    peak memory in MB of the process that takes most."""
    import tnllt
    from tnllt.processes import processors

    began, busy = time.perf_counter(), sum(os.times()[:4])
    scores = tnllt.score("tnllt", annos=folder / "annos", results=folder / "results", cache=cache, workers=processors())
    assert np.isfinite(scores.score("success")).all()
    spent = {"seconds": time.perf_counter() - began, "processor": sum(os.times()[:4]) - busy}
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({**spent, "peak": peak / 1024}))


def start(folder: Path, cache: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--worker", str(folder), *(["--cache"] if cache else [])]
    env = {**os.environ, "TNLLT_CACHE": str(folder / "cache")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    text, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"scoring ended with code {process.returncode}")
    return json.loads(text)  # type: ignore[no-any-return]


def resumed(folder: Path, trackers: int) -> str:
    """What a killed run and the next one did, in words."""

    def kept() -> int:
        return sum(1 for _ in (folder / "cache" / "scores").glob("*/*.npz"))

    first = start(folder, cache=True)
    while kept() < trackers / 2 and first.poll() is None:
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    there = min(kept(), trackers)
    second, third = finish(start(folder, cache=True)), finish(start(folder, cache=True))
    return (
        f"A run over {trackers} trackers that is killed when {there} of them are in the cache: the next one takes "
        f"{second['processor']:.1f} s of the processor, one that finds all {third['processor']:.1f} s."
    )


def section(quick: bool = False, sizes: str = SIZES, frames: int = 2000) -> Table:
    table = Table(
        "Scale",
        "Scoring without a cache from text files to all metrics, by a process per processor, imports left out. "
        "Result files are hard links to a hundred drawn ones. The peak is that of the process that takes most.",
        ["trackers x sequences", "million boxes", "clock, s", "processor, s", "µs a box", "peak memory, MB"],
    )
    frames = 200 if quick else frames
    for number, size in enumerate(("4x6" if quick else sizes).split(",")):
        trackers, sequences = map(int, size.split("x"))
        with tempfile.TemporaryDirectory(prefix="tnllt-scale-") as name:
            folder = Path(name)
            make(folder, trackers, sequences, frames)
            found = finish(start(folder))
            if number == 0:
                table.note = resumed(folder, trackers)
        boxes = trackers * sequences * frames / 1e6
        each = f"{found['processor'] / boxes:.2f}"
        took = [f"{found[name]:.1f}" for name in ("seconds", "processor")]
        table.rows.append([size.replace("x", " x "), f"{boxes:.3g}", *took, each, f"{found['peak']:.0f}"])
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--commands", metavar="SIZE", help="measure commands on results of this size instead")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--cache", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, given.cache)
    elif given.commands:
        print(commands(given.commands, given.frames).markdown())
    else:
        print(section(sizes=given.sizes, frames=given.frames).markdown())


if __name__ == "__main__":
    main()
