"""One image that shows every attribute: the first frame, and frames in which it is to be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tnllt.datasets.synth.config import ATTRIBUTES, SynthConfig, only
from tnllt.datasets.synth.plan import plan
from tnllt.datasets.synth.scene import ScenePlan
from tnllt.errors import DataError

Picture = NDArray[np.uint8]
_WIDTH = 300  #: of one frame in the gallery
_COLUMNS = 4
_HEAD = 24


def write_gallery(path: Path, config: SynthConfig, seed: int = 0) -> None:
    """Draws a row per attribute, in two columns of rows. Raises DataError where the file cannot be written."""
    rows = [attribute_row(name, config, seed + k) for k, name in enumerate(ATTRIBUTES)]
    if len(rows) % 2:
        rows.append(np.full_like(rows[0], 255))
    half = len(rows) // 2
    gap = np.full((rows[0].shape[0] * half, 16, 3), 255, np.uint8)
    sheet = np.hstack([np.vstack(rows[:half]), gap, np.vstack(rows[half:])])
    data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror}); choose another place", path) from error


def attribute_row(name: str, config: SynthConfig, seed: int) -> Picture:
    """The first frame and three in which the attribute is to be seen, with boxes and descriptions."""
    scene = plan(seed, replace(config, rates=only(name), change=0.0))
    frames = shown_frames(scene, name, _COLUMNS - 1)
    height = round(_WIDTH * scene.height / scene.width)
    cells = [_cell(scene, i, height) for i in [0, *frames]]
    head = np.full((_HEAD, _WIDTH * _COLUMNS, 3), 255, np.uint8)
    text = f"{name}  {ATTRIBUTES[name]}:  {scene.language}"
    cv2.putText(head, text, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([head, np.hstack(cells)])


def shown_frames(scene: ScenePlan, name: str, count: int) -> list[int]:
    """Frames in which the attribute is to be seen, spread over all of them; for a jump, with the frame before."""
    seen = np.flatnonzero(scene.measures.per_frame()[name])
    if len(seen) == 0:
        return list(np.linspace(1, len(scene) - 1, count).astype(int))
    if name in ("FM", "CM"):
        first = int(seen[len(seen) // 2])
        return [max(first - 1, 0), first, int(seen[-1])][:count]
    return [int(i) for i in seen[np.linspace(0, len(seen) - 1, count + 2).astype(int)[1:-1]]]


def _cell(scene: ScenePlan, index: int, height: int) -> Picture:
    drawn = scene.render(index)
    cell = np.asarray(cv2.resize(drawn.image, (_WIDTH, height), interpolation=cv2.INTER_AREA), np.uint8)
    if drawn.present:
        x, y, w, h = np.round(drawn.box * _WIDTH / scene.width).astype(int)
        cv2.rectangle(cell, (x, y), (x + w, y + h), (255, 255, 255), 3)
        cv2.rectangle(cell, (x, y), (x + w, y + h), (220, 0, 0), 1)
    label = f"{index + 1}" + ("" if drawn.present else " absent")
    for colour, thickness in (((255, 255, 255), 3), ((0, 0, 0), 1)):
        cv2.putText(cell, label, (5, height - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness, cv2.LINE_AA)
    return cell
