"""`tnllt.run`: a whole run, by a pool on this machine or by a cluster."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from tnllt import slurm
from tnllt.config import DatasetConfig, cache_folder, listed_names
from tnllt.datasets.dataset import open_configured
from tnllt.errors import EXIT_INCOMPLETE, EXIT_OK, UsageError
from tnllt.locks import FileLock
from tnllt.options import check_fields, key_values, split_pairs
from tnllt.processes import processors
from tnllt.results.records import lacks_answers
from tnllt.results.store import ResultStore
from tnllt.results.variants import parse_variant, variant_name
from tnllt.sequence import Sequence
from tnllt.tracking.config import RunConfig, RunSpec, TrackingConfig, absolute, part, results_folder
from tnllt.tracking.identity import run_facts
from tnllt.tracking.language_start import check_takes_box
from tnllt.tracking.options import parse_settings
from tnllt.tracking.plan import RunPlan, make_plan, parse_shard
from tnllt.tracking.pool import Pool, SequenceOutcome, Watcher
from tnllt.tracking.registry import TrackerLike, TrackerSpec, find_target, find_tracker
from tnllt.tracking.texts import Texts, split_sources, texts_of
from tnllt.tracking.tracker import Tracker

if TYPE_CHECKING:
    from tnllt.datasets import Dataset


P = ParamSpec("P")
#: Growth of a worker's memory over one sequence, in MB, from which a run reports it.
_NOTABLE_GROWTH = 200


@dataclass
class RunResult:
    """How a run ended.

    Attributes:
        tracker: what the results go under.
        results: the results folder.
        before: sequences that had a result already.
        done: sequences that were tracked, or that another run finished meanwhile.
        failed: {sequence: why}.
        memory: {sequence: MB by which the worker grew over it}, where that is over 200 MB.
        modes: {mode: number of sequences}, for what was tracked.
        unanswered: {sequence: (refreshes of the description that failed, all)}, where any failed.
        variants: of a run of several variants (texts, a grid), one result each; `before`, `done` and `failed` then name
            "VARIANT: SEQUENCE".
        jobs: numbers of the Slurm jobs that track the rest; `tnllt-run status` shows how they are.
    """

    tracker: str
    results: Path
    before: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    unanswered: dict[str, tuple[int, int]] = field(default_factory=dict)
    variants: list[RunResult] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, tracker: str, variants: list[RunResult]) -> RunResult:
        """The result of several variants of a tracker."""
        return cls(
            tracker,
            variants[0].results,
            [f"{v.tracker}: {name}" for v in variants for name in v.before],
            [f"{v.tracker}: {name}" for v in variants for name in v.done],
            {f"{v.tracker}: {name}": why for v in variants for name, why in v.failed.items()},
            variants=variants,
            jobs=[job for v in variants for job in v.jobs],
        )

    @property
    def exit_code(self) -> int:
        """The command's exit code: 3 where a sequence failed, or more than a tenth of its refreshes; else 0."""
        lacking = any(lacks_answers(*counts) for counts in self.unanswered.values())
        if self.failed or lacking or any(variant.exit_code for variant in self.variants):
            return EXIT_INCOMPLETE
        return EXIT_OK

    def count(self, outcome: SequenceOutcome) -> None:
        if outcome.how == "failed":
            self.failed[outcome.name] = outcome.message
            return
        self.done.append(outcome.name)
        memory = outcome.facts.get("memory_mb") or {}
        grown = memory.get("end", 0.0) - memory.get("start", 0.0)
        if grown > _NOTABLE_GROWTH:
            self.memory[outcome.name] = grown
        unanswered = outcome.facts.get("unanswered") or (0, 0)
        if unanswered[0]:
            self.unanswered[outcome.name] = (unanswered[0], unanswered[1])
        mode = outcome.facts.get("mode")
        if mode:
            self.modes[mode] = self.modes.get(mode, 0) + 1


def _takes(config: Callable[P, Any]) -> Callable[[Any], Callable[Concatenate[TrackerLike, P], RunResult]]:
    """Gives `run` the fields of the configuration as arguments, for readers and mypy."""
    return lambda function: function


@_takes(RunConfig)
def run(tracker: TrackerLike, *where: Any, **settings: Any) -> RunResult:
    """Tracks a dataset with a tracker; sequences that have a result are left as they are.

        run = tnllt.run("ReasoningTrack", dataset="demo", results="runs", workers=2)

    Nothing is printed: a `watcher` (see `tnllt.tracking.pool.Watcher`) shows what happens.

    Args:
        tracker: a name, "module:Class", "file.py:Class", a baseline's TOML file, a `TrackerSpec`, or a class.
        where, settings: the fields of `tnllt.tracking.config.RunConfig`.

    Raises:
        UsageError, DataError: as `tnllt-run` ends with exit code 2. A sequence that fails raises nothing; it is in the
            returned `failed`. With `text` or `grid`, every variant is checked before the first one is tracked.
    """
    return execute(tracker, RunConfig(*where, **settings))


def execute(tracker: TrackerLike, config: RunConfig) -> RunResult:
    """`run` with its settings as one object."""
    check_fields(config)
    if config.realtime is not None or config.profile:
        config = dataclasses.replace(config, timing=True)
    if isinstance(tracker, str):
        find_target(tracker)  # a misspelt name, or command, is told before a dataset is looked for
    where = config.locate()
    if not isinstance(config.dataset, str | Path | None):
        raise UsageError("each worker opens the dataset itself: give dataset= a name or a folder")
    data = config.dataset_config(where)
    dataset = open_configured(data)
    if not any(sequence.has_frames for sequence in dataset):
        dataset[0].frames  # noqa: B018  # raises: a tracker needs images
    results = absolute(results_folder(where))
    planned = []
    for values, own, texts in variants_in(
        config, lambda: list(open_configured(dataclasses.replace(data, sequences=None)))
    ):
        options = own.options if isinstance(own.options, Mapping) else parse_settings(own.options)
        spec = find_tracker(tracker, options, own.name)
        planned.append((_run_spec(spec, values, texts, data, results, own), own))
    names = [spec.tracker.name for spec, _ in planned]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two variants are both called {twice}: give files other names, and each value once")
    found = [_execute(spec, dataset, own) for spec, own in planned]
    return found[0] if len(found) == 1 else RunResult.of(parse_variant(names[0]).tracker, found)


def _execute(run_spec: RunSpec, dataset: Dataset, config: RunConfig) -> RunResult:
    """One variant's run."""
    spec = run_spec.tracker
    shard = parse_shard(config.shard) if config.shard else (0, 1)
    plan = make_plan(run_spec, dataset, shard, config.failures_only)
    if config.cluster is not None:
        plan = dataclasses.replace(plan, place=f"cluster {config.cluster}")
    watcher = config.watcher or Watcher()
    watcher.planned(run_spec, plan)
    result = RunResult(spec.name, Path(run_spec.results), list(plan.done), unanswered=dict(plan.unanswered))
    ResultStore(run_spec.results).sweep(spec.name)
    if config.slurm and plan.jobs:
        result.jobs = _submitted(run_spec, config, len(plan.jobs))
        return result
    run_spec = dataclasses.replace(run_spec, data=plan.identity.data, replaces=plan.replaces)
    if plan.jobs:
        with _alone_on_this_machine(watcher) if config.timing else nullcontext():
            for outcome in _outcomes(run_spec, plan, config, watcher):
                result.count(outcome)
    if config.video:
        _film_what_was_there(run_spec, dataset, plan)
    return result


def failed_runs(store: ResultStore, trackers: tuple[str, ...] = ()) -> list[tuple[TrackerSpec, dict[str, Any]]]:
    """Of each tracker with failed sequences: the tracker and the settings that its records name.

    Nothing is imported here: a record from elsewhere may name any code. Raises UsageError as `ResultStore.named`.
    """
    found = []
    for name in store.named(trackers):
        failed = store.failures(name)
        if failed:
            record, run = failed[0], store.identity(name)
            spec = TrackerSpec(name, record.implementation, record.options)
            facts = record.identity if run is None else run.facts
            settings: dict[str, Any] = {"seed": record.seed}
            settings |= {key: facts[key] for key in ("mode", "realtime") if facts.get(key)}
            if record.text:
                settings["text"] = [record.text["source"]]
            settings |= {key: record.info[key] for key in ("starter", "starter_set") if key in record.info}
            found.append((spec, settings))
    return found


def _run_spec(
    spec: TrackerSpec,
    values: Mapping[str, Any],
    texts: Texts | None,
    data: DatasetConfig,
    results: str,
    config: RunConfig,
) -> RunSpec:
    """What each worker gets. Raises UsageError where settings contradict each other or the tracker."""
    spec, cls = dataclasses.replace(spec, name=variant_name(spec.name, values)), spec.tracker_class
    if texts is not None and texts.over_time and (cls.describe is Tracker.describe or config.batch > 1):
        raise UsageError(
            f"{spec.name} cannot be told another text during a sequence: give one text for each, or leave --batch out"
        )
    if config.batch > 1 and not all(hasattr(cls, m) for m in ("start", "step", "end")):
        raise UsageError(f"{spec.name} tracks one sequence at a time; leave --batch out")
    modes = [mode.value for mode in cls.modes]
    if config.starter:
        check_takes_box(cls, spec.name)
        modes = ["NL"]
        if config.batch > 1:
            raise UsageError("--starter starts one sequence at a time; leave --batch out")
    if config.mode is not None and config.mode not in modes:
        raise UsageError(f"{spec.name} cannot start from {config.mode}; it takes {', '.join(modes)}")
    if config.masks and not cls.gives_masks:
        raise UsageError(f"{spec.name} gives boxes alone; leave --masks out")
    if config.timing and (config.workers > 1 or config.batch > 1 or config.cluster):
        raise UsageError(
            "--timing measures one worker alone, as do --profile, --realtime: leave out --workers, --batch, --cluster"
        )
    settled = {
        **part(config, TrackingConfig),
        "mode": "NL" if config.starter else None if config.mode is None else str(config.mode),
        "starter_set": dict(
            config.starter_set if isinstance(config.starter_set, Mapping) else parse_settings(config.starter_set)
        ),
        "threads": config.threads or default_threads(config.workers),
        "read_ahead": 0 if config.timing else config.read_ahead,
    }
    run_spec = RunSpec(tracker=spec, dataset=data, results=results, texts=texts, **settled)
    return dataclasses.replace(run_spec, identity=run_facts(run_spec))


def default_threads(workers: int) -> int:
    """Threads per worker: what OMP_NUM_THREADS names where it is exported, else this machine's cores by the workers."""
    exported = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if exported.isdecimal() and int(exported) > 0:
        return int(exported)
    return max(1, processors() // max(1, workers))


def _outcomes(spec: RunSpec, plan: RunPlan, config: RunConfig, watcher: Watcher) -> Iterator[SequenceOutcome]:
    if config.cluster is not None:
        from tnllt.tracking.cluster import run_on_cluster

        yield from run_on_cluster(spec, plan.jobs, config, watcher)
        return
    devices = tuple(listed_names(config.device, "--device")) if config.device else ()
    with Pool(spec, min(config.workers, len(plan.jobs)), devices, config, watcher, config.verbose) as pool:
        yield from pool.run(plan.jobs)


def _submitted(spec: RunSpec, config: RunConfig, waiting: int) -> list[str]:
    """Slurm jobs, each of which is this run with one worker: they take sequences from the store under its locks."""
    if config.again or config.cluster or config.shard:
        raise UsageError("--slurm shares what is left among its jobs: leave --again, --cluster and --shard out")
    given = config.slurm or {}
    settings = given if isinstance(given, Mapping) else key_values(split_pairs(given), "--slurm")
    name = spec.tracker.name
    folder = ResultStore(spec.results).tracker_folder(name) / slurm.FOLDER
    work = slurm.Work(_slurm_job, spec, dataclasses.replace(config, slurm=None, workers=1, watcher=None))
    return slurm.submit(work, settings, folder, f"tnllt-run {name}", min(config.workers, waiting))


def _slurm_job(spec: RunSpec, config: RunConfig) -> int:
    """What a job does; the exit code of its run."""
    own = dataclasses.replace(spec, workers=1, threads=config.threads or default_threads(1))
    return _execute(own, open_configured(own.dataset), config).exit_code


def _film_what_was_there(spec: RunSpec, dataset: Any, plan: RunPlan) -> None:
    """Videos of results that earlier runs made."""
    from tnllt.tracking.video import film

    store = ResultStore(spec.results)
    for name in plan.done:
        path = store.path(spec.tracker.name, name, ".mp4")
        if not path.is_file():
            film(path, dataset[name], store.read(spec.tracker.name, name), spec.tracker.name, spec.colour)


@contextmanager
def _alone_on_this_machine(watcher: Watcher) -> Iterator[None]:
    """Holds the machine's one lock for timing. Raises UsageError where another timing run has it."""
    lock = FileLock(cache_folder() / "timing" / "lock")
    if not lock.take():
        raise UsageError(f"another --timing run is on this machine ({lock.holder()}); two would disturb each other")
    with lock:
        load = os.getloadavg()[0]
        if load > 0.5:
            watcher.note(f"Warning: this machine is busy (load {load:.1f}); the times will be too long")
        yield


#: {key in a variant's name: its value}, the settings of its run, and what its sequences are described by.
Variant = tuple[Mapping[str, Any], RunConfig, Texts | None]


def variants_in(config: RunConfig, sequences: Callable[[], list[Sequence]]) -> list[Variant]:
    """The variants that a configuration names; one without a name of its own where it has neither grid nor text.

    Args:
        config: its `grid` and `text` are settled in what is returned.
        sequences: gives those of the whole split, for texts.

    Raises:
        UsageError: a key or value that is none. DataError: see `texts_of`.
    """
    axes = _axes(config)
    options = config.options if isinstance(config.options, Mapping) else parse_settings(config.options)
    twice = [key for key in axes if key in options]
    if twice:
        raise UsageError(f"{twice[0]} is given by --set and by --grid; give it once")
    known = sequences() if "text" in axes else []
    found: list[Variant] = []
    for combination in product(*axes.values()):
        values = dict(zip(axes, combination, strict=True))
        seed, mode = _seed(values.get("seed", config.seed)), values.get("mode", config.mode)
        more = {key: value for key, value in values.items() if key not in ("seed", "mode", "text")}
        settled = dataclasses.replace(config, seed=seed, mode=mode, options={**options, **more}, text=(), grid=())
        if "text" in values:
            told = texts_of([values["text"]], known, seed)
            found += [({**values, "text": texts.value}, settled, texts) for texts in told]
        else:
            found.append((values, settled, None))
    return found


def _axes(config: RunConfig) -> dict[str, list[Any]]:
    """{key: its values}. A list in `--grid` has commas; texts in quotes may hold some."""
    if isinstance(config.grid, Mapping):
        axes = {str(key): list(values) for key, values in config.grid.items()}
    else:
        axes = {}
        for key, text in key_values(config.grid, "--grid", "KEY=A,B").items():
            parts = split_sources(text) if key == "text" else [part.strip() for part in text.split(",")]
            axes[key.replace("-", "_")] = parts
    if config.text not in (None, "", ()):
        if "text" in axes:
            raise UsageError("text is given by --text and by --grid; give it once")
        axes["text"] = split_sources(config.text)
    empty = [key for key, values in axes.items() if not values or "" in values]
    if empty:
        raise UsageError(f"--grid {empty[0]} has an empty value; write --grid {empty[0]}=A,B")
    return axes


def _seed(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UsageError(f"--grid seed={value}: a seed is a whole number") from None
