"""`tnllt-board`: a leaderboard from a folder of entries."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tnllt.cli.common import output_folder, prints_findings, run_command, version_option
from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import BoardConfig, ScoreConfig
from tnllt.errors import EXIT_GATE, EXIT_OK, UsageError
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.board.examine import Examiner
    from tnllt.findings import Findings

#: What a board decides itself.
_WITHOUT = ("results", "trackers", "protocol", "allow_missing", "allow_short", "rounding", "workers", "cluster")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cli() -> None:
    """A leaderboard that anyone can host: entries are folders, every score is computed again, the site is static.

    \b
    tnllt-eval pack TRACKER --entry entries    make an entry
    tnllt-board check entries/TRACKER          what a pull request runs
    tnllt-board build entries --out site

    Exit codes: 0 success; 1 an entry is refused; 2 usage or data error.
    """


@cli.command()
@click.argument("entries", nargs=-1, required=True, type=PATH)
@config_options(ScoreConfig, without=_WITHOUT)
@prints_findings("tnllt.board.examine:CHECKER")
def check(entries: tuple[Path, ...], config: ScoreConfig) -> Findings:
    """Check ENTRIES, a folder each: safe to open, complete, made on these annotations, scores as claimed.

    Every archive is scored again under every protocol. A claim that differs by more than 1e-9 is refused, and by how
    much is said. Exit code 1 where an entry is refused. --format github prints annotations that GitHub shows.
    """
    from tnllt.board.entries import check_all, holds_entries
    from tnllt.board.examine import CHECKER
    from tnllt.findings import Findings

    for folder in entries:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; an entry is a folder with entry.toml and archives")
        if holds_entries(folder):
            raise UsageError(f"{folder}: holds entries and is none; give its folders: {folder}/*")
    findings = check_all(list(entries), _examiner(config))[1]
    every = CHECKER.sorted(finding for found in findings for finding in found.found)
    names = [folder.name for folder in entries]
    return Findings(CHECKER, every, f"{len(names)} {'entry' if len(names) == 1 else 'entries'}", {"entries": names})


@cli.command()
@click.argument("entries", type=PATH)
@config_options(ScoreConfig, without=_WITHOUT)
@config_options(BoardConfig, "board")
@click.option("--out", "-o", type=PATH, required=True, help="Folder of the site.")
@click.option("--style", type=PATH, help="TOML file with display names and colours.")
def build(entries: Path, config: ScoreConfig, board: BoardConfig, out: Path, style: Path | None) -> int:
    """Score every entry below ENTRIES again under every protocol, and write the site into --out.

    An entry that `check` refuses stops the build: nothing is written then, and the exit code is 1. Archives that were
    scored before come from the cache of scores.
    """
    from tnllt.board.entries import check_all, find_entries
    from tnllt.board.site import build_site
    from tnllt.eval.style import load_style

    started = time.perf_counter()
    look, examiner = load_style(style), _examiner(config)
    passed, findings = check_all(find_entries(entries), examiner)
    refused = [found for found in findings if found.exit_code()]
    for found in refused:
        click.echo(found.render(), err=True)
    if refused:
        return EXIT_GATE
    site = build_site(passed, output_folder(out), examiner, board, look)
    click.echo(
        printable(
            f"{out / 'index.html'}: {len(site.entries)} trackers by {len(examiner.protocols)} protocols; "
            f"{len(examiner.scored)} archives scored, the others known; {time.perf_counter() - started:.1f} s"
        )
    )
    return EXIT_OK


@cli.command()
@click.argument("folder", metavar="DIR", type=PATH)
@config_options(ScoreConfig, without=_WITHOUT)
def init(folder: Path, config: ScoreConfig) -> None:
    """Make the repository of a board in DIR, an empty or new folder.

    It gets a copy of the annotations (the files of --annos, or those of --root in TNLLT's layout), the workflow that
    checks pull requests and publishes the site, a README for authors of entries, and a first entry: the static-box
    reference.
    """
    from tnllt.board.init import init_board

    for path in init_board(folder, config):
        click.echo(printable(str(path)))
    click.echo(f"\nnext: cd {printable(shlex.quote(str(folder)))} && tnllt-board build entries --out site")


def _examiner(config: ScoreConfig) -> Examiner:
    """The examiner of the sequences that a configuration names."""
    from tnllt.board.examine import Examiner
    from tnllt.datasets.dataset import open_configured
    from tnllt.eval.cache import ScoreCache

    return Examiner(list(open_configured(config)), ScoreCache() if config.cache else None)


def main() -> None:
    run_command(cli, "tnllt-board")


if __name__ == "__main__":
    main()
