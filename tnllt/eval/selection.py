"""Which results are scored on which sequences, and their scoring: what every command that needs scores shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

from tnllt.config import ScoreConfig, listed_names
from tnllt.datasets.dataset import open_configured
from tnllt.errors import UsageError, did_you_mean
from tnllt.eval.cache import ScoreCache, annotation_digest, cache_key, can_cache, content_digest
from tnllt.eval.evaluate import CEILING, FLOOR, assemble, require_presence, score_references, score_trackers
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import get_protocol, resolve_protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import TrackerCurves
from tnllt.findings import Findings
from tnllt.options import check_fields, takes_fields_of
from tnllt.processes import map_in_processes, map_on_cluster
from tnllt.results.layouts import ResultFile, find_results
from tnllt.results.lint import lint
from tnllt.results.reading import read_many, read_results
from tnllt.results.variants import joined_names, variants_of
from tnllt.sequence import Sequence, Trajectory


@takes_fields_of(ScoreConfig)
def score(*args: Any, **options: Any) -> Scores:
    """Scores result files on a dataset, as `tnllt-eval` does::

        scores = tnllt.score("lasot", annos="annos", results="results", trackers="ATOM,DiMP*", protocol="tnllt")

    The arguments are those of `ScoreConfig`. A location that is not given comes from the environment or from
    `tnllt.toml`, as for the command.

    Raises:
        UsageError: an argument that is not valid, a tracker or protocol that is not known, no results folder.
        DataError: files that cannot be read, annotations or results that are not there, a missing presence file.
        IncompleteError: a result is missing or short, and that is not allowed.
    """
    return select(ScoreConfig(*args, **options)).score()


class ResultsObserver(Interface):
    """Takes more from results while they are read for their scores."""

    def known(self, tracker: str, key: str) -> bool:
        """Whether the results of a tracker need not be shown; `key` changes with their content, "" without a cache."""

    def see(self, results: Mapping[str, Mapping[str, Trajectory]]) -> None:
        """Is shown the results {tracker: {sequence: trajectory}} of some trackers."""


@dataclass(frozen=True)
class Selection:
    """Annotated sequences and the chosen trackers' result files; no result is read yet.

    Attributes:
        sequences: the sequences to score.
        files: {tracker: {sequence: file}}.
        config: what they were chosen by.
        unknown: text files among the results that no sequence is named after.
        benchmark: the dataset's title.
        peers: every tracker among the results, also those not chosen.
    """

    sequences: list[Sequence]
    files: Mapping[str, Mapping[str, ResultFile]]
    config: ScoreConfig
    unknown: tuple[str, ...] = ()
    benchmark: str = ""
    peers: tuple[str, ...] = ()

    @property
    def allowed(self) -> dict[str, bool]:
        """Which incomplete results are allowed, as arguments of `evaluate`, `explain` and their like."""
        return {"allow_missing": self.config.allow_missing, "allow_short": self.config.allow_short}

    @property
    def cache(self) -> ScoreCache | None:
        return ScoreCache() if self.config.cache and can_cache() else None

    def read(self) -> dict[str, dict[str, Trajectory]]:
        """{tracker: {sequence: trajectory}}, every result read now: many files are parsed together."""
        return {tracker: read_results(files) for tracker, files in self.files.items()}

    def read_sequence(self, name: str, among: Iterable[str] | None = None) -> dict[str, Trajectory]:
        """{tracker: trajectory} on one sequence, without the trackers that have no result on it."""
        trackers = self.files if among is None else among
        return read_results({tracker: self.files[tracker][name] for tracker in trackers if name in self.files[tracker]})

    def score(self, observer: ResultsObserver | None = None) -> Scores:
        """The scores, from the cache where they are there. Raises as `evaluate` does.

        Args:
            observer: is shown the results that are read for it, so that nothing is read twice.
        """
        config = self.config
        scores = evaluate_files(
            self.sequences,
            self.files,
            config.protocol,
            rounding=config.rounding,
            cache=self.cache,
            observer=observer,
            workers=config.workers,
            cluster=config.cluster,
            **self.allowed,
        )
        return replace(scores, realtime=config.realtime, benchmark=self.benchmark, peers=self.peers)

    def lint(self) -> Findings:
        """What is wrong with the result files."""
        return lint(self.sequences, self.files, self.unknown)

    def only(self, tracker: str) -> Selection:
        return replace(self, files={tracker: self.files[tracker]})


def select(config: ScoreConfig) -> Selection:
    """Finds the annotations and results that a configuration names.

    Raises:
        UsageError: no location is known, a tracker's name matches nothing, or a field is out of its bounds.
        DataError: a location that does not exist, no sequence or tracker in it, a missing presence file.
    """
    check_fields(config)
    get_protocol(config.protocol)
    results = config.locate().results
    if results is None:
        raise UsageError("no results folder: give --results DIR, set TNLLT_RESULTS, or put `results` in tnllt.toml")
    dataset = open_configured(config)
    protocol = resolve_protocol(config.protocol, dataset.name)
    config = replace(config, protocol=protocol)
    sequences = list(dataset)
    require_presence(sequences, protocol)
    names = dict.fromkeys(s.name for s in sequences)
    # Trackers that have results on other sequences alone must be found, too, where sequences are named.
    found = find_results(results, names if config.sequences is None else _all_names(config))
    chosen = choose_trackers(config.trackers, list(found.trackers))
    at = config.realtime
    files = {t: {n: replace(f, realtime=at) for n, f in found.trackers[t].items() if n in names} for t in chosen}
    unknown = found.unknown
    if unknown and config.sequences is None:
        others = _all_names(config)  # results of sequences outside the split are not unknown
        unknown = tuple(place for place in unknown if Path(place).stem not in others)
    return Selection(sequences, files, config, unknown, dataset.layout.title, tuple(found.trackers))


def _all_names(config: ScoreConfig) -> dict[str, None]:
    return dict.fromkeys(open_configured(replace(config, split=None, sequences=None)).names)


def choose_trackers(wanted: str | Iterable[str], among: list[str]) -> list[str]:
    """Trackers by names and globs, in the order given. Raises UsageError where one matches nothing.

    The name of a tracker that has no results of its own stands for its variants.
    """
    chosen: dict[str, None] = {}
    for word in joined_names(listed_names(wanted, "--trackers")):
        if word == "all" and "all" not in among:
            hits = among
        else:
            hits = [name for name in among if name == word] or variants_of(word, among)
            hits = (
                hits
                or [n for n in among if fnmatchcase(n, word)]
                or [name for name in among if name.casefold() == word.casefold()]
            )
        if not hits:
            hint = did_you_mean(word, among, f"found {', '.join(among)}")
            raise UsageError(f"no tracker {word!r} among the results; {hint}")
        chosen.update(dict.fromkeys(hits))
    return list(chosen)


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
    observer: ResultsObserver | None = None,
    workers: int = 1,
    cluster: str | None = None,
) -> Scores:
    """`evaluate` for result files {tracker: {sequence: file}}, the same to the last bit; arguments as there.

    Args:
        cache: where scores are looked up and kept; None: nowhere. Metrics from outside tnllt are never cached.
        observer: is shown the results that it does not know.
        workers: how many processes, or tasks on a cluster, score some trackers each. What an observer does not know is
            shown to it here, and read again for that.
        cluster: the address of a Ray cluster; None: this machine.

    Raises:
        DataError: a file that cannot be read, with its row.
        UsageError: several processes and a metric from outside tnllt, which they would not have; no cluster there.
    """
    listed = list(sequences)
    rules = get_protocol(protocol)
    require_presence(listed, rules)
    cache = cache if can_cache() else None
    scoring = _Scoring(listed, annotation_digest(listed), files, rules, allow_short, rounding, cache)
    found = scoring.apart(workers, cluster)
    found |= scoring.curves(observer, found)
    references = cached_references(listed, scoring.annotations, rules, cache)

    def read(name: str) -> dict[str, Trajectory]:
        return read_results({tracker: own[name] for tracker, own in files.items() if name in own})

    ordered = [found[tracker] for tracker in files]
    return assemble(listed, ordered, references, rules, allow_missing, allow_short, rounding, read)


@dataclass(frozen=True)
class _Scoring:
    """Result files to be scored, and how: arguments of `evaluate_files`, and the annotations' digest."""

    sequences: list[Sequence]
    annotations: bytes
    files: Files
    protocol: Protocol
    allow_short: bool
    rounding: str
    cache: ScoreCache | None

    def apart(self, workers: int, cluster: str | None) -> dict[str, TrackerCurves]:
        """`curves` by several processes; nothing where this one is asked to score all."""
        count = min(workers, len(self.files))
        if count <= 1 and cluster is None:
            return {}
        if not can_cache():
            raise UsageError("a metric from outside tnllt is computed in one process; leave out workers and cluster")
        names = list(self.files)
        parts = [replace(self, files={name: self.files[name] for name in names[k::count]}) for k in range(count)]
        work = _Scoring.curves
        found = map_in_processes(work, parts, count) if cluster is None else map_on_cluster(work, parts, cluster)
        return {tracker: own for part in found for tracker, own in part.items()}

    def curves(
        self, observer: ResultsObserver | None = None, scored: Mapping[str, TrackerCurves] | None = None
    ) -> dict[str, TrackerCurves]:
        """{tracker: its numbers} of the trackers that are not among `scored`; the observer is shown all."""
        found: dict[str, TrackerCurves] = {}
        known = scored or {}
        files = self.files if observer is not None else {t: own for t, own in self.files.items() if t not in known}
        for block in _blocks(files, [s.name for s in self.sequences], self.cache is not None):
            self._score(block, observer, known, found)
            block.clear()
        return found

    def _score(
        self,
        block: dict[str, dict[str, _Read]],
        observer: ResultsObserver | None,
        known: Mapping[str, TrackerCurves],
        found: dict[str, TrackerCurves],
    ) -> None:
        keys = dict.fromkeys(block, "")
        if self.cache is not None:
            for tracker, raws in block.items():
                contents = [(name, digest) for name, (_, digest) in raws.items()]
                keys[tracker] = cache_key(self.annotations, contents, self.protocol, self.allow_short, self.rounding)
                kept = self.cache.get(keys[tracker], tracker, len(self.sequences), self.protocol)
                if kept is not None:
                    found[tracker] = kept
        fresh = [tracker for tracker in block if tracker not in found and tracker not in known]
        unseen = [tracker for tracker in block if observer is not None and not observer.known(tracker, keys[tracker])]
        wanted = [tracker for tracker in block if tracker in fresh or tracker in unseen]
        flat = [(self.files[tracker][name], raw) for tracker in wanted for name, (raw, _) in block[tracker].items()]
        parsed = iter(read_many([file for file, _ in flat], [raw for _, raw in flat]))
        results = {tracker: {name: next(parsed) for name in block[tracker]} for tracker in wanted}
        if observer is not None and unseen:
            observer.see({tracker: results[tracker] for tracker in unseen})
        if not fresh:
            return
        own = {tracker: results[tracker] for tracker in fresh}
        for made in score_trackers(
            self.sequences, own, self.protocol, allow_short=self.allow_short, rounding=self.rounding
        ):
            found[made.tracker] = made
            if self.cache is not None:
                self.cache.put(keys[made.tracker], made)


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
