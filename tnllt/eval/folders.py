"""Scoring result files: found, read once, scored block by block, remembered by their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tnllt.eval.cache import ScoreCache, annotation_digest, cache_key, can_cache, content_digest
from tnllt.eval.evaluate import CEILING, FLOOR, assemble, require_presence, score_references, score_trackers
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import get_protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import TrackerCurves
from tnllt.results.layouts import ResultFile
from tnllt.results.reading import read_many
from tnllt.sequence import Sequence, Trajectory

Files = Mapping[str, Mapping[str, ResultFile]]
#: A result's bytes, and a digest of them and of what lies beside (empty where nothing is cached).
_Read = tuple[bytes, bytes]
#: Text read before it is parsed: bounds memory for any number of trackers.
_BLOCK_BYTES = 48 << 20


def evaluate_files(
    sequences: Iterable[Sequence],
    files: Files,
    protocol: str | Protocol,
    *,
    allow_missing: bool = False,
    allow_short: bool = False,
    rounding: str = "none",
    cache: ScoreCache | None = None,
) -> Scores:
    """`evaluate` for result files {tracker: {sequence: file}}, the same to the last bit; arguments as there.

    Args:
        cache: where scores are looked up and kept; None: nowhere. Metrics from outside tnllt are never cached.

    Raises:
        DataError: a file that cannot be read, with its row.
    """
    listed = list(sequences)
    rules = get_protocol(protocol)
    require_presence(listed, rules)
    cache = cache if can_cache() else None
    annotations = annotation_digest(listed)
    scored: dict[str, TrackerCurves] = {}
    names = [s.name for s in listed]
    for block in _blocks(files, names, cache is not None):
        keys: dict[str, str] = {}
        if cache is not None:
            for tracker, raws in block.items():
                contents = [(name, digest) for name, (_, digest) in raws.items()]
                keys[tracker] = cache_key(annotations, contents, rules, allow_short, rounding)
                found = cache.get(keys[tracker], tracker, len(listed), rules)
                if found is not None:
                    scored[tracker] = found
        fresh = {t: raws for t, raws in block.items() if t not in scored}
        if not fresh:
            continue
        for own in score_trackers(listed, _parse(files, fresh), rules, allow_short=allow_short, rounding=rounding):
            scored[own.tracker] = own
            if cache is not None:
                cache.put(keys[own.tracker], own)
    ordered = [scored[tracker] for tracker in files]
    references = cached_references(listed, annotations, rules, cache)
    return assemble(listed, ordered, references, rules, allow_missing, allow_short, rounding)


def _blocks(files: Files, names: Seq[str], digests: bool) -> Iterator[dict[str, dict[str, _Read]]]:
    """What was read of the trackers' results {tracker: {sequence: ...}}, as many trackers at a time as fit."""
    block: dict[str, dict[str, _Read]] = {}
    size = 0
    with ThreadPoolExecutor(4) as pool:
        for tracker, own in files.items():
            found = [own[name] for name in names if name in own]
            read = pool.map(partial(_read, digests), found)
            block[tracker] = dict(zip((file.sequence for file in found), read, strict=True))
            size += sum(len(raw) for raw, _ in block[tracker].values())
            if size > _BLOCK_BYTES:
                yield block
                block, size = {}, 0
    if block:
        yield block


def _read(digests: bool, file: ResultFile) -> _Read:
    raw = file.read()
    if not digests:
        return raw, b""
    beside = (file.beside[what]() for what in sorted(file.beside))
    return raw, content_digest([raw, *beside, *([] if file.realtime is None else [str(file.realtime).encode()])])


def _parse(files: Files, read: dict[str, dict[str, _Read]]) -> dict[str, dict[str, Trajectory]]:
    flat = [(files[tracker][name], raw) for tracker, own in read.items() for name, (raw, _) in own.items()]
    parsed = iter(read_many([file for file, _ in flat], [raw for _, raw in flat]))
    return {tracker: {name: next(parsed) for name in own} for tracker, own in read.items()}


def cached_references(
    sequences: list[Sequence], annotations: bytes, protocol: Protocol, cache: ScoreCache | None
) -> list[TrackerCurves]:
    """`score_references`, from the cache where they are there."""
    if cache is None:
        return score_references(sequences, protocol)
    keys = {name: cache_key(annotations, [(f"\0{name}", b"")], protocol, False, "none") for name in (CEILING, FLOOR)}
    found = [cache.get(key, name, len(sequences), protocol) for name, key in keys.items()]
    kept = [own for own in found if own is not None]
    if len(kept) == len(keys):
        return kept
    made = score_references(sequences, protocol)
    for own in made:
        cache.put(keys[own.tracker], own)
    return made
