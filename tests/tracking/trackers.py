"""Trackers with habits, for tests: loaded by path, `tests/tracking/trackers.py:Class`."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from tnllt.tracking import Mode, Prediction, Tracker


class Drift(Tracker):
    """Tracks the mean colour a little and draws random numbers: slow enough to be interrupted, and repeatable."""

    def __init__(self, pause: float = 0.0, step: float = 1.0) -> None:
        self.pause, self.step = pause, step

    def initialize(self, image, box=None, language=None):
        self.box = np.array(box, float)

    def track(self, image):
        time.sleep(self.pause)
        self.box[:2] += self.step * np.random.normal(size=2) + image[0, 0, 0] / 255
        return Prediction(self.box.copy(), confidence=float(image.mean() / 255))


class Habit(Tracker):
    """Does `what` in frame `at` of the sequences whose first frame's corner is `who` (255: any)."""

    def __init__(self, what: str, at: int = 3, where: str = "b", once: Path | None = None) -> None:
        self.what, self.at, self.where, self.once = what, at, where, once

    def receive(self, sequence):
        self.name_now = sequence.name

    def initialize(self, image, box=None, language=None):
        self.box, self.frame, self.kept = list(box), 0, []

    def track(self, image):
        self.frame += 1
        if self.frame != self.at or self.name_now != self.where:
            return self.box
        if self.once is not None:
            if self.once.exists():
                return self.box
            self.once.write_text("did it")
        return getattr(self, "do_" + self.what)()

    def do_raise(self):
        raise RuntimeError("cannot see a thing")

    def do_nan(self):
        return [1.0, float("nan"), 3.0, 4.0]

    def do_five(self):
        return [1, 2, 3, 4, 5]

    def do_none(self):
        return None

    def do_hang(self):
        while True:
            time.sleep(0.05)

    def do_rubbish(self):
        print("rubbish " * 1000, flush=True)
        print("and on stderr", file=sys.stderr)
        os.write(1, b"\x00\xff raw bytes\n")
        return self.box

    def do_exit(self):
        sys.exit(5)

    def do_die(self):
        os.kill(os.getpid(), 9)

    def do_segfault(self):
        import ctypes

        ctypes.string_at(0)

    def do_leak(self):
        while True:
            self.kept.append(bytearray(20 * 2**20))
            time.sleep(0.02)

    def do_grow(self):
        self.kept.append(np.ones(300 * 2**17))
        return self.box


class Both(Tracker):
    """Takes every mode, and says by its boxes and events how it was started."""

    modes = (Mode.BB, Mode.NL, Mode.NL_BB)

    def initialize(self, image, box=None, language=None):
        self.start = [float(box is not None), float(bool(language)), 5.0, 5.0]
        self.frame = 0
        return Prediction(self.start, 0.5) if box is None else None

    def track(self, image):
        self.frame += 1
        if self.frame == 2:
            self.emit({"event": "refresh", "frame": 2, "before": "a cat", "after": "a black cat"})
        return Prediction(self.start, 0.25, absent=self.frame == 3)

    def info(self):
        return {"weights": "none", "notice": "these are no weights at all"}


class Batched(Tracker):
    """Tracks several at once; `breaks` names the corner pixel of a sequence whose step raises."""

    def __init__(self, breaks: int = -1, device: str = "cpu") -> None:
        self.breaks, self.device, self.largest = breaks, device, 0

    def initialize(self, image, box=None, language=None):
        self.state = self.start(image, box, language)

    def track(self, image):
        return self.step([self.state], [image])[0]

    def finish(self):
        self.end(self.state)

    def start(self, image, box, language, emit=None):
        return {"box": np.array(box, float), "frames": 0}

    def step(self, states, images):
        self.largest = max(self.largest, len(states))
        if any(int(image[0, 0, 0]) == self.breaks for image in images):
            raise RuntimeError("breaks")
        for state, image in zip(states, images, strict=True):
            state["box"][:2] += image.mean(axis=(0, 1))[:2] / 100
            state["frames"] += 1
        return [Prediction(state["box"].copy(), 1.0) for state in states]

    def end(self, state):
        return {"tracked": state["frames"], "largest_batch": self.largest}


class Telling(Tracker):
    """Stays, gives confidence, changes its description in frame 3, and does `what` in frame `at`."""

    modes = (Mode.BB, Mode.NL, Mode.NL_BB)

    def __init__(self, what: str = "", at: int = 5) -> None:
        self.what, self.at = what, at

    def initialize(self, image, box=None, language=None):
        self.box, self.frame, self.language = box or [1.0, 2.0, 3.0, 4.0], 0, language

    def track(self, image):
        self.frame += 1
        if self.frame == 3 and self.language:
            self.emit({"frame": 3, "before": self.language, "after": f'{self.language}, now "red"'})
        if self.frame == self.at and self.what == "raise":
            raise RuntimeError("lost my way")
        if self.frame == self.at and self.what == "interrupt":
            signal.raise_signal(signal.SIGINT)
        return Prediction(self.box, 0.25, absent=self.frame == 4)

    def info(self):
        return {"reasoner_failures": 2, "refreshes": [3, 6, 9]} if self.what == "silent" else {}


class Told(Tracker):
    """Moves right by one pixel a frame for every letter of what it is told; `heeds` False: it does not read."""

    modes = (Mode.BB, Mode.NL_BB)

    def __init__(self, heeds: bool = True, step: float = 0.0) -> None:
        self.heeds, self.step, self.told = heeds, step, []

    def initialize(self, image, box=None, language=None):
        self.box, self.told = np.array(box, float), [language]

    def describe(self, text):
        self.told.append(text)

    def track(self, image):
        self.box[0] += self.step + (len(self.told[-1] or "") if self.heeds else 0)
        return self.box.copy()

    def info(self):
        return {"told": self.told}


class ByColour(Tracker):
    """Takes the nearest blob of the colour that its text names, of about the last box's size; without one it stays."""

    modes = (Mode.BB, Mode.NL_BB)

    def initialize(self, image, box=None, language=None):
        from tnllt.datasets.synth.colours import COLOURS

        self.box = np.array(box, float)
        words = (language or "").split()
        self.colour = next((COLOURS[word] for word in words if word in COLOURS), None)

    def track(self, image):
        import cv2

        if self.colour is None:
            return self.box
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        wanted = cv2.cvtColor(np.float32([[self.colour]]) / 255, cv2.COLOR_RGB2LAB)[0, 0]
        near = (np.linalg.norm(lab - wanted, axis=2) < 25).astype(np.uint8)
        _, _, stats, centres = cv2.connectedComponentsWithStats(near)
        centre = self.box[:2] + self.box[2:] / 2
        size = np.sqrt(stats[:, 2] * stats[:, 3] / (self.box[2] * self.box[3]))
        away = np.linalg.norm(centres - centre, axis=1) / np.sqrt(self.box[2] * self.box[3])
        blobs = [i for i in range(1, len(stats)) if 0.7 < size[i] < 1.4 and away[i] < 1]
        if blobs:
            best = min(blobs, key=lambda i: away[i])
            self.box = stats[best, :4].astype(float)
        return self.box


class Sometimes(Tracker):
    """Finds the target where it is told the sequence's own text, in one sequence of `every`; else it stays."""

    modes = (Mode.BB, Mode.NL_BB)
    oracle = True

    def __init__(self, every: int = 10) -> None:
        self.every = every

    def receive(self, sequence):
        self.truth, self.name_now = sequence.groundtruth, sequence.name

    def initialize(self, image, box=None, language=None):
        self.frame, self.box = 0, box
        self.reads = int(self.name_now[1:]) % self.every == 0 and self.name_now in (language or "").split()

    def track(self, image):
        self.frame += 1
        return self.truth[self.frame] if self.reads else self.box
