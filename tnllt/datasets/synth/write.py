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
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np

from tnllt.datasets.progress import OnProgress
from tnllt.datasets.synth.config import FrameFormat, SynthConfig
from tnllt.datasets.synth.library import library
from tnllt.datasets.synth.plan import plan
from tnllt.datasets.synth.record import GENERATOR, sequence_name, sequence_record
from tnllt.datasets.synth.scene import ScenePlan
from tnllt.errors import DataError, UsageError

_CHUNK = 48  #: frames of one job
_PARTIAL = ".partial-"


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
        workers: processes; None: one per processor. Changes no byte.
        report: called with (frames done, frames in all).

    Returns:
        The sequences' names.

    Raises:
        UsageError: the folder holds something else, or a set made with other options.
        DataError: an image among the sources cannot be decoded.
    """
    form = form or FrameFormat()
    sources = library(config.sources)  # unreadable sources are found before anything is written
    _claim(out, _set_record(config, sequences, seed, form, sources.describe()))
    scenes = (plan(sequence_seed(seed, k), config) for k in range(1, sequences + 1))
    names: list[str] = []
    frames = sequences * config.frames
    done = 0

    def finished(count: int) -> None:
        nonlocal done
        done += count
        if report is not None:
            report(done, frames)

    def jobs() -> Iterator[tuple[ScenePlan, str, range]]:
        for number, scene in enumerate(scenes, 1):
            name = sequence_name(number, scene)
            names.append(name)
            if (out / name).is_dir():
                finished(len(scene))
                continue
            shutil.rmtree(out / f"{_PARTIAL}{name}", ignore_errors=True)
            for first in range(0, len(scene), _CHUNK):
                yield scene, name, range(first, min(first + _CHUNK, len(scene)))

    _run(out, jobs(), form, workers or _processors(), finished)
    _write_lists(out, names)
    return names


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(
    out: Path,
    jobs: Iterator[tuple[ScenePlan, str, range]],
    form: FrameFormat,
    workers: int,
    finished: Callable[[int], None],
) -> None:
    """Draws the jobs' frames; a sequence whose last frame is there gets its annotation and its name."""
    missing: dict[str, int] = {}

    def account(scene: ScenePlan, name: str, part: range) -> None:
        missing[name] = missing.get(name, len(scene)) - len(part)
        if missing[name] == 0:
            write_annotation(out / f"{_PARTIAL}{name}", scene)
            (out / f"{_PARTIAL}{name}").rename(out / name)
        finished(len(part))

    if workers <= 1:
        for scene, name, part in jobs:
            draw_frames(out / f"{_PARTIAL}{name}", scene, part, form)
            account(scene, name, part)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    running: dict[Future[None], tuple[ScenePlan, str, range]] = {}
    try:
        for job in jobs:
            scene, name, part = job
            folder = out / f"{_PARTIAL}{name}"
            running[pool.submit(_draw_job, folder, scene.seed, scene.config, part, form)] = job
            while len(running) >= 3 * workers:
                _collect(running, account)
        while running:
            _collect(running, account)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(
    running: dict[Future[None], tuple[ScenePlan, str, range]], account: Callable[[ScenePlan, str, range], None]
) -> None:
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        job = running.pop(future)
        future.result()
        account(*job)


def _start_worker() -> None:
    """One thread of OpenCV; and an end with the parent, which a killed parent can no longer bring about."""
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


#: The scene that this worker drew last; its jobs come in a row.
_last: dict[str, ScenePlan] = {}


def _draw_job(folder: Path, seed: int, config: SynthConfig, part: range, form: FrameFormat) -> None:
    key = f"{seed} {config!r}"
    if key not in _last:
        _last.clear()
        _last[key] = plan(seed, config)
    draw_frames(folder, _last[key], part, form)


def draw_frames(folder: Path, scene: ScenePlan, part: range, form: FrameFormat) -> None:
    """Draws and writes the frames `part` of a scene."""
    images, masks = folder / "imgs", folder / "masks"
    images.mkdir(parents=True, exist_ok=True)
    suffix = ".png" if form.png else ".jpg"
    options = [cv2.IMWRITE_PNG_COMPRESSION, 3] if form.png else [cv2.IMWRITE_JPEG_QUALITY, form.quality]
    for index in part:
        drawn = scene.render(index, mask=form.masks)
        image = cv2.cvtColor(drawn.image, cv2.COLOR_RGB2BGR)
        _save(images / f"{index + 1:05d}{suffix}", cv2.imencode(suffix, image, options)[1])
        if drawn.mask is not None:
            masks.mkdir(exist_ok=True)
            _save(masks / f"{index + 1:05d}.png", cv2.imencode(".png", drawn.mask.astype(np.uint8) * 255)[1])


def _save(path: Path, data: Any) -> None:
    path.write_bytes(data.tobytes())


def write_annotation(folder: Path, scene: ScenePlan) -> None:
    """Writes all that is known of a scene but its frames."""
    rows = "\n".join(",".join(f"{v:.2f}".rstrip("0").rstrip(".") for v in box) for box in scene.boxes)
    _text(folder / "groundtruth.txt", rows)
    _text(folder / "absent_label.txt", "\n".join(str(int(p)) for p in scene.present))
    _text(folder / "language.txt", scene.language)
    _text(folder / "attributes.txt", ",".join(str(int(v)) for v in scene.attributes.values()))
    _text(folder / "descriptions.txt", "\n".join(scene.descriptions))
    _text(folder / "synth.json", json.dumps(sequence_record(scene), indent=1, ensure_ascii=False))


def _text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _write_lists(out: Path, names: list[str]) -> None:
    (out / "splits").mkdir(exist_ok=True)
    _text(out / "splits" / "test.txt", "\n".join(names))


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
