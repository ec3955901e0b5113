"""What is known about one baseline: the tables of a record, their types, and the checks on load."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import DataError, UsageError, did_you_mean
from tnllt.tracking.tracker import Mode


@dataclass(frozen=True)
class Call:
    """How upstream's tracker is found, built and called (table `tracker`).

    Attributes:
        name: of the module below `lib.test.tracker`.
        yaml: the configuration's name below `experiments/<experiments>/`.
        parameter: of the module below `lib.test.parameter`; by default `name`.
        config_module: with `cfg` and `update_config_from_file`; by default `lib.config.<name>.config`.
        experiments: folder below `experiments/`; by default `name`.
        constructor: what the class is built with, in order: "params", "yaml", "dataset".
        arguments: keyword arguments of `parameters(yaml, ...)`; "{weights}" stands for the weights file's name.
        dataset: the benchmark's name that upstream is told.
        reuse: whether one object may follow sequence after sequence; else it is built anew for each.
        score: key of the confidence in what `track` answers, or "".
        placeholder_box: a box for upstream code that wants one although it starts from text alone.
        info: further entries of `initialize`'s info.
        params: attributes set on the parameter object.
        config: settings changed in `cfg`, by dotted name.
        env: further attributes of upstream's environment settings; "{weights}" as above, "{checkpoint}" its path.
        paths: folders of the clone that belong on the import path, besides the clone itself.
    """

    name: str
    yaml: str
    parameter: str = ""
    config_module: str = ""
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


@dataclass(frozen=True)
class Text:
    """Where the sentence goes (table `text`).

    Attributes:
        key: its key in `info`, or "".
        every_frame: whether `track`'s info carries it, too.
        positional: whether it is the argument between image and info, in `initialize` and `track`.
        max_tokens: longest text, in tokens with the two marks, or 0; words beyond are dropped, and said so.
        tokenizer: attribute of upstream's tracker that counts them.
    """

    key: str = ""
    every_frame: bool = False
    positional: bool = False
    max_tokens: int = 0
    tokenizer: str = ""


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
    """

    path: str
    what: str
    source: str
    needed: Literal["run", "train", "hub"] = "run"


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
        script_name: what upstream calls the tracker there; by default the tracker's name.
        text: where a training sample's sentence goes: "none", or `object_meta[...]`/`anno[...]` by upstream's key.
        dataset: the name that a sample carries; upstream code may know only some.
        channels: of a picture: 3, or 6 where upstream wants two pictures in one.
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

    See `BaselineTracker`, whose arguments of these names are stronger.
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
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name)}
        for key in ("repo", "weights", "save_dir"):
            if key in given:
                given[key] = str(folder / Path(given[key]).expanduser())
        if "/" in given.get("python", ""):
            given["python"] = str(folder / Path(given["python"]).expanduser())
        return given


@dataclass(frozen=True)
class BaselineRecord:
    """One baseline. See the classes above for its tables; `status` "results-only" has no code to run.

    Attributes:
        source: the TOML file.
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

    def options_with(self, **given: Any) -> dict[str, Any]:
        """The options given, and this record's own where nothing was."""
        own = self.options.beside(self.source.absolute().parent)
        return {key: own.get(key) if value in (None, "") else value for key, value in given.items()}

    @property
    def call(self) -> Call:
        """The table `tracker`. Raises UsageError, with the reason, where there is no code to run."""
        if self.tracker is None:
            raise UsageError(f"{self.name} cannot be run: {self.reason}")
        return self.tracker


def record_from(table: Mapping[str, Any], source: Path) -> BaselineRecord:
    """A record from its parsed TOML.

    Raises:
        DataError: a key is unknown, missing or of the wrong type, or two keys contradict each other.
    """
    record: BaselineRecord = _build(BaselineRecord, {**table, "source": source}, source, "")
    _check(record)
    return record


def _check(record: BaselineRecord) -> None:
    def fail(message: str) -> None:
        raise DataError(message, record.source)

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", record.name):
        fail(f"name = {record.name!r}: letters, digits, '.', '_' and '-' only (it names result files)")
    if record.status == "results-only":
        if not record.reason:
            fail('status = "results-only" needs a `reason`')
        if record.tracker is not None:
            fail('status = "results-only" contradicts the table [tracker]')
        return
    if record.tracker is None or record.checkpoint is None:
        fail('the tables [tracker] and [checkpoint] are needed (or status = "results-only" and a reason)')
    if not record.modes:
        fail("modes: at least one of BB, NL, NL+BB")
    text = record.text
    if text.every_frame and not text.key:
        fail("[text] every_frame needs `key`")
    if text.positional and text.key:
        fail("[text] `positional` and `key` exclude each other")
    if bool(text.max_tokens) != bool(text.tokenizer):
        fail("[text] `max_tokens` and `tokenizer` go together")
    if record.call.placeholder_box and len(record.call.placeholder_box) != 4:
        fail("[tracker] placeholder_box needs x, y, w, h")
    if "params" not in record.call.constructor:
        fail("[tracker] constructor must name params")


def _build(cls: Any, table: Any, source: Path, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise DataError(f"[{where}] must be a table, not {table!r}", source)
    prefix = f"{where}." if where else ""
    hints = typing.get_type_hints(cls)
    known = {f.name: f for f in dataclasses.fields(cls)}
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known, f"known: {', '.join(known)}")
            raise DataError(f"unknown key {prefix}{key}; {hint}", source)
    values = {}
    for key, spec in known.items():
        if key in table:
            values[key] = _value(hints[key], table[key], source, prefix + key)
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise DataError(f"key {prefix}{key} is missing", source)
    return cls(**values)


def _value(hint: Any, value: Any, source: Path, where: str) -> Any:
    """`value` as the type `hint`; numbers and enumerations converted, everything else only checked."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(next(a for a in arguments if a is not type(None)), value, source, where)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, source, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_value(arguments[0], v, source, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is not None and origin is not tuple and issubclass_mapping(origin) and isinstance(value, Mapping):
        return {k: _value(arguments[1], v, source, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value in arguments:
            return value
        raise DataError(f"{where} must be one of {', '.join(map(str, arguments))}, not {value!r}", source)
    if hint is Mode:
        if value in [mode.value for mode in Mode]:
            return Mode(value)
        raise DataError(f"{where} must be one of {', '.join(m.value for m in Mode)}, not {value!r}", source)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (isinstance(hint, type) and isinstance(value, hint) and (hint is bool or value is not True)):
        return value
    raise DataError(f"{where} must be {_named(hint)}, not {value!r}", source)


def issubclass_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _named(hint: Any) -> str:
    origin = typing.get_origin(hint)
    if origin is tuple:
        return "an array"
    if issubclass_mapping(origin) or dataclasses.is_dataclass(hint):
        return "a table"
    return {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, str(hint))
