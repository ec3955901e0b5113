"""Entries of a leaderboard: a folder each, checked whole before anything of it is shown."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from tnllt.board.examine import CHECKER, TOLERANCE, Examined, Examiner
from tnllt.boxes import overlap
from tnllt.errors import DataError, UsageError
from tnllt.eval.metrics import METRICS
from tnllt.eval.protocols import PROTOCOLS
from tnllt.findings import Finding, Findings
from tnllt.results.entry import FILE, REPRODUCED, Entry, read_entry
from tnllt.results.variants import parse_variant
from tnllt.sequence import Trajectory

Level = Literal["claimed", "scored", "reproduced"]
#: Mean overlap of the boxes of two runs that agree; other hardware changes the last digits of a box.
AGREEMENT = 0.98


@dataclass(frozen=True)
class BoardEntry:
    """An entry and what its archives hold.

    Attributes:
        archives: the tracker's own first, then its variants; empty where numbers of a paper are claimed.
        agreement: mean overlap of the tracker's boxes and of those of who ran it again; None where nobody did.
    """

    folder: Path
    entry: Entry
    archives: tuple[Examined, ...] = ()
    agreement: float | None = None

    @property
    def level(self) -> Level:
        return "claimed" if not self.archives else "scored" if self.agreement is None else "reproduced"

    @cached_property
    def own(self) -> Examined | None:
        """The archive of the tracker itself; None where numbers are claimed."""
        return self.archives[0] if self.archives else None


def slug(name: str) -> str:
    """A file name that every server and browser takes; `check_all` refuses a tracker whose name gives another's."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:80]
    return plain if plain == name else f"{plain}-{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"


def check_entry(folder: Path, examiner: Examiner) -> tuple[BoardEntry | None, Findings]:
    """An entry, and everything that is wrong with it; the entry is None where something is.

    Nothing is unpacked onto the disk, and no text of the entry is run.
    """
    name = folder.name
    found = [CHECKER.finding("stray", f"{path}", subject=name, file=str(path)) for path in _strays(folder)]
    made = None
    try:
        entry = read_entry(folder)
        made, wrong = _examine(folder, entry, examiner)
        found += wrong
    except DataError as error:
        found.append(CHECKER.finding("entry", str(error), subject=name, file=str(folder / FILE)))
    found = CHECKER.sorted(found)
    refused = any(f.severity == "error" for f in found)
    return None if refused else made, Findings(CHECKER, found, name, {"entry": name})


def find_entries(folder: Path) -> list[Path]:
    """Folders below a folder of entries, in order. Raises UsageError where it is not one."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder of entries; `tnllt-board init` makes one")
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def holds_entries(folder: Path) -> bool:
    """Whether it is no entry, but its folders are."""
    return not (folder / FILE).is_file() and any((inner / FILE).is_file() for inner in folder.iterdir())


def check_all(folders: list[Path], examiner: Examiner) -> tuple[list[BoardEntry], list[Findings]]:
    """Every entry, with the findings of each; of two trackers with the same boxes or pages the later is refused."""
    examiner.prepare((path, folder.name) for folder in folders for path in _archives(folder))
    pairs = [check_entry(folder, examiner) for folder in folders]
    taken = _taken([entry for entry, _ in pairs if entry is not None])
    findings = [
        replace(found, found=[*taken.get(folder, ()), *found.found])
        for folder, (_, found) in zip(folders, pairs, strict=True)
    ]
    return [entry for entry, _ in pairs if entry is not None and entry.folder not in taken], findings


def _taken(entries: list[BoardEntry]) -> dict[Path, list[Finding]]:
    """What entries have that an earlier one of another tracker has; entries without a date are the latest."""
    first: dict[object, BoardEntry] = {}
    found: dict[Path, list[Finding]] = {}
    for entry in sorted(entries, key=lambda e: (e.entry.date or "undated", e.folder.name)):
        marks: list[tuple[str, str, object]] = [("name", "the same pages as", slug(entry.entry.tracker).casefold())]
        if entry.own is not None:
            curves = next(iter(entry.own.curves.values()))
            key = b"".join(curves.arrays[name].tobytes() for name in ("success", "precision", "average_overlap"))
            marks.append(("duplicate", "the same scores on every sequence and threshold as", key))
        for code, words, mark in marks:
            earlier = first.setdefault(mark, entry)
            if earlier.entry.tracker != entry.entry.tracker:
                text = f"{words} {earlier.folder.name}, whose tracker is {earlier.entry.tracker!r}"
                finding = CHECKER.finding(code, text, subject=entry.folder.name, file=str(entry.folder))
                found.setdefault(entry.folder, []).append(finding)
    return found


def _strays(folder: Path) -> Iterator[Path]:
    """What an entry's folder must not hold: links, other files, folders but that of a reproduction."""
    if folder.is_symlink():
        yield folder
    for path in sorted(folder.iterdir()):
        if path.name == REPRODUCED and path.is_dir() and not path.is_symlink():
            yield from (inner for inner in sorted(path.iterdir()) if not _is_archive(inner))
        elif not _is_archive(path) and (path.name != FILE or not _is_plain(path)):
            yield path


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_archive(path: Path) -> bool:
    return path.suffix == ".zip" and _is_plain(path)


def _archives(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.zip") if _is_archive(path))


def _examine(folder: Path, entry: Entry, examiner: Examiner) -> tuple[BoardEntry, list[Finding]]:
    def fault(code: str, text: str) -> None:
        found.append(CHECKER.finding(code, text, subject=folder.name, file=str(folder)))

    archives = [examiner.examine(path, folder.name) for path in _archives(folder)]
    archives.sort(key=lambda archive: (archive.name != entry.tracker, archive.name))
    found = [finding for archive in archives for finding in archive.found]
    for archive in archives:
        if archive.sha256 and parse_variant(archive.name).tracker != entry.tracker:
            fault("tracker", f"{archive.path.name} holds results of {archive.name}, not of {entry.tracker}")
    names = [archive.name for archive in archives]
    if len({slug(name).casefold() for name in names}) != len(names):
        fault("tracker", "two archives hold results of one name")
    elif archives and names[0] != entry.tracker and not any(f.severity == "error" for f in found):
        fault("tracker", f"variants alone: {entry.tracker}'s own results are missing")
    if not archives and not any(entry.claims.values()):
        fault("empty", "no archive and no claimed scores")
    for protocol, claims in entry.claims.items():
        for metric, value in claims.items():
            if protocol not in PROTOCOLS or metric not in METRICS or not 0 <= value <= 1:
                fault("entry", f"[claims.{protocol}] {metric} = {value}: not a known protocol, metric, or 0 to 1")
    if any(f.severity == "error" for f in found):
        return BoardEntry(folder, entry, tuple(archives)), found
    for archive in archives:
        for code, text in _wrong_claims(archive, entry, examiner):
            fault(code, text)
    agreement = _agreement(folder, entry, archives, examiner, fault)
    return BoardEntry(folder, entry, tuple(archives), agreement), found


def _wrong_claims(archive: Examined, entry: Entry, examiner: Examiner) -> Iterator[tuple[str, str]]:
    """(code, what) of each score that the boxes do not give: of the manifest, and of the entry for its own archive."""
    packed = archive.facts.protocol
    claims: list[tuple[str, Mapping[str, float | None]]] = []
    if archive.name == entry.tracker:
        claims += entry.claims.items()
    if archive.facts.claims:
        protocol = PROTOCOLS.get(str(packed.get("name")))
        if protocol is None or protocol.digest() != packed.get("digest"):
            yield "rules", f"{archive.path.name} was scored by other rules than this version's {packed.get('name')!r}"
        elif protocol.name in archive.curves:
            claims.append((protocol.name, archive.facts.claims))
    for name, stated in claims:
        if name not in archive.curves:
            continue
        scores = examiner.scores(PROTOCOLS[name], [archive])
        for metric, value in stated.items():
            again = float(scores.score(metric)[0]) if metric in METRICS else np.nan
            difference = np.inf if value is None else again - value
            if not abs(difference) <= TOLERANCE:
                words = f"{archive.name}: {metric} by {name} is claimed as {value}, but the boxes give {again!r}"
                yield "claim", f"{words}: they differ by {difference:+.3g}"


def _agreement(
    folder: Path, entry: Entry, archives: list[Examined], examiner: Examiner, fault: Callable[[str, str], None]
) -> float | None:
    """Mean overlap with the boxes of a reproduction; None where there is none, or it was refused."""
    again = _archives(folder / REPRODUCED)
    if not again and not entry.reproduced_by:
        return None
    if len(again) != 1 or not entry.reproduced_by or not archives:
        fault("reproduction", f"a reproduction is one archive in {REPRODUCED}/ and a link `reproduced_by`, both")
        return None
    examined = examiner.examine(again[0], folder.name)
    if any(f.severity == "error" for f in examined.found) or examined.name != entry.tracker:
        fault("reproduction", f"{again[0].name} is not a complete result of {entry.tracker}")
        return None
    first, second = examiner.trajectories(archives[0].path), examiner.trajectories(again[0])
    pairs = [(first[s.name], second[s.name], len(s)) for s in examiner.sequences]
    if not any(_run_apart(own, other) for own, other, _ in pairs):
        fault("reproduction", f"{again[0].name} holds the entry's own results: the same boxes, no times of a new run")
        return None
    # Rows beyond the annotated frames are not compared: a sequence with one annotated frame takes any number of them.
    overlaps = np.concatenate([overlap(own.boxes[1:frames], other.boxes[1:frames]) for own, other, frames in pairs])
    agreement = float(overlaps.mean()) if len(overlaps) else 0.0
    if not agreement >= AGREEMENT:
        fault("reproduction", f"its boxes overlap the entry's by {agreement:.4f} on average, not by {AGREEMENT}")
        return None
    return agreement


def _run_apart(own: Trajectory, other: Trajectory) -> bool:
    """Whether two results are of two runs: other boxes, or times of its own (a run may well give equal boxes)."""
    if not np.array_equal(own.boxes, other.boxes):
        return True
    return other.seconds is not None and (
        own.seconds is None or not np.array_equal(own.seconds, other.seconds, equal_nan=True)
    )
