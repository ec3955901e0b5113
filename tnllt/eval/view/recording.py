"""A scene as a recording for the Rerun viewer (`.rrd`; extra `view`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tnllt.errors import MissingExtraError
from tnllt.eval.longterm import fitted
from tnllt.eval.style import rgb
from tnllt.eval.view.scene import Scene
from tnllt.eval.view.server import JpegFrames
from tnllt.files import temporary_beside


def write_recording(scene: Scene, path: Path, frames: range) -> None:
    """Writes frames, counted from 0, with boxes, overlaps and descriptions.

    Raises:
        MissingExtraError: rerun-sdk is not installed.
        DataError: a frame or the file cannot be read or written.
    """
    try:
        import rerun as rr
    except ImportError as error:
        raise MissingExtraError("a recording for Rerun", "view", error) from error
    with temporary_beside(path) as temporary:
        recording = rr.RecordingStream("tnllt", recording_id=scene.sequence.name)
        recording.save(temporary)
        _log_fixed(rr, recording, scene)
        _log_frames(rr, recording, scene, frames)
        recording.flush()
        recording.disconnect()


def _log_fixed(rr: Any, recording: Any, scene: Scene) -> None:
    if scene.sequence.language:
        recording.log("language", rr.TextDocument(scene.sequence.language), static=True)
    for name, look in scene.looks.items():
        line = rr.SeriesLines(colors=rgb(look.bright), names=look.label)
        recording.log(["overlap", name], line, static=True)


def _log_frames(rr: Any, recording: Any, scene: Scene, indices: range) -> None:
    frames = JpegFrames(scene.sequence.frames) if scene.sequence.has_frames else None
    boxes = {name: fitted(t.boxes, len(scene)) for name, t in scene.trajectories.items()}
    answers = {name: {a.frame - 1: a for a in scene.answers[name]} for name in scene.trajectories}
    for index in indices:
        recording.set_time("frame", sequence=index)
        if frames is not None and index < len(frames):
            recording.log("image", rr.EncodedImage(contents=frames.jpeg(index), media_type="image/jpeg"))
        _log_box(rr, recording, ["image", "ground truth"], scene.sequence.groundtruth[index], "#ffffff")
        for name, own in boxes.items():
            _log_box(rr, recording, ["image", name], own[index], scene.looks[name].bright)
            value = float(scene.overlaps[name][index])
            if np.isfinite(value):
                recording.log(["overlap", name], rr.Scalars(value))
            if index in answers[name]:
                answer = answers[name][index]
                text = f"{answer.description}\n\n{answer.decision}\n\n{answer.think}"
                recording.log(["description", name], rr.TextDocument(text))


def _log_box(rr: Any, recording: Any, entity: list[str], box: Any, colour: str) -> None:
    if np.isfinite(box).all() and box[2] > 0 and box[3] > 0:
        recording.log(
            entity, rr.Boxes2D(array=box, array_format=rr.Box2DFormat.XYWH, colors=rgb(colour), labels=entity[-1])
        )
    else:
        recording.log(entity, rr.Clear(recursive=False))
