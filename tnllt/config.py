"""Where data and results are: arguments override environment variables, which override a TOML file.

The TOML file is `--config FILE`, else `$TNLLT_CONFIG`, else `tnllt.toml` in the working folder, else
`tnllt/config.toml` in the user's configuration folder::

    dataset = "tnllt"
    root = "/data/TNLLT"
    annos = "/data/TNLLT/annos"
    results = "/data/results"

    [datasets.lasot]          # used instead when --dataset lasot is given
    root = "/data/LaSOT"
    results = "/data/lasot_results"

Paths of the environment (TNLLT_ROOT, TNLLT_ANNOS, TNLLT_RESULTS) belong to the dataset that is taken where none is
given: TNLLT_DATASET, else the file's `dataset`, else TNLLT. Where another one is given, they are not looked at.

A relative path in the file is relative to the file's folder. Where no results folder is given, it is
`<root>/tracking_results`, the folder into which `tnllt-data prepare` puts the published results.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tnllt.errors import UsageError, did_you_mean
from tnllt.files import read_toml, user_path
from tnllt.options import option

if TYPE_CHECKING:
    from tnllt.datasets import Dataset
    from tnllt.eval.protocol import Protocol


@dataclass(frozen=True)
class Locations:
    """What `LocationConfig` means, after arguments, environment and configuration file are read."""

    dataset: str = "tnllt"
    root: Path | None = None
    annos: Path | None = None
    results: Path | None = None


_PATHS = ("root", "annos", "results")
DEMO = "demo"  #: the dataset that is made rather than found


def _check_keys(table: Mapping[str, object], known: tuple[str, ...], file: Path | None, place: str) -> None:
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known, f"known are {', '.join(known)}")
            raise UsageError(f"{file}: unknown key `{place}{key}`; {hint}")


@dataclass(frozen=True)
class LocationConfig:
    """The locations as given to a function or a command; what is None comes from the environment or the file."""

    dataset: str | Path | Dataset | None = option(
        None, "Benchmark's name, or a folder of sequences.", "-d", kind=str, environment="TNLLT_DATASET"
    )
    _: KW_ONLY
    root: str | Path | None = option(None, "Folder of the benchmark.", kind=Path, environment="TNLLT_ROOT")
    annos: str | Path | None = option(None, "Folder of annotations alone.", kind=Path, environment="TNLLT_ANNOS")
    results: str | Path | None = option(None, "Folder or zip file of results.", kind=Path, environment="TNLLT_RESULTS")
    config: str | Path | None = option(None, "TOML file with these locations.", kind=Path, environment="TNLLT_CONFIG")

    def locate(self) -> Locations:
        """Every location, from these fields, the environment and the configuration file.

        Raises:
            UsageError: the configuration file is missing, or has a value of the wrong type.
            DataError: it is not TOML.
        """
        file = config_file(Path(self.config) if self.config else None)
        table = read_toml(file) if file is not None else {}
        given = user_path(self.dataset).absolute() if isinstance(self.dataset, Path) else self.dataset
        text = str(given) if isinstance(given, str | Path) else given.name if given is not None else ""
        name = text or os.environ.get("TNLLT_DATASET") or table.get("dataset")
        _check_keys(table, (*_PATHS, "dataset", "datasets", "style"), file, "")
        if name is not None and not isinstance(name, str):
            raise UsageError(f"{file}: `dataset` must be a string, not {name!r}")
        # Paths at the top of the file belong to its own dataset, and those of the environment to the one that is taken
        # where none is given; another dataset must not be looked for there.
        own = table if name is None or name == table.get("dataset", name) else {}
        usual = os.environ.get("TNLLT_DATASET") or table.get("dataset") or "tnllt"
        variables = os.environ if name is None or name.casefold() == str(usual).casefold() else {}
        sections = table.get("datasets", {})
        section = sections.get(name, {}) if isinstance(sections, dict) and name is not None else {}
        if not isinstance(section, dict):
            raise UsageError(f"{file}: [datasets.{name}] must be a table, not {section!r}")
        _check_keys(section, _PATHS, file, f"datasets.{name}.")
        found: dict[str, Path | None] = {}
        for key in _PATHS:
            found_elsewhere = key == "results" or name != DEMO
            value = getattr(self, key) or (found_elsewhere and variables.get(f"TNLLT_{key.upper()}")) or None
            if value is None and found_elsewhere and file is not None:
                stated = section.get(key, own.get(key))
                if stated is not None and not isinstance(stated, str):
                    raise UsageError(f"{file}: `{key}` must be a string, not {stated!r}")
                value = file.parent / user_path(stated) if stated is not None else None
            found[key] = user_path(value) if value is not None else None
        if found["results"] is None and found["root"] is not None and (found["root"] / "tracking_results").is_dir():
            found["results"] = found["root"] / "tracking_results"
        return Locations(name or "tnllt", **found)


@dataclass(frozen=True, kw_only=True)
class DatasetConfig(LocationConfig):
    """Which sequences of a dataset; `tnllt.datasets.open_configured` opens it."""

    split: str | None = option("test", "Which sequences: test, val, train, ...; all.", kind=str, metavar="NAME")
    sequences: str | Path | Iterable[str | Path] | None = option(
        None, "Of those, only these: names, globs, or a file of names; may be repeated.", "-s", kind=str,
        metavar="NAMES", multiple=True,
    )  # fmt: skip

    def names(self) -> list[str] | None:
        """What `sequences` names; None where it names nothing. Raises UsageError as `listed_names`."""
        return None if self.sequences in (None, ()) else listed_names(self.sequences or "", "--sequences")


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(DatasetConfig):
    """Which results are scored on which sequences, and how."""

    trackers: str | Iterable[str] = option("all", "all, or names and globs: a,b,'ost*'.", kind=str, metavar="NAMES")
    protocol: str | Protocol = option("tnllt", "Scoring rule; see `protocols`.", "-p", kind=str, metavar="NAME")
    allow_missing: bool = option(False, "Score a tracker on the sequences that it has, and say so.")
    allow_short: bool = option(False, "Pad short results with their last box, and say so.")
    rounding: str = option(
        "none", "Score boxes as if they had been saved as integers.", "--round", choices=("none", "nearest", "trunc")
    )
    realtime: float | None = option(
        None,
        "Score by the answers in force in a stream of so many frames a second, after recorded times.",
        metavar="FPS",
        above=0,
    )
    cache: bool = option(True, "Neither look scores up in the cache nor keep them.")
    workers: int | None = option(
        None, "Processes that share the scoring where it is long.  [default: one per processor; in Python: one]", "-w",
        minimum=1,
    )  # fmt: skip
    cluster: str | None = option(None, "Score on a Ray cluster: auto, HOST:PORT or ray://HOST:PORT.", metavar="ADDRESS")


@dataclass(frozen=True)
class BoardConfig:
    """How a site is titled and which rule comes first."""

    title: str = option("", "Heading of the board.  [default: the dataset's name]")
    protocol: str = option("tnllt", "Protocol of the first page.", "-p", metavar="NAME")
    url: str = option("", "Address of the site; hubs' formats link to it.", metavar="URL")
    organisation: str = option("", "Who keeps the board, for hubs' formats.", metavar="NAME")
    hub: str = option("", "The dataset on a hub, as ORG/NAME.", metavar="ORG/NAME")


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """How a score table is written; JSON and CSV keep every number in full precision."""

    intervals: bool | None = option(
        None, "95 % intervals in the table.  [default: yes, but not in LaTeX's]", "--intervals/--no-intervals",
        kind=bool,
    )  # fmt: skip
    percent: bool = option(False, "Scores as percentages; CSV and JSON keep fractions.")
    decimals: int | None = option(
        None, "Decimals of scores, all in CSV and JSON.  [default: 3; 1 with --percent]", minimum=0, maximum=9
    )
    references: bool | None = option(
        None,
        "Rows of ceiling and floor.  [default: yes, but not in LaTeX's]",
        "--references/--no-references",
        kind=bool,
    )
    width: int | None = None  # columns of a terminal, which text is to fit


def listed_names(given: str | Path | Iterable[str | Path], flag: str) -> list[str]:
    """The names in a text separated by commas, or in several such texts.

    Raises:
        UsageError: there is no name in it; the error names the flag.
    """
    texts = [given] if isinstance(given, str | Path) else list(given)
    names = [name for text in texts for part in str(text).split(",") if (name := part.strip())]
    if not names:
        raise UsageError(f"{flag} {', '.join(map(str, texts))!r} names nothing; leave it out to take all")
    return names


def config_file(explicit: Path | None = None) -> Path | None:
    """The TOML file in force, or None. Raises UsageError where a named one does not exist."""
    named = explicit or (Path(os.environ["TNLLT_CONFIG"]) if os.environ.get("TNLLT_CONFIG") else None)
    if named is not None:
        if not user_path(named).is_file():
            raise UsageError(f"{named}: no such configuration file")
        return named
    candidates = [Path("tnllt.toml")]
    if (folder := _user_folder("XDG_CONFIG_HOME", ".config")) is not None:
        candidates.append(folder / "tnllt" / "config.toml")
    return next((path for path in candidates if path.is_file()), None)


def cache_folder() -> Path:
    """The user's cache folder for tnllt: `$TNLLT_CACHE`, else `$XDG_CACHE_HOME/tnllt`, else `~/.cache/tnllt`.

    A user without a home folder gets one among the temporary files.

    Raises:
        UsageError: that folder is not the user's own.
    """
    if os.environ.get("TNLLT_CACHE"):
        return user_path(os.environ["TNLLT_CACHE"])
    folder = _user_folder("XDG_CACHE_HOME", ".cache")
    if folder is not None:
        return folder / "tnllt"
    import tempfile

    folder = Path(tempfile.gettempdir()) / f"tnllt-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    about = folder.lstat()
    if about.st_uid != os.getuid() or about.st_mode & 0o077 or not stat.S_ISDIR(about.st_mode):
        raise UsageError(f"{folder} is not this user's own folder; set TNLLT_CACHE or HOME")
    return folder


def _user_folder(variable: str, name: str) -> Path | None:
    """The folder of an XDG variable, else of this name in the home folder; None for a user without one."""
    if os.environ.get(variable):
        return Path(os.environ[variable])
    try:
        return Path.home() / name
    except RuntimeError:
        return None
