"""`make demo`: a small benchmark made, tracked, scored and drawn by the commands themselves; no download.

Eight synthetic sequences (the `demo` dataset), three trackers: the reference tracker with its small bundled weights,
once with a description that stays and once with one that is revised; OpenCV's MIL; the initial box, never moved. Every
command is printed, so that it can be run again by hand.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tnllt.errors import EXIT_OK

TRACKERS = ("ReasoningTrack", "MIL", "still")
#: Of a second run of ReasoningTrack, in which the description stays.
REASONER = "static"
_MODULES = {"tnllt-run": "tnllt.cli.run", "tnllt-eval": "tnllt.cli.eval", "tnllt-data": "tnllt.cli.data"}


def commands(folder: Path) -> Iterator[list[str]]:
    """The demonstration's commands, in order."""
    results, scores = str(folder / "results"), str(folder / "scores")
    yield ["tnllt-data", "info", "--dataset", "demo", "--sheet", str(folder / "sequences.png")]
    for tracker in TRACKERS:
        yield ["tnllt-run", tracker, "--dataset", "demo", "--results", results]
    yield ["tnllt-run", TRACKERS[0], "--dataset", "demo", "--results", results, "--grid", f"reasoner={REASONER}"]
    where = ["--dataset", "demo", "--results", results]
    yield ["tnllt-eval", *where, "--trackers", "all", "--metric", "success", "--attributes", "--out", scores]
    yield ["tnllt-eval", "report", *where, "--out", str(folder)]


def run(folder: Path) -> int:
    """Runs them all below `folder`; stops at the first that fails and returns its exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    for command in commands(folder):
        print(f"\n$ {shlex.join(command)}", flush=True)
        code = subprocess.run([sys.executable, "-m", _MODULES[command[0]], *command[1:]], check=False).returncode
        if code != EXIT_OK:
            return code
    print(f"\nDone in {time.monotonic() - started:.0f} s. Look at:")
    for what, name in (
        ("the sequences", "sequences.png"),
        ("the plots", "scores/curves.png"),
        ("the report, in a browser", "report.html"),
    ):
        print(f"  {folder / name}  {what}")
    return EXIT_OK


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tnllt.demo", description="Make, track, score and draw.")
    parser.add_argument("folder", type=Path, help="where everything goes")
    sys.exit(run(parser.parse_args().folder))


if __name__ == "__main__":
    main()
