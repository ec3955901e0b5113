"""The leaderboard's site: time to build it, also with one more entry; size of its pages; first paint in Chromium.

    python benchmarks/board.py --trackers 100 --sequences 280 --out DIR
    python benchmarks/board.py --trackers 100 --lasot /data/lasot --out DIR

Sequences are made 500 to 2,500 frames long. Made trackers take each sequence's result from a few drawn ones, the good
ones more often the better the tracker is. With --lasot the annotations are those in its `annos`, and the trackers of
its `results` are among the hundred. With --out the site stays there, with --work everything else.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scoring

from tnllt.board.entries import check_all, find_entries
from tnllt.board.examine import Examiner
from tnllt.board.site import build_site
from tnllt.config import BoardConfig, ScoreConfig
from tnllt.datasets.dataset import open_configured
from tnllt.eval.cache import ScoreCache
from tnllt.eval.packing import write_entries
from tnllt.eval.selection import select
from tnllt.results.entry import Entry
from tnllt.sequence import Sequence

#: Results that are drawn for each sequence, from good to bad; every made tracker is a choice among them.
KINDS = 12
BUILT = "{}: {:.1f} s, {:.1f} s of the processor, {} archives scored"


def make_results(results: Path, sequences: list[Sequence], trackers: int) -> None:
    """Results of so many made trackers: hard links to `KINDS` drawn results of each sequence."""
    rng = np.random.default_rng(1)
    names = [f"Made{k:03d}" for k in range(trackers)]
    for name in names:
        (results / f"{name}_tracking_result").mkdir(parents=True, exist_ok=True)
    for sequence in sequences:
        truth, files = np.nan_to_num(sequence.groundtruth), []
        for kind in range(KINDS):
            boxes = truth + rng.normal(0, 0.02 + 0.02 * kind, truth.shape) * np.median(truth[:, 2:])
            lost = int(rng.integers(len(truth) // (1 + kind), 2 * len(truth)))  # from here on it stays where it is
            boxes[lost:] = boxes[lost - 1 : lost]
            boxes[0], boxes[:, 2:] = truth[0], np.maximum(boxes[:, 2:], 1)
            files.append(results.parent / "kinds" / f"{sequence.name}-{kind}.txt")
            files[-1].parent.mkdir(exist_ok=True)
            scoring.write(files[-1], boxes)
        for k, name in enumerate(names):
            kind = int(np.clip(rng.normal(KINDS * k / trackers, 2), 0, KINDS - 1))
            os.link(files[kind], results / f"{name}_tracking_result" / f"{sequence.name}.txt")


def make_entries(folder: Path, config: ScoreConfig, trackers: int, sequences: int, lasot: Path | None) -> None:
    """Entries of the real trackers and of as many made ones as are wanted, with annotations where none are given."""
    real = sorted(path for path in (lasot / "results").iterdir() if path.is_dir()) if lasot else []
    for path in real:
        shutil.copytree(path, folder / "results" / path.name)
    if not lasot:
        rng = np.random.default_rng(0)
        for s, length in enumerate(rng.integers(500, 2501, sequences).tolist()):
            scoring.annotate(folder / "annos", f"seq-{s:03d}", length, rng)
    make_results(folder / "results", list(open_configured(config)), trackers - len(real))
    write_entries(folder / "entries", select(config), Entry(date="2026-01-02"))


def build(folder: Path, config: ScoreConfig, out: Path) -> tuple[float, float, int]:
    """Seconds, those of the processor among them, and archives that were scored."""
    started, busy = time.perf_counter(), time.process_time()
    examiner = Examiner(list(open_configured(config)), ScoreCache(folder / "cache" / "scores"))
    entries, findings = check_all(find_entries(folder / "entries"), examiner)
    assert not any(found.exit_code() for found in findings)
    build_site(entries, out, examiner, BoardConfig())
    return time.perf_counter() - started, time.process_time() - busy, len(examiner.scored)


def first_paint(page: Path, times: int = 5) -> float:
    """Seconds to Chromium's first contentful paint, the median of several loads in fresh contexts."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(times):
            opened: Any = browser.new_context().new_page()
            opened.goto(page.as_uri())
            opened.wait_for_selector("html[data-ready=yes]")
            entry = "performance.getEntriesByName('first-contentful-paint')[0]"
            opened.wait_for_function(f"{entry} !== undefined")
            found.append(opened.evaluate(f"{entry}.startTime") / 1000)
        browser.close()
    return sorted(found)[times // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trackers", type=int, default=100)
    parser.add_argument("--sequences", type=int, default=280)
    parser.add_argument("--lasot", type=Path, help="Folder with LaSOT's annos and results.")
    parser.add_argument("--out", type=Path, help="Folder of the site.")
    parser.add_argument("--work", type=Path, help="Folder for results, entries and cache; entries there are used.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.work or Path(name)
        os.environ["TNLLT_CACHE"] = str(folder / "cache")
        annos = given.lasot / "annos" if given.lasot else folder / "annos"
        config = ScoreConfig("lasot" if given.lasot else "tnllt", annos=annos, results=folder / "results", split="all")
        if not (folder / "entries").is_dir():
            make_entries(folder, config, given.trackers, given.sequences, given.lasot)
        sequences = list(open_configured(config))
        frames = sum(len(s) for s in sequences)
        last = sorted((folder / "entries").iterdir())[-1]
        last.rename(folder / "last")
        site = given.out or folder / "site"
        print(f"{given.trackers} trackers on {len(sequences)} sequences, {frames:,} frames each")
        print(BUILT.format("built", *build(folder, config, site)), flush=True)
        print(BUILT.format("built again, nothing new", *build(folder, config, site)), flush=True)
        (folder / "last").rename(last)
        print(BUILT.format("one more entry", *build(folder, config, site)), flush=True)
        for page in (
            "index.html",
            "compare.html",
            f"trackers/{last.name}.html",
            "style.css",
            "board.js",
            "scores.json",
        ):
            print(f"{page}: {(site / page).stat().st_size / 1e3:,.0f} kB")
        whole = sum(p.stat().st_size for p in site.rglob("*") if p.is_file() and p.suffix != ".zip")
        print(f"the site without archives: {whole / 1e6:.1f} MB")
        print(f"first contentful paint of index.html: {first_paint(site / 'index.html'):.2f} s")


if __name__ == "__main__":
    main()
