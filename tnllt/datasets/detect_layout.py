"""Detects the layout of a folder of sequences: a benchmark's, or any."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, product
from pathlib import Path

from tnllt.datasets import splits, text
from tnllt.datasets.benchmarks import LASOT_ATTRIBUTES, LAYOUTS, TNLLT_ATTRIBUTES
from tnllt.datasets.frames import VIDEO_SUFFIXES
from tnllt.datasets.index import Place, find_places
from tnllt.datasets.layout import FlagFile, Layout
from tnllt.datasets.reader import present_value
from tnllt.errors import DataError
from tnllt.numbers import parse_table

_BOX_NAMES = ("groundtruth", "groundtruth_rect", "gt", "boxes", "bbox", "annotation", "{name}")
_FLAG_NAMES = ("absent", "absent_label", "absence", "presence", "present", "visible", "visibility", "exist")
_TEXT_NAMES = ("language", "nlp", "description", "text", "sentence", "caption")
_LANGUAGE = tuple(f"{{folder}}/{stem}.txt" for stem in _TEXT_NAMES)
_SIDES = ("{root}/annos", "{root}/anno", "{root}/annotations", "{root}/gt", "{root}/boxes", "{parent}", "{root}")

#: Any folder: sequences one to three levels deep, images and files under their usual names.
ANY_FOLDER = Layout(
    name="folder",
    title="a folder of sequences",
    sequences=("*", "*/*", "*/*/*", *(f"*{suffix}" for suffix in sorted(VIDEO_SUFFIXES))),
    images=("img", "imgs", "images", "frames", "color", "rgb", "visible", "."),
    boxes=(
        *(f"{{folder}}/{stem}.{suffix}" for stem, suffix in product(_BOX_NAMES, ("txt", "csv"))),
        *(f"{side}/{{name}}.{suffix}" for side, suffix in product(_SIDES, ("txt", "csv"))),
        "{annos}/{name}.txt",
    ),
    absent=(
        *((FlagFile(f"{{folder}}/{stem}.{suffix}", None),) for stem, suffix in product(_FLAG_NAMES, ("txt", "label"))),
        *((FlagFile(f"{side}/absent/{{name}}.txt", None),) for side in ("{annos}", *_SIDES)),
    ),
    language=(
        *_LANGUAGE,
        *(f"{side}/{stem}/{{name}}.txt" for side, stem in product(_SIDES, _TEXT_NAMES)),
    ),
    attributes=("{folder}/attributes.txt", "{folder}/attrs.txt", "{annos}/att/{name}.txt"),
    descriptions=("{folder}/descriptions.txt",),
    path_names=True,
)


def detect_layout(folder: Path, annos: Path | None = None) -> tuple[Layout, list[Place]]:
    """The layout of a folder and the sequences in it: a benchmark's where its marks are there, else any folder's.

    The sense of flags that is not stated is inferred from boxes of zero area, over all sequences.

    Raises:
        DataError: no sequence is here, and what one would look like.
    """
    # The releases differ in their marks; a benchmark fits of whose sequences one bears them all.
    marked = [(layout, annos) for layout in LAYOUTS.values() if layout.signature and _bears_marks(folder, layout)]
    for layout, side in (*marked, *_by_annotation(annos or folder)):
        places = find_places(layout, folder, side)
        if any(place.box_file is not None for place in places):
            return _adapted(layout, places, folder)
    name = folder.resolve().name or "folder"
    layout = replace(ANY_FOLDER, name=name, title=name)
    places = _plausible([place for place in find_places(layout, folder, annos) if place.box_file is not None], folder)
    if not places:
        raise DataError(
            "no sequence is here: one is a folder of images (or in img/, imgs/, frames/) with groundtruth.txt, a video "
            "with a .txt of its name, or annos/<name>.txt; else describe the layout in dataset.toml",
            folder,
        )
    return _settle_flags(layout, places)


def _adapted(layout: Layout, places: list[Place], folder: Path) -> tuple[Layout, list[Place]]:
    """The benchmark's rules for a folder in its layout.

    The folder keeps its own name where none of the sequences is one of the benchmark's; and where the benchmark has no
    language, language files under their usual names are read.
    """
    own = layout if layout.language else replace(layout, language=_LANGUAGE)
    listed = splits.packaged(layout.name, "all") or splits.packaged(layout.name, "test")
    if listed is not None and {place.name for place in places}.isdisjoint(listed):
        own = replace(own, name=folder.resolve().name, title=folder.resolve().name)
    return own, [replace(place, layout=own) for place in places]


def _plausible(places: list[Place], root: Path) -> list[Place]:
    """Without text files that are not box files, such as a README beside the sequences."""
    if any(place.folder is not None for place in places):
        places = [p for p in places if p.folder is not None or (p.box_file is not None and p.box_file.parent != root)]
    return [place for place in places if place.folder is not None or _begins_with_a_box(place.box_file)]


def _begins_with_a_box(path: Path | None) -> bool:
    first = text.read_text(path).lstrip().partition("\n")[0] if path is not None else ""
    try:
        return len(parse_table(first)[0]) in (4, 8)
    except (DataError, IndexError):
        return False


def _bears_marks(folder: Path, layout: Layout) -> bool:
    splits = [p for patterns in layout.split_folders.values() for p in patterns] or [""]
    for glob in {pattern.replace("{split}", split) for pattern in layout.sequences for split in splits}:
        # A few folders are enough: a whole release need not be walked.
        firsts = [path for path in islice(folder.glob(glob), 20) if path.is_dir()]
        if any(all(any(path.glob(mark)) for mark in layout.signature) for path in firsts):
            return True
    return False


def _by_annotation(folder: Path) -> list[tuple[Layout, Path]]:
    """Toolkits whose folder of annotations it looks like; TNLLT's and LaSOT's differ in the number of attributes."""
    by_count = {len(TNLLT_ATTRIBUTES): LAYOUTS["tnllt"], len(LASOT_ATTRIBUTES): LAYOUTS["lasot"]}
    for annos in (folder, folder / "annos"):
        if (annos / "gt_rect").is_dir():
            return [(LAYOUTS["tnl2k"], annos)]
        attributes = next(iter(sorted((annos / "att").glob("*.txt"))), None)
        if attributes is not None and (count := len(text.read_flags(attributes))) in by_count:
            return [(by_count[count], annos)]
    return []


def _settle_flags(layout: Layout, places: list[Place]) -> tuple[Layout, list[Place]]:
    """States the flags' sense in the layout, where there are flags."""
    if not any(place.flag_files for place in places):
        return layout, places
    pairs = ((text.read_boxes(p.box_file), text.read_flags(f)) for p in places if p.box_file for f, _ in p.flag_files)
    meaning = present_value(pairs)
    if meaning is None:
        return layout, places
    groups = tuple(tuple(FlagFile(flag.path, meaning) for flag in group) for group in layout.absent)
    settled = replace(layout, absent=groups)
    return settled, [replace(place, layout=settled) for place in places]


def video_place(path: Path, boxes: Path | None = None) -> Place:
    """A video file with its box file, by default the `.txt` beside it.

    Raises:
        DataError: one of the two is not there.
    """
    if not path.is_file():
        raise DataError("no such video", path)
    candidates = [boxes] if boxes is not None else [path.with_suffix(".txt"), path.with_name(path.name + ".txt")]
    file = next((c for c in candidates if c.is_file()), None)
    if file is None:
        raise DataError(f"no box file for it: give --annos FILE, or put {path.with_suffix('.txt').name} beside", path)
    layout = replace(ANY_FOLDER, name="video", title=path.name)
    return Place(path.stem, layout, root=path.parent, folder=path, boxes=file)
