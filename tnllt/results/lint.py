"""What can be wrong with results that are still rows of four numbers: findings with stable codes.

Scoring repairs none of these: look at them before you trust a score.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tnllt.boxes import all_columns, from_corners, overlap
from tnllt.errors import DataError
from tnllt.findings import Checker, Finding, Findings, Kind
from tnllt.results.layouts import ResultFile
from tnllt.results.reading import FOREIGN, read_many
from tnllt.sequence import Boxes, Sequence, Trajectory

Array = NDArray[np.float64]

CHECKER = Checker("lint", (
    Kind("missing", "error", "no result for a sequence", "run it, or score with --allow-missing"),
    Kind("unreadable", "error", "a file that cannot be read as rows x,y,w,h", "mend the row, or run it again"),
    Kind("short", "error", "fewer rows than the sequence has frames", "run it again, or score with --allow-short"),
    Kind("long", "warning", "more rows than the sequence has frames", "none needed: the rest is not scored"),
    Kind("nan", "warning", "rows with NaN or infinity", "the official rule repeats the box before; others refuse them"),
    Kind("non-positive-size", "warning", "boxes whose width or height is not positive",
         "the official rule repeats the box before; other toolkits take them as they are"),
    Kind("corners", "error", "boxes that look like corners x1,y1,x2,y2", "write x,y,w,h"),
    Kind("normalized", "error", "boxes that look as if divided by the image's size", "write pixels"),
    Kind("off-by-one", "warning", "boxes one pixel off in x and y",
         "does the code count pixels from 1 (MATLAB) or from 0?"),
    Kind("constant", "warning", "the same box on every frame", "did the tracker run at all?"),
    Kind("first-box", "warning", "the first row is not the initial box",
         "protocols that replace it hide this; is it the right sequence, and x,y,w,h in pixels?"),
    Kind("integers", "note", "every number is whole: boxes were rounded or truncated when saved",
         "save decimals; `tnllt-eval --round` shows what whole numbers cost"),
    Kind("duplicate", "warning", "the same boxes as another tracker's", "was a folder copied under a new name?"),
    Kind("groundtruth", "warning", "the ground truth itself, row for row", "a tracker's boxes are never exactly these"),
    Kind("foreign-record", "warning", "a run record that describes another result than the one beside it",
         "only the boxes are scored: put back the result of that run, or remove the record"),
    Kind("unknown-file", "note", "a text file that no sequence is named after", "none needed; is a name misspelt?"),
), subject="tracker")  # fmt: skip


#: Code, text, row and count of something that was found in one result.
Fault = tuple[str, str, "int | None", int]


def lint(
    sequences: Seq[Sequence], files: Mapping[str, Mapping[str, ResultFile]], unknown: Iterable[str] = ()
) -> Findings:
    """Findings on every tracker's results, worst first, then by tracker and sequence.

    Args:
        sequences: what should be there.
        files: {tracker: {sequence: file}}.
        unknown: text files that no sequence is named after.
    """
    looked: dict[str, Looked] = {}
    for tracker, own in files.items():
        looked[tracker] = Looked()
        for sequence in sequences:
            if (file := own.get(sequence.name)) is not None:
                try:
                    looked[tracker].add(sequence, read_many([file])[0])
                except DataError as error:
                    looked[tracker].faults[sequence.name] = [("unreadable", str(error), error.row, 1)]
    return findings(sequences, files, looked, unknown)


@dataclass
class Looked:
    """What was seen of one tracker's results: {sequence: its faults}, and {sequence: digest of its boxes}."""

    faults: dict[str, list[Fault]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def add(self, sequence: Sequence, result: Trajectory, overlaps: Array | None = None) -> None:
        """Looks at one result; `overlaps` (T,): where it is as long as the sequence and they are known."""
        faults = self.faults[sequence.name] = list(_look(sequence.groundtruth, result.boxes, overlaps))
        if FOREIGN in result.record:
            faults.append(("foreign-record", "its SHA-256 is not the one in the run record beside it", None, 1))
        self.digests[sequence.name] = hashlib.sha256(np.ascontiguousarray(result.boxes).data).hexdigest()

    def take(self, other: Looked) -> None:
        """Adds what was seen of other sequences."""
        self.faults |= other.faults
        self.digests |= other.digests


def findings(
    sequences: Seq[Sequence],
    files: Mapping[str, Mapping[str, ResultFile]],
    looked: Mapping[str, Looked],
    unknown: Iterable[str] = (),
) -> Findings:
    """What `lint` gives, of results that have been looked at; arguments as there."""
    found: list[Finding] = []
    owners: dict[tuple[str, str], str] = {}
    for tracker, own in looked.items():
        copies: dict[str, list[str]] = {}
        for name in (s.name for s in sequences):
            place = {"subject": tracker, "sequence": name}
            if name not in own.faults:
                found.append(CHECKER.finding("missing", "no result", **place))
                continue
            found += _named(own.faults[name], **place, file=files[tracker][name].place)
            digest = own.digests.get(name)
            if digest is not None and (first := owners.setdefault((name, digest), tracker)) != tracker:
                copies.setdefault(first, []).append(name)
        for first, names in copies.items():
            place = {"subject": tracker, "sequence": names[0], "file": files[tracker][names[0]].place}
            text = f"the same boxes as {first} on {len(names)} of {len(sequences)} sequences"
            found.append(CHECKER.finding("duplicate", text, **place))
    found += [CHECKER.finding("unknown-file", "no sequence has its name", file=place) for place in unknown]
    looked_at = f"{len(looked)} trackers on {len(sequences)} sequences"
    return Findings(CHECKER, CHECKER.sorted(found), looked_at, {"trackers": list(looked), "sequences": len(sequences)})


def lint_boxes(sequence: Sequence, boxes: Boxes, tracker: str = "", place: str = "") -> list[Finding]:
    """Findings on one result (T', 4)."""
    return _named(_look(sequence.groundtruth, boxes), subject=tracker, sequence=sequence.name, file=place)


def _named(faults: Iterable[Fault], **place: str) -> list[Finding]:
    return [CHECKER.finding(code, text, row=row, count=count, **place) for code, text, row, count in faults]


def _look(truth: Boxes, boxes: Boxes, overlaps: Array | None = None) -> Iterator[Fault]:
    length = min(len(truth), len(boxes))
    if len(boxes) < len(truth):
        gap = f"rows {len(boxes) + 1} to {len(truth)} are missing"
        yield "short", f"{len(boxes)} rows for {len(truth)} frames; {gap}", len(boxes) + 1, len(truth) - len(boxes)
    elif len(boxes) > len(truth):
        yield "long", f"{len(boxes)} rows for {len(truth)} frames", len(truth) + 1, len(boxes) - len(truth)
    common, there = truth[:length], boxes[:length]
    with np.errstate(all="ignore"):
        whole = np.isfinite(boxes.sum() + truth.sum())  # then every number is finite
        flat = np.asarray((boxes[:, 2] <= 0) | (boxes[:, 3] <= 0))
    if not whole:
        broken = ~all_columns(np.isfinite(boxes))
        if broken.any():
            yield "nan", f"{broken.sum()} rows with NaN or infinity", int(np.argmax(broken)) + 1, int(broken.sum())
        good = ~broken[:length] & all_columns(~np.isnan(common))
        common, there, overlaps = common[good], there[good], None
    if flat.any():
        yield "non-positive-size", f"{flat.sum()} rows without a size", int(np.argmax(flat)) + 1, int(flat.sum())
    if not len(there):
        return
    yield from _look_at_shape(common, there, boxes, overlap(there, common) if overlaps is None else overlaps)
    same = len(boxes) >= len(truth) > 1
    # One row mostly tells that they are others, and comparing all takes a fifth of the time here.
    same = same and all(a == b or (a != a and b != b) for a, b in zip(boxes[len(truth) - 1], truth[-1], strict=True))
    if same and np.array_equal(boxes[: len(truth)], truth, equal_nan=True):
        yield "groundtruth", f"all {len(truth)} rows are the ground truth's", 1, len(truth)


def _look_at_shape(truth: Boxes, boxes: Boxes, everything: Boxes, overlaps: Array) -> Iterator[Fault]:
    count = len(boxes)
    if normalized(boxes, truth):
        yield "normalized", f"all numbers lie between {boxes.min():.3g} and {boxes.max():.3g}", 1, count
    elif corners(boxes, truth, overlaps):
        yield "corners", f"third and fourth column fit as right and bottom edge (row 1: {_row(boxes[0])})", 1, count
    elif (shift := off_by_one(boxes, truth, overlaps)) is not None:
        yield "off-by-one", f"x and y lie {shift[0]:+.0f} and {shift[1]:+.0f} px from the ground truth's", 1, count
    elif np.abs(boxes[0] - truth[0]).max() > 1:
        yield "first-box", f"row 1 is {_row(boxes[0])}, the initial box {_row(truth[0])}", 1, 1
    if len(everything) > 2 and _equal(everything[1:], everything[1:2]) and not _equal(truth[1:], truth[1:2]):
        yield "constant", f"rows 2 to {len(everything)} are all {_row(everything[1])}", 2, len(everything) - 1
    elif len(boxes) > 2 and _equal(boxes, np.floor(boxes)):
        yield "integers", "every number is whole", 1, count


def _equal(a: Boxes, b: Boxes) -> bool:
    """Whether every number is equal; where one is not, the last row mostly tells."""
    return bool((a[-1:] == b[-1:]).all() and (a == b).all())


def _row(box: Array) -> str:
    return ",".join(f"{v:g}" for v in box)


def normalized(boxes: Boxes, truth: Boxes) -> bool:
    """Whether boxes look as if divided by the image's size: all within [-0.5, 1.5], the ground truth in pixels."""
    if not (boxes.min() > -0.5 and boxes.max() < 1.5):
        return False
    sizes = truth[:, 2:][all_columns(truth[:, 2:] > 0)]
    fractions = np.count_nonzero(boxes != np.round(boxes)) > boxes.size / 2  # 1,1,1,1 is a lost tracker's
    return bool(fractions and len(sizes) and np.median(sizes) > 4)


def corners(boxes: Boxes, truth: Boxes, overlaps: Array) -> bool:
    """Whether boxes fit the ground truth much better read as x1, y1, x2, y2 than as x, y, w, h.

    Args:
        overlaps: theirs, read as x, y, w, h.
    """
    if not np.count_nonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])) / len(boxes) > 0.9:
        return False
    other = from_corners(boxes)
    as_sizes, as_corners = float(overlaps.mean()), float(overlap(other, truth).mean())
    same_start = np.abs(other[0] - truth[0]).max() <= 1 < np.abs(boxes[0] - truth[0]).max()
    return bool(as_corners > as_sizes + 0.2 or (same_start and as_corners > as_sizes))


def off_by_one(boxes: Boxes, truth: Boxes, overlaps: Array) -> tuple[float, float] | None:
    """The shift in x and y (each -1 or 1) of a first row, or of the well-tracked frames, one pixel beside the truth."""
    first = boxes[0] - truth[0]
    if abs(first[0]) == 1 and first[0] == first[1] and np.abs(first[2:]).max() <= 1:
        return float(first[0]), float(first[1])
    close = overlaps > 0.8
    count, gap = np.count_nonzero(close), boxes[:, 0] - truth[:, 0]
    # A median of one pixel needs half of the frames to be about as far off; looking at that is many times as fast.
    if count < 50 or 2 * max(np.count_nonzero(close & (gap > 0.8)), np.count_nonzero(close & (gap < -0.8))) < count:
        return None
    gaps = boxes[close] - truth[close]
    shift = np.median(gaps, axis=0)
    exact = np.abs(np.abs(shift[:2]) - 1).max() < 0.1 and shift[0] * shift[1] > 0 and np.abs(shift[2:]).max() < 0.5
    # A tracker that strays by a pixel does so less evenly than a different origin does.
    even = np.abs(gaps[:, :2] - shift[:2]).mean() < 0.5
    return (float(np.sign(shift[0])), float(np.sign(shift[1]))) if exact and even else None
