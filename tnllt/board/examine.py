"""An archive of an entry, opened safely, checked against the annotations and scored again under every protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tnllt import __version__
from tnllt.errors import DataError, IncompleteError
from tnllt.eval.cache import VERSION, ScoreCache, annotation_digest, cache_key
from tnllt.eval.evaluate import assemble, score_trackers
from tnllt.eval.protocol import Protocol
from tnllt.eval.protocols import PROTOCOLS
from tnllt.eval.scores import Scores
from tnllt.eval.selection import cached_references
from tnllt.eval.tracker_curves import TrackerCurves
from tnllt.files import parse_json, read_bytes, to_json, write_atomic
from tnllt.findings import Checker, Finding, Kind
from tnllt.records import from_table
from tnllt.results.costs import Speed
from tnllt.results.lint import lint_boxes
from tnllt.results.pack import Manifest, check_complete, dataset_digest, open_pack, packed_results
from tnllt.results.reading import read_results
from tnllt.sequence import Sequence, Trajectory

CHECKER = Checker("board", (
    Kind("stray", "error", "something in the folder that an entry does not have", "remove it"),
    Kind("entry", "error", "entry.toml is missing or states what it cannot", "mend it; `tnllt-eval pack` writes one"),
    Kind("empty", "error", "neither an archive nor claimed scores", "add the archive, or [claims.PROTOCOL]"),
    Kind("archive", "error", "an archive that is damaged, changed or unsafe", "pack the results again"),
    Kind("tracker", "error", "results of another tracker than the entry's", "give the entry its own archive"),
    Kind("annotations", "error", "results on other annotations", "run on the annotations that the board uses"),
    Kind("incomplete", "error", "results that are not complete", "run the sequences that are named"),
    Kind("boxes", "error", "boxes that no tracker makes", "see `tnllt-eval lint`"),
    Kind("oracle", "error", "a tracker that was shown the annotation", "none: it cannot be ranked"),
    Kind("rules", "error", "scores by other rules than this version's", "pack the results with this version"),
    Kind("claim", "error", "a score that the boxes do not give", "pack the results again, or mend the claim"),
    Kind("reproduction", "error", "a reproduction that does not agree", "remove it, or say why it differs elsewhere"),
    Kind("name", "error", "a tracker's name that on the site is another's", "give the tracker another name"),
    Kind("duplicate", "error", "the same boxes as another entry's", "remove one of the two"),
    Kind("suspicious", "warning", "rows that are worth a look", "see `tnllt-eval lint`"),
), subject="entry")  # fmt: skip
#: A score may differ from its claim by so much.
TOLERANCE = 1e-9
#: An archive of results is not larger; LaSOT's test set takes about 8 MB.
MOST_ARCHIVE = 1 << 30
#: Archives that are scored at once, which takes half the time; each holds 22 MB of LaSOT's boxes meanwhile.
BATCH = 8
_MOST_FACTS, _LONGEST_FACT = 20, 200


@dataclass(frozen=True, kw_only=True)
class ArchiveFacts:
    """What an archive says of itself, and what is worth a look in it; kept beside the scores.

    Attributes:
        protocol, claims: of its manifest.
        warnings: texts of the findings that do not refuse it.
    """

    tracker: str
    versions: Mapping[str, str] = field(default_factory=dict)
    protocol: Mapping[str, Any] = field(default_factory=dict)
    claims: Mapping[str, float | None] = field(default_factory=dict)
    fps: float | None = None
    costs: str = ""
    device: str = ""
    machine: str = ""
    language_changes: int = 0
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Examined:
    """What an archive holds.

    Attributes:
        name: tracker, or variant of one.
        sha256: of the archive.
        facts: for the tracker's page.
        curves: {protocol: its numbers}; empty where the archive is refused.
        found: what is wrong with it.
    """

    name: str
    path: Path
    sha256: str
    facts: ArchiveFacts = ArchiveFacts(tracker="")
    curves: Mapping[str, TrackerCurves] = field(default_factory=dict)
    found: tuple[Finding, ...] = ()


class Examiner:
    """Checks and scores archives on one set of sequences; what was scored before comes from the cache."""

    def __init__(self, sequences: Seq[Sequence], cache: ScoreCache | None = None) -> None:
        self.sequences, self.cache = list(sequences), cache
        self.digest = dataset_digest(self.sequences)
        # Annotations without descriptions score alike: then those that the tracker was run with do not matter.
        self._digests = ("sha256",) if any(s.language for s in self.sequences) else ("sha256", "boxes_sha256")
        self._annotations = annotation_digest(self.sequences)
        bare = any(s.missing_presence is not None for s in self.sequences)
        #: Those that can be scored: where presence files are missing, protocols that need none.
        self.protocols = {n: p for n, p in PROTOCOLS.items() if not (bare and p.needs_presence)}
        self._references: dict[str, list[TrackerCurves]] = {}
        self.scored: list[str] = []
        """Names of archives that were scored, not found in the cache."""
        self._ready: dict[Path, Examined] = {}

    def scores(self, protocol: Protocol, archives: Seq[Examined]) -> Scores:
        """The scores of some archives under a protocol, as `tnllt-eval` gives them."""
        curves = [archive.curves[protocol.name] for archive in archives]
        if protocol.name not in self._references:
            made = cached_references(self.sequences, self._annotations, protocol, self.cache)
            self._references[protocol.name] = made
        return assemble(self.sequences, curves, self._references[protocol.name], protocol)

    def examine(self, path: Path, what: str = "") -> Examined:
        """Opens, checks and scores an archive; `what` names the entry in findings. Nothing is written beside it."""
        if path not in self._ready:
            self.prepare([(path, what)])
        return self._ready.pop(path)

    def prepare(self, archives: Iterable[tuple[Path, str]]) -> None:
        """Does what `examine` does for many archives, several at once, so that it finds them done."""
        batch: dict[str, tuple[Examined, dict[str, Trajectory]]] = {}
        for path, what in archives:
            try:
                sha256 = hashlib.sha256(read_bytes(path, MOST_ARCHIVE)).hexdigest()
                made, results = self._known(path, sha256, what), None
                if made is None:
                    made, results = self._fresh(path, sha256, what)
            except DataError as error:
                made, results = Examined(path.stem, path, "", found=(_finding("archive", error, what),)), None
            self._ready[path] = made
            if results is not None:
                if made.name in batch or len(batch) == BATCH:
                    self._score(batch)
                    batch = {}
                batch[made.name] = made, results
        self._score(batch)

    def trajectories(self, path: Path) -> dict[str, Trajectory]:
        """{sequence: what an archive holds}. Raises DataError as `open_pack` does."""
        manifest, members = open_pack(path)
        return read_results(packed_results(path, manifest, members))

    def _fresh(self, path: Path, sha256: str, what: str) -> tuple[Examined, dict[str, Trajectory] | None]:
        """An archive that is not scored yet, and what it holds; None where it is refused before that."""
        manifest, members = open_pack(path)
        files, name = packed_results(path, manifest, members), manifest.tracker
        if self.digest not in [manifest.dataset.get(kind) for kind in self._digests]:
            text = f"{path.name} was packed with other annotations than these (their hash differs)"
            return Examined(name, path, sha256, found=(_finding("annotations", text, what),)), None
        if unknown := sorted(files.keys() - {s.name for s in self.sequences}):
            text = f"{path.name} holds a result of {unknown[0]!r}, and no sequence has that name"
            return Examined(name, path, sha256, found=(_finding("archive", text, what),)), None
        try:
            results = read_results(files)
            check_complete(self.sequences, files, results)
        except (DataError, IncompleteError) as error:
            code = "incomplete" if isinstance(error, IncompleteError) else "boxes"
            return Examined(name, path, sha256, found=(_finding(code, error, what),)), None
        found = tuple(self._look(name, results, what))
        return Examined(name, path, sha256, _facts(manifest, results, found), {}, found), results

    def _score(self, batch: Mapping[str, tuple[Examined, dict[str, Trajectory]]]) -> None:
        """Scores some archives at once, each of another tracker."""
        curves: dict[str, dict[str, TrackerCurves]] = {name: {} for name in batch}
        for protocol in self.protocols.values() if batch else ():
            for own in score_trackers(self.sequences, {name: found for name, (_, found) in batch.items()}, protocol):
                curves[own.tracker][protocol.name] = own
        for name, (made, _) in batch.items():
            self.scored.append(name)
            self._ready[made.path] = examined = replace(made, curves=curves[name])
            if not any(f.severity == "error" for f in examined.found):
                self._keep(examined)

    def _look(self, name: str, results: Mapping[str, Trajectory], what: str) -> Iterator[Finding]:
        if any(t.record.get("oracle") for t in results.values()):
            yield _finding("oracle", f"{name}: its run records say that it was shown the annotation", what)
        every = [f for s in self.sequences for f in lint_boxes(s, results[s.name].boxes, name)]
        copies = [f for f in every if f.code == "groundtruth"]
        for finding in every:
            copied = finding.code == "groundtruth" and 2 * len(copies) > len(self.sequences)
            if finding.severity == "error" or copied:
                yield _finding("boxes", f"{finding.sequence}: {finding.text}", what)
            elif finding.severity == "warning":
                yield _finding("suspicious", f"{finding.sequence}: {finding.text}", what)

    # The cache ------------------------------------------------------------------------------------------------

    def _key(self, sha256: str, protocol: Protocol) -> str:
        return cache_key(self._annotations, [("\0archive", sha256.encode())], protocol, False, "none")

    def _facts_file(self, sha256: str) -> Path:
        assert self.cache is not None
        # Another version may refuse what this one takes.
        name = f"{__version__}-{VERSION}-{self.digest[:16]}-{sha256}.json"
        return self.cache.folder.parent / "board" / name

    def _known(self, path: Path, sha256: str, what: str) -> Examined | None:
        """An archive that was taken before; None where that is not known, or what was kept of it is damaged."""
        if self.cache is None:
            return None
        try:
            facts = from_table(parse_json(read_bytes(self._facts_file(sha256))), ArchiveFacts)
        except DataError:
            return None
        found = {
            n: self.cache.get(self._key(sha256, p), facts.tracker, len(self.sequences), p)
            for n, p in self.protocols.items()
        }
        curves = {name: own for name, own in found.items() if own is not None}
        warnings = tuple(_finding("suspicious", text, what) for text in facts.warnings)
        return Examined(facts.tracker, path, sha256, facts, curves, warnings) if len(curves) == len(found) else None

    def _keep(self, examined: Examined) -> None:
        if self.cache is not None:
            for name, own in examined.curves.items():
                self.cache.put(self._key(examined.sha256, self.protocols[name]), own)
            with suppress(DataError):
                write_atomic(self._facts_file(examined.sha256), to_json(vars(examined.facts)), durable=False)


def _finding(code: str, text: object, what: str) -> Finding:
    return CHECKER.finding(code, str(text), subject=what)


def _shown(value: object) -> str:
    """A text of a record, as long as a page has room for."""
    return str(value)[:_LONGEST_FACT]


def _facts(manifest: Manifest, results: Mapping[str, Trajectory], found: Iterable[Finding]) -> ArchiveFacts:
    speed = Speed()
    for trajectory in results.values():
        speed.add(trajectory)
    record = next((t.record for t in results.values() if t.record), {})
    machine = record.get("machine") or {}
    versions = {**manifest.versions, **(record.get("versions") or {})}
    return ArchiveFacts(
        tracker=manifest.tracker,
        versions={_shown(name): _shown(version) for name, version in list(versions.items())[:_MOST_FACTS]},
        protocol=manifest.protocol, claims=manifest.scores, fps=speed.fps, costs=speed.costs,
        device=_shown(", ".join(speed.devices)), machine=_shown(machine.get("processor") or ""),
        language_changes=sum(len(t.record.get("description_changes") or ()) for t in results.values()),
        warnings=tuple(f.text for f in found if f.severity == "warning"),
    )  # fmt: skip
