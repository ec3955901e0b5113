"""A small TNLLT-like release with pictures, sentences, absences and results of trackers, made for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tnllt.results.store import ResultStore
from tnllt.sequence import Trajectory

SIZE = (144, 256)  # height, width
SENTENCE = "the small bright box that drifts over the dark noise"
#: Names and sentences that try to break out of wherever they are put.
HOSTILE_TRACKERS = ("<img src=x onerror=hurt()>", "=1+1", "q\"uo'te & \u202egnp.exe", "x" * 200,
                    "\x1b[m\u200b =1+1")  # fmt: skip
HOSTILE_SENTENCE = (
    "</script><script>window.hurt = 1</script><!-- " + "\u202e" + "]]> ${x} \\input{/etc/passwd} " + "y" * 10_000
)


def picture(box: np.ndarray, number: int, present: bool = True) -> np.ndarray:
    """RGB: noise, the target as a bright box, the frame's number in its colours."""
    rng = np.random.default_rng(number % 7)
    image = rng.integers(20, 70, (*SIZE, 3)).astype(np.uint8)
    if present:
        x, y, w, h = box.round().astype(int)
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), (240, 200, 40), -1)
    return image


def write_release(
    root: Path, names: tuple[str, ...] = ("alpha", "beta", "gamma", "delta"), frames: int = 60,
    sentence: str = SENTENCE, pictures: bool = True,
) -> Path:  # fmt: skip
    """`root/<name>/...` as TNLLT's release has it; the target is out of view in frames 20 to 27."""
    for number, name in enumerate(names):
        folder = root / name
        (folder / "imgs").mkdir(parents=True)
        truth, present = truth_of(number, frames)
        for i in range(frames if pictures else 0):
            data = cv2.imencode(".jpg", picture(truth[i], i, bool(present[i]))[..., ::-1])[1]
            (folder / "imgs" / f"{i + 1:05d}.jpg").write_bytes(data.tobytes())
        np.savetxt(folder / "groundtruth.txt", truth, fmt="%d", delimiter=",")
        np.savetxt(folder / "absent_label.txt", present[:, None].astype(int), fmt="%d")
        (folder / "language.txt").write_text(sentence, encoding="utf-8")
        flags = np.random.default_rng(number).integers(0, 2, 15)
        flags[:2] = 1
        (folder / "attributes.txt").write_text(",".join(map(str, flags)))
    return root


def truth_of(number: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    time = np.linspace(0, 2 * np.pi, frames)
    x = 100 + 60 * np.sin(time * (1 + number % 3))
    y = 60 + 30 * np.cos(time)
    truth = np.stack([x, y, np.full(frames, 34.0), np.full(frames, 28.0)], axis=1).round()
    present = np.ones(frames, bool)
    present[19:27] = False
    return truth, present


def write_results(folder: Path, root: Path, trackers: dict[str, float], hostile: bool = False) -> Path:
    """Results of trackers {name: noise in px}, with times, two description changes each and the thought behind."""
    store = ResultStore(folder)
    for place, (tracker, noise) in enumerate(trackers.items()):
        for number, own in enumerate(sorted(p.name for p in root.iterdir() if p.is_dir())):
            truth = np.loadtxt(root / own / "groundtruth.txt", delimiter=",")
            rng = np.random.default_rng(100 * place + number)
            boxes = truth + np.cumsum(rng.normal(0, noise / 8, truth.shape), axis=0) * [1, 1, 0.2, 0.2]
            boxes[:, 2:] = np.maximum(boxes[:, 2:], 4)
            boxes[0] = truth[0]
            seconds = np.full(len(truth), 0.04 / (place + 1))
            record = {"device": "cpu", "description_changes": []}
            after = HOSTILE_SENTENCE if hostile else f"the box as {place} sees it"
            trace = [
                {"schema": "tnllt.trace/1", "event": "refresh", "frame": 29, "before": SENTENCE, "after": after,
                 "think": HOSTILE_SENTENCE if hostile else "It came back brighter than it went."}
            ]  # fmt: skip
            store.write(tracker, own, Trajectory(boxes, seconds=seconds, record=record), trace)
    return folder
