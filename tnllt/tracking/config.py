"""Every setting of a run, declared once: `RunConfig` for users and the command, `RunSpec` for the workers, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt.config import DatasetConfig, Locations
from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.options import option
from tnllt.tracking.options import parse_settings
from tnllt.tracking.registry import TrackerSpec
from tnllt.tracking.texts import Texts

if TYPE_CHECKING:
    from tnllt.tracking.language_start import StarterSpec
    from tnllt.tracking.tracker import Tracker

#: Frames of the first sequence that a timing run tracks and discards before anything is measured.
WARM_UP = 10


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How sequences are tracked: what a user sets, and what every worker gets.

    Attributes:
        colour: "#rrggbb" of the tracker's box in the video.
    """

    mode: str | None = option(None, "Inputs.  [default: the most it can use]", choices=("BB", "NL", "NL+BB"))
    starter: str = option("", "Finds the target by its description: transformers:MODEL, openai:URL, module:Class.")
    starter_set: Mapping[str, Any] | Iterable[str] = option(
        (),
        "An option of the start (threshold, wait) or the starter.",
        metavar="KEY=VALUE",
        multiple=True,
        kind=str,
    )
    seed: int = option(0, "Seeds every random number generator before each sequence.")
    again: bool = option(False, "Track sequences that have a result, too.")
    masks: bool = option(False, "Keep masks beside each result (trackers that segment; COCO's run lengths).")
    video: bool = option(False, "Write an MP4 with boxes and description beside each result.")
    colour: str = "#66aad1"
    workers: int = option(1, "Processes, or jobs on a cluster, at once.", "-w", minimum=1)
    batch: int = option(1, "Sequences per forward pass.", minimum=1)
    threads: int = option(0, "Per worker; 0: OMP_NUM_THREADS, else cores / workers.", minimum=0)
    read_ahead: int = option(4, "Frames decoded ahead.", minimum=0)
    timing: bool = option(False, "Measure speed: one worker, alone, warmed up, nothing read ahead.")
    profile: bool = option(False, "Count parameters, operations a frame, memory, energy; as --timing.")
    realtime: float | None = option(
        None,
        "Drop the frames, so many a second, that pass while the tracker works.",
        metavar="FPS",
        above=0,
    )

    def concurrency(self) -> dict[str, Any]:
        """The record's field of this name."""
        named = {name: getattr(self, name) for name in ("workers", "threads", "batch", "read_ahead")}
        dropping = {} if self.realtime is None else {"realtime": self.realtime}
        return {**named, "exclusive": self.timing, **({"profile": True} if self.profile else {}), **dropping}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a worker may not exceed; None: no limit."""

    start_timeout: float | None = option(None, "Seconds to load and to start.", above=0)
    frame_timeout: float | None = option(None, "Seconds for one frame, and to finish a sequence.", above=0)
    max_memory: float | None = option(None, "Megabytes a worker may use.", above=0)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Limits, TrackingConfig, DatasetConfig):
    """The settings of `tnllt.run`, which are the options of `tnllt-run`.

    Attributes:
        failures_only: track failed sequences alone.
        watcher: called as the run goes on: an object with the methods of `tnllt.tracking.pool.Watcher`; None shows
            nothing.
    """

    options: Mapping[str, Any] | Iterable[str] = option(
        (), "An option of the tracker; may be repeated.", "--set", metavar="KEY=VALUE", multiple=True, kind=str
    )
    text: str | Iterable[str] | None = option(
        (), 'own, none, shuffled, class, annotation, FILE, "a text"; with --source, the text itself.', kind=str,
        metavar="SOURCES", multiple=True,
    )  # fmt: skip
    grid: Mapping[str, Iterable[Any]] | Iterable[str] = option(
        (),
        "A variant per value; KEY is an option, seed, mode or text.",
        kind=str,
        metavar="KEY=A,B",
        multiple=True,
    )
    name: str | None = option(None, "What the results go under.  [default: the tracker's name]")
    device: str | Iterable[str] = option("", "For the workers in turn: cuda:0,cuda:1 or cpu.", kind=str)
    shard: str | None = option(None, "Only the I-th of N equal parts, for job arrays.", metavar="I/N")
    cluster: str | None = option(None, "Run on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT.", metavar="ADDRESS")
    gpus: float = option(0.0, "Fraction of a GPU per job on the cluster.", minimum=0)
    slurm: str | Mapping[str, str] | None = option(
        None, "Submit --workers jobs to Slurm, with these options of sbatch, and return.", kind=str,
        metavar="partition=gpu,time=4:00:00",
    )  # fmt: skip
    verbose: bool = option(False, "Show what the tracker prints.", "-v")
    failures_only: bool = False
    watcher: Any = None

    def dataset_config(self, where: Locations) -> DatasetConfig:
        """The dataset in words that hold in another working folder, too."""
        from tnllt.datasets.dataset import is_path

        name = absolute(where.dataset) if is_path(where.dataset) else where.dataset
        root, annos = (absolute(path) if path is not None else None for path in (where.root, where.annos))
        names = [absolute(n) if user_path(n).is_file() else n for n in self.names() or ()]
        return DatasetConfig(name, root=root, annos=annos, split=self.split, sequences=names or None)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One source that is tracked in place of a dataset."""

    source: str | None = option(
        None, "Track this, not a dataset: a video, a folder, a glob in quotes, a camera's number, a URL."
    )
    box: str | None = option(
        None, "x,y,w,h; a file with them; or mouse.  [default: mouse, where there is no --text]", metavar="BOX"
    )
    text: str | None = None
    out: Path | None = option(None, "With --source: video to write (.mp4, .webm, .gif) with a .csv beside, or .csv.")
    show: bool = option(False, "With --source: show the frames in a window; q ends.")
    live: bool = option(False, "With --source: drop frames that arrive while the tracker works.")
    fps: float | None = option(None, "Of --out.  [default: the source's, else 30]", above=0, maximum=1000)


@dataclass(frozen=True, kw_only=True)
class RunSpec(TrackingConfig):
    """A run in words, so that another process or machine does the same. Travels as JSON.

    Attributes:
        tracker, dataset: which.
        results: the results folder.
        device: passed to trackers that have an option of this name; "" for their own choice.
        identity, data: the facts of the run's identity and the digests of its sequences (`tnllt.results.records`),
            which every worker compares with what it finds; without facts nothing is compared.
        replaces: digest of the identity file that this run replaces, with `again`.
        texts: what the sequences are described by; None for their own descriptions.
    """

    tracker: TrackerSpec
    dataset: DatasetConfig
    results: str
    device: str = ""
    identity: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    replaces: str = ""
    texts: Texts | None = None

    def starter_spec(self) -> StarterSpec | None:
        """The starter, its options checked; None without one. Raises UsageError as `StarterSpec.of`."""
        from tnllt.tracking.language_start import StarterSpec

        given = self.starter_set if isinstance(self.starter_set, Mapping) else parse_settings(self.starter_set)
        if not self.starter and given:
            raise UsageError("--starter-set goes with --starter")
        return StarterSpec.of(self.starter, given) if self.starter else None

    def given(self, name: str) -> dict[str, Any]:
        """The record's fields that say how a sequence is tracked, whatever comes of it: a retry takes them up."""
        return {
            "implementation": self.tracker.target,
            "options": dict(self.tracker.options),
            "seed": self.seed,
            "concurrency": self.concurrency(),
            "text": {} if self.texts is None else self.texts.record(name),
            "info": {"starter": self.starter, "starter_set": self.starter_set} if self.starter else {},
        }

    def create_tracker(self) -> Tracker:
        """The tracker, loaded, with its starter where there is one."""
        from tnllt.tracking.language_start import with_starter

        starter = self.starter_spec()
        return with_starter(self.tracker, starter, self.device) if starter else self.tracker.create(self.device)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(table: dict[str, Any]) -> RunSpec:
        made = {"tracker": TrackerSpec(**table["tracker"]), "dataset": DatasetConfig(**table["dataset"])}
        return RunSpec(**{**table, **made, "texts": Texts(**table["texts"]) if table["texts"] else None})


def part(config: Any, kind: type) -> dict[str, Any]:
    """The fields of one of a configuration's base classes, as keyword arguments."""
    return {f.name: getattr(config, f.name) for f in fields(kind)}


def results_folder(where: Locations) -> Path:
    """The results folder; where none is named, `runs/<dataset>` in the working folder."""
    if where.results is not None:
        return user_path(where.results)
    return Path("runs") / (Path(where.dataset).name or "dataset")


def absolute(path: str | Path) -> str:
    return str(user_path(path).absolute())
