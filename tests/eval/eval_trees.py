"""Small trees of annotations and results, made or read for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tnllt.numbers import parse_table
from tnllt.sequence import Annotation, Sequence

SMALL = Path(__file__).resolve().parents[1] / "data" / "eval_small"


def small_names() -> list[str]:
    return (SMALL / "testing_set.txt").read_text().split()


def read(path: Path) -> np.ndarray:
    return parse_table(path.read_bytes(), None, path)


def small_sequences() -> list[Sequence]:
    return [toolkit_sequence(SMALL / "annos", name, present_value=1, dataset="tnllt") for name in small_names()]


def toolkit_sequence(annos: Path, name: str, present_value: int, dataset: str) -> Sequence:
    present = read(annos / "absent" / f"{name}.txt").ravel() == present_value
    flags = read(annos / "att" / f"{name}.txt").ravel()
    attributes = {str(i): bool(v) for i, v in enumerate(flags)}
    return Sequence(name, Annotation(read(annos / f"{name}.txt"), present, None, attributes), dataset=dataset)


def small_results(trackers: list[str]) -> dict[str, dict[str, np.ndarray]]:
    folder = SMALL / "tracking_results"
    return {t: {n: read(folder / f"{t}_tracking_result" / f"{n}.txt") for n in small_names()} for t in trackers}


def write_tree(folder: Path, count: int = 3, frames: int = 20, trackers: int = 2, seed: int = 0) -> Path:
    """`folder/annos` and `folder/results` in the official layout: sequences s0, s1, ... and trackers t0, t1, ..."""
    rng = np.random.default_rng(seed)
    annos = folder / "annos"
    for sub in ("absent", "att"):
        (annos / sub).mkdir(parents=True)
    for s in range(count):
        walk = np.cumsum(rng.normal(0, 2, (frames, 4)), axis=0)
        truth = np.abs(walk + np.array([200, 150, 60, 50])).round()
        present = np.ones(frames, int)
        present[frames // 2] = 0
        save(annos / f"s{s}.txt", truth, "%d")
        save(annos / "absent" / f"s{s}.txt", present[:, None], "%d")
        save(annos / "att" / f"s{s}.txt", np.array([[1] * 2 + [0] * 13]), "%d")
        for t in range(trackers):
            boxes = truth + rng.normal(0, 2 + 3 * t, (frames, 4))
            save(folder / "results" / f"t{t}_tracking_result" / f"s{s}.txt", boxes)
    return folder


def save(path: Path, rows: np.ndarray, form: str = "%.4f") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt=form, delimiter=",")
