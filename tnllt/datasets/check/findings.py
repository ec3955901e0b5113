"""What a check can find: stable codes with severity, meaning and remedy; faults that releases are known for."""

from __future__ import annotations

from collections.abc import Sequence as Seq
from pathlib import Path

from tnllt.datasets.benchmarks import KNOWN_FAULTS
from tnllt.datasets.index import Place
from tnllt.datasets.layout import Layout
from tnllt.findings import Checker, Finding, Kind

_SHOWN = 100

CHECKER = Checker("check", (
    Kind("boxes-missing", "error", "a sequence without a box file", "fetch its annotation again, or remove the folder"),
    Kind("boxes-unreadable", "error", "a box file that cannot be read", "mend the row, or fetch the file again"),
    Kind("boxes-more", "error", "more boxes than frames", "fetch the frames again; the last boxes have no image"),
    Kind("frames-more", "warning", "more frames than boxes", "none needed: the sequence is its annotated frames"),
    Kind("frames-missing", "error", "a sequence folder without images", "fetch or unpack its frames again"),
    Kind("frames-gap", "warning", "numbers of frame files leave gaps", "compare with the release: a frame may be lost"),
    Kind("annos-differ", "warning", "annos/ and the sequence's folder give different boxes",
         "scores use annos/; keep one"),
    Kind("first-box", "error", "the first box is empty: no tracker can start", "mend its first row, or leave it out"),
    Kind("box-empty", "warning", "boxes of zero area on frames flagged present", "the flag or the box is wrong"),
    Kind("box-unannotated", "note", "frames without a box (NaN) that no flag calls absent", "none needed"),
    Kind("box-outside", "error", "boxes wholly outside the image on present frames",
         "wrong columns, or resized frames?"),
    Kind("box-overhang", "note", "boxes that reach over the image's border on present frames", "none needed"),
    Kind("box-corner", "note", "x or y not above 0 on present frames",
         "none needed: the official rule calls them invalid"),
    Kind("flags-missing", "warning", "no presence file, or not all of its kinds, where there are some",
         "fetch it again; scores that need presence are refused"),
    Kind("flags-more", "warning", "more flags than boxes", "none needed: flags behind the last box are not used"),
    Kind("flags-fewer", "error", "fewer flags than boxes", "fetch the flag file again"),
    Kind("flags-unreadable", "error", "a flag file that cannot be read",
         "a flag is 0 or 1, one per frame; fetch it again"),
    Kind("flags-polarity", "error", "boxes of zero area contradict the flags' sense",
         "state `present` in dataset.toml"),
    Kind("flags-sense", "note", "what the flags mean, inferred from boxes of zero area", "none needed"),
    Kind("language-missing", "warning", "no language file, where others have one", "trackers in NL mode cannot run it"),
    Kind("language-empty", "warning", "an empty language file",
         "trackers in NL mode cannot run it; write the description"),
    Kind("language-odd", "warning", "a description that looks wrong", "read it beside the first frame"),
    Kind("attributes-missing", "warning", "no attribute file, where others have one", "it is in no attribute's table"),
    Kind("attributes-unreadable", "error", "an attribute file that cannot be read", "is it another benchmark's file?"),
    Kind("image-undecodable", "error", "an image that cannot be decoded", "fetch it again; a tracker stops there"),
    Kind("image-truncated", "error", "an image file that ends early", "fetch it again; its lower part decodes as gray"),
    Kind("image-size", "warning", "frames of one sequence differ in size", "most trackers expect one size"),
    Kind("image-preview", "note", "images with the box drawn in", "none needed: they are never read as frames"),
    Kind("name-case", "warning", "names that differ in case alone", "on Windows and macOS they are one folder"),
    Kind("name-twice", "warning", "two sequences of one name", "result files bear the name: rename one"),
    Kind("content-twice", "warning", "two sequences with the same boxes", "one may be a copy of the other; keep one"),
    Kind("frames-shared", "note", "several targets in one video", "none needed: each target is a sequence"),
    Kind("split-missing", "warning", "a split list names sequences that are not here",
         "download them, or mend the list"),
    Kind("split-unlisted", "note", "sequences that no split list names", "none needed; `split=None` reads them"),
    Kind("split-twice", "warning", "a split list names a sequence twice", "remove the second line"),
    Kind("split-overlap", "error", "train and test share sequences", "a score on them means nothing; mend the lists"),
    Kind("split-newline", "note", "a split list without a final newline",
         "none needed here; `cat` would join two names"),
    Kind("folder-nested", "note", "a folder inside a folder of its name", "none needed: it is seen through"),
))  # fmt: skip


def about(subject: Place | Layout, code: str, text: str, path: Path | None = None, frames: Seq[int] = ()) -> Finding:
    """A finding about a sequence, and of it about all of these frames (from 1), or about the whole dataset.

    Where the benchmark's release is known for the fault, that is the remedy.

    Args:
        path: the file at fault, or None.
    """
    sequence, layout = (subject.name, subject.layout) if isinstance(subject, Place) else ("", subject)
    faults = KNOWN_FAULTS.get(layout.name, {})
    known = faults.get(f"{sequence}: {code}") or faults.get(code)
    more = {"remedy": f"known fault: {known}"} if known else {}
    shown = [int(frame) for frame in frames[:_SHOWN]]
    details = {"frames": shown, "known": known}
    row = shown[0] if shown else None
    file = "" if path is None else str(path)
    return CHECKER.finding(
        code, text, sequence=sequence, file=file, row=row, count=len(frames), details=details, **more
    )
