"""`tnllt-run NAME --source`: one video, camera or stream tracked, filmed and shown."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from tnllt.errors import EXIT_INCOMPLETE, EXIT_OK, TnlltError, UsageError
from tnllt.files import user_path, write_atomic
from tnllt.results.records import lacks_answers, unanswered_refreshes
from tnllt.text import csv_cell, printable
from tnllt.tracking.config import RunConfig, SourceConfig

if TYPE_CHECKING:
    from tnllt.sequence import Image
    from tnllt.tracking.follow import SourceTracking
    from tnllt.tracking.registry import TrackerSpec
    from tnllt.tracking.tracker import Prediction

#: Settings of a run over a dataset that a single source has, too.
_SHARED = ("options", "mode", "seed", "name", "device", "verbose", "starter", "starter_set")
_TITLE = "tnllt"


def follow(tracker: str | TrackerSpec, single: SourceConfig, config: RunConfig) -> int:
    """Tracks the source; what was tracked before a failure or Ctrl-C is written, too."""
    from tnllt.tracking.follow import track
    from tnllt.tracking.options import parse_settings
    from tnllt.tracking.registry import find_tracker

    source = _checked(single, config)
    options, starter_set = (
        given if isinstance(given, Mapping) else parse_settings(given) for given in (config.options, config.starter_set)
    )
    spec = find_tracker(tracker, options, config.name)
    with track(
        source, spec, _box(single), single.text, mode=config.mode, seed=config.seed, device=str(config.device),
        live=single.live, starter=config.starter, starter_set=starter_set,
    ) as tracking:  # fmt: skip
        film = _Film(tracking, single)
        film.write()
    click.echo(printable(film.summary()))
    if film.failure is not None:
        raise film.failure
    failed, asked = unanswered_refreshes(tracking.info)
    if failed:
        click.echo(f"Note: {failed} of {asked} refreshes of the description failed", err=True)
    return EXIT_INCOMPLETE if lacks_answers(failed, asked) else EXIT_OK


class _Film:
    """What is made of the frames as they come: rows of the box file, the video, the window."""

    def __init__(self, tracking: SourceTracking, single: SourceConfig) -> None:
        from tnllt.eval.style import load_style

        self.tracking, self.single = tracking, single
        self.look = load_style().looks([tracking.name])[tracking.name]
        self.rows = ["frame,x,y,w,h,confidence,absent,description\n"]
        self.failure: TnlltError | None = None
        self.waited = 0.0

    def write(self) -> None:
        """Tracks to the end; a failure of the tracker is kept in `failure`."""
        from tnllt.video import write_video

        out, fps = self.single.out, self.single.fps or self.tracking.fps or 30.0
        with _ending() as ended:
            images = self._images(ended)
            if out is None or out.suffix.lower() == ".csv":
                for _ in images:
                    pass
            else:
                write_video(out, images, fps, [self.look.bright])
        if out is not None:
            write_atomic(out.with_suffix(".csv"), "".join(self.rows))

    def _images(self, ended: Callable[[], bool]) -> Iterator[Image]:
        from tnllt.tracking.video import tracker_mark
        from tnllt.video import paint

        filmed, tracking = 0, self.tracking
        try:
            for image, prediction in tracking:
                self._note(prediction)
                self.waited = max(self.waited, tracking.waited)
                mark = tracker_mark(self.look.label, self.look.bright, prediction)
                drawn = paint(image, [mark], f"frame {tracking.index + 1}", tracking.description)
                # A live video keeps the source's time: a frame stands for those that were dropped after it.
                for _ in range(filmed, tracking.index + 1):
                    yield drawn
                filmed = tracking.index + 1
                if ended() or (self.single.show and _closed(drawn)):
                    break
        except TnlltError as error:
            if filmed == 0:
                raise
            self.failure = error

    def _note(self, prediction: Prediction) -> None:
        numbers = ",".join(f"{value:.4f}" for value in np.asarray(prediction.box).tolist())
        confidence = "" if prediction.confidence is None else f"{prediction.confidence:.6g}"
        text = csv_cell(self.tracking.description).replace('"', '""')
        self.rows.append(f'{self.tracking.index + 1},{numbers},{confidence},{int(prediction.absent)},"{text}"\n')

    def summary(self) -> str:
        tracking, out = self.tracking, self.single.out
        words = f"{tracking.name}: {len(self.rows) - 1:,} frames tracked"
        if self.single.live:
            waited = f"a frame waited {1000 * self.waited:.0f} ms at most"
            words += f", {tracking.dropped:,} dropped that came while it worked; {waited}"
        if out is not None:
            boxes = out.with_suffix(".csv")
            words += f"; boxes in {boxes}" if out == boxes else f"; video {out}, boxes in {boxes}"
        return words


def _checked(single: SourceConfig, config: RunConfig) -> str:
    """The source. Raises UsageError where options are missing or contradict each other."""
    from tnllt.options import check_fields
    from tnllt.video import check_suffix

    check_fields(single)
    if single.source is None:
        raise UsageError("--box, --out, --show, --live and --fps go with --source; name the source")
    for field in dataclasses.fields(RunConfig):
        if field.name not in _SHARED and getattr(config, field.name) != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            raise UsageError(f"{flag} is for runs over datasets, and --source names a single source; leave one out")
    if single.out is None and not single.show:
        raise UsageError("nothing would be kept of it: give --out FILE.mp4 (or FILE.csv), or --show")
    if single.out is not None and single.out.suffix.lower() != ".csv":
        check_suffix(single.out)
    if single.show:
        _require_window("--show")
    return single.source


def _box(single: SourceConfig) -> Sequence[float] | Callable[[Image], Sequence[float]] | None:
    given = single.box
    if given == "mouse" or (given is None and not single.text):
        _require_window("--box mouse" if given else "no --box is given, and drawing it with the mouse")
        return _drawn
    if given is None:
        return None
    if user_path(given).is_file():
        from tnllt.results.reading import read_boxes

        return [float(value) for value in read_boxes(user_path(given))[0]]
    try:
        return [float(part) for part in given.split(",")]
    except ValueError:
        raise UsageError(f"--box {given!r}: expected x,y,w,h in pixels, a file with them, or mouse") from None


def _drawn(image: Image) -> Sequence[float]:
    """The box that the user draws into the first frame."""
    import cv2

    box = cv2.selectROI(_TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), showCrosshair=False)
    cv2.destroyWindow(_TITLE)
    if not box[2] or not box[3]:
        raise UsageError("no box was drawn; draw one and press Enter, or give --box x,y,w,h")
    return box


def _closed(image: Image) -> bool:
    """Shows the frame; whether the user has pressed q or Escape."""
    import cv2

    cv2.imshow(_TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return cv2.waitKey(1) & 0xFF in (ord("q"), 27)


def _require_window(what: str) -> None:
    """Raises UsageError where no window can be opened."""
    import cv2

    if not cv2.currentUIFramework():
        remedy = "pip uninstall opencv-python-headless && pip install opencv-python"
        raise UsageError(f"{what} needs a window, and this OpenCV is built without (headless): {remedy}")
    if sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        raise UsageError(f"{what} needs a window, and there is no display here (DISPLAY is not set)")


@contextmanager
def _ending() -> Iterator[Callable[[], bool]]:
    """A first Ctrl-C (or SIGTERM) makes the function given say so; a second one interrupts as usual."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        for each, handler in before.items():
            signal.signal(each, handler)
        click.echo("Ending after this frame; Ctrl-C again gives the video up.", err=True)

    before: dict[int, Any] = {n: signal.signal(n, ask) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
