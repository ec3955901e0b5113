"""Where trackers are found: built in, entry points of the group `tnllt.trackers`, `module:Class`, baseline records.

A package adds trackers by its own pyproject.toml::

    [project.entry-points."tnllt.trackers"]
    MyTracker = "my_package.tracker:MyTracker"
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tnllt.errors import MissingExtraError, TnlltError, UsageError, did_you_mean
from tnllt.files import plain, user_path
from tnllt.tracking.options import check_options, takes_device
from tnllt.tracking.tracker import Tracker

GROUP = "tnllt.trackers"
BUILT_IN = {
    "still": "tnllt.tracking.references:StaticBox",
    "groundtruth": "tnllt.tracking.references:GroundTruth",
    "MIL": "tnllt.tracking.opencv:MIL",
    "NanoTrack": "tnllt.tracking.opencv:NanoTrack",
    "ViT": "tnllt.tracking.opencv:ViT",
    "ReasoningTrack": "tnllt.reasoningtrack:ReasoningTrack",
    "sam2": "tnllt.foundation.sam:Sam2",
    "edgetam": "tnllt.foundation.sam:EdgeTam",
    "sam3": "tnllt.foundation.sam:Sam3",
    "vlm": "tnllt.foundation.vlm:VlmTracker",
}
#: Modules loaded from files by path are named so.
_FILE_MODULE = "tnllt_user_"
#: Subcommands of tnllt-run, never trackers' names.
RESERVED = ("list", "check", "doctor", "status", "retry", "get")


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker and its options in words: another process, or another machine, makes the same tracker from it.

    Attributes:
        name: what its results go under.
        target: "package.module:Class", "/path/file.py:Class", "baseline:NAME", "baseline:/path/record.toml", or
            "repo:TRACKER/YAML@FOLDER" for a clone.
        options: JSON-able keyword arguments of its constructor.
    """

    name: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tracker_class(self) -> type[Tracker]:
        """The class. Raises UsageError where it cannot be found, MissingExtraError where it lacks packages."""
        kind, _, rest = self.target.partition(":")
        if kind in ("baseline", "repo"):
            from tnllt.tracking.baselines import get_baseline, tracker_class

            return tracker_class(get_baseline(rest if kind == "baseline" else self.target, self.name))
        return load_class(self.target)

    def create(self, device: str = "") -> Tracker:
        """A tracker, loaded, on a device where one is named and the tracker has an option for it."""
        cls = self.tracker_class
        more = {"device": device} if device and takes_device(cls) else {}
        return cls(**check_options(cls, {**self.options, **more}))


TrackerLike = str | TrackerSpec | type[Tracker]


def find_tracker(
    tracker: TrackerLike, options: Mapping[str, Any] | None = None, label: str | None = None
) -> TrackerSpec:
    """A tracker, its options checked.

    Args:
        tracker: a registered name, `module:Class`, `file.py:Class`, a baseline's name or the path of its TOML file,
            "repo:TRACKER/YAML@DIR" for a clone; a class that another process can import; or a `TrackerSpec`, whose
            options these are added to.
        options: as `--set` gave them.
        label: what its results go under; by default the tracker's own name.

    Raises:
        UsageError: no such tracker or option. MissingExtraError: an extra is needed.
    """
    given = dict(options or {})
    if isinstance(tracker, TrackerSpec):
        label, name, target = label or tracker.name, tracker.name, tracker.target
        given = {**tracker.options, **given}
    elif isinstance(tracker, type):
        name, target = f":{tracker.__name__}", _place_of(tracker)
    else:
        name, target = find_target(tracker)
    return _checked(TrackerSpec(label or "", target), given, name)


def is_known(target: str) -> bool:
    """Whether a target is built in, an installed package's entry point, or a packaged baseline."""
    kind, _, name = target.partition(":")
    return target in registered().values() or (kind == "baseline" and name in baseline_names())


def find_class(name: str) -> tuple[str, type[Tracker]]:
    """Target and class of a tracker by its name. Raises UsageError and MissingExtraError as `find_tracker`."""
    name, target = find_target(name)
    return target, TrackerSpec(name, target).tracker_class


def _place_of(cls: type[Tracker]) -> str:
    """A class as a target: by its module, or by its file where a script defines it."""
    module = sys.modules.get(cls.__module__)
    place = cls.__module__
    if place == "__main__" or place.startswith(_FILE_MODULE):
        file = getattr(module, "__file__", None)
        place = str(Path(file).absolute()) if file else ""
    if not place or getattr(module, cls.__qualname__, None) is not cls:
        raise UsageError(f"{cls.__qualname__} cannot be imported by a worker: define it at the top of a module or file")
    return f"{place}:{cls.__name__}"


def _checked(spec: TrackerSpec, options: Mapping[str, Any], asked: str) -> TrackerSpec:
    cls = spec.tracker_class
    checked = check_options(cls, options)
    values = {k: str(v.resolve()) if isinstance(v, Path) else plain(v) for k, v in checked.items()}
    anchored = getattr(cls, "anchored", None)  # for further paths among a class's options
    values = anchored(values) if callable(anchored) else values
    name = spec.name or _own_name(cls, asked)
    if name in RESERVED:
        raise UsageError(f"{name!r} is a subcommand of tnllt-run; give the tracker another name with --name")
    return TrackerSpec(name, spec.target, values)


def registered() -> dict[str, str]:
    """{name: "module:Class"} of the built-in trackers and of every installed package's; built-in names win."""
    plugins = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    return {point.name: point.value for point in plugins} | BUILT_IN


def baseline_names() -> tuple[str, ...]:
    """Names of the packaged baselines."""
    from tnllt.tracking.baselines import names

    return tuple(names())


def missing(name: str) -> str:
    """What keeps a registered tracker from running here, in words, or "" where nothing does."""
    try:
        cls = load_class(registered()[name])
    except TnlltError as error:
        return str(error)
    ask = getattr(cls, "missing", None)
    return str(ask()) if callable(ask) else ""


def load_object(target: str) -> Any:
    """What `module:Name` or `file.py:Name` names.

    Raises:
        UsageError: no such module or name. MissingExtraError: the package lacks an extra.
    """
    module_name, _, name = target.rpartition(":")
    module = _load_file(Path(module_name)) if module_name.endswith(".py") else _load_module(module_name, target)
    if not hasattr(module, name):
        classes = [n for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, Tracker) and c != Tracker]
        raise UsageError(f"{module_name} has no {name!r}; trackers there: {', '.join(classes) or 'none'}")
    return getattr(module, name)


def load_class(target: str) -> type[Tracker]:
    """The tracker that `module:Class` or `file.py:Class` names.

    Raises:
        UsageError: no such module or class, or it is not a tracker. MissingExtraError: the package lacks an extra.
    """
    found = load_object(target)
    if not inspect.isclass(found) or not issubclass(found, Tracker):
        raise UsageError(f"{target} is not a tracker: it must inherit from tnllt.tracking.Tracker")
    return found


def find_target(name: str) -> tuple[str, str]:
    """A tracker's name as it is registered, and what it stands for; no code is loaded. Raises UsageError."""
    known = registered()
    if name in known:
        return name, known[name]
    if name.startswith("repo:"):
        return name, name
    if name.endswith(".toml"):
        return name, f"baseline:{user_path(name).absolute()}"
    if ":" in name:
        module, _, cls = name.rpartition(":")
        return name, f"{user_path(module).absolute()}:{cls}" if module.endswith(".py") else name
    baselines = baseline_names()
    if name in baselines:
        return name, f"baseline:{name}"
    folded = {k.lower(): k for k in (*baselines, *known)}
    if name.lower() in folded:
        return find_target(folded[name.lower()])
    commands = [command for command in RESERVED if command != name]
    hint = did_you_mean(name, (*folded.values(), *commands), "`tnllt-run list` names them")
    raise UsageError(f"no tracker is called {name!r}; {hint} (your own: module:Class or file.py:Class)")


def _own_name(cls: type, asked: str) -> str:
    own = getattr(cls, "name", None)
    return own if isinstance(own, str) and own else cls.__name__ if ":" in asked else asked


def _load_module(name: str, target: str) -> Any:
    here, top = Path.cwd(), name.partition(".")[0]
    # The working folder may be anybody's results: it is searched only for a module that the user names and it has.
    named = target not in registered().values() and not name.startswith("tnllt.")
    if named and str(here) not in sys.path and ((here / f"{top}.py").is_file() or (here / top).is_dir()):
        sys.path.append(str(here))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"no module {error.name!r} for tracker {target}") from error
        raise _lacking(name, error) from error
    except ImportError as error:
        raise _lacking(name, error) from error


def _lacking(name: str, error: ImportError) -> TnlltError:
    if name.startswith("tnllt."):
        return MissingExtraError(name.split(".")[1], "track", error)
    return UsageError(f"{name} cannot be imported: {error}; install what it needs")


def _load_file(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    name = _FILE_MODULE + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = os.fspath(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise UsageError(f"{path} cannot be imported: {error}") from error
    return module
