"""`tnllt-run NAME` and `tnllt-run retry`: track what is left, or what failed."""

from __future__ import annotations

import dataclasses
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tnllt.cli.common import terminal_width
from tnllt.cli.dataclass_options import config_options
from tnllt.config import TableConfig
from tnllt.errors import EXIT_OK, TnlltError, UsageError
from tnllt.files import user_path
from tnllt.text import printable
from tnllt.tracking.baselines.find import BaselineChoice
from tnllt.tracking.config import RunConfig, SourceConfig, results_folder

if TYPE_CHECKING:
    from tnllt.tracking.registry import TrackerSpec
    from tnllt.tracking.runner import RunResult


#: What the table after a run of variants shows; `tnllt-eval` shows all.
_METRICS = ("success", "precision", "normalized_precision")


@click.command()
@click.argument("which", required=False, metavar="")
@config_options(BaselineChoice, "other")
@config_options(SourceConfig, "single")
@config_options(RunConfig)
def track(which: str | None, other: BaselineChoice, single: SourceConfig, config: RunConfig) -> int:
    """Track a dataset with the tracker NAME (see `tnllt-run list`), module:Class, file.py:Class or a baseline.

    With --source, a single video, camera or stream: tnllt-run ReasoningTrack --source clip.mp4 --box 51,47,25,62
    --text "the couple on the road" --out couple.mp4

    Sequences that have a result are left as they are, so a run that was interrupted continues. Exit code 3: a sequence
    failed.
    """
    tracker = other.named(which)
    if single != SourceConfig():
        from tnllt.cli.run_source import follow

        single = dataclasses.replace(single, text=", ".join(config.text or ()) or None)
        config = dataclasses.replace(config, text=())
        return follow(tracker, single, config)
    return _run(tracker, config)


@click.command()
@click.argument("names", nargs=-1, metavar="[TRACKER]...")
@click.option("--yes", is_flag=True, help="Run the code that records name without asking.")
@config_options(RunConfig)
def retry(names: tuple[str, ...], yes: bool, config: RunConfig) -> int:
    """Track the failed sequences of each TRACKER again (by default of all), and nothing else.

    Tracker, options, mode, seed, texts, starter and --realtime are those of the failed runs' records; --set changes
    single options. Where a record names code outside of tnllt and of installed trackers, it is run only after you
    agree: a results folder may come from anybody.
    """
    from tnllt.results.store import ResultStore
    from tnllt.tracking.runner import failed_runs

    store = ResultStore(results_folder(config.locate()))
    code, found = EXIT_OK, failed_runs(store, names)
    for spec, settings in found:
        click.echo(printable(f"{spec.name}: failed sequences again, with {spec.target} as their records say"), err=True)
        _agree(spec.target, yes)
        given = {n: value for n in settings if (value := getattr(config, n)) != getattr(RunConfig, n)}
        own = dataclasses.replace(config, **{"failures_only": True, **settings, **given})
        code = max(code, _run(spec, own))
    if not found:
        click.echo(f"nothing failed in {store.folder}")
    return code


def _agree(target: str, yes: bool) -> None:
    """Asks before code runs that a record alone names. Raises UsageError where nobody agrees."""
    from tnllt.tracking.registry import is_known

    if yes or is_known(target):
        return
    if not sys.stdin.isatty() or not click.confirm("Run this code?", err=True):
        raise UsageError(f"{target} is named by a record alone; --yes runs it, where you trust the results folder")


def _run(tracker: str | TrackerSpec, config: RunConfig) -> int:
    """One tracker's run with everything that is printed about it; the exit code."""
    from tnllt.cli.progress import RunProgress
    from tnllt.tracking.runner import execute

    progress = RunProgress()
    config = dataclasses.replace(config, watcher=progress, colour=_colour(tracker, config))
    try:
        with _endable():
            result = execute(tracker, config)
    except _Ended as ended:
        progress.line("Interrupted. What is done is kept; run again to continue.")
        return 128 + ended.signal
    finally:
        progress.close()
    _conclude(result)
    if result.variants:
        _print_table(result, config)
    return result.exit_code


def _colour(tracker: str | TrackerSpec, config: RunConfig) -> str:
    """The colour that the tracker has in figures and reports of the same results folder."""
    if not config.video:
        return config.colour
    from tnllt.eval.style import load_style
    from tnllt.results.store import ResultStore
    from tnllt.tracking.registry import find_tracker

    name = tracker.name if not isinstance(tracker, str) else config.name or find_tracker(tracker).name
    folder = results_folder(config.locate())
    among = ResultStore(folder).trackers()
    return load_style(config=user_path(config.config) if config.config else None).looks([name], among)[name].bright


class _Ended(BaseException):
    """A signal asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextmanager
def _endable() -> Iterator[None]:
    """Interrupt, terminate (by a job scheduler) and hang-up end the block by _Ended: no worker is orphaned."""

    def end(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)  # one is enough; a second must not break the tidying up
        raise _Ended(number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_table(result: RunResult, config: RunConfig) -> None:
    """The main scores of a grid's variants, where the dataset can be scored: mean and deviation over seeds."""
    from tnllt.eval.selection import score
    from tnllt.eval.tables import render
    from tnllt.results.variants import parse_variant

    names = [variant.tracker for variant in result.variants]
    keys = sorted({key for name in names for key in parse_variant(name).values} - {"seed"}) or ["seed"]
    where = {name: getattr(config, name) for name in ("dataset", "root", "annos", "config", "split", "sequences")}
    partly = bool(result.failed or config.shard)
    try:
        scores = score(**where, results=result.results, trackers=names, allow_missing=partly)
        click.echo("\n" + render(scores, _METRICS, config=TableConfig(width=terminal_width()), group_by=keys), nl=False)
    except TnlltError as error:
        click.echo(printable(f"Note: no table of scores: {error}"), err=True)


def _conclude(result: RunResult) -> None:
    """Prints how the run ended, and what to do next."""
    if len(result.modes) > 1:
        modes = ", ".join(f"{count} from {mode}" for mode, count in sorted(result.modes.items()))
        click.echo(f"Note: not all sequences could be started alike: {modes}", err=True)
    if result.memory:
        worst = max(result.memory, key=lambda name: result.memory[name])
        grown = f"by {result.memory[worst]:.0f} MB over {worst}"
        click.echo(f"Note: memory grew {grown}; --max-memory MB would end a worker that leaks", err=True)
    if result.unanswered:
        failed, asked = (sum(counts[i] for counts in result.unanswered.values()) for i in (0, 1))
        where = f"{failed} of {asked} refreshes of the description failed in {len(result.unanswered)} sequence(s)"
        click.echo(f"Note: {where}; the traces (.trace.jsonl) have the errors", err=True)
        if result.exit_code and not result.failed:
            click.echo("Where more than a tenth failed, `tnllt-run retry` tracks the sequence again.", err=True)
    if result.jobs:
        click.echo(printable(f"{result.tracker}: {len(result.before)} done; {len(result.jobs)} Slurm jobs submitted "
                             f"({result.jobs[0]} to {result.jobs[-1]}); `tnllt-run status` shows them"))  # fmt: skip
        return
    count = len(result.before) + len(result.done)
    click.echo(printable(f"{result.tracker}: {count} done, {len(result.failed)} failed; results in {result.results}"))
    for name, why in result.failed.items():
        click.echo(printable(f"  {name}: {why}"))
    if result.failed:
        click.echo("Each record (.run.json) has the traceback. Run again, or: tnllt-run retry, to track them again.")
