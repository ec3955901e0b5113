"""All training records of published files, folders of samples and datasets."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tnllt.config import DatasetConfig
from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.reasoners.parsing import load_prompt
from tnllt.reasoningtrack.reasoners.views import View, pictures
from tnllt.training.vlm.frozen import FrozenTracker, load_frozen
from tnllt.training.vlm.options import RecordOptions, RecordSources
from tnllt.training.vlm.pairs import write_pairs
from tnllt.training.vlm.records import PairRecord, read_published, read_samples, write_jpeg

log = logging.getLogger(__name__)


def gather(sources: RecordSources, work: Path, seed: int = 0, tracker: FrozenTracker | None = None) -> list[PairRecord]:
    """All records, their images checked. Pairs made from a dataset are written to `work`/pairs, drawn by `seed`.

    Args:
        tracker: runs on the dataset's sequences, and the pairs are its refreshes, as tracking gain needs them.

    Raises:
        UsageError: no source was named. DataError: nothing is left, or a file is not what it should be.
    """
    prompt = load_prompt(sources.prompt) if sources.prompt is not None else None
    found: list[PairRecord] = []
    for path in sources.records:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        for file in files:
            found += read_published(file, sources.images, prompt)
    for folder in sources.samples:
        found += read_samples(folder, prompt)
    if sources.dataset is not None:
        _once(lambda: _make_pairs(sources, work / "pairs", seed, tracker))
        found += read_samples(work / "pairs", prompt)
    if not (sources.records or sources.samples or sources.dataset):
        raise UsageError("nothing to train on: give --records FILE, --samples DIR or --dataset NAME")
    kept = _present(found, sources.skip_missing)[: sources.limit]
    if sources.view != "frames":
        _once(lambda: _write_views(kept, sources.view, work / "views"))
        kept = [replace(record, shown=_view_files(work / "views", n)) for n, record in enumerate(kept)]
    return kept


def _once(work: Callable[[], object]) -> None:
    """Does it in the machine's first process, while the others wait."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        work()
    if "LOCAL_RANK" in os.environ:
        from accelerate import PartialState

        PartialState().wait_for_everyone()


def _view_files(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / f"{number + 1:05d}-1.jpg", folder / f"{number + 1:05d}-2.jpg"


def _write_views(records: Sequence[PairRecord], view: View, folder: Path) -> None:
    for number, record in enumerate(records):
        for path, image in zip(_view_files(folder, number), pictures(record.question(), view), strict=True):
            write_jpeg(path, image)


def _present(records: Sequence[PairRecord], skip: bool) -> list[PairRecord]:
    """The records whose images exist. Raises DataError at the first whose do not, unless `skip`, or without any."""
    kept = []
    for record in records:
        missing = next((file for file in record.images if not file.is_file()), None)
        if missing is None:
            kept.append(record)
        elif not skip:
            remedy = "give the right --images DIR, or --skip-missing to leave such records out"
            raise DataError(f"the image {missing} is missing; {remedy}", record.source)
    if len(kept) < len(records):
        log.warning("%d of %d records left out: their images are missing", len(records) - len(kept), len(records))
    if not kept:
        raise DataError("no record is left to train on")
    return kept


def write_records(sources: RecordSources, options: RecordOptions) -> int:
    """Writes samples of what a running tracker asks, with answers, to `options.out`, and returns their number.

    Raises:
        UsageError: no dataset, no teacher to select from, or a folder that has something in it. DataError: not one
            sample could be made.
    """
    if sources.dataset is None:
        raise UsageError("give the sequences: --dataset NAME")
    if options.select == "gain" and sources.teacher is None:
        raise UsageError("--select gain chooses among the answers of a teacher: give --teacher")
    if options.out.exists() and any(options.out.iterdir()):
        raise UsageError(f"{options.out} is not empty; give --out another folder")
    candidates = options.candidates if options.select == "gain" else 0
    gain = {"candidates": candidates, "least_gain": options.least_gain}
    return _make_pairs(sources, options.out, options.seed, load_frozen(options), **gain)


def _make_pairs(
    sources: RecordSources, folder: Path, seed: int, tracker: FrozenTracker | None = None, **gain: Any
) -> int:
    from tnllt.datasets.dataset import open_configured
    from tnllt.reasoningtrack.build import resolve_reasoner

    sequences = open_configured(
        DatasetConfig(sources.dataset, root=sources.root, annos=sources.annos, split=sources.split)
    )
    teacher = resolve_reasoner(sources.teacher, sources.teacher_options, None, "ours") if sources.teacher else None
    if folder.exists():
        shutil.rmtree(folder)
    number = write_pairs(sequences, folder, sources.pairs, sources.gap, seed, teacher, tracker, **gain)
    log.info("%d pairs of frames from %d sequences of %s", number, len(sequences), sequences.name)
    return number
