"""`tnllt-eval view` and `tnllt-eval render`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from tnllt.cli.common import location_options, style_option
from tnllt.cli.dataclass_options import PATH
from tnllt.config import LocationConfig
from tnllt.errors import DataError, UsageError
from tnllt.eval.selection import choose_trackers
from tnllt.eval.style import load_style
from tnllt.eval.view.pictures import render as write
from tnllt.eval.view.recording import write_recording
from tnllt.eval.view.scene import Scenes, open_scene
from tnllt.eval.view.server import ViewServer
from tnllt.text import printable

_TRACKERS = click.option(
    "--trackers", default="all", metavar="NAMES", help="all, or names and globs: a,b,'ost*'.  [default: all]"
)
_FRAMES = click.option(
    "--frames", "span", metavar="FIRST:LAST[:STEP]", help="Frames, counted from 1.  [default: all]"
)  # fmt: skip


@click.command()
@click.argument("sequence", required=False)
@location_options
@_TRACKERS
@style_option
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@click.option("--rerun", type=PATH, help="Write a recording for Rerun (.rrd) instead.")
@_FRAMES
def view(
    sequence: str | None, place: LocationConfig, trackers: str, style: Path | None, port: int, no_browser: bool,
    rerun: Path | None, span: str | None,
) -> None:  # fmt: skip
    """Play SEQUENCE (by default the first) with the boxes of trackers, ground truth and language description.

    Opens a page on this machine alone (127.0.0.1) until Ctrl-C. Keys: space plays, arrows step, n and p go to the next
    and previous sequence, f to the next failure (ten frames or more of an overlap below 0.1), w to the worst frame, a
    to the next absence, r to the next refresh of a description. --trackers are ticked first; all can be.
    """
    if rerun is not None and sequence is not None:
        scene = open_scene(place.locate(), sequence, trackers, load_style(style))
        frames = frame_range(span, len(scene))
        write_recording(scene, rerun, frames)
        click.echo(f"{printable(str(rerun))}: {len(frames)} frames; look at it with: rerun {printable(str(rerun))}")
        return
    if span is not None or rerun is not None:
        raise UsageError("--rerun FILE records one SEQUENCE, and --frames is for it; the page shows whole sequences")
    scenes = Scenes(place.locate(), "all", load_style(style))
    start = scenes.names[0] if sequence is None else scenes.find(sequence)
    ticked = choose_trackers(trackers, list(scenes.files)) if scenes.files else ()
    with ViewServer(scenes.names, scenes.open, start, set(scenes.files) - set(ticked), port) as server:
        click.echo(f"{printable(start)} and {len(scenes.names) - 1:,} other sequences at {server.url} (Ctrl-C ends it)")
        if not no_browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")


@click.command()
@click.argument("sequence")
@location_options
@_TRACKERS
@style_option
@click.option("--out", "-o", type=PATH, required=True, help="File to write: .mp4, .webm or .gif.")
@_FRAMES
@click.option("--fps", type=click.FloatRange(0.5, 120), help="Frames per second.  [default: the source's, else 30]")
@click.option(
    "--width", type=click.IntRange(64, 7680), help="Width in pixels.  [default: the frames' own, within limits]"
)
@click.option("--no-truth", is_flag=True, help="Do not draw the ground truth.")
def render(
    sequence: str, place: LocationConfig, trackers: str, style: Path | None, out: Path, span: str | None,
    fps: float | None, width: int | None, no_truth: bool,
) -> None:  # fmt: skip
    """SEQUENCE with boxes and description as a video or GIF for slides."""
    scene = open_scene(place.locate(), sequence, trackers, load_style(style))
    if not scene.sequence.has_frames:
        raise DataError(f"sequence {sequence!r} has annotations but no frames here; give the dataset's --root")
    frames = frame_range(span, min(len(scene), len(scene.sequence.frames)))
    write(scene, out, frames, fps=fps, width=width, truth=not no_truth)
    click.echo(f"{printable(str(out))}: {len(frames)} frames, {out.stat().st_size / 1e6:.1f} MB")


def frame_range(text: str | None, count: int) -> range:
    """The frames, from 0, that "100:400" or "100:400:2" means of `count`: counted from 1, the last one included."""
    parts = [part.strip() for part in ("1:" if text is None else text).split(":")]
    if len(parts) not in (2, 3) or not all(part == "" or (part.isdecimal() and int(part)) for part in parts):
        raise UsageError(f"--frames {text!r}: expected FIRST:LAST or FIRST:LAST:STEP, counted from 1")
    first, last, step = (int(part) if part else None for part in [*parts, ""][:3])
    frames = range((first or 1) - 1, min(last or count, count), step or 1)
    if not frames:
        raise UsageError(f"--frames {text}: no frame in that range; the sequence has {count}")
    return frames
