"""Which results are scored on which sequences, and their scoring: what every command that needs scores shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from tnllt.config import ScoreConfig, listed_names
from tnllt.datasets.dataset import open_configured
from tnllt.errors import UsageError, did_you_mean
from tnllt.eval.cache import ScoreCache, annotation_digest, cache_key, can_cache, content_digest
from tnllt.eval.evaluate import CEILING, FLOOR, assemble, require_presence, score_references, score_trackers
from tnllt.eval.frame_errors import FrameErrors
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import get_protocol, resolve_protocol
from tnllt.eval.scores import Scores
from tnllt.eval.tracker_curves import TrackerCurves
from tnllt.options import check_fields, takes_fields_of
from tnllt.processes import can_fork, map_in_processes, map_in_threads, map_on_cluster
from tnllt.results.layouts import ResultFile, find_results
from tnllt.results.reading import read_many, read_results
from tnllt.results.variants import joined_names, variants_of
from tnllt.sequence import Sequence, Trajectory

if TYPE_CHECKING:
    from tnllt.findings import Findings

Array = NDArray[np.float64]


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
    """Takes more from results while they are read for their scores; where processes share that, copies of it do."""

    def known(self, tracker: str, files: Mapping[str, ResultFile], key: str) -> bool:
        """Whether the results of a tracker need not be shown; `key` changes with their content, "" without a cache."""

    def look(
        self, index: int, results: Mapping[str, Trajectory], errors: Mapping[str, FrameErrors],
        overlaps: Mapping[str, Array],
    ) -> None:  # fmt: skip
        """Is shown some trackers' results on one sequence, and what `score_trackers` measured of them."""

    def found(self, tracker: str) -> Any:
        """What was made of all results of a tracker, or was known; asked for once."""

    def take(self, tracker: str, found: Any) -> None:
        """Is given what `found` gave, if in another process."""


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
        return ScoreCache() if self.config.cache else None

    def read(self) -> dict[str, dict[str, Trajectory]]:
        """{tracker: {sequence: trajectory}}, every result read now: many files are parsed together."""
        return {tracker: read_results(files) for tracker, files in self.files.items()}

    def read_sequence(self, name: str, among: Iterable[str] | None = None) -> dict[str, Trajectory]:
        """{tracker: trajectory} on one sequence, without the trackers that have no result on it."""
        trackers = self.files if among is None else among
        return read_results({tracker: self.files[tracker][name] for tracker in trackers if name in self.files[tracker]})

    def score(self, observer: ResultsObserver | None = None, workers: int = 1) -> Scores:
        """The scores, from the cache where they are there. Raises as `evaluate` does.

        Args:
            observer: is shown the results that are read for it, so that nothing is read twice.
            workers: processes that share the work where it is long (see `map_in_processes`), unless the configuration
                says how many, or names a cluster.
        """
        config = self.config
        scores = evaluate_files(
            self.sequences,
            self.files,
            config.protocol,
            rounding=config.rounding,
            cache=self.cache,
            observer=observer,
            workers=config.workers or workers,
            cluster=config.cluster,
            **self.allowed,
        )
        return replace(scores, realtime=config.realtime, benchmark=self.benchmark, peers=self.peers)

    def lint(self) -> Findings:
        """What is wrong with the result files."""
        from tnllt.results.lint import lint

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
    files = {t: {n: f for n, f in found.trackers[t].items() if n in names} for t in chosen}
    if config.realtime is not None:
        files = {t: {n: replace(f, realtime=config.realtime) for n, f in own.items()} for t, own in files.items()}
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
#: Frames that are scored together, of as many trackers: bounds memory for any number of them.
_BLOCK_FRAMES = 2_600_000
#: Frames for which another process pays: a fork starts in some milliseconds, a new process in a third of a second.
_WORTH_A_FORK, _WORTH_A_PROCESS = 400_000, 2 * _BLOCK_FRAMES


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
        workers: as for `Selection.score`. Metrics from outside tnllt are computed in this process.
        cluster: the address of a Ray cluster, see `map_on_cluster`.

    Raises:
        DataError: a file that cannot be read, with its row.
        UsageError: no cluster there, or a metric from outside tnllt that it would not know.
    """
    listed = list(sequences)
    rules = get_protocol(protocol)
    require_presence(listed, rules)
    if not can_cache():  # another process knows no others
        cache, workers = None, 1
        if cluster is not None:
            raise UsageError("a metric from outside tnllt is not computed on a cluster; leave the cluster out")
    annotations = annotation_digest(listed)
    bare = [Sequence(s.name, s.annotation, dataset=s.dataset) for s in listed]
    scorer = _BlockScorer(bare, rules, allow_short, rounding, cache, annotations, observer)
    names = list(files)
    frames = len(names) * sum(map(len, listed))
    workers = max(1, min(workers, len(names), frames // (_WORTH_A_FORK if can_fork() else _WORTH_A_PROCESS)))
    count = max(workers, min(len(names), frames // _BLOCK_FRAMES))
    blocks = [{str(name): files[name] for name in some} for some in np.array_split(names, count)]
    scored: list[TrackerCurves] = []
    # Begun before there is a thread, so that processes can be forks.
    done = map_in_processes(scorer, blocks, workers) if cluster is None else map_on_cluster(scorer, blocks, cluster)
    with ThreadPoolExecutor(1) as pool:
        references = pool.submit(cached_references, listed, annotations, rules, cache)
        for own, found in (pair for block in done for pair in block):
            scored.append(own)
            if observer is not None:
                observer.take(own.tracker, found)

    def read(name: str) -> dict[str, Trajectory]:
        return read_results({tracker: own[name] for tracker, own in files.items() if name in own})

    return assemble(listed, scored, references.result(), rules, allow_missing, allow_short, rounding, read)


@dataclass(frozen=True)
class _BlockScorer:
    """Scores some trackers' files, in any process; gives each one's numbers and what the observer found."""

    sequences: list[Sequence]
    protocol: Protocol
    allow_short: bool
    rounding: str
    cache: ScoreCache | None
    annotations: bytes
    observer: ResultsObserver | None

    def __call__(self, files: Files) -> list[tuple[TrackerCurves, Any]]:
        observer, rules = self.observer, self.protocol
        names = [s.name for s in self.sequences]
        block = {tracker: [own[name] for name in names if name in own] for tracker, own in files.items()}
        digests = self.cache is not None
        flat = map_in_threads(partial(_read, digests), [file for own in block.values() for file in own], 4)
        read = iter(flat)
        raws = {tracker: [next(read) for _ in own] for tracker, own in block.items()}
        del flat, read
        keys = dict.fromkeys(block, "")
        scored: dict[str, TrackerCurves] = {}
        if self.cache is not None:
            for tracker, own in block.items():
                contents = [(file.sequence, digest) for file, (_, digest) in zip(own, raws[tracker], strict=True)]
                keys[tracker] = cache_key(self.annotations, contents, rules, self.allow_short, self.rounding)
                if (kept := self.cache.get(keys[tracker], tracker, len(names), rules)) is not None:
                    scored[tracker] = kept
        fresh = [tracker for tracker in block if tracker not in scored]
        unseen = [t for t in block if observer is not None and not observer.known(t, files[t], keys[t])]
        wanted = [tracker for tracker in block if tracker in fresh or tracker in unseen]
        listed = [file for tracker in wanted for file in block[tracker]]
        texts = [raw for tracker in wanted for raw, _ in raws[tracker]]
        del raws
        parsed = iter(read_many(listed, texts))
        del texts
        results = {tracker: {file.sequence: next(parsed) for file in block[tracker]} for tracker in wanted}

        def watch(index: int, errors: Mapping[str, FrameErrors], overlaps: Mapping[str, Array]) -> None:
            assert observer is not None
            name = names[index]
            seen = {tracker: results[tracker][name] for tracker in unseen if name in results[tracker]}
            observer.look(index, seen, errors, overlaps)

        for made in score_trackers(
            self.sequences, {tracker: results[tracker] for tracker in fresh}, rules,
            allow_short=self.allow_short, rounding=self.rounding, watch=None if observer is None else watch,
        ):  # fmt: skip
            scored[made.tracker] = made
            if self.cache is not None:
                self.cache.put(keys[made.tracker], made)
        return [(scored[tracker], observer.found(tracker) if observer is not None else None) for tracker in files]


def _read(digests: bool, file: ResultFile) -> _Read:
    raw = file.read()
    if not digests:
        return raw, b""
    beside = (part for what in sorted(file.beside) for part in (what.encode(), file.beside[what]()))
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
