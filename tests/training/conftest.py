"""Pairs of frames with a coloured box, small enough to train on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tnllt.training.vlm.pairs import true_description, write_answer
from tnllt.training.vlm.records import write_sample

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 220), "white": (240, 240, 240)}
PROMPT = "Say whether the text still fits: <think>why</think><d>yes or no</d><answer>text</answer>"


def write_pairs_of_boxes(folder: Path, number: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    for index in range(number):
        colour = list(COLOURS)[int(rng.integers(4))]
        boxes, pictures = [], []
        for _ in range(2):
            picture = np.full((72, 96, 3), 90, np.uint8) + rng.integers(0, 20, (72, 96, 3), dtype=np.uint8)
            x, y = int(rng.integers(0, 76)), int(rng.integers(0, 52))
            picture[y : y + 20, x : x + 20] = COLOURS[colour]
            boxes.append((float(x), float(y), 20.0, 20.0))
            pictures.append(picture)
        where = "left" if boxes[0][0] < 38 else "right"
        own = f"the {colour} box on the {where}"
        now = true_description(own, boxes[1], 96)
        facts = {
            "language_description": own,
            "img1_groundtruth": ",".join(map(str, boxes[0])),
            "img2_groundtruth": ",".join(map(str, boxes[1])),
            "instruction": PROMPT,
            "output": write_answer(own, now, (boxes[0], boxes[1]), (96, 96)),
        }
        write_sample(folder / f"sample{index + 1:04d}", pictures, facts)
    return folder


@pytest.fixture(scope="session")
def box_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs_of_boxes(tmp_path_factory.mktemp("pairs"), 48)
