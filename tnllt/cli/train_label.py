"""`tnllt-train label`: training clips out of unlabelled video."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Folder that gets the clips.")
@click.option("--teacher", default="NanoTrack", show_default=True, help="The tracker whose boxes are taken.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="The teacher's option, e.g. weights=DIR.")
@click.option("--clips", default=100, show_default=True, type=click.IntRange(1), help="Wanted from each video.")
@click.option(
    "--regions",
    type=click.Choice(["moving", "textured"]),
    default="moving",
    show_default=True,
    help="What to follow: what moves before a still background, or any textured rectangle.",
)
@click.option("--longest", default=800, show_default=True, type=click.IntRange(64), help="Frames are reduced to this.")
@click.option("--seed", default=0, show_default=True)
def label(
    videos: tuple[Path, ...],
    out: Path,
    teacher: str,
    settings: tuple[str, ...],
    clips: int,
    regions: str,
    longest: int,
    seed: int,
) -> None:
    """Let a tracker label VIDEOS, for `tnllt-train tracker --data OUT`.

    A region is followed forward and back, and kept where the teacher returns to where it began.
    """
    import cv2
    import numpy as np

    from tnllt.datasets.frames import VideoFrames
    from tnllt.errors import UsageError
    from tnllt.tracking.registry import find_tracker
    from tnllt.training.tracker.label import LabelOptions, label_video, write_clip

    if any("=" not in item for item in settings):
        raise UsageError("--set takes KEY=VALUE")
    tracker = find_tracker(teacher, dict(item.split("=", 1) for item in settings)).create()
    for video in videos:
        frames = []
        source = VideoFrames(video)
        for i in range(len(source)):
            frame = source[i]
            scale = min(1.0, longest / max(frame.shape[:2]))
            small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            frames.append(np.asarray(small, np.uint8))
        options = LabelOptions(clips=clips, regions=regions, seed=seed)
        found = label_video(frames, tracker, options, lambda line, name=video.name: click.echo(f"{name}: {line}"))  # type: ignore[misc]
        for number, (first, boxes) in enumerate(found):
            write_clip(out / f"{video.stem}-{number:03d}", frames[first : first + len(boxes)], boxes)
    click.echo(f"clips: {out}")
