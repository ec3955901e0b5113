"""Writes planned scenes as a dataset in TNLLT's layout, in parallel, the same bytes whatever the number of workers.

    OUT/splits/test.txt                  the names
    OUT/synth.json                       options, seed and sources of the whole
    OUT/<name>/imgs/00001.jpg            frames
    OUT/<name>/groundtruth.txt           x,y,w,h
    OUT/<name>/absent_label.txt          1 = present
    OUT/<name>/language.txt, attributes.txt
    OUT/<name>/descriptions.txt          per frame, the description that is true then
    OUT/<name>/synth.json                how it was made, what is to be seen when
    OUT/<name>/masks/00001.png           the target's visible pixels, where asked for

A sequence's folder appears when it is whole; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.config import cache_folder
from tnllt.datasets.convert import annotation_files
from tnllt.datasets.frames import OnProgress
from tnllt.datasets.synth.config import ATTRIBUTES, FrameFormat, SynthConfig, SynthSources
from tnllt.datasets.synth.plan import plan
from tnllt.datasets.synth.scene import ScenePlan
from tnllt.datasets.synth.sources import library
from tnllt.errors import DataError, UsageError
from tnllt.processes import map_in_processes, processors
from tnllt.sequence import Annotation

#: Version of the generator: the same number, seed, options and sources give the same bytes.
GENERATOR = 1


def sequence_name(number: int, scene: ScenePlan) -> str:
    """`synth_0007_red_car`: the number (from 1), colour and kind of the target."""
    look = scene.layers[scene.target].look(0)
    kind = look.kind if look.family not in ("emoji", "file", "patch") else look.words(False)
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in f"{look.main} {kind}").split()
    return "_".join(["synth", f"{number:04d}", *words[:5]]).lower()[:100]


def sequence_record(scene: ScenePlan) -> dict[str, Any]:
    """The record of one sequence, as plain data.

    `shown` gives, per attribute, the frames (numbered from 0, both ends included) in which it is to be seen;
    `phrases` the frames from which on each description is true; `wrong` a description that is true of a distractor.
    """
    frames = scene.measures.per_frame()
    return {
        "generator": GENERATOR,
        "seed": scene.seed,
        "frames": len(scene),
        "size": [scene.width, scene.height],
        "language": scene.language,
        "language_true": spans(scene.language_true),
        "wrong": scene.wrong,
        "phrases": [[first, phrase] for first, phrase in scene.phrases],
        "attributes": [name for name in ATTRIBUTES if scene.attributes[name]],
        "shown": {name: spans(frames[name]) for name in ATTRIBUTES if scene.attributes[name]},
        "absent": spans(~scene.present),
        "distractors": [layer.look(0).words(not scene.grey) for layer in scene.layers if layer.role == "distractor"],
        "motion_from": scene.track or None,
        "picture": scene.library.background_name(scene.background_index),
        "grey": scene.grey,
        "sources": scene.library.describe(),
    }


def spans(flags: NDArray[np.bool_]) -> list[list[int]]:
    """Runs of True in flags (T,), as [first, last]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [[int(a), int(b) - 1] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def sequence_seed(seed: int, number: int) -> int:
    """The seed of sequence `number` (from 1) of a set with this seed."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def write_dataset(
    out: Path,
    config: SynthConfig,
    sequences: int,
    seed: int = 0,
    workers: int | None = 1,
    form: FrameFormat | None = None,
    report: OnProgress | None = None,
) -> list[str]:
    """Makes a dataset in folder `out`.

    Args:
        workers: processes, each of which draws whole sequences; None: one per processor. Changes no byte.
        report: called after each sequence with (frames done, frames in all).

    Returns:
        The sequences' names.

    Raises:
        UsageError: the folder holds something else, or a set made with other options.
        DataError: an image among the sources cannot be decoded.
    """
    form = form or FrameFormat()
    sources = library(config.sources)  # unreadable sources are found before anything is written
    _claim(out, _set_record(config, sequences, seed, form, sources.describe()))
    names: list[str] = []
    job = partial(_write_sequence, out, config, seed, form)
    for name in map_in_processes(job, range(1, sequences + 1), workers or processors(), partial(cv2.setNumThreads, 1)):
        names.append(name)
        if report is not None:
            report(len(names) * config.frames, sequences * config.frames)
    (out / "splits").mkdir(exist_ok=True)
    _text(out / "splits" / "test.txt", "\n".join(names))
    return names


def _write_sequence(out: Path, config: SynthConfig, seed: int, form: FrameFormat, number: int) -> str:
    """Writes sequence `number` under a draft's name and renames it when it is whole, if it is not there yet."""
    scene = plan(sequence_seed(seed, number), config)
    name = sequence_name(number, scene)
    if not (out / name).is_dir():
        draft = out / f".partial-{name}"
        shutil.rmtree(draft, ignore_errors=True)
        draw_frames(draft, scene, range(len(scene)), form)
        _write_annotation(draft, scene)
        draft.rename(out / name)
    return name


def draw_frames(folder: Path, scene: ScenePlan, part: range, form: FrameFormat) -> None:
    """Draws and writes the frames `part` of a scene."""
    images, masks = folder / "imgs", folder / "masks"
    images.mkdir(parents=True, exist_ok=True)
    suffix = ".png" if form.png else ".jpg"
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if form.png else [cv2.IMWRITE_JPEG_QUALITY, form.quality]
    for index in part:
        drawn = scene.render(index, mask=form.masks)
        image = cv2.cvtColor(drawn.image, cv2.COLOR_RGB2BGR)
        (images / f"{index + 1:05d}{suffix}").write_bytes(cv2.imencode(suffix, image, options)[1].tobytes())
        if drawn.mask is not None:
            masks.mkdir(exist_ok=True)
            coded = cv2.imencode(".png", drawn.mask.astype(np.uint8) * 255)[1]
            (masks / f"{index + 1:05d}.png").write_bytes(coded.tobytes())


def _write_annotation(folder: Path, scene: ScenePlan) -> None:
    """Writes all that is known of a scene but its frames."""
    boxes = np.array([[round(value, 2) for value in box] for box in scene.boxes.tolist()])
    annotation = Annotation(boxes, scene.present, scene.language, scene.attributes, scene.descriptions)
    for name, text in annotation_files(annotation):
        (folder / name).write_text(text, encoding="utf-8")
    _text(folder / "synth.json", json.dumps(sequence_record(scene), indent=1, ensure_ascii=False))


def _text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _set_record(
    config: SynthConfig, sequences: int, seed: int, form: FrameFormat, sources: dict[str, Any]
) -> dict[str, Any]:
    record = {
        "generator": GENERATOR,
        "seed": seed,
        "sequences": sequences,
        "options": config.record(),
        "png": form.png,
        "quality": form.quality,
        "masks": form.masks,
        "sources": sources,
    }
    return json.loads(json.dumps(record))  # type: ignore[no-any-return]


def _claim(out: Path, record: dict[str, Any]) -> None:
    """Makes the folder, or sees that it is this very set, stopped in the middle."""
    marker = out / "synth.json"
    if marker.is_file():
        try:
            there = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"not the record of a synthetic set ({error}); choose another folder", marker) from error
        differing = [key for key in record if not isinstance(there, dict) or there.get(key) != record[key]]
        if differing:
            raise UsageError(f"{out}: holds a set made with other {', '.join(differing)}; choose another folder")
        return
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(f"{out}: the folder is not empty; choose another one")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: is a file; choose a folder")
    out.mkdir(parents=True, exist_ok=True)
    _text(marker, json.dumps(record, indent=1, ensure_ascii=False))


SEQUENCES, FRAMES, SEED = 8, 80, 2127  #: with this seed, every attribute is in it


def demo_folder() -> Path:
    """The folder of the demo dataset, in the user's cache. Made whole or not at all; safe to call at once.

    Raises:
        DataError: the cache folder cannot be written.
    """
    folder = cache_folder() / f"demo-{GENERATOR}-{SEED}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        config = SynthConfig(frames=FRAMES, width=480, height=270, sources=SynthSources(12), grey=0.0)
        with TemporaryDirectory(prefix=".making-demo-", dir=folder.parent, ignore_cleanup_errors=True) as making:
            write_dataset(Path(making, "demo"), config, SEQUENCES, SEED)
            Path(making, "demo").rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was quicker, with the same bytes
            remedy = "set TNLLT_CACHE to a folder that can be written"
            raise DataError(
                f"the demo dataset cannot be made here ({error.strerror}); {remedy}", folder.parent
            ) from error
    return folder
