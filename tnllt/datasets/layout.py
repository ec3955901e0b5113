"""Where a benchmark keeps what: a record that one reader follows, so that no benchmark needs a reader of its own.

Paths are templates. `{root}` and `{annos}` are the two places a user may give, `{folder}` is the sequence's own folder,
`{parent}` the folder that lies in, `{name}` the sequence's name, `{video}` the name of its folder (they differ where a
video has two targets), `{split}` the folder of its split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Any

from tnllt.datasets.text import BOX_FORMATS
from tnllt.errors import UsageError
from tnllt.files import read_toml, user_path


@dataclass(frozen=True)
class FlagFile:
    """A file of integers, one per frame.

    Attributes:
        path: its template.
        present: the value that means "in view"; None where it is not stated and is inferred from boxes of zero area.
        highest: the largest value there is. One above 1 makes them levels, all but 0 of which count as 1.
    """

    path: str
    present: int | None
    highest: int = 1


@dataclass(frozen=True)
class VideoPart:
    """A sequence that is a part of a video: frames numbered `first` to `last` of the folder `video`.

    Attributes:
        video: name of the folder of the images.
        first: number in the file name of the first frame.
        last: number of the last frame, or None for all that follow.
        skip: rows at the head of the box file that belong to earlier frames.
    """

    video: str
    first: int = 0
    last: int | None = None
    skip: int = 0


@dataclass(frozen=True, eq=False)
class Layout:
    """How a benchmark lies on disk.

    Attributes:
        name: the benchmark's short name; also the prefix of packaged split lists.
        title: as its authors write it.
        sequences: patterns of sequence folders below the root, all of which are searched; `{split}` is a folder of
            `split_folders`, `*` any folder.
        images: folders of the images, the first that is there; relative to the sequence's folder.
        boxes: candidates for the box file, the first that is there.
        box_format: one of `tnllt.datasets.text.BOX_FORMATS`.
        absent: flag files of which the first group that is there whole counts; within a group a target is absent where
            any says so.
        presence_required: whether a sequence without a whole group of these flag files lacks something, even where no
            sequence of the dataset has any of them.
        language: candidates for the description.
        attributes: candidates for the attribute flags.
        attribute_names: names of the flags, in the file's order.
        split_folders: patterns of folder names per split.
        split_lists: per split, a file of names, or a glob whose file stems are the names.
        targets: pattern of box files, in a folder with several targets; `*` becomes the suffix of the name.
        parts: sequences that are parts of videos.
        first_box_only: splits that publish the first box alone; the other frames' boxes are NaN.
        signature: what must be in a sequence's folder for the layout to be recognised.
        descriptions: candidates for a file of descriptions, one per frame: what is true at that moment.
        metadata: candidates for a file of `key: value` lines.
        path_names: name sequences of the same folder name by their path (`a/1` and `b/1` are `a-1` and `b-1`).
        box_stride: boxes per frame that a box file may hold because it was drawn on a faster video.
    """

    name: str
    title: str = ""
    sequences: tuple[str, ...] = ("*",)
    images: tuple[str, ...] = ("img", "imgs")
    boxes: tuple[str, ...] = ("{folder}/groundtruth.txt",)
    box_format: str = "xywh"
    absent: tuple[tuple[FlagFile, ...], ...] = ()
    presence_required: bool = False
    language: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    attribute_names: tuple[str, ...] = ()
    split_folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    split_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    targets: str | None = None
    parts: Mapping[str, VideoPart] = field(default_factory=dict)
    first_box_only: tuple[str, ...] = ()
    signature: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    path_names: bool = False
    box_stride: int = 1


#: What a template may hold.
VARIABLES = ("root", "annos", "folder", "parent", "name", "video", "split")
_TEXTS = (
    "sequences", "images", "boxes", "language", "attributes", "attribute_names", "descriptions", "metadata",
    "first_box_only", "signature",
)  # fmt: skip
_PLAIN = {"title": str, "format": str, "targets": str, "path_names": bool, "box_stride": int}
_OTHER = ("absent", "base", "name", "parts", "present", "root", "split_folders", "splits")


def from_toml(path: Path, known: Mapping[str, Layout]) -> tuple[Layout, Path]:
    """A layout and its root, which is relative to the file. Raises as `layout_of`, DataError where it is not TOML."""
    table = read_toml(path)
    own = {"root": table.pop("root", "."), "name": table.pop("name", path.parent.name or "custom")}
    for key, value in own.items():
        if not isinstance(value, str):
            raise UsageError(f"{path}: `{key}` must be a string, not {value!r}")
    layout = replace(layout_of(table, path, known, own["name"]), presence_required="absent" in table)
    return layout, path.parent / user_path(own["root"])


def layout_of(table: Mapping[str, Any], path: Path, known: Mapping[str, Layout], name: str) -> Layout:
    """A layout from its record: a benchmark's in `benchmarks.toml`, or a user's `dataset.toml`.

    Keys are those of `Layout`, a single string standing for a list of one; `base = "lasot"` starts from a known
    benchmark; `absent = "{folder}/absent.txt"` with `present = 1` names the flags' sense, a list in that list is a
    group of files; `format` is the box format; `[splits]` gives files of names; `[parts]` a video's ranges of frames.

    Raises:
        UsageError: names a key that means nothing, or has a value of another kind.
    """
    table = dict(table)
    base = Layout(name)
    changes: dict[str, Any] = {"name": name, "title": name}
    if (base_name := table.pop("base", None)) is not None:
        if base_name not in known:
            raise UsageError(f"{path}: base = {base_name!r} is not a benchmark; known are {', '.join(known)}")
        base = known[base_name]
    present, absent = table.pop("present", None), table.pop("absent", None)
    if present not in (None, 0, 1):
        raise UsageError(f"{path}: present = {present!r}: the flag that means 'in view' is 0 or 1")
    if absent is not None:
        groups = [group if isinstance(group, list) else [group] for group in _listed(absent)]
        changes["absent"] = tuple(tuple(_flag_file(item, present, path) for item in group) for group in groups)
    elif present is not None:
        raise UsageError(f'{path}: `present` states what a flag means; name the flag file: absent = "{{folder}}/..."')
    for key, value in table.items():
        if key in _TEXTS:
            changes[key] = _strings(path, key, value)
        elif key in _PLAIN:
            if type(value) is not _PLAIN[key]:
                raise UsageError(f"{path}: `{key}` must be of type {_PLAIN[key].__name__}, not {value!r}")
            changes["box_format" if key == "format" else key] = value
        elif key not in ("splits", "split_folders", "parts"):
            keys = (*_TEXTS, *_PLAIN, *_OTHER)
            raise UsageError(f"{path}: unknown key {key!r}; known are {', '.join(sorted(keys))}")
        elif not isinstance(value, dict):
            raise UsageError(f"{path}: [{key}] must be a table of {'ranges' if key == 'parts' else 'files'}")
        elif key == "parts":
            changes[key] = {name: part for video, ranges in value.items() for name, part in _parts(video, ranges, path)}
        else:
            own = {split: _strings(path, f"{key}.{split}", files) for split, files in value.items()}
            changes["split_lists" if key == "splits" else key] = own
    if (form := changes.get("box_format", "xywh")) not in BOX_FORMATS:
        raise UsageError(f"{path}: format = {form!r}; known are {', '.join(BOX_FORMATS)}")
    _check_templates(path, changes)
    return replace(base, **changes)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _strings(path: Path, key: str, value: object) -> tuple[str, ...]:
    values = _listed(value)
    if not all(isinstance(v, str) for v in values):
        raise UsageError(f"{path}: `{key}` must be a string or a list of strings, not {value!r}")
    return tuple(values)


def _flag_file(item: Any, present: int | None, path: Path) -> FlagFile:
    own = {"path": item, "present": present} if isinstance(item, str) else item
    if isinstance(own, dict) and own.keys() <= {"path", "present", "highest"} and isinstance(own.get("path"), str):
        flag = FlagFile(own["path"], own.get("present", present), own.get("highest", 1))
        if flag.present in (None, 0, 1) and type(flag.highest) is int:
            return flag
    raise UsageError(f"{path}: `absent` must be files, or tables of path, present (0 or 1) and highest, not {item!r}")


def _parts(video: str, ranges: Any, path: Path) -> Iterator[tuple[str, VideoPart]]:
    """The sequences that a video's ranges [first, last] or [first, last, skip] make: of several `video_1`, ..."""
    for number, part in enumerate(_listed(ranges), start=1):
        if not isinstance(part, list) or len(part) not in (2, 3) or any(type(value) is not int for value in part):
            raise UsageError(f"{path}: parts.{video} must be a list of [first, last] or [first, last, skip]")
        yield (video if len(ranges) == 1 else f"{video}_{number}"), VideoPart(video, *part)


def _check_templates(path: Path, changes: Mapping[str, Any]) -> None:
    """Raises UsageError for a template that names more than the variables: `{x.y}`, `{x!r}` and `{x:9}` do."""
    keys = ("sequences", "images", "boxes", "language", "attributes", "descriptions", "metadata")
    flags = [file.path for group in changes.get("absent", ()) for file in group]
    lists = [file for group in changes.get("split_lists", {}).values() for file in group]
    for template in [*flags, *lists, *(t for key in keys for t in changes.get(key, ()))]:
        try:
            fields = [field for field in Formatter().parse(template) if field[1] is not None]
        except ValueError:
            fields = [("", "", "", None)]
        if any(name not in VARIABLES or spec or conversion for _, name, spec, conversion in fields):
            known = ", ".join(f"{{{v}}}" for v in VARIABLES)
            raise UsageError(f"{path}: {template!r} is not a template; known are {known}")
