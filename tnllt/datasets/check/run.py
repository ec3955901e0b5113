"""Runs every check over a dataset, in parallel where images are decoded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from tnllt.datasets.check.findings import CHECKER, about
from tnllt.datasets.check.sequences import Checked, check_sequence
from tnllt.datasets.check.whole import check_whole
from tnllt.datasets.dataset import find_dataset, match_names
from tnllt.datasets.frames import examine
from tnllt.datasets.progress import OnProgress
from tnllt.findings import Finding, Findings

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
    """
    layout, places = find_dataset(name_or_folder, root, annos)
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
        found += _decode(checked, workers or os.cpu_count() or 1, progress)
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
