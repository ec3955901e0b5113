"""Datasets: sequences in order, found by number, name, slice or glob; and how one is opened."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceABC
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import overload

from tnllt.config import DEMO, DatasetConfig, LocationConfig
from tnllt.datasets import splits
from tnllt.datasets.benchmarks import LAYOUTS, find_layout
from tnllt.datasets.frames import VIDEO_SUFFIXES
from tnllt.datasets.index import Place, find_places
from tnllt.datasets.layout import Layout, from_toml
from tnllt.datasets.published import FILE as PUBLISHED
from tnllt.datasets.published import fetch_annotations, read_rows
from tnllt.datasets.reader import make_sequence, read_attributes, read_metadata
from tnllt.errors import DataError, DataWarning, UsageError, did_you_mean
from tnllt.files import is_url, user_path
from tnllt.sequence import Sequence

Names = str | Path | Iterable[str]


class Dataset(SequenceABC[Sequence]):
    """Sequences of one benchmark, in order. Nothing is read before a sequence is asked for it.

    `dataset[3]` and `dataset["JE_Ship_video_X02"]` are sequences; `dataset[:5]`, `dataset["JE_Ship*"]` and
    `dataset[["a", "b"]]` are datasets.
    """

    def __init__(self, places: Iterable[Place], layout: Layout) -> None:
        self.places = tuple(places)
        self.layout = layout
        self._by_name = {place.name: place for place in self.places}
        self._made: dict[str, Sequence] = {}

    @property
    def name(self) -> str:
        """The benchmark's short name, such as `tnllt`."""
        return self.layout.name

    @property
    def names(self) -> list[str]:
        """The sequences' names, in order."""
        return list(self._by_name)

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[Sequence]:
        return (self._sequence(place) for place in self.places)

    def __contains__(self, item: object) -> bool:
        return (item.name if isinstance(item, Sequence) else item) in self._by_name

    @overload
    def __getitem__(self, index: int) -> Sequence: ...
    @overload
    def __getitem__(self, index: slice | list[str]) -> Dataset: ...
    @overload
    def __getitem__(self, index: str) -> Sequence: ...
    def __getitem__(self, index: int | str | slice | list[str]) -> Sequence | Dataset:
        if isinstance(index, slice):
            return Dataset(self.places[index], self.layout)
        if isinstance(index, list):
            return self.select(index)
        if isinstance(index, str):
            if index not in self._by_name and _is_glob(index):
                return self.select([index])
            return self._sequence(self._by_name[match_names([index], self.names)[0]])
        return self._sequence(self.places[index])

    def select(self, names: Names | None = None, attributes: str | Iterable[str] | None = None) -> Dataset:
        """A part of the dataset.

        Args:
            names: a name, a glob, a file with names, or several of them.
            attributes: names of attributes (`"OV"`, `"OV,FOC"`) that all must hold. Reads the attribute files.

        Raises:
            DataError: a name or attribute that is not there, with the nearest that is.
        """
        places: Iterable[Place] = self.places
        if names is not None:
            places = [self._by_name[name] for name in match_names(names, self.names)]
        if attributes is not None:
            wanted = attributes.replace(",", " ").split() if isinstance(attributes, str) else list(attributes)
            if not wanted:
                raise UsageError("no attribute is named; name one or several, such as OV,FOC")
            places = [place for place in places if self._holds(place, wanted)]
        return Dataset(places, self.layout)

    def _holds(self, place: Place, wanted: list[str]) -> bool:
        flags = read_attributes(place)
        if flags is None:
            raise DataError(f"sequence {place.name!r} has no attribute file; it cannot be chosen by attribute")
        for name in wanted:
            if name not in flags:
                raise DataError(f"{name!r} is not an attribute of {self.name}; known are {' '.join(flags)}")
        return all(flags[name] for name in wanted)

    def metadata(self, name: str) -> Mapping[str, str]:
        """What the release notes about a sequence beside its annotation (GOT-10k's classes); empty where nothing."""
        return read_metadata(self._by_name[match_names([name], self.names)[0]])

    def _sequence(self, place: Place) -> Sequence:
        if place.name not in self._made:
            self._made[place.name] = make_sequence(place, self.layout.presence_required)
        return self._made[place.name]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_made": {}}

    def __repr__(self) -> str:
        return f"<{self.layout.title or self.name}: {len(self)} sequences>"


class TNLLTDataset(Dataset):
    """The TNLLT benchmark: `TNLLTDataset(root)` is its test split.

    Args:
        root: folder of the release, or of the toolkit (`annos/` alone: sequences have no frames then).
        split: "test", "train", "all", or None for all that is there.
        annos: folder of annotation files, where it is not `root/annos`.
        names: names, globs, or a file of names.
        attributes: only sequences with these attributes.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        split: str | None = "test",
        *,
        annos: str | Path | None = None,
        names: Names | None = None,
        attributes: str | Iterable[str] | None = None,
    ) -> None:
        found = open_dataset("tnllt", root, annos, split=split, names=names, attributes=attributes)
        super().__init__(found.places, found.layout)


def open_dataset(
    name_or_folder: str | Path,
    root: str | Path | None = None,
    annos: str | Path | None = None,
    split: str | None = "test",
    names: Names | None = None,
    attributes: str | Iterable[str] | None = None,
) -> Dataset:
    """Opens a benchmark by name, or a folder, a TOML file that describes one, or a video file with boxes.

    Args:
        name_or_folder: `tnllt`, `lasot`, ... (see `tnllt.datasets.BENCHMARKS`), `demo`, a path (a `Path` always), or
            the URL of a published dataset.
        root: the benchmark's folder; where neither it nor `annos` is given, TNLLT_ROOT and tnllt.toml give them.
        annos: its folder of annotations alone; for a video file, its box file.
        split: which sequences: the split's list where all its names are annotated, else every annotated one (a
            DataWarning notes it where some are there). A `splits/` folder in the root beats the packaged lists.
            None: all.
        names: of those, only these names or globs; a name in full is found outside the split too.
        attributes: of those, only sequences with all these attributes.

    Raises:
        UsageError: an unknown name.
        DataError: a folder that is not there, or nothing annotated in it.
    """
    layout, places = find_dataset(name_or_folder, root, annos)
    annotated = [place for place in places if place.box_file is not None]
    if not annotated:
        raise DataError(_nothing(layout, places), _path(root) or _path(annos) or Path(name_or_folder))
    if not layout.presence_required and any(place.has_flag_file for place in annotated):
        layout = dataclasses.replace(layout, presence_required=True)  # the sequences without such a file lack it
    chosen = _choose(layout, annotated, split)
    if names is not None:
        by_name = {place.name: place for place in annotated}
        chosen = [by_name[name] for name in match_names(names, [p.name for p in chosen], list(by_name))]
    dataset = Dataset(chosen, layout)
    return dataset if attributes is None else dataset.select(attributes=attributes)


def open_configured(config: DatasetConfig) -> Dataset:
    """The dataset and sequences that a configuration names. Raises as `open_dataset`."""
    names = config.names()
    if isinstance(config.dataset, Dataset):
        return config.dataset if names is None else config.dataset.select(names)
    where = config.locate()
    split = None if config.split == "all" else config.split
    return open_dataset(where.dataset, where.root, where.annos, split, names)


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else user_path(value)


def is_path(name: str) -> bool:
    """Whether `open_dataset` takes a text for a path, not for a benchmark's name or a URL."""
    return name != DEMO and not is_url(name) and find_layout(name) is None


def find_dataset(
    name_or_folder: str | Path, root: str | Path | None = None, annos: str | Path | None = None
) -> tuple[Layout, list[Place]]:
    """The layout that a name, folder or file stands for, and every place in it, the unannotated ones too.

    Arguments and errors are those of `open_dataset`.
    """
    if is_url(name_or_folder):
        return published_places(fetch_annotations(str(name_or_folder)), str(name_or_folder))
    # A `Path` is a folder, whatever its name; an absolute one is no benchmark's.
    name = str(user_path(name_or_folder).absolute()) if isinstance(name_or_folder, Path) else name_or_folder
    top, side = _path(root), _path(annos)
    for folder in (top, side):
        if folder is not None and not folder.exists():
            raise DataError("no such folder", folder)
    layout = find_layout(name)
    if name == DEMO and top is None:
        top = import_module("tnllt.datasets.synth").demo_folder()
        layout = dataclasses.replace(LAYOUTS["tnllt"], name=name, title=f"{name}, synthetic")
    if layout is None:
        return _find_path(name, side)
    if top is None and side is None:
        where = LocationConfig(name).locate()  # TNLLT_ROOT, tnllt.toml
        top, side = where.root, where.annos
    if top is not None and (top / PUBLISHED).is_file():
        return published_places(top / PUBLISHED, str(top))
    if top is not None and (top / "dataset.toml").is_file():
        layout, top = from_toml(top / "dataset.toml", LAYOUTS)
    if top is None and side is None:
        given = "--root DIR or --annos DIR, set TNLLT_DATASET and TNLLT_ROOT"
        raise UsageError(f"where is {layout.title}? Give {given}, or use tnllt.toml")
    return layout, find_places(layout, top, side)


def _find_path(name: str, annos: Path | None) -> tuple[Layout, list[Place]]:
    """`find_dataset` for a folder, a TOML file or a video."""
    from tnllt.datasets.detect_layout import detect_layout, video_place

    path = user_path(name)
    if not path.exists():
        hint = did_you_mean(name, LAYOUTS, f"benchmarks are {', '.join(LAYOUTS)}")
        raise UsageError(f"{name!r} is neither a benchmark nor a folder here; {hint}")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        place = video_place(path, annos)
        return place.layout, [place]
    if (path / PUBLISHED).is_file():
        return published_places(path / PUBLISHED, str(path))
    description = path if path.suffix.lower() == ".toml" else path / "dataset.toml"
    if description.is_file():
        layout, root = from_toml(description, LAYOUTS)
        return layout, find_places(layout, root, annos)
    if not path.is_dir():
        raise DataError("is neither a folder, a .toml file nor a video", path)
    return detect_layout(path, annos)


def published_places(path: Path, base: str) -> tuple[Layout, list[Place]]:
    """`find_dataset` for the Parquet file of a published dataset whose frames are below `base`, a folder or a URL."""
    rows = read_rows(path)
    name = next((str(row["dataset"]) for row in rows.values() if row["dataset"]), path.parent.name)
    layout = LAYOUTS.get(name, Layout(name))
    root = None if is_url(base) else Path(base)
    return layout, [Place(own, layout, root=root, boxes=path, base=base) for own in rows]


def _nothing(layout: Layout, places: list[Place]) -> str:
    wanted = " or ".join(layout.boxes)
    for field, words in (("{folder}/", ""), ("{root}/", ""), ("{annos}", "annos"), ("{", "<"), ("}", ">")):
        wanted = wanted.replace(field, words)
    if places:
        return f"{len(places)} sequences are here but none has its box file ({wanted})"
    return f"no {layout.title or layout.name} sequence is here; a sequence is a folder with {wanted}"


def _choose(layout: Layout, places: list[Place], split: str | None) -> list[Place]:
    """The places of a split, in its list's order."""
    if split is None:
        return places
    if not split:
        raise UsageError("the split is empty; name one, such as test, or give split=None (--split all)")
    own, listed = split_names(layout, places, split)
    if listed is None:
        inside = [place for place in places if place.split == split]
        if inside or split == "test":
            return inside or places
        if split == "all":
            return places
        if layout.name not in LAYOUTS and not any(place.split for place in places):
            note = f"{layout.title or layout.name} lists no splits: all {len(places)} sequences are used for {split!r}"
            warnings.warn(note, DataWarning, stacklevel=3)
            return places
        raise DataError(
            f"{layout.title or layout.name} has no split {split!r} here; use split=None (--split all) for all there is"
        )
    by_name, folded = {p.name: p for p in places}, {p.name.casefold(): p for p in places}
    found = [by_name.get(name) or folded.get(name.casefold()) for name in listed]
    there = [place for place in found if place is not None]
    missing = [name for name, place in zip(listed, found, strict=True) if place is None]
    if not missing:
        return there
    if not own and split == "test":
        if there:
            _warn_partial(layout, split, listed, missing, f"all {len(places)} annotated sequences are used")
        return places
    if not there:
        raise DataError(f"none of the {len(listed)} sequences of split {split!r} is annotated here ({listed[0]}, ...)")
    _warn_partial(layout, split, listed, missing, f"the {len(there)} that are there are used")
    return there


def _warn_partial(layout: Layout, split: str, listed: tuple[str, ...], missing: list[str], done: str) -> None:
    names = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    note = f"{layout.title}: {len(missing)} of the {len(listed)} sequences of split {split!r} are not annotated here"
    warnings.warn(f"{note} ({names}); {done}", DataWarning, stacklevel=4)


def split_names(layout: Layout, places: Iterable[Place], split: str) -> tuple[bool, tuple[str, ...] | None]:
    """(whether it is the root's own list, the names of a split), the names None where they are not listed."""
    root = next((place.root for place in places if place.root is not None), None)
    if root is not None:
        own = root / "splits" / f"{split}.txt"
        if own.is_file():
            return True, splits.read(own)
        for pattern in layout.split_lists.get(split, ()):
            files = sorted(root.glob(pattern))
            if files:
                return True, tuple(f.stem for f in files) if "*" in pattern else splits.read(files[0])
    listed = splits.packaged(layout.name, split)
    if listed is None and split == "train" and (test := splits.packaged(layout.name, "test")) is not None:
        # LaSOT's training set is what its test list leaves (protocol II).
        return False, tuple(place.name for place in places if place.name not in set(test)) or None
    return False, listed


def match_names(wanted: Names, among: list[str], everywhere: list[str] | None = None) -> list[str]:
    """The names that names, globs and files of names stand for, in their order, each once.

    Args:
        wanted: one or several; text with `*`, `?` or `[` is a glob, a path of a file stands for the names in it.
        among: the names that globs choose from.
        everywhere: the names that a full name may be found in; None: `among`.

    Raises:
        DataError: a name that is not there, or a glob that matches nothing.
    """
    everywhere = among if everywhere is None else everywhere
    folded = {name.casefold(): name for name in everywhere}
    known = set(everywhere)
    found: dict[str, None] = {}
    for word in _words(wanted, known):
        if word in known:
            found[word] = None
        elif _is_glob(word):
            hits = [name for name in among if fnmatchcase(name, word)]
            if not hits:
                raise DataError(f"no sequence matches {word!r}")
            found.update(dict.fromkeys(hits))
        elif word.casefold() in folded:
            found[folded[word.casefold()]] = None
        else:
            hint = did_you_mean(word, everywhere, f"there are {len(everywhere)}, such as {', '.join(everywhere[:3])}")
            raise DataError(f"no sequence {word!r} here; {hint}")
    return list(found)


def _words(wanted: Names, known: set[str]) -> Iterator[str]:
    words = [wanted] if isinstance(wanted, str | Path) else wanted
    for word in words:
        word = str(word)
        if word not in known and not _is_glob(word) and os.path.isfile(word):  # noqa: PTH113  # no name raises here
            yield from splits.read(Path(word))
        else:
            yield word


def _is_glob(text: str) -> bool:
    return any(c in text for c in "*?[")
