"""All training records of published files, folders of samples and datasets."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from tnllt.config import DatasetConfig
from tnllt.errors import DataError, UsageError
from tnllt.reasoningtrack.reasoners.factory import make_reasoner
from tnllt.reasoningtrack.reasoners.prompt import load_prompt
from tnllt.training.vlm.options import RecordSources
from tnllt.training.vlm.pairs import PairOptions, write_pairs
from tnllt.training.vlm.records import PairRecord, present, read_published, read_samples

log = logging.getLogger(__name__)


def gather(sources: RecordSources, work: Path, seed: int = 0) -> list[PairRecord]:
    """All records, their images checked. Pairs made from a dataset are written to `work`/pairs, drawn by `seed`.

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
        if os.environ.get("LOCAL_RANK", "0") == "0":
            _make_pairs(sources, work / "pairs", seed)
        if "LOCAL_RANK" in os.environ:
            from accelerate import PartialState

            PartialState().wait_for_everyone()
        found += read_samples(work / "pairs", prompt)
    if not (sources.records or sources.samples or sources.dataset):
        raise UsageError("nothing to train on: give --records FILE, --samples DIR or --dataset NAME")
    kept = list(present(found, sources.skip_missing))
    if len(kept) < len(found):
        log.warning("%d of %d records left out: their images are missing", len(found) - len(kept), len(found))
    if not kept:
        raise DataError("no record is left to train on")
    return kept[: sources.limit]


def _make_pairs(sources: RecordSources, folder: Path, seed: int) -> None:
    from tnllt.datasets.dataset import open_configured

    sequences = open_configured(
        DatasetConfig(sources.dataset, root=sources.root, annos=sources.annos, split=sources.split)
    )
    teacher = make_reasoner(sources.teacher) if sources.teacher else None
    if folder.exists():
        shutil.rmtree(folder)
    number = write_pairs(sequences, folder, PairOptions(sources.pairs, sources.gap, seed), teacher)
    log.info("%d pairs of frames from %d sequences of %s", number, len(sequences), sequences.name)
