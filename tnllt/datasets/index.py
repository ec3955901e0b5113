"""Where sequences lie: follows a `Layout` through folders and names what is there, reading no file."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from itertools import islice
from pathlib import Path

from tnllt.datasets.frames import VIDEO_SUFFIXES, is_frame
from tnllt.datasets.layout import FlagFile, Layout, VideoPart
from tnllt.errors import DataWarning

#: Folders below a root that are not sequences, whatever the patterns.
_NOT_SEQUENCES = frozenset({"annos", "anno", "attribute", "splits", "tracking_results", "__macosx"})


@dataclass(frozen=True)
class Place:
    """Where one sequence and its files lie; none of them has been read.

    Attributes:
        name: the sequence's name.
        layout: the rules of its benchmark.
        root, annos: folders as the user gave them, or None.
        folder: the sequence's own folder, a video file, or None where only annotations are there.
        split: the split that its folder lies in, or "".
        boxes: the box file, where discovery has settled it (several targets in one folder).
        part: the part of the video that it is.
        base: of a published dataset, the folder or URL that its files are below; `boxes` is its Parquet file then.
    """

    name: str
    layout: Layout
    root: Path | None = None
    annos: Path | None = None
    folder: Path | None = None
    split: str = ""
    boxes: Path | None = None
    part: VideoPart | None = None
    base: str = ""

    @cached_property
    def _values(self) -> dict[str, str]:
        values: dict[str, Path | str | None] = {"root": self.root, "annos": self.annos, "name": self.name}
        if self.folder is not None:
            values |= {"folder": self.folder, "parent": self.folder.parent, "video": self.folder.stem}
            if not self.is_video:
                values["video"] = self.folder.name
            if self.root is not None and self.folder != self.root and self.folder.is_relative_to(self.root):
                values["split"] = self.folder.relative_to(self.root).parts[0]
        return {key: str(value) for key, value in values.items() if value is not None}

    def files(self, templates: tuple[str, ...]) -> Iterator[Path]:
        """The paths that templates stand for, leaving out those whose folder is not known here."""
        for template in templates:
            try:
                yield Path(template.format_map(self._values))
            except KeyError:
                continue

    def first(self, templates: tuple[str, ...]) -> Path | None:
        """The first of the templates' files that is there."""
        return next((path for path in self.files(templates) if path.is_file()), None)

    @property
    def is_video(self) -> bool:
        return self.folder is not None and self.folder.suffix.lower() in VIDEO_SUFFIXES

    @property
    def first_box_only(self) -> bool:
        return self.split in self.layout.first_box_only

    @cached_property
    def box_file(self) -> Path | None:
        return self.boxes or self.first(self.layout.boxes)

    @cached_property
    def image_folder(self) -> Path | None:
        """The folder of the images, or None."""
        if self.folder is None or self.is_video:
            return None
        for pattern in self.layout.images:
            folder = self.folder / pattern.format_map(self._values)
            # One image beside the box file is a preview with the box drawn in, as TNL2K has them.
            if count_frames(folder, 2) > (pattern == "."):
                return folder
        return None

    def _found_flags(self, group: tuple[FlagFile, ...]) -> tuple[tuple[Path, FlagFile], ...]:
        return tuple((path, flag) for flag in group for path in self.files((flag.path,)) if path.is_file())

    @cached_property
    def flag_files(self) -> tuple[tuple[Path, FlagFile], ...]:
        """The flag files that count, with their records: the first group that is there whole; empty where none is."""
        found = ((self._found_flags(group), len(group)) for group in self.layout.absent)
        return next((files for files, count in found if len(files) == count > 0), ())

    @property
    def has_flag_file(self) -> bool:
        """Whether any flag file is there, also one of a group that is not whole."""
        return any(self._found_flags(group) for group in self.layout.absent)

    def missing_presence(self) -> Path | None:
        """The last flag file that is not there, if the layout has flag files and none count here; else None."""
        if self.flag_files:
            return None
        looked = [path for group in self.layout.absent for flag in group for path in self.files((flag.path,))]
        return next((path for path in reversed(looked) if not path.is_file()), looked[-1] if looked else None)

    @property
    def language_file(self) -> Path | None:
        return self.first(self.layout.language)

    @property
    def attribute_file(self) -> Path | None:
        return self.first(self.layout.attributes)


def find_places(layout: Layout, root: Path | None, annos: Path | None) -> list[Place]:
    """Every sequence that lies below the two folders, by name; no file is opened.

    A folder counts that has images or a box file, an annotation file where no folder has its name.
    """
    annos = find_annos(layout, root, annos)
    folders = _by_name(list(walk_folders(layout, root, annos)), layout) if root is not None else {}
    if not folders and root is not None and (inner := _only_folder(root)) is not None:
        # An archive unpacked into a folder of its own name.
        return find_places(layout, inner, annos)
    parts = {part.video for name, part in layout.parts.items() if part.video != name}
    places = {p.name: p for folder in folders.values() for p in _targets(folder) if p.name not in parts}
    spelled = {name.casefold(): name for name in folders}
    for name in _annotated_names(layout, root, annos):
        part = layout.parts.get(name)
        key = part.video if part is not None else spelled.get(name.casefold(), name)
        base = folders.get(key, Place(name, layout, root, annos))
        if key != name:
            # Case differs: the annotation's spelling is the one that result files bear.
            places.pop(key, None)
        places.setdefault(name, replace(base, name=name, part=part))
    return [places[name] for name in sorted(places)]


def _by_name(places: list[Place], layout: Layout) -> dict[str, Place]:
    """Folders by their names, which must differ because result files bear them."""
    count = Counter(place.name for place in places)
    found: dict[str, Place] = {}
    for place in places:
        name = place.name
        if count[name] > 1 and layout.path_names and place.folder and place.root:
            name = "-".join(place.folder.relative_to(place.root).with_suffix("").parts)
            place = replace(place, name=name)
        if name in found:
            note = f"{place.folder}: a second sequence named {name!r}; the one in {found[name].folder} is used"
            warnings.warn(note, DataWarning, stacklevel=4)
        else:
            found[name] = place
    return found


def _only_folder(root: Path) -> Path | None:
    """The one folder in a root, beside those that hold no sequences; None where there are several."""
    inner = [root / name for name in _names(root) if name.lower() not in _NOT_SEQUENCES and not name.startswith(".")]
    folders = [path for path in inner if path.is_dir()]
    return folders[0] if len(folders) == 1 else None


def find_annos(layout: Layout, root: Path | None, annos: Path | None) -> Path | None:
    """The folder of annotation files: the one given, else `annos` of the root; one nested level is seen through."""
    candidates = [annos] if annos is not None else [root / "annos"] if root is not None else []
    candidates += [folder / "annos" for folder in candidates]
    return next((c for c in candidates if any(True for _ in _annotated_names(layout, None, c))), None)


def _annotated_names(layout: Layout, root: Path | None, annos: Path | None) -> Iterator[str]:
    """Names for which a box file lies outside the sequences' folders."""
    values = {key: str(value) for key, value in (("root", root), ("annos", annos)) if value is not None}
    for template in layout.boxes:
        head, _, tail = template.rpartition("/")
        try:
            folder = Path(head.format_map(values))
        except KeyError:
            continue
        prefix, _, suffix = tail.partition("{name}")
        for file in _names(folder):
            name = file[len(prefix) : len(file) - len(suffix)]
            if file == prefix + name + suffix and name and not name.startswith("."):
                yield name


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError:
        return []


def walk_folders(layout: Layout, root: Path, annos: Path | None) -> Iterator[Place]:
    """The folders (and video files) that the layout's patterns name and that hold a sequence."""
    seen: set[Path] = set()
    for pattern in layout.sequences:
        for folder, split in _match(root, pattern.split("/"), "", layout):
            if folder in seen:
                continue
            seen.add(folder)
            name = folder.stem if folder.suffix.lower() in VIDEO_SUFFIXES else folder.name
            place = Place(name, layout, root, annos, folder, split, part=layout.parts.get(name))
            is_part = any(part.video == name for part in layout.parts.values())
            if place.is_video or place.box_file or _target_files(place) or is_part or place.image_folder:
                yield place


def _match(folder: Path, pattern: list[str], split: str, layout: Layout) -> Iterator[tuple[Path, str]]:
    if not pattern:
        yield folder, split
        return
    head, rest = pattern[0], pattern[1:]
    videos = not rest and any(head.lower().endswith(suffix) for suffix in VIDEO_SUFFIXES)
    try:
        with os.scandir(folder) as entries:
            found = sorted(e.name for e in entries if _fits(e, videos))
    except OSError:
        return
    for name in found:
        inside = _split_of(name, head, layout) if "{split}" in head else split
        if (inside is None) if "{split}" in head else not fnmatch(name, head):
            continue
        yield from _match(folder / name, rest, inside or "", layout)


def _fits(entry: os.DirEntry[str], videos: bool) -> bool:
    if entry.name.startswith(".") or entry.name.lower() in _NOT_SEQUENCES:
        return False
    return entry.is_file() if videos else entry.is_dir()


def _split_of(name: str, head: str, layout: Layout) -> str | None:
    """Which split a folder's name stands for, or None."""
    for split, patterns in layout.split_folders.items():
        if any(fnmatch(name, head.replace("{split}", pattern)) for pattern in patterns):
            return split
    return None


def _target_files(place: Place) -> list[Path]:
    if place.layout.targets is None or place.folder is None or place.is_video:
        return []
    return sorted(place.folder / name for name in _names(place.folder) if fnmatch(name, place.layout.targets))


def _targets(place: Place) -> Iterator[Place]:
    """One place per target of a folder: `Jogging` with two box files is `Jogging-1` and `Jogging-2`."""
    files = _target_files(place) if place.layout.targets else []
    head = (place.layout.targets or "").partition("*")[0]
    for file in files:
        suffix = file.stem[len(head) :]
        yield replace(place, name=f"{place.name}-{suffix}", boxes=file, part=None)
    if not files or place.box_file is not None:
        yield place


def count_frames(folder: Path, enough: int) -> int:
    """Number of frames in a folder, counted up to `enough`; 0 where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sum(1 for _ in islice((e for e in entries if is_frame(e.name)), enough))
    except OSError:
        return 0
