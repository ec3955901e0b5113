"""The leaderboard's site: time to build it, also with one more entry; size of its pages; first paint in Chromium.

    python benchmarks/board.py --trackers 100 --sequences 280 --out DIR

Entries are made as `benchmarks/scoring.py` makes results. With --out the site stays there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import scoring

from tnllt.board.entries import check_all, find_entries
from tnllt.board.examine import Examiner
from tnllt.board.site import build_site
from tnllt.config import BoardConfig, ScoreConfig
from tnllt.eval.cache import ScoreCache
from tnllt.eval.packing import write_entries
from tnllt.eval.selection import select, select_sequences
from tnllt.results.entry import Entry


def build(folder: Path, config: ScoreConfig, out: Path) -> tuple[float, int]:
    """Seconds, and archives that were scored."""
    started = time.perf_counter()
    examiner = Examiner(select_sequences(config), ScoreCache(folder / "cache" / "scores"))
    entries, findings = check_all(find_entries(folder / "entries"), examiner)
    assert not any(found.exit_code() for found in findings)
    build_site(entries, out, examiner, BoardConfig())
    return time.perf_counter() - started, len(examiner.scored)


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
    parser.add_argument("--frames", type=int, default=300, help="Of each sequence.")
    parser.add_argument("--out", type=Path, help="Folder of the site.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TNLLT_CACHE"] = str(folder / "cache")
        scoring.FRAMES = given.frames
        scoring.make(folder, given.trackers, given.sequences)
        config = ScoreConfig("tnllt", annos=folder / "annos", results=folder / "results", split="all")
        selection = select(config)
        frames = sum(len(s) for s in selection.sequences)
        write_entries(folder / "entries", selection, Entry(date="2026-01-02"))
        last = sorted((folder / "entries").iterdir())[-1]
        last.rename(folder / "last")
        site = given.out or folder / "site"
        print(f"{given.trackers} trackers on {given.sequences} sequences, {frames:,} frames each")
        print("built: {:.1f} s, {} archives scored".format(*build(folder, config, site)))
        print("built again, nothing new: {:.1f} s, {} archives scored".format(*build(folder, config, site)))
        (folder / "last").rename(last)
        print("one more entry: {:.1f} s, {} archives scored".format(*build(folder, config, site)))
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
