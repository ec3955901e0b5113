"""A baseline's record: the tables of its TOML file, their types, and what they must agree on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import UsageError
from tnllt.files import user_path
from tnllt.records import from_table
from tnllt.tracking.tracker import Mode


@dataclass(frozen=True)
class Call:
    """How upstream's tracker is found, built and called (table `tracker`).

    Code of another framework than OSTrack's has a `cls`; it is built from `keywords` alone and takes no `cfg`.

    Attributes:
        name: of the module below `lib.test.tracker`; with `cls` of the whole module.
        cls: the tracker's class in that module; by default what its `get_tracker_class()` gives.
        keywords: keyword arguments of `cls`.
        initialize, track: their arguments, in order: "image", "pil" (the image as PIL's), "box", "info", "none".
        answer: key of the box in what `track` returns, or of a mask (H, W), whose box is around all its pixels.
        weights_name: the name under which upstream opens the checkpoint where it cannot be told another.
        autocast: whether upstream's own loop calls it under CUDA's automatic mixed precision.
        yaml: the configuration's name below `experiments/<experiments>/`.
        parameter: of the module below `lib.test.parameter`; by default `name`.
        experiments: folder below `experiments/`, with `cls` below the clone; by default `name`.
        constructor: the arguments of the class, in order: "params", "yaml", "dataset".
        arguments: keyword arguments of `parameters(yaml, ...)`; "{weights}" stands for the weights file's name.
        dataset: the benchmark's name that upstream is given.
        reuse: whether one object may track sequence after sequence; else it is built anew for each.
        score: key of the confidence in what `track` returns, or "".
        placeholder_box: a box for upstream code that requires one although it starts from text alone.
        info: further entries of `initialize`'s info.
        params: attributes set on the parameter object.
        config: settings changed in `cfg`, by dotted name.
        env: further attributes of upstream's environment settings; "{weights}" as above, "{checkpoint}" its path.
        paths: folders of the clone that belong on the import path, besides the clone itself.
    """

    name: str
    yaml: str
    parameter: str = ""
    experiments: str = ""
    constructor: tuple[Literal["params", "yaml", "dataset"], ...] = ("params", "dataset")
    arguments: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "tnllt"
    reuse: bool = False
    score: str = ""
    placeholder_box: tuple[float, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, Any] = field(default_factory=dict)
    paths: tuple[str, ...] = ()
    cls: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    initialize: tuple[Literal["image", "pil", "box", "info", "none"], ...] = ("image", "info")
    track: tuple[Literal["image", "pil", "info", "none"], ...] = ("image", "info")
    answer: str = "target_bbox"
    weights_name: str = ""
    autocast: bool = False

    def __post_init__(self) -> None:
        if "params" not in self.constructor:
            raise ValueError("`constructor` must name params")
        if not self.cls and (self.keywords or self.weights_name):
            raise ValueError("`keywords` and `weights_name` go with `cls`")
        if self.cls and (self.config or self.params or self.arguments):
            raise ValueError("`cls` excludes config, params and arguments, which are of OSTrack's framework")
        if len(self.placeholder_box) not in (0, 4):
            raise ValueError("`placeholder_box` must be x, y, w, h")


@dataclass(frozen=True)
class Text:
    """Where the language description goes (table `text`).

    Attributes:
        key: its key in `info`, or "".
        every_frame: whether `track`'s info carries it, too.
        positional: whether it is the argument between image and info, in `initialize` and `track`.
        max_tokens: longest description, in tokens with the two marks, or 0; words beyond are dropped and recorded.
        tokenizer: attribute of upstream's tracker that counts them.
    """

    key: str = ""
    every_frame: bool = False
    positional: bool = False
    max_tokens: int = 0
    tokenizer: str = ""

    def __post_init__(self) -> None:
        if self.every_frame and not self.key:
            raise ValueError("`every_frame` needs `key`")
        if self.positional and self.key:
            raise ValueError("`positional` and `key` exclude each other")
        if bool(self.max_tokens) != bool(self.tokenizer):
            raise ValueError("`max_tokens` and `tokenizer` go together")


@dataclass(frozen=True)
class Checkpoint:
    """The tracker's own weights (table `checkpoint`).

    Attributes:
        path: below the save folder; "{yaml}" stands for the configuration's name. Of a folder, its latest epoch.
        source: where weights can be had.
    """

    path: str
    source: str


@dataclass(frozen=True)
class Weight:
    """A further file that upstream reads (array of tables `weights`).

    Attributes:
        path: relative to the clone, or a model's name on a hub.
        what: what it is.
        source: where it can be had.
        needed: "run" (tracking and training), "train" (training alone), or "hub" (upstream downloads it itself).
        setting: of `cfg`, by dotted name: another place of the file, or "".
    """

    path: str
    what: str
    source: str
    needed: Literal["run", "train", "hub"] = "run"
    setting: str = ""


@dataclass(frozen=True)
class Environment:
    """The interpreter (table `environment`).

    Attributes:
        upstream: what the authors used.
        python: a Python version known to work with `packages`.
        packages: requirements for pip.
        modules: top-level modules that must be importable.
        verified: what was run with these versions, and how; "" where nothing was.
        variables: environment variables for the worker.
    """

    upstream: str
    python: str
    packages: tuple[str, ...]
    modules: tuple[str, ...] = ("torch", "torchvision", "timm", "numpy", "cv2", "yaml", "easydict")
    verified: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """How upstream trains (table `training`).

    Attributes:
        script: module with `run(settings)`.
        script_name: the tracker's name there; by default its name in `tracker`.
        text: where a training sample's description goes: "none", or `object_meta[...]`/`anno[...]` by upstream's key.
        dataset: the name that a sample carries; upstream code may support only some.
        channels: of an image: 3, or 6 where upstream takes two images in one.
        torchrun: upstream's code trains only in a process group, so torchrun starts a single process, too.
        settings: further attributes of upstream's settings object.
        config: settings changed in the yaml, by dotted name.
        verified: what was run of it, and on what; "" where nothing was.
    """

    script: str = "lib.train.train_script"
    script_name: str = ""
    text: Literal["none", "exp_str", "language", "nlp", "language_description"] = "none"
    dataset: str = "tnllt"
    channels: int = 3
    torchrun: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    verified: str = ""


@dataclass(frozen=True)
class LocalOptions:
    """Where things are on this machine (table `options`), for records of users; paths relative to the TOML file.

    Arguments of `BaselineTracker` override those of the same name here.
    """

    repo: str = ""
    python: str = ""
    weights: str = ""
    save_dir: str = ""
    yaml: str = ""
    dataset: str = ""
    cfg: str = ""
    device: str = ""

    def beside(self, folder: Path) -> dict[str, str]:
        """Those that are given, by name, with paths made absolute. A bare word for `python` is searched on PATH."""
        given = {key: value for key, value in asdict(self).items() if value}
        for key, value in given.items():
            if key in ("repo", "weights", "save_dir") or (key == "python" and "/" in value):
                given[key] = str(folder / user_path(value))
        return given


@dataclass(frozen=True)
class BaselineRecord:
    """One baseline. See the classes above for its tables; `status` "results-only" has no code to run.

    Attributes:
        source: the TOML file, or the clone that it was made from.
        beyond: whether it is none of the twenty that the TNLLT paper re-trained.
        scores: {variant: {benchmark: score in percent}} as its authors published.
        traps: what changes results silently, one sentence each.
    """

    name: str
    title: str
    modes: tuple[Mode, ...]
    licence: str
    citation: str
    repository: str
    source: Path
    status: Literal["runs", "results-only"] = "runs"
    beyond: bool = False
    reason: str = ""
    commit: str = ""
    tracker: Call | None = None
    text: Text = Text()
    checkpoint: Checkpoint | None = None
    weights: tuple[Weight, ...] = ()
    environment: Environment | None = None
    training: Training | None = None
    options: LocalOptions = LocalOptions()
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    traps: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"`name` = {self.name!r}: use letters, digits, '.', '_' and '-' (it names result files)")
        if not self.modes:
            raise ValueError("`modes` must name at least one of BB, NL, NL+BB")
        if self.status == "results-only":
            if not self.reason:
                raise ValueError('`status` = "results-only" needs a `reason`')
            if self.tracker is not None:
                raise ValueError('`status` = "results-only" contradicts the table [tracker]')
        elif self.tracker is None or self.checkpoint is None:
            raise ValueError('add the tables [tracker] and [checkpoint] (or status = "results-only" and a reason)')

    def options_with(self, **given: Any) -> dict[str, Any]:
        """Every option of `LocalOptions`: the one given, else this record's own, else None."""
        own = self.options.beside(self.source.absolute().parent)
        return {key: own.get(key) if (value := given.get(key)) in (None, "") else value for key in asdict(self.options)}

    @property
    def module(self) -> str:
        """The module with the tracker's class, below the clone."""
        return self.call.name if self.call.cls else f"lib.test.tracker.{self.call.name}"

    @property
    def call(self) -> Call:
        """The table `tracker`. Raises UsageError, with the reason, where there is no code to run."""
        if self.tracker is None:
            raise UsageError(f"{self.name} cannot be run: {self.reason}")
        return self.tracker


def record_from(table: Mapping[str, Any], source: Path) -> BaselineRecord:
    """A record from its parsed TOML.

    Raises:
        DataError: a field is unknown, missing or of the wrong type, or two fields contradict each other.
    """
    return from_table({**table, "source": str(source)}, BaselineRecord, source)
