"""`tnllt.track`: one source, one tracker, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from tnllt.errors import DataError, UsageError
from tnllt.sequence import Annotation, Image, Trajectory
from tnllt.sequence import Sequence as Video
from tnllt.tracking.failures import TrackerFailure
from tnllt.tracking.language_start import StarterSpec, with_starter
from tnllt.tracking.loop import TrackingLoop, choose_mode
from tnllt.tracking.registry import TrackerLike, find_tracker
from tnllt.tracking.sequence_run import SequenceRun
from tnllt.tracking.stream import ImageStream, LatestImages, SourceLike, open_stream
from tnllt.tracking.tracker import Mode, Prediction, Tracker

#: x, y, w, h in pixels of the first frame; or a function that is shown the first frame and gives it.
Box = Sequence[float] | Callable[[Image], Sequence[float]]


class SourceTracking(Iterator[tuple[Image, Prediction]]):
    """What `track` returns: frames with the tracker's predictions, each computed when it is asked for.

    Attributes:
        name: the tracker's.
        fps: frames per second that the source states, 0 where it states none.
        index: number of the frame given last, from 0, among all of the source; with `live` some are left out.
        description: the language description in force in that frame, or "".
        dropped: with `live`, how many frames were left out.
        waited: with `live`, for how many seconds that frame had been there when the tracker took it.
    """

    def __init__(
        self, stream: ImageStream, tracker: Tracker, name: str, box: Box | None, text: str | None, mode: str | None,
        seed: int, live: bool,
    ) -> None:  # fmt: skip
        self.name, self.fps, self.description = name, stream.fps, text or ""
        self.index, self.dropped, self.waited = -1, 0, 0.0
        self._latest = LatestImages(stream) if live else None
        images = stream.images if self._latest is None else self._latest
        first = next(images, None)
        if first is None:
            raise DataError(f"{stream.name} gives no frame")
        given = box(first) if callable(box) else box
        start = np.full(4, np.nan) if given is None else np.asarray(given, np.float64).reshape(-1)
        if len(start) != 4:
            raise UsageError(f"a box is four numbers x, y, w, h, not {len(start)}")
        frames = ImageStream(stream.name, chain([first], images))
        video = Video(stream.name, Annotation(start[None], language=text), frames)
        chosen = choose_mode(tracker, video, mode)
        inside = (start[:2] < first.shape[1::-1]).all() and (start[:2] + start[2:] > 0).all()
        if chosen is not Mode.NL and not inside:
            raise UsageError(f"box {start.tolist()} is outside of the frame of {first.shape[1]} x {first.shape[0]}")
        # Live, the next frame is not decoded before it is wanted: it would be old by then.
        self._run = SequenceRun(video, chosen, seed, 0 if live else 4, listener=self._heard)
        self._loop = TrackingLoop(tracker)
        self._ended = False

    def __next__(self) -> tuple[Image, Prediction]:
        """Raises TrackerFailure where the tracker fails."""
        if self._ended:
            raise StopIteration
        if self.index < 0:
            end: TrackerFailure | Trajectory | None = self._loop.start(self._run)
        else:
            end = next((how for _, how in self._loop.step()), None)
        if end is not None:
            self.close()
            raise end if isinstance(end, TrackerFailure) else StopIteration
        self.index = self._run.index - 1
        if self._latest is not None:
            self.index, self.dropped, self.waited = self._latest.index, self._latest.dropped, self._latest.waited
        return self._run.image, self._run.prediction

    def describe(self, text: str) -> None:
        """The language description from the next frame on. Raises NotImplementedError where the tracker takes none."""
        self._loop.tracker.describe(text)
        self.description = text

    def close(self) -> None:
        """Lets go of source and tracker. Nothing more comes."""
        if not self._ended:
            self._ended = True
            if self._latest is not None:
                self._latest.close()
            self._loop.end(self._run)
            self._loop.tracker.close()

    @property
    def info(self) -> Mapping[str, Any]:
        """Facts that the tracker gave of itself, once the tracking is over (`Tracker.info`)."""
        return self._run.info

    def __enter__(self) -> SourceTracking:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _heard(self, event: Mapping[str, Any]) -> None:
        if isinstance(event.get("after"), str):
            self.description = event["after"]


def track(
    source: SourceLike,
    tracker: TrackerLike = "ReasoningTrack",
    box: Box | None = None,
    text: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
    seed: int = 0,
    device: str = "",
    live: bool = False,
    starter: str = "",
    starter_set: Mapping[str, Any] | None = None,
) -> SourceTracking:
    """Tracks a target through a source::

        for frame, prediction in tnllt.track("clip.mp4", "NanoTrack", box=(51, 47, 25, 62)):
            print(prediction.box, prediction.confidence)

    The tracker is loaded before the source is opened, and runs in this process: the time limits of `tnllt.run`, which
    end a worker's process, are not available.

    Args:
        source: a video file, a folder of images, a glob, a camera's number, a URL (RTSP, HTTP), or an iterable of
            images. Images are RGB, uint8 (H, W, 3); those that OpenCV read are BGR and have to be turned round first
            (`image[:, :, ::-1]`), which nothing can check.
        tracker: as for `tnllt.run`.
        box: x, y, w, h in pixels of the first frame, or a function that is shown that frame and gives them.
        text: language description of the target.
        options: of the tracker.
        mode: inputs to start with; None takes the most that the tracker can use of what is given.
        seed: seeds every random number generator.
        device: for trackers that have such an option.
        live: take the newest frame each time and drop those that arrived while the tracker worked.
        starter, starter_set: what finds the box of any tracker from `text`, as for `tnllt.run`.

    Returns:
        an iterator of (frame, prediction), which tells more: `index`, `description`, `dropped`. The first prediction
        is the given box.

    Raises:
        UsageError, DataError: tracker, source, box or text cannot be used. While iterating: TrackerFailure.
    """
    spec = find_tracker(tracker, options)
    if starter_set and not starter:
        raise UsageError("--starter-set goes with --starter")
    if starter:
        loaded: Tracker = with_starter(spec, StarterSpec.of(starter, starter_set or {}), device)
    else:
        loaded = spec.create(device)
    return SourceTracking(open_stream(source), loaded, spec.name, box, text, mode, seed, live)
