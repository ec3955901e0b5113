"""`tnllt-eval view` and `tnllt-eval render`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tnllt.cli.common import location_options
from tnllt.config import Locations
from tnllt.errors import DataError, UsageError
from tnllt.text import printable

if TYPE_CHECKING:
    from tnllt.eval.view.scene import Scene

_TRACKERS = click.option(
    "--trackers", default="all", metavar="NAMES", help="all, or names and globs: a,b,'ost*'.  [default: all]"
)
_FRAMES = click.option(
    "--frames", "span", metavar="FIRST:LAST[:STEP]", help="Frames, counted from 1.  [default: all]"
)  # fmt: skip


@click.command()
@click.argument("sequence")
@location_options
@_TRACKERS
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--rerun", type=click.Path(path_type=Path), help="Write a recording for Rerun (.rrd) instead.")
@_FRAMES
def view(
    sequence: str, where: Locations, trackers: str, port: int, no_browser: bool, rerun: Path | None, span: str | None
) -> None:
    """Play SEQUENCE with the boxes of several trackers, ground truth and language description.

    Opens a page on this machine alone (127.0.0.1) until Ctrl-C. Keys: space plays, arrows step, w goes to the worst
    frame, a to the next absence, r to the next refresh of a description.
    """
    from tnllt.eval.view.scene import open_scene

    scene = open_scene(where, sequence, trackers)
    if rerun is not None:
        from tnllt.eval.view.recording import write_recording

        start, stop, step = frame_range(span)
        count = write_recording(scene, rerun, start=start, stop=stop, step=step)
        click.echo(f"{printable(str(rerun))}: {count} frames; look at it with: rerun {printable(str(rerun))}")
        return
    if span is not None:
        raise UsageError("--frames is for --rerun; the page shows the whole sequence")
    _serve(scene, port, not no_browser)


@click.command()
@click.argument("sequence")
@location_options
@_TRACKERS
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="File to write: .mp4, .webm or .gif.")
@_FRAMES
@click.option("--fps", default=30.0, type=click.FloatRange(0.5, 120), show_default=True, help="Frames per second.")
@click.option(
    "--width", type=click.IntRange(64, 7680), help="Width in pixels.  [default: the frames' own, within limits]"
)
@click.option("--no-truth", is_flag=True, help="Do not draw the ground truth.")
def render(
    sequence: str, where: Locations, trackers: str, out: Path, span: str | None, fps: float, width: int | None,
    no_truth: bool,
) -> None:  # fmt: skip
    """SEQUENCE with boxes and description as a video or GIF for slides."""
    from tnllt.eval.view.render import render as write
    from tnllt.eval.view.scene import open_scene

    scene = open_scene(where, sequence, trackers)
    if not scene.sequence.has_frames:
        raise DataError(f"sequence {sequence!r} has annotations but no frames here; give the dataset's --root")
    start, stop, step = frame_range(span)
    count = write(scene, out, start=start, stop=stop, step=step, fps=fps, width=width, truth=not no_truth)
    click.echo(f"{printable(str(out))}: {count} frames, {out.stat().st_size / 1e6:.1f} MB")


def frame_range(text: str | None) -> tuple[int, int | None, int]:
    """(start from 0, stop, step) of "100:400" or "100:400:2", counted from 1, the last one included."""
    if text is None:
        return 0, None, 1
    parts = text.split(":")
    try:
        numbers = [int(p) if p.strip() else None for p in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3) or any(n is not None and n < 1 for n in numbers):
        raise UsageError(f"--frames {text!r}: expected FIRST:LAST or FIRST:LAST:STEP, counted from 1")
    return (numbers[0] or 1) - 1, numbers[1], (numbers[2] if len(numbers) == 3 and numbers[2] else 1)


def _serve(scene: Scene, port: int, browser: bool) -> None:
    from tnllt.eval.view.server import ViewServer

    with ViewServer(scene, port) as server:
        click.echo(f"{printable(scene.sequence.name)} at {server.url} (Ctrl-C ends it)")
        if browser:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
