"""`tnllt-run NAME` and `tnllt-run retry`: track what is left, or what failed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tnllt.cli.common import location_options
from tnllt.config import Locations
from tnllt.errors import EXIT_INCOMPLETE, EXIT_OK, UsageError
from tnllt.files import user_path
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.datasets import Dataset
    from tnllt.tracking.plan import RunPlan
    from tnllt.tracking.registry import TrackerSpec
    from tnllt.tracking.runner import Resources, Summary
    from tnllt.tracking.setup import DatasetSpec, Setup

F = TypeVar("F", bound=Callable[..., Any])

_RUN_OPTIONS = (
    click.option("--split", default="test", show_default=True, help="Which sequences: test, train, all."),
    click.option("--sequences", "-s", multiple=True, help="Names, globs, or a file of names; may be repeated."),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the tracker."),
    click.option("--mode", type=click.Choice(["BB", "NL", "NL+BB"]), help="Inputs.  [default: the most it can use]"),
    click.option("--name", "label", help="What the results go under.  [default: the tracker's name]"),
    click.option("--seed", default=0, show_default=True, help="Seeds all random numbers before every sequence."),
    click.option("--again", is_flag=True, help="Track sequences whose result is there, too."),
    click.option("--video", is_flag=True, help="Write an MP4 with boxes and sentence beside each result."),
    click.option("--workers", "-w", type=click.IntRange(1), default=1, show_default=True, help="Processes at once."),
    click.option("--devices", help="For the workers in turn: cuda:0,cuda:1 or cpu."),
    click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Sequences per forward pass."),
    click.option("--threads", type=click.IntRange(1), help="Per worker.  [default: cores / workers]"),
    click.option("--read-ahead", type=click.IntRange(0), default=4, show_default=True, help="Frames decoded ahead."),
    click.option("--timing", is_flag=True, help="Measure speed: one worker, alone, warmed up, nothing read ahead."),
    click.option("--start-timeout", type=click.FloatRange(0, min_open=True), help="Seconds to load and to start."),
    click.option("--frame-timeout", type=click.FloatRange(0, min_open=True), help="Seconds for one frame."),
    click.option("--max-memory", type=click.FloatRange(0, min_open=True), help="Megabytes a worker may use."),
    click.option("--shard", metavar="I/N", help="Only the I-th of N equal parts, for job arrays."),
    click.option("--cluster", metavar="ADDRESS", help="Run on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT."),
    click.option("--gpus", type=click.FloatRange(0), default=0.0, help="Share of a GPU per job on the cluster."),
    click.option("--verbose", "-v", is_flag=True, help="Show what the tracker prints."),
)


def run_options(function: F) -> F:
    decorated: Any = function
    for option in reversed(_RUN_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Wishes:
    """The options of a run, as given."""

    split: str
    sequences: tuple[str, ...]
    settings: tuple[str, ...]
    mode: str | None
    label: str | None
    seed: int
    again: bool
    video: bool
    workers: int
    devices: str | None
    batch: int
    threads: int | None
    read_ahead: int
    timing: bool
    start_timeout: float | None
    frame_timeout: float | None
    max_memory: float | None
    shard: str | None
    cluster: str | None
    gpus: float
    verbose: bool


@click.command(short_help="Track a dataset with a tracker.", context_settings={"help_option_names": ["--help", "-h"]})
@click.argument("name", required=False, metavar="")
@click.option("--baseline", type=click.Path(path_type=Path), help="A baseline's TOML file of your own.")
@click.option("--repo", type=click.Path(path_type=Path), help="A clone in the shape of pytracking or OSTrack.")
@click.option("--tracker", help="With --repo: the tracker's name there.")
@click.option("--yaml", help="With --repo: the configuration's name there.")
@location_options
@run_options
def track(
    name: str | None,
    baseline: Path | None,
    repo: Path | None,
    tracker: str | None,
    yaml: str | None,
    where: Locations,
    **given: Any,
) -> int:
    """Track a dataset with the tracker NAME (see `tnllt-run list`), module:Class, file.py:Class or a baseline.

    What is there already is left alone, so a run that was interrupted continues. Exit code 3: a sequence failed.
    """
    from tnllt.tracking.options import parse_settings
    from tnllt.tracking.registry import find_repository, find_tracker

    wishes = Wishes(**given)
    options = parse_settings(wishes.settings)
    if repo is not None:
        if name or baseline or not tracker or not yaml:
            raise UsageError("--repo DIR goes with --tracker NAME and --yaml NAME, and without another tracker")
        return run_tracker(find_repository(repo, tracker, yaml, options, wishes.label), where, wishes)
    if tracker or yaml:
        raise UsageError("--tracker and --yaml go with --repo DIR")
    if (name is None) == (baseline is None):
        raise UsageError("name one tracker; `tnllt-run list` shows them")
    return run_tracker(find_tracker(name or str(baseline), options, wishes.label), where, wishes)


@click.command(short_help="Track failed sequences again.", context_settings={"help_option_names": ["--help", "-h"]})
@click.argument("names", nargs=-1, metavar="[TRACKER]...")
@location_options
@run_options
def retry(names: tuple[str, ...], where: Locations, **given: Any) -> int:
    """Track the failed sequences of each TRACKER again (by default of all), and nothing else.

    Tracker, options, mode and seed are those that the failed runs' records tell; --set changes single options.
    """
    from tnllt.results.store import ResultStore
    from tnllt.tracking.options import parse_settings
    from tnllt.tracking.registry import TrackerSpec, respec

    wishes = Wishes(**given)
    store = ResultStore(results_folder(where))
    chosen = names or tuple(store.trackers())
    code, any_failed = EXIT_OK, False
    for name in chosen:
        failed = store.failures(name)
        if not failed:
            continue
        any_failed = True
        record = failed[0]
        spec = respec(TrackerSpec(name, record.implementation), {**record.options, **parse_settings(wishes.settings)})
        # Records say what code to run: a results folder from elsewhere should not do so unseen.
        click.echo(printable(f"{name}: failed sequences again, with {spec.target} as their records say"), err=True)
        own = Wishes(**{**given, "seed": given["seed"] or record.seed})
        code = max(code, run_tracker(spec, where, own, failures_only=True))
    if not any_failed:
        click.echo(f"nothing failed in {store.folder}")
    return code


def run_tracker(spec: TrackerSpec, where: Locations, wishes: Wishes, failures_only: bool = False) -> int:
    """One tracker's run; the exit code."""
    from tnllt.cli.run_progress import Progress
    from tnllt.tracking.plan import make_plan, parse_shard
    from tnllt.tracking.runner import run

    data = dataset_spec(where, wishes)
    dataset = data.open()
    setup = make_setup(spec, data, results_folder(where), wishes)
    shard = parse_shard(wishes.shard) if wishes.shard else (0, 1)
    plan = make_plan(setup, dataset, shard, failures_only)
    resources = make_resources(wishes)
    _announce(spec, dataset, plan, setup, resources)
    progress = Progress(spec.name, len(plan.jobs), sum(job.frames for job in plan.jobs))
    try:
        with _endable():
            summary = run(setup, plan, resources, progress)
    except _Ended as ended:
        click.echo("Interrupted. What is done is kept; run again to continue.", err=True)
        return 128 + ended.signal
    finally:
        progress.close()
    if setup.video:
        _film_what_was_there(setup, dataset, plan)
    return _conclude(spec, setup, summary, where)


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


def make_setup(spec: TrackerSpec, data: DatasetSpec, results: Path, wishes: Wishes) -> Setup:
    """What each worker is told. Raises UsageError where wishes contradict each other or the tracker."""
    from tnllt.tracking.runner import default_threads
    from tnllt.tracking.setup import Setup
    from tnllt.tracking.tracker import SupportsBatch

    cls = spec.tracker_class
    if wishes.batch > 1 and not all(hasattr(cls, m) for m in ("start", "step", "end")):
        raise UsageError(f"{spec.name} tracks one sequence at a time ({SupportsBatch.__name__}); leave --batch out")
    if wishes.mode is not None and wishes.mode not in [m.value for m in cls.modes]:
        modes = ", ".join(m.value for m in cls.modes)
        raise UsageError(f"{spec.name} cannot start from {wishes.mode}; it takes {modes}")
    if wishes.timing and (wishes.workers > 1 or wishes.batch > 1 or wishes.cluster):
        raise UsageError("--timing measures one worker alone: leave --workers, --batch and --cluster out")
    return Setup(
        tracker=spec,
        dataset=data,
        results=str(results.absolute()),
        mode=wishes.mode,
        seed=wishes.seed,
        batch=wishes.batch,
        read_ahead=0 if wishes.timing else wishes.read_ahead,
        threads=wishes.threads or default_threads(wishes.workers),
        workers=wishes.workers,
        warm_up=10 if wishes.timing else 0,
        exclusive=wishes.timing,
        video=wishes.video,
        again=wishes.again,
    )


def make_resources(wishes: Wishes) -> Resources:
    from tnllt.tracking.pool import Limits
    from tnllt.tracking.runner import Resources

    devices = tuple(d.strip() for d in (wishes.devices or "").split(",") if d.strip())
    limits = Limits(wishes.start_timeout, wishes.frame_timeout, wishes.max_memory)
    return Resources(wishes.workers, devices, limits, wishes.cluster, wishes.gpus, wishes.verbose)


def dataset_spec(where: Locations, wishes: Any) -> DatasetSpec:
    """The dataset in words that hold in another working folder, too."""
    from tnllt.tracking.setup import DatasetSpec

    name = where.dataset
    if user_path(name).exists() and any(c in name for c in "/\\."):
        name = str(user_path(name).absolute())
    root, annos = (str(user_path(p).absolute()) if p is not None else None for p in (where.root, where.annos))
    names = tuple(_absolute_file(n.strip()) for given in wishes.sequences for n in given.split(",") if n.strip())
    return DatasetSpec(name, root, annos, None if wishes.split == "all" else wishes.split, names or None)


def results_folder(where: Locations) -> Path:
    """The results folder; where none is named, `runs/<dataset>` in the working folder."""
    if where.results is not None:
        return user_path(where.results)
    return Path("runs") / (Path(where.dataset).name or "dataset")


def _absolute_file(name: str) -> str:
    path = user_path(name)
    return str(path.absolute()) if path.is_file() else name


def _announce(spec: TrackerSpec, dataset: Dataset, plan: RunPlan, setup: Setup, resources: Resources) -> None:
    from tnllt.tracking.runner import busy_cores

    there = f", {len(plan.done)} there already" if plan.done else ""
    place = f"cluster {resources.cluster}" if resources.cluster else f"{resources.workers} worker(s)"
    what = f"{len(plan.jobs)} of {len(dataset)} sequences to track{there}"
    click.echo(printable(f"{spec.name} on {dataset.name}: {what}; {place}, results in {setup.results}"), err=True)
    load = busy_cores()
    if setup.exclusive and load is not None and load > 0.5:
        click.echo(f"Warning: this machine is busy (load {load:.1f}); the times will be too long", err=True)


def _film_what_was_there(setup: Setup, dataset: Dataset, plan: RunPlan) -> None:
    """Videos of results that earlier runs made."""
    from tnllt.results.store import ResultStore
    from tnllt.tracking.video import write_video

    store = ResultStore(setup.results)
    for name in plan.done:
        path = store.path(setup.tracker.name, name, ".mp4")
        if not path.is_file():
            write_video(path, dataset[name], store.read(setup.tracker.name, name), setup.tracker.name)


def _conclude(spec: TrackerSpec, setup: Setup, summary: Summary, where: Locations) -> int:
    """Says how the run ended, and what to do next; the exit code."""
    if len(summary.modes) > 1:
        modes = ", ".join(f"{count} from {mode}" for mode, count in sorted(summary.modes.items()))
        click.echo(f"Note: not all sequences could be started alike: {modes}", err=True)
    if summary.memory:
        worst = max(summary.memory, key=lambda name: summary.memory[name])
        grown = f"by {summary.memory[worst]:.0f} MB over {worst}"
        click.echo(f"Note: memory grew {grown}; --max-memory MB would end a worker that leaks", err=True)
    count = len(summary.before) + len(summary.done)
    click.echo(printable(f"{spec.name}: {count} done, {len(summary.failed)} failed; results in {setup.results}"))
    for name, why in summary.failed.items():
        click.echo(printable(f"  {name}: {why}"))
    if summary.failed:
        click.echo("Each record (.run.json) has the traceback. Run again, or: tnllt-run retry, to track them again.")
        return EXIT_INCOMPLETE
    return EXIT_OK
