"""One sequence while it is being tracked: its frames, answers, clocks and events, and the record's fields of it."""

from __future__ import annotations

import hashlib
import threading
import time
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tnllt.errors import DataError, TnlltError
from tnllt.files import plain
from tnllt.masks import encode_mask
from tnllt.realtime import StreamClock, answers_in_force
from tnllt.sequence import Frames, Image, Sequence, Trajectory
from tnllt.tracking import system
from tnllt.tracking.failures import checked
from tnllt.tracking.tracker import Emit, Mode, Prediction

#: Rows of a frame that its digest is taken from, evenly spaced: enough to tell another file, decoder or size, at a
#: cost (0.04 ms at 1280 x 720) that a fast tracker does not feel.
DIGEST_ROWS = 16
#: Frames waiting for the tracker take at most this many bytes, however many were asked for.
MOST_BYTES = 256 * 2**20

_Decoded = tuple[Image, float, bytes]


class ReadAhead:
    """The frames 0..count-1 in order, the next few decoded on a thread of their own.

    Args:
        frames: the images.
        count: how many of them.
        depth: how many to decode ahead; 0 decodes each when it is asked for.
        where: names the sequence in errors.
    """

    def __init__(self, frames: Frames, count: int, depth: int = 4, where: str = "") -> None:
        self._frames, self._count, self._depth, self._where = frames, count, depth, where
        self._taken = self._asked = 0
        self._hash = hashlib.sha256()
        # Queues written in C, not futures: handing a frame over costs microseconds, which fast trackers notice.
        self._wanted: SimpleQueue[int | None] = SimpleQueue()
        self._ready: SimpleQueue[_Decoded | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="tnllt-read", daemon=True) if depth > 0 else None
        if self._thread is not None:
            self._thread.start()
            self._ask(1)

    def read(self) -> tuple[Image, float]:
        """The next frame, RGB uint8 (H, W, 3), and the seconds its decoding took (not the waiting for it).

        Raises DataError that names sequence and frame where it cannot be decoded.
        """
        got = self._decode(self._taken) if self._thread is None else self._ready.get()
        if isinstance(got, BaseException):
            raise got
        self._taken += 1
        image, seconds, digest = got
        if self._thread is not None:
            self._ask(max(1, min(self._depth, MOST_BYTES // max(1, image.nbytes))))
        self._hash.update(digest)
        return image, seconds

    def digest(self) -> str:
        """SHA-256 over the digests of all frames read so far: shape and `DIGEST_ROWS` rows of the decoded pixels."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Ends the thread, after the frame it has in hand. What it has decoded is forgotten."""
        if self._thread is not None and self._thread.is_alive():
            while not self._wanted.empty():
                with suppress(Empty):
                    self._wanted.get_nowait()
            self._wanted.put(None)
            self._thread.join()

    def _ask(self, ahead: int) -> None:
        """Requests `ahead` frames beyond those taken."""
        while self._asked < min(self._count, self._taken + ahead):
            self._wanted.put(self._asked)
            self._asked += 1

    def _work(self) -> None:
        while (index := self._wanted.get()) is not None:
            try:
                self._ready.put(self._decode(index))
            except BaseException as error:
                self._ready.put(error)
                return

    def _decode(self, index: int) -> _Decoded:
        begin = time.perf_counter()
        try:
            image = self._frames[index]
        except TnlltError:
            raise
        except Exception as error:
            raise DataError(f"{self._where}: frame {index + 1} cannot be read: {error}") from error
        seconds = time.perf_counter() - begin
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(f"{self._where}: frame {index + 1} is {image.dtype} {image.shape}, not RGB uint8 (H, W, 3)")
        return image, seconds, frame_digest(image)


def frame_digest(image: Image) -> bytes:
    """SHA-256 of the frame's shape and of `DIGEST_ROWS` evenly spaced rows."""
    digest = hashlib.sha256(repr(image.shape).encode())
    step = max(1, image.shape[0] // DIGEST_ROWS)
    digest.update(np.ascontiguousarray(image[step // 2 :: step]).data)
    return digest.digest()


@dataclass
class SequenceRun:
    """One sequence while it is being tracked; `image` and `prediction` are those of its latest frame.

    With `realtime` frames a second, the tracker gets only the frames for which a stream leaves it time, and the
    trajectory has for every frame the answer that was in force there (`tnllt.realtime`).
    """

    sequence: Sequence
    mode: Mode
    seed: int = 0
    read_ahead: int = 4
    index: int = 0
    keep_masks: bool = False
    realtime: float | None = None
    listener: Emit | None = None
    masks: list[dict[str, Any] | None] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    state: Any = None
    begun: bool = False
    texts: Mapping[int, str] = field(default_factory=dict)
    """Descriptions that replace the one before from their frame on; frame 0 has that of the sequence."""

    def __post_init__(self) -> None:
        self.count = frame_count(self.sequence)
        # They grow: a stream's number of frames is not known.
        self.boxes, self.confidence, self.read, self.track = (array("d") for _ in range(4))
        self.absent = bytearray()
        self.stream = StreamClock(self.realtime) if self.realtime else None
        self.begins: list[int] = []  # with a stream: where each answer comes into force
        self.told, self._next = self.sequence.language, 1  # the text in force; from where on texts are new
        self.info: Mapping[str, Any] = {}
        self.started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.clock = time.perf_counter()
        self.memory = system.resident_mb()
        self.reader = ReadAhead(self.sequence.frames, self.count, self.read_ahead, f"sequence {self.sequence.name!r}")

    def next_image(self) -> Image:
        while len(self.read) <= self.index:
            self.image, seconds = self.reader.read()
            self.read.append(seconds)
        return self.image

    def emit(self, event: Mapping[str, Any]) -> None:
        """Takes an event of the tracker's for the trace."""
        self.events.append(event)
        if self.listener is not None:
            self.listener(event)

    def inputs(self) -> tuple[list[float] | None, str | None]:
        """Initial box and language description that the tracker is started with."""
        box = None if self.mode is Mode.NL else self.sequence.groundtruth[0].tolist()
        return box, None if self.mode is Mode.BB else self.sequence.language

    def new_text(self) -> str | None:
        """The last text that came since the frame before, also with a frame that was dropped; None without one."""
        since = range(self._next, self.index + 1)
        self._next = self.index + 1
        return None if self.mode is Mode.BB else next((self.texts[i] for i in reversed(since) if i in self.texts), None)

    def take(self, prediction: Any, seconds: float) -> None:
        """Writes the answer for the frame in hand. Raises TrackerFailure where it is not a box."""
        box, confidence, absent = checked(prediction, self.index)
        if absent and self.index > 0:
            box = self.boxes[-4:].tolist()
        self.prediction = Prediction(box, confidence, absent, getattr(prediction, "mask", None))
        self.boxes.extend(box)
        self.confidence.append(np.nan if confidence is None else confidence)
        self.absent.append(absent)
        self.track.append(seconds)
        if self.keep_masks:
            mask = self.prediction.mask
            self.masks.append(None if mask is None else encode_mask(mask))
        if self.stream is None:
            self.index += 1
        else:
            self.begins.append(self.stream.answer(seconds if self.index else 0.0))
            self.index = min(self.stream.frame, self.count)

    def in_force(self, answers: Any) -> Any:
        """Of a list or array with an item for each answer: the items in force, one for each frame."""
        if self.stream is None or not len(answers):
            return answers
        chosen = answers_in_force(self.begins, self.index)
        return answers[chosen] if isinstance(answers, np.ndarray) else [answers[i] for i in chosen]

    def trajectory(self) -> Trajectory:
        """What was tracked so far, with the record's fields that belong to one sequence."""
        columns = (np.array(self.boxes).reshape(-1, 4), np.array(self.confidence), np.array(self.absent, bool))
        boxes, scores, absences = (self.in_force(column) for column in columns)
        confidence = None if np.isnan(scores).all() else scores
        absent = absences if absences.any() or confidence is not None else None
        return Trajectory(boxes, confidence, absent, self._seconds(), self.record_fields())

    def _seconds(self) -> NDArray[np.float64]:
        """Of tracking each frame; NaN where the answer of an earlier frame is in force still."""
        found: NDArray[np.float64] = self.in_force(np.array(self.track))
        if self.stream is not None:
            found[~np.isin(np.arange(self.index), self.begins)] = np.nan
        return found

    def record_fields(self) -> dict[str, Any]:
        memory = {"start": self.memory, "end": system.resident_mb(), "peak": system.peak_mb()}
        return {
            "mode": self.mode.value,
            "dataset": self.sequence.dataset,
            "frames": self.count,
            "seed": self.seed,
            "decoder": system.decoder(self.sequence.frames),
            "started": self.started,
            "seconds": {
                "total": round(time.perf_counter() - self.clock, 6),
                "read": np.round(self.read[: self.index], 6).tolist(),
                "track": plain(np.round(self._seconds(), 6)),
            },
            "description_changes": description_changes(self.events),
            "sha256": {"read": self.reader.digest()},
            "memory_mb": {k: round(v, 1) for k, v in memory.items() if v is not None},
            "info": dict(self.info),
        }


def frame_count(sequence: Sequence) -> int:
    """Frames to track: the annotated ones, or all of them where only the first is annotated (hidden test sets)."""
    frames, rows = len(sequence.frames), len(sequence)
    if rows == 0 or frames == 0:
        raise DataError(f"sequence {sequence.name!r} has {rows} boxes and {frames} frames: nothing to track")
    if rows == 1:
        return frames
    if frames < rows:
        raise DataError(f"sequence {sequence.name!r} has {rows} boxes but {frames} frames; see `tnllt-data check`")
    return rows


def description_changes(events: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """From events with `before` and `after` that differ: where the description changed, and to what."""
    return [
        {"frame": event.get("frame"), "description": event["after"]}
        for event in events
        if isinstance(event.get("after"), str) and event.get("after") != event.get("before")
    ]
