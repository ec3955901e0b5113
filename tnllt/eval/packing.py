"""Archives of results that carry their scores, and the check that both still belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tnllt.config import Locations
from tnllt.datasets import open_dataset
from tnllt.errors import DataError
from tnllt.eval.evaluate import evaluate
from tnllt.eval.protocols import get_protocol
from tnllt.eval.selection import Selection
from tnllt.files import write_atomic
from tnllt.results.entry import FILE, IDENTIFYING, MODES, Entry
from tnllt.results.pack import Manifest, check_complete, dataset_digest, pack, packed_results
from tnllt.results.reading import read_many, read_results
from tnllt.results.variants import parse_variant

#: Scores that a manifest carries, so that a reader sees at once what was packed.
METRICS = ("success", "precision", "normalized_precision")


def pack_scored(path: Path, selection: Selection, blind: bool = False) -> Manifest:
    """Packs the results of the selection's one tracker with their scores; see `tnllt.results.pack.pack`."""
    ((tracker, files),) = selection.files.items()
    check_complete(selection.sequences, files, selection.read()[tracker])
    protocol, scores = get_protocol(selection.config.protocol), selection.score()
    return pack(
        path,
        tracker,
        selection.sequences,
        files,
        protocol={"name": protocol.name, "digest": protocol.digest()},
        scores={metric: float(scores.score(metric)[0]) for metric in METRICS},
        blind=blind,
    )


def write_entries(folder: Path, selection: Selection, entry: Entry, blind: bool = False) -> dict[str, list[Path]]:
    """An entry of a leaderboard per tracker, its variants with it; returns {tracker: files written}.

    Args:
        folder: below it each tracker gets a folder of its name.
        entry: what is the same for all; mode and machine come from the run record, the date is today, where
            it states none.
    """
    written: dict[str, list[Path]] = {}
    for name in selection.files:
        tracker = parse_variant(name).tracker
        own = written.setdefault(tracker, [])
        own.append(folder / tracker / f"{name}.zip")
        pack_scored(own[-1], selection.only(name), blind)
        if len(own) == 1:
            stated = replace(entry, tracker=tracker, date=entry.date or datetime.now(timezone.utc).date().isoformat())
            record = read_many([next(iter(selection.files[name].values()))])[0].record
            mode, made_on = record.get("mode"), (record.get("device"), (record.get("machine") or {}).get("processor"))
            if entry.mode == MODES[0] and mode in MODES:
                stated = replace(stated, mode=mode)
            stated = replace(stated, machine=entry.machine or ", ".join(str(part) for part in made_on if part))
            own.append(folder / tracker / FILE)
            hidden: dict[str, Any] = dict.fromkeys(IDENTIFYING, "") if blind else {}
            write_atomic(own[-1], replace(stated, **hidden).to_toml())
    return written


def verify_pack(archive: Path, manifest: Manifest, members: Mapping[str, bytes], where: Locations) -> None:
    """Checks an opened archive against a dataset's annotations.

    Raises:
        DataError: the annotations differ from those that it was packed with, or its files get other scores.
    """
    files = packed_results(archive, manifest, members)
    sequences = list(open_dataset(where.dataset, where.root, where.annos, split=None, names=list(files)))
    if dataset_digest(sequences) != manifest.dataset.get("sha256"):
        raise DataError("was packed with other annotations than these (their hash differs)", archive)
    if not manifest.scores:
        return
    protocol = get_protocol(str(manifest.protocol.get("name")))
    if protocol.digest() != manifest.protocol.get("digest"):
        raise DataError(f"was scored by other rules than this version's {protocol.name!r}", archive)
    scores = evaluate(sequences, {manifest.tracker: read_results(files)}, protocol)
    for name, value in manifest.scores.items():
        again = float(scores.score(name)[0])
        if value is None or abs(again - value) > 1e-12:
            raise DataError(f"its manifest gives {name} {value}, but its files score {again:.6f}", archive)
