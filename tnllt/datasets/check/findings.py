"""What a check can find: stable codes with their severity, meaning and remedy, and the report that holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class Severity(str, Enum):
    """ERROR: a tracker or a score would go wrong. WARNING: usable, but not what it seems. NOTE: worth knowing."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class FindingKind:
    """A kind of finding. Its name never changes and is never used again for something else."""

    name: str
    severity: Severity
    title: str
    remedy: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE

_KINDS = (
    ("boxes-missing", _E, "a sequence without a box file", "fetch its annotation again, or remove the folder"),
    ("boxes-unreadable", _E, "a box file that cannot be read", "mend the row, or fetch the file again"),
    ("boxes-more", _E, "more boxes than frames", "fetch the frames again; the last boxes have no picture"),
    ("frames-more", _W, "more frames than boxes", "none needed: the sequence is its annotated frames"),
    ("frames-missing", _E, "a sequence folder without pictures", "fetch or unpack its frames again"),
    ("frames-gap", _W, "numbers of frame files leave gaps", "compare with the release: a frame may be lost"),
    ("annos-differ", _W, "annos/ and the sequence's folder give different boxes", "scores use annos/; keep one"),
    ("first-box", _E, "the first box is empty: no tracker can start", "mend its first row, or leave it out"),
    ("box-empty", _W, "boxes of zero area on frames flagged present", "the flag or the box is wrong"),
    ("box-unannotated", _N, "frames without a box (NaN) that no flag calls absent", "none needed"),
    ("box-outside", _E, "boxes wholly outside the picture on present frames", "wrong columns, or resized frames?"),
    ("box-overhang", _N, "boxes that reach over the picture's border on present frames", "none needed"),
    ("box-corner", _N, "x or y not above 0 on present frames", "none needed: the official rule calls them invalid"),
    ("flags-more", _W, "more flags than boxes", "none needed: flags behind the last box are not used"),
    ("flags-fewer", _E, "fewer flags than boxes", "fetch the flag file again"),
    ("flags-unreadable", _E, "a flag file that cannot be read", "a flag is 0 or 1, one per frame; fetch it again"),
    ("flags-polarity", _E, "boxes of zero area contradict the flags' sense", "state `present` in dataset.toml"),
    ("flags-sense", _N, "what the flags mean, told by boxes of zero area", "none needed"),
    ("language-missing", _W, "no language file, where others have one", "trackers in NL mode cannot run it"),
    ("language-empty", _W, "an empty language file", "trackers in NL mode cannot run it; write the sentence"),
    ("language-odd", _W, "a sentence that looks wrong", "read it beside the first frame"),
    ("attributes-missing", _W, "no attribute file, where others have one", "it is in no attribute's table"),
    ("attributes-unreadable", _E, "an attribute file that cannot be read", "is it another benchmark's file?"),
    ("image-undecodable", _E, "an image that cannot be decoded", "fetch it again; a tracker stops there"),
    ("image-truncated", _E, "an image file that ends early", "fetch it again; its lower part decodes as gray"),
    ("image-size", _W, "frames of one sequence differ in size", "most trackers expect one size"),
    ("image-preview", _N, "pictures with the box drawn in", "none needed: they are never read as frames"),
    ("name-case", _W, "names that differ in case alone", "on Windows and macOS they are one folder"),
    ("name-twice", _W, "two sequences of one name", "result files bear the name: rename one"),
    ("content-twice", _W, "two sequences with the same boxes", "one may be a copy of the other; keep one"),
    ("frames-shared", _N, "several targets in one video", "none needed: each target is a sequence"),
    ("split-missing", _W, "a split list names sequences that are not here", "download them, or mend the list"),
    ("split-unlisted", _N, "sequences that no split list names", "none needed; `split=None` reads them"),
    ("split-twice", _W, "a split list names a sequence twice", "remove the second line"),
    ("split-overlap", _E, "train and test share sequences", "a score on them means nothing; mend the lists"),
    ("split-newline", _N, "a split list without a final newline", "none needed here; `cat` would join two names"),
    ("folder-nested", _W, "a folder inside a folder of its name", "`tnllt-data prepare` removes the nesting"),
)  # fmt: skip

CODES: Mapping[str, FindingKind] = {row[0]: FindingKind(*row) for row in _KINDS}

# Faults that everyone meets who downloads the releases as they are: (benchmark, sequence, code) -> what is known.
_KNOWN: Mapping[tuple[str, str, str], str] = {
    ("tnl2k", "test_015_Sord_video_Q01_done", "image-undecodable"): (
        "frame 492 of the TNL2K release is broken for everyone; copy frame 491 in its place"
    ),
    ("tnl2k", "test_015_Sord_video_Q01_done", "image-truncated"): (
        "frame 492 of the TNL2K release is broken for everyone; copy frame 491 in its place"
    ),
    ("tnl2k", "advSamp_monitor_bikeyellow", "flags-more"): "the TNL2K release has one flag too many; it is not used",
    ("lasot", "paddle-1", "boxes-more"): "the LaSOT release has 2703 boxes for 2500 frames; leave it out of training",
    ("otb100", "Football1", "frames-more"): "OTB annotates the first 74 frames alone",
    ("otb100", "Freeman3", "frames-more"): "OTB annotates the first 460 frames alone",
    ("otb100", "Freeman4", "frames-more"): "OTB annotates the first 283 frames alone",
    ("otb100", "Diving", "frames-more"): "OTB annotates the first 215 frames alone",
}
_KNOWN_KINDS: Mapping[tuple[str, str], str] = {
    ("tnl2k", "frames-more"): "12 videos of the TNL2K release differ in frames and boxes",
    ("tnl2k", "boxes-more"): "12 videos of the TNL2K release differ in frames and boxes",
    ("tnl2k", "language-empty"): "the TNL2K release has empty language files",
    ("tnl2k", "language-odd"): "the TNL2K release has sentences with two spaces, or cut off",
    ("tnl2k", "content-twice"): "TNL2K's advSamp_* are adversarial copies of other videos",
    ("tnllt", "split-newline"): "the release's lists have none",
    ("tnllt", "folder-nested"): "the release's zip files nest their folder",
}


@dataclass(frozen=True)
class Finding:
    """One fault of one sequence (or of the dataset, where `sequence` is empty).

    Attributes:
        code: a key of `CODES`.
        message: what was found, with figures.
        sequence: name, or "".
        path: the file at fault, or None.
        frames: numbers of the frames concerned, from 1; at most the first 100.
        count: how many frames are concerned.
        benchmark: short name of the dataset.
    """

    code: str
    message: str
    sequence: str = ""
    path: Path | None = None
    frames: tuple[int, ...] = ()
    count: int = 0
    benchmark: str = ""

    @property
    def severity(self) -> Severity:
        return CODES[self.code].severity

    @property
    def known(self) -> str | None:
        """What is known of it, where the release itself has this fault."""
        exact = _KNOWN.get((self.benchmark, self.sequence, self.code))
        return exact or _KNOWN_KINDS.get((self.benchmark, self.code))

    def as_dict(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity.value,
            "sequence": self.sequence or None,
            "message": self.message,
            "path": str(self.path) if self.path else None,
            "frames": list(self.frames),
            "count": self.count,
            "known": self.known,
            "remedy": CODES[self.code].remedy,
        }


@dataclass
class Report:
    """All findings about one dataset, and what was looked at."""

    dataset: str
    title: str
    root: str
    sequences: int = 0
    with_frames: int = 0
    boxes: int = 0
    images_decoded: int = 0
    findings: list[Finding] = field(default_factory=list)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON. `version` changes when a key changes its meaning or goes."""
        return {
            "version": 1,
            "dataset": self.dataset,
            "root": self.root,
            "sequences": self.sequences,
            "sequences_with_frames": self.with_frames,
            "boxes": self.boxes,
            "images_decoded": self.images_decoded,
            "errors": self.count(Severity.ERROR),
            "warnings": self.count(Severity.WARNING),
            "notes": self.count(Severity.NOTE),
            "counts": dict(sorted(Counter(finding.code for finding in self.findings).items())),
            "findings": [finding.as_dict() for finding in self.findings],
        }
