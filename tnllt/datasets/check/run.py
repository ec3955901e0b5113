"""Checks of a dataset as a whole (names, copies, split lists, the sense of its flags), and all checks of it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tnllt.datasets import splits, text
from tnllt.datasets.check.findings import CHECKER, about
from tnllt.datasets.check.sequences import Checked, check_sequence
from tnllt.datasets.dataset import find_dataset, match_names, split_names
from tnllt.datasets.frames import OnProgress, examine
from tnllt.datasets.index import Place, walk_folders
from tnllt.datasets.layout import Layout, VideoPart
from tnllt.datasets.reader import flags_of_empty_boxes, present_value
from tnllt.errors import DataError, UsageError
from tnllt.findings import Finding, Findings
from tnllt.processes import processors


def check_whole(layout: Layout, checked: list[Checked], root: Path | None) -> Iterator[Finding]:
    """Every check that needs more than one sequence."""
    places = [c.place for c in checked]
    yield from _sense(layout, checked)
    yield from _names(places)
    yield from _copies(checked)
    yield from _lonely(places)
    if root is not None:
        yield from _twice(layout, root)
        yield from _folders(layout, root)
    yield from _splits(layout, places)


def _sense(layout: Layout, checked: list[Checked]) -> Iterator[Finding]:
    """Both senses of the flags against the boxes of zero area: which fits, and is it the one in use."""
    pairs = []
    meant: set[int | None] = set()
    for one in checked:
        for path, flag in one.place.flag_files:
            # In a file of one cause (LaSOT's out_of_view) a target may be absent by another.
            if one.boxes is None or len(one.place.flag_files) > 1:
                continue
            try:
                pairs.append((one.boxes, text.read_flags(path)))
            except DataError:
                continue
            meant.add(flag.present)
    if not pairs:
        return
    counts = flags_of_empty_boxes(pairs)
    empty = sum(counts)
    fits = present_value(pairs)
    if fits is None:
        why = "no box has zero area" if not empty else f"the {empty:,} boxes of zero area do not agree"
        yield about(layout, "flags-sense", f"cannot be inferred: {why}; read as {_words(meant)}")
        return
    told = f"{fits} = present fits {max(counts):,} of the {empty:,} boxes of zero area"
    if meant <= {fits, None}:
        yield about(layout, "flags-sense", f"{told}; so they are read")
    else:
        yield about(layout, "flags-polarity", f"{told}, but they are read as {_words(meant)}")


def _words(meant: set[int | None]) -> str:
    return " and ".join(f"{value} = present" for value in sorted(v for v in meant if v is not None)) or "unstated"


def _names(places: list[Place]) -> Iterator[Finding]:
    folded: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        folded[place.name.casefold()].append(place)
    for group in folded.values():
        if len(group) > 1:
            names = ", ".join(place.name for place in group)
            yield about(group[0], "name-case", f"{names} differ in case alone", group[0].folder)
            continue
        folder, name = group[0].folder, group[0].name
        if folder is not None and folder.name != name and folder.name.casefold() == name.casefold():
            yield about(group[0], "name-case", f"annotated as {name}, its folder is {folder.name}", folder)


def _twice(layout: Layout, root: Path) -> Iterator[Finding]:
    if layout.path_names:
        return
    named: dict[str, list[Place]] = defaultdict(list)
    for place in walk_folders(layout, root, None):
        named[place.name].append(place)
    for group in named.values():
        if len(group) > 1:
            yield about(group[0], "name-twice", f"{len(group)} folders of this name", root)


def _folders(layout: Layout, root: Path) -> Iterator[Finding]:
    """What unpacking leaves and readers see through: folders in folders of their name, lists without a last newline."""
    for name in ("annos", "tracking_results", layout.title):
        inner = root / name / name
        if name and inner.is_dir():
            yield about(layout, "folder-nested", f"{name}/{name}", inner)
    for path in [*sorted((root / "splits").glob("*.txt")), *sorted(root.glob("*_set.txt"))]:
        if splits.read(path) and not text.read_text(path).endswith("\n"):
            yield about(layout, "split-newline", path.name, path)


def _copies(checked: list[Checked]) -> Iterator[Finding]:
    """Sequences with the same boxes, and targets that share their frames."""
    same: dict[bytes, list[Place]] = defaultdict(list)
    videos: dict[tuple[Path, int, int | None], list[Place]] = defaultdict(list)
    for one in checked:
        place = one.place
        if one.boxes is not None and len(one.boxes) > 1 and not place.first_box_only:
            same[hashlib.sha256(one.boxes.tobytes()).digest()].append(place)
        if place.image_folder is not None:
            part = place.part or VideoPart("")
            videos[place.image_folder, part.first, part.last].append(place)
    for groups, code, what in ((same, "content-twice", "boxes"), (videos, "frames-shared", "frames")):
        for group in groups.values():
            if len(group) > 1:
                others = ", ".join(place.name for place in group[1:])
                path = group[0].box_file if code == "content-twice" else group[0].image_folder
                yield about(group[0], code, f"same {what} as {others}", path)


def _lonely(places: list[Place]) -> Iterator[Finding]:
    """Sequences that lack a file which others have."""
    having_of = {
        "language-missing": [place.language_file is not None for place in places],
        "attributes-missing": [place.attribute_file is not None for place in places],
    }
    for code, having in having_of.items():
        if any(having):
            lacking = [place for place, there in zip(places, having, strict=True) if not there]
            message = f"{sum(having)} other sequences have one"
            yield from (about(place, code, message, place.folder) for place in lacking)
    if any(place.has_flag_file for place in places):
        for place in places:
            if not place.first_box_only and (path := place.missing_presence()) is not None:
                yield about(place, "flags-missing", f"{path.name} is not there", path)


def _splits(layout: Layout, places: list[Place]) -> Iterator[Finding]:
    names = {place.name.casefold() for place in places}
    lists: dict[str, tuple[str, ...]] = {}
    for split in ("train", "val", "test", "all"):
        own, listed = split_names(layout, places, split)
        if listed is None:
            continue
        if not own and names.isdisjoint(name.casefold() for name in splits.packaged(layout.name, "all") or listed):
            continue  # nothing of the release is here: another dataset in its layout
        if split != "all":
            lists[split] = listed
        here = "the folder's own list" if own else "the release's list"
        missing = [name for name in listed if name.casefold() not in names]
        if missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            message = f"{split}: {len(missing)} of {len(listed)} names of {here} are not here ({shown})"
            yield about(layout, "split-missing", message)
        twice = [name for name, times in Counter(listed).items() if times > 1]
        if twice:
            yield about(layout, "split-twice", f"{split}: {', '.join(twice[:5])}")
    shared = set(lists.get("train", ())) & set(lists.get("test", ()))
    if shared:
        shown = ", ".join(sorted(shared)[:5])
        yield about(layout, "split-overlap", f"{len(shared)} names in both train and test: {shown}")
    if lists:
        listed_names = {name.casefold() for names_ in lists.values() for name in names_}
        extra = [place.name for place in places if place.name.casefold() not in listed_names]
        if extra:
            shown = ", ".join(extra[:5]) + (", ..." if len(extra) > 5 else "")
            yield about(layout, "split-unlisted", f"{len(extra)} sequences: {shown}")


_CHUNK = 16


def check_dataset(
    name_or_folder: str | Path,
    root: str | Path | None = None,
    annos: str | Path | None = None,
    *,
    names: Iterable[str] | None = None,
    decode: bool = False,
    workers: int | None = None,
    progress: OnProgress | None = None,
) -> Findings:
    """Checks a dataset that `open_dataset` would open, with the sequences that it would leave out.

    Args:
        name_or_folder, root, annos: as for `open_dataset`.
        names: only these sequences; what concerns the whole dataset is then not checked.
        decode: decode every image; finds undecodable and truncated files, and frames of another size.
        workers: decoding threads, by default one per processor.
        progress: called with (images decoded, images in all).

    Raises:
        UsageError, DataError: as `open_dataset`; and of a published dataset, which has no such files.
    """
    layout, places = find_dataset(name_or_folder, root, annos)
    if any(place.base for place in places):
        raise UsageError(
            f"{root or name_or_folder} is a published dataset, and the files of a layout are checked: check what it "
            "was made from, or what `tnllt-data convert` makes of it"
        )
    if names is not None:
        wanted = set(match_names(list(names), [place.name for place in places]))
        places = [place for place in places if place.name in wanted]
    checked = [check_sequence(place) for place in places]
    folder = next((place.root for place in places if place.root is not None), None)
    side = next((place.annos for place in places if place.annos is not None), None)
    found = [finding for one in checked for finding in one.findings]
    if names is None:
        found += check_whole(layout, checked, folder)
    decoded = sum(len(one.images) for one in checked) if decode else 0
    if decode:
        found += _decode(checked, workers or processors(), progress)
    with_frames = sum(bool(one.images) or one.place.is_video for one in checked)
    boxes = sum(len(one.boxes) for one in checked if one.boxes is not None)
    facts = {
        "dataset": layout.name,
        "root": str(folder or side or name_or_folder),
        "sequences": len(places),
        "sequences_with_frames": with_frames,
        "boxes": boxes,
        "images_decoded": decoded,
    }
    what = f"{with_frames:,} with frames" if with_frames else "annotations alone"
    looked_at = f"{layout.title or layout.name}: {len(places):,} sequences ({what}), {boxes:,} boxes"
    looked_at += f", {decoded:,} images decoded" if decoded else ""
    return Findings(CHECKER, CHECKER.sorted(found), looked_at, facts)


def _decode(checked: list[Checked], workers: int, progress: OnProgress | None) -> Iterator[Finding]:
    """Decodes every image once, in chunks that bound how many wait."""
    total, done = sum(len(one.images) for one in checked), 0
    with ThreadPoolExecutor(workers) as pool:
        for one in checked:
            if one.place.is_video:
                yield from _decode_video(one)
            sizes: dict[tuple[int, int], list[int]] = {}
            images = iter(enumerate(one.images, start=1))
            while chunk := list(islice(images, _CHUNK * workers)):
                results = pool.map(examine, (path for _, path in chunk))
                for (number, path), (fault, size) in zip(chunk, results, strict=True):
                    if fault is not None:
                        message = f"frame {number} ({path.name}), {path.stat().st_size:,} bytes"
                        yield about(one.place, fault, message, path, [number])
                    if size is not None:
                        sizes.setdefault(size, []).append(number)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            if len(sizes) > 1:
                most = max(sizes, key=lambda size: len(sizes[size]))
                others = ", ".join(f"{w}x{h} from frame {sizes[h, w][0]}" for h, w in sizes if (h, w) != most)
                message = f"{most[1]}x{most[0]}, but {others}"
                yield about(one.place, "image-size", message, one.place.image_folder)


def _decode_video(one: Checked) -> Iterator[Finding]:
    """Decodes a video to its end: the length in its header may be wrong."""
    import cv2

    assert one.place.folder is not None  # a video is its own folder
    capture = cv2.VideoCapture(str(one.place.folder))
    promised, count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
    while capture.grab():
        count += 1
    capture.release()
    if count < promised:
        message = f"{count} of the {promised} frames that its header promises can be decoded"
        yield about(one.place, "image-truncated", message, one.place.folder)
