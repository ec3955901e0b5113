"""The video of one tracked sequence: the tracker's box, the annotated box, the description in force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tnllt.sequence import Image, Sequence, Trajectory
from tnllt.text import one_line
from tnllt.tracking.tracker import Prediction
from tnllt.video import TRUTH, Mark, frame_rate, paint, write_video


def film(path: Path, sequence: Sequence, trajectory: Trajectory, tracker: str, colour: str) -> None:
    """Writes the video at the source's frame rate. Raises DataError where it cannot be written."""
    write_video(path, _images(sequence, trajectory, tracker, colour), frame_rate(sequence.frames), [colour])


def _images(sequence: Sequence, trajectory: Trajectory, tracker: str, colour: str) -> Iterator[Image]:
    description = sequence.language or ""
    changes = {c["frame"]: c["description"] for c in trajectory.record.get("description_changes", ())}
    for index in range(len(trajectory)):
        description = changes.get(index, description)
        confidence = None if trajectory.confidence is None else float(trajectory.confidence[index])
        absent = trajectory.absent is not None and bool(trajectory.absent[index])
        own = tracker_mark(tracker, colour, Prediction(trajectory.boxes[index], confidence, absent))
        truth = [Mark("ground truth", TRUTH, sequence.groundtruth[index], True)] if 1 < len(sequence) > index else []
        yield paint(sequence.frames[index], [own, *truth], f"frame {index + 1}", description)


def tracker_mark(tracker: str, colour: str, prediction: Prediction) -> Mark:
    """The tracker's box and mask, with confidence and absence in the legend."""
    known = prediction.confidence is not None and prediction.confidence == prediction.confidence
    score = f"  {prediction.confidence:.2f}" if known else ""
    label = f"{one_line(tracker)[:40]}{score}{'  absent' if prediction.absent else ''}"
    return Mark(label, colour, prediction.box, faint=prediction.absent, mask=prediction.mask)
