"""Where the records are: in a checkout, an editable install and a wheel; and those that users bring."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tnllt.errors import DataError, UsageError, did_you_mean
from tnllt.files import read_toml, user_path
from tnllt.options import option
from tnllt.tracking.baselines.record import BaselineRecord, record_from


def folder() -> Path:
    """The folder of the packaged records and of the worker script.

    A wheel carries it inside the package; a checkout, which an editable install points to, beside the package.
    """
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "_baselines", package.parent / "baselines"):
        if (candidate / "worker.py").is_file():
            return candidate
    raise DataError("the baselines' records are not part of this installation; install tnllt again", package)


@functools.cache
def names() -> tuple[str, ...]:
    """The packaged baselines' names, in alphabetical order without regard to case."""
    return tuple(sorted((path.stem for path in folder().glob("*.toml")), key=str.lower))


def records() -> list[BaselineRecord]:
    """Every packaged record, by name."""
    return [get_baseline(name) for name in names()]


@dataclass(frozen=True)
class BaselineChoice:
    """Which baseline, apart from a name: a TOML file, or a clone with the names of tracker and configuration in it.

    Raises:
        UsageError: of the three that go together one is missing.
    """

    baseline: Path | None = option(None, "A baseline's TOML file of your own.")
    repo: Path | None = option(None, "A clone in the shape of pytracking or OSTrack.")
    tracker: str | None = option(None, "With --repo: the tracker's name there.", kind=str)
    yaml: str | None = option(None, "With --repo: the configuration's name there.", kind=str)

    def __post_init__(self) -> None:
        if bool(self.repo) != bool(self.tracker) or bool(self.repo) != bool(self.yaml):
            raise UsageError("--repo DIR, --tracker NAME and --yaml NAME go together")

    def named(self, name: str | None) -> str:
        """One text for what is chosen here or by name, as `get_baseline` takes it. Raises UsageError for none or two.

        Args:
            name: of a tracker or baseline, or None.
        """
        clone = f"repo:{self.tracker}/{self.yaml}@{user_path(self.repo).absolute()}" if self.repo else None
        chosen = [text for text in (name, self.baseline and str(self.baseline), clone) if text]
        if len(chosen) != 1:
            raise UsageError("name one tracker (`tnllt-run list` shows them), or give --baseline FILE or --repo DIR")
        return chosen[0]


def get_baseline(name: str, label: str | None = None) -> BaselineRecord:
    """A packaged record by name, a user's by the path of its TOML file, or a clone's: "repo:TRACKER/YAML@DIR".

    Args:
        label: what the record of a clone is called; by default as its tracker.

    Raises:
        UsageError: there is no such record.
        DataError: the record is faulty.
    """
    if name.startswith("repo:"):
        inside, _, clone = name.removeprefix("repo:").partition("@")
        tracker, _, yaml = inside.partition("/")
        return from_repository(Path(clone), tracker, yaml, label)
    if name.endswith(".toml"):
        return load(Path(name))
    if name not in names():
        hint = did_you_mean(name, names(), "tnllt-run list --baselines names them")
        raise UsageError(f"no baseline is called {name!r}; {hint}")
    return load(folder() / f"{name}.toml")


def load(path: Path) -> BaselineRecord:
    """One record from its file; `extends = "NAME"` starts from a packaged record, or from a file beside it.

    Raises:
        UsageError: the file is not there or not TOML.
        DataError: it is not a record.
    """
    record = record_from(_table(path, ()), path)
    if path.parent == folder() and record.name != path.stem:
        raise DataError(f"name = {record.name!r} must be the file's name, {path.stem!r}", path)
    return record


def from_repository(repo: Path, tracker: str, yaml: str, name: str | None = None) -> BaselineRecord:
    """A record for any clone in the shape of OSTrack: `lib.test.parameter.<tracker>`, one constructor argument read
    from upstream's own class. For anything else, write a TOML file.

    Raises:
        UsageError: the clone has no such tracker or configuration.
    """
    repo = user_path(repo)
    if not (repo / "lib" / "test").is_dir():
        raise UsageError(f"{repo} is no clone in the shape of OSTrack: it has no folder lib/test")
    for kind in ("parameter", "tracker"):
        if not (repo / "lib" / "test" / kind / f"{tracker}.py").is_file():
            there = sorted(p.stem for p in (repo / "lib" / "test" / kind).glob("*.py") if not p.stem.startswith("_"))
            raise UsageError(f"{repo} has no lib/test/{kind}/{tracker}.py; there are: {', '.join(there) or 'none'}")
    configurations = {p.stem: p.parent.name for p in sorted((repo / "experiments").glob("*/*.yaml"))}
    own = repo / "experiments" / tracker / f"{yaml}.yaml"
    if not own.is_file() and yaml not in configurations:
        raise UsageError(f"{repo} has no experiments/{tracker}/{yaml}.yaml")
    return record_from(
        {
            "name": name or tracker,
            "title": tracker,
            "modes": ["BB"],
            "licence": "see the repository",
            "citation": "",
            "repository": str(repo),
            "tracker": {
                "name": tracker,
                "yaml": yaml,
                "experiments": tracker if own.is_file() else configurations[yaml],
                "constructor": _constructor(repo / "lib" / "test" / "tracker" / f"{tracker}.py"),
            },
            "checkpoint": {
                "path": f"checkpoints/train/{tracker}/{{yaml}}",
                "source": "your training writes them there",
            },
        },
        repo,
    )


def _constructor(source: Path) -> list[str]:
    """What the tracker's class is built with, from the arguments' names of its `__init__`."""
    import ast

    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"{source} is not Python: {error}") from error
    getter = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "get_tracker_class"]
    wanted = {node.id for g in getter for node in ast.walk(g) if isinstance(node, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in wanted:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    given = [a.arg for a in method.args.args[1:]]
                    return ["params", *("dataset" if "dataset" in a else "yaml" for a in given[1:])]
    raise UsageError(
        f"{source} has no get_tracker_class that answers a class of this file; write a TOML record instead"
    )


def _table(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path}: no such baseline record")
    if path in seen:
        raise DataError("`extends` goes round in a circle", path)
    table = read_toml(path)
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise DataError(f"extends must be a string, not {base!r}", path)
    beside = path.parent / f"{base.removesuffix('.toml')}.toml"
    packaged = folder() / beside.name
    return _merged(_table(beside if beside.is_file() and beside != path else packaged, (*seen, path)), table)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
