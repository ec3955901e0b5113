"""Where things are: flags beat environment variables, those beat a TOML file, and no file of the package is edited.

The TOML file is `--config FILE`, else `$TNLLT_CONFIG`, else `tnllt.toml` in the working folder, else
`tnllt/config.toml` in the user's configuration folder::

    dataset = "tnllt"
    root = "/data/TNLLT"
    annos = "/data/TNLLT/annos"
    results = "/data/results"

    [datasets.lasot]          # used instead when --dataset lasot is given
    root = "/data/LaSOT"
    results = "/data/lasot_results"

A relative path in it is relative to the file. Results that nobody locates are those in `<root>/tracking_results`,
where `tnllt-data prepare` puts the published ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tnllt.errors import UsageError
from tnllt.files import read_toml

_PATHS = ("root", "annos", "results")


@dataclass(frozen=True)
class Locations:
    """Where data and results are, after flags, environment and file have been heard.

    Attributes:
        dataset: a benchmark's name or a folder.
        root: the benchmark's folder (frames, annotations), or None.
        annos: a folder of annotations alone, or None.
        results: the folder of result files, or None.
    """

    dataset: str = "tnllt"
    root: Path | None = None
    annos: Path | None = None
    results: Path | None = None

    def need_results(self) -> Path:
        """The results folder. Raises UsageError where none was given."""
        if self.results is None:
            raise UsageError("no results folder: give --results DIR, set TNLLT_RESULTS, or put `results` in tnllt.toml")
        return self.results


def config_file(explicit: Path | None = None) -> Path | None:
    """The TOML file in force, or None. Raises UsageError where a named one is not there."""
    named = explicit or (Path(os.environ["TNLLT_CONFIG"]) if os.environ.get("TNLLT_CONFIG") else None)
    if named is not None:
        if not named.is_file():
            raise UsageError(f"{named}: no such configuration file")
        return named
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return next((p for p in (Path("tnllt.toml"), home / "tnllt" / "config.toml") if p.is_file()), None)


def locate(
    dataset: str | None = None,
    root: Path | None = None,
    annos: Path | None = None,
    results: Path | None = None,
    config: Path | None = None,
) -> Locations:
    """Settle every location. Arguments are flags (None: not given).

    Raises:
        UsageError: the configuration file is missing, or has a value of the wrong type.
        DataError: it is not TOML.
    """
    file = config_file(config)
    table = read_toml(file) if file is not None else {}
    name = dataset or os.environ.get("TNLLT_DATASET") or table.get("dataset")
    if name is not None and not isinstance(name, str):
        raise UsageError(f"{file}: `dataset` must be a string, not {name!r}")
    # Paths at the top of the file belong to its own dataset; another dataset must not be looked for there.
    own = table if name is None or name == table.get("dataset", name) else {}
    sections = table.get("datasets", {})
    section = sections.get(name, {}) if isinstance(sections, dict) and name is not None else {}
    if not isinstance(section, dict):
        raise UsageError(f"{file}: [datasets.{name}] must be a table, not {section!r}")
    given = {"root": root, "annos": annos, "results": results}
    found: dict[str, Path | None] = {}
    for key in _PATHS:
        value = given[key] or os.environ.get(f"TNLLT_{key.upper()}") or None
        if value is None and file is not None:
            text = section.get(key, own.get(key))
            if text is not None and not isinstance(text, str):
                raise UsageError(f"{file}: `{key}` must be a string, not {text!r}")
            value = file.parent / Path(text).expanduser() if text is not None else None
        found[key] = Path(value) if value is not None else None
    if found["results"] is None and found["root"] is not None and (found["root"] / "tracking_results").is_dir():
        found["results"] = found["root"] / "tracking_results"
    return Locations(name or "tnllt", **found)


def cache_folder() -> Path:
    """The user's cache folder for tnllt (`$TNLLT_CACHE`, else `$XDG_CACHE_HOME/tnllt`, else `~/.cache/tnllt`)."""
    explicit = os.environ.get("TNLLT_CACHE")
    if explicit:
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tnllt"
