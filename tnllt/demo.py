"""`make demo`: a small benchmark made here, scored and drawn; no download, under a minute.

Annotations are smooth random paths with absences; four made-up trackers fail in ways that real ones do: one is precise
until it is fooled, one drifts, one jitters, one stays where it began.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tnllt.sequence import Annotation, Boxes, Sequence, Trajectory

ATTRIBUTES = ["CM", "ROT", "DEF", "FOC", "IV", "OV", "POC", "VC", "SV", "BC", "MB", "ARC", "LR", "FM", "AS"]
WIDTH, HEIGHT = 1280, 720


def make_sequences(count: int = 12, frames: int = 400, seed: int = 7) -> list[Sequence]:
    """Annotated sequences: targets that wander, grow and shrink, and are gone for a while."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        center = _path(rng, frames, (WIDTH / 2, HEIGHT / 2), 260.0)
        size = np.exp(_path(rng, frames, (4.4, 4.2), 0.35))
        truth = np.concatenate([center - size / 2, size], axis=1).round()
        present = np.ones(frames, dtype=bool)
        for start in rng.integers(frames // 10, frames * 4 // 5, size=index % 3):
            present[start : start + rng.integers(frames // 40, frames // 8)] = False
        truth[~present] = 0
        attributes = {name: bool(rng.random() < 0.5) for name in ATTRIBUTES} | {"OV": not present.all()}
        made.append(Sequence(f"demo-{index + 1:02d}", Annotation(truth, present, None, attributes), dataset="demo"))
    return made


def make_trajectories(sequences: list[Sequence], seed: int = 11) -> dict[str, dict[str, Trajectory]]:
    """{tracker: {sequence: trajectory}} of four made-up trackers; two of them say how sure they are."""
    made: dict[str, dict[str, Trajectory]] = {name: {} for name in ("careful", "drifting", "shaky", "asleep")}
    for sequence in sequences:
        rng = np.random.default_rng([seed, *sequence.name.encode()])
        truth, present = sequence.groundtruth, sequence.present
        assert present is not None
        count = len(truth)
        held = truth[np.maximum.accumulate(np.where(present, np.arange(count), 0))]
        careful = held + rng.normal(0, 2.5, (count, 4))
        sure = np.clip(0.85 + rng.normal(0, 0.07, count) - 0.6 * ~present, 0, 1)
        if rng.random() < 0.4:
            fooled = int(rng.integers(count // 2, count))
            careful[fooled:, :2] += rng.normal(0, 200, 2)
            sure[fooled:] -= 0.3
        made["careful"][sequence.name] = _given_first(truth, careful, np.clip(sure, 0, 1), ~present & (sure < 0.5))
        away = np.cumsum(rng.normal(0, 0.8, (count, 4)), axis=0)
        made["drifting"][sequence.name] = _given_first(truth, held + away, np.exp(-np.abs(away).max(1) / 60), None)
        made["shaky"][sequence.name] = _given_first(truth, held + rng.normal(0, 14, (count, 4)), None, None)
        made["asleep"][sequence.name] = Trajectory(np.repeat(truth[:1], count, axis=0))
    return made


def _path(rng: np.random.Generator, frames: int, middle: tuple[float, float], reach: float) -> NDArray[np.float64]:
    """A smooth path (frames, 2) around a point: a few slow sines."""
    time = np.linspace(0, 1, frames)[:, None]
    waves = [
        rng.uniform(0.2, 0.6, 2) * np.sin(2 * np.pi * (rng.uniform(0.3, 2.5, 2) * time + rng.random(2))) for _ in "abc"
    ]
    return np.asarray(np.array(middle) + reach * np.sum(waves, axis=0) * np.array([1.0, 0.6]))


def _given_first(
    truth: Boxes, boxes: Boxes, confidence: NDArray[np.float64] | None, absent: NDArray[np.bool_] | None
) -> Trajectory:
    boxes = np.concatenate([truth[:1], boxes[1:]])
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 2)
    if absent is not None:
        # A frame called absent keeps the last box.
        boxes = boxes[np.maximum.accumulate(np.where(absent, 0, np.arange(len(boxes))))]
    return Trajectory(boxes, confidence, absent)


def write_example(folder: Path, sequences: list[Sequence], results: dict[str, dict[str, Trajectory]]) -> None:
    """The example in the official toolkit's layout: `annos/` and `tracking_results/`."""
    from tnllt.results.store import ResultStore

    for sub in ("absent", "att"):
        (folder / "annos" / sub).mkdir(parents=True, exist_ok=True)
    for sequence in sequences:
        assert sequence.present is not None and sequence.attributes is not None
        flags = [sequence.attributes[name] for name in ATTRIBUTES]
        for sub, rows in (("", sequence.groundtruth), ("absent", sequence.present[:, None]), ("att", [flags])):
            np.savetxt(folder / "annos" / sub / f"{sequence.name}.txt", rows, fmt="%d", delimiter=",")
    store = ResultStore(folder / "tracking_results")
    for tracker, own in results.items():
        for name, trajectory in own.items():
            store.write(tracker, name, trajectory)


def run(folder: Path) -> list[Path]:
    """Makes the example below `folder`, scores it from its files, prints the table and draws the plots."""
    from tnllt.cli.loading import Options, load
    from tnllt.config import Locations

    sequences = make_sequences()
    write_example(folder, sequences, make_trajectories(sequences))
    where = Locations("tnllt", None, folder / "annos", folder / "tracking_results")
    scores = load(Options(where, cache=False)).score()
    print(scores.table())
    written = scores.save(folder / "scores") + scores.plot(
        folder / "scores", "success", attributes=True, formats=("png",)
    )
    print(f"{len(sequences)} sequences and {len(scores.trackers)} trackers were made, scored and drawn.")
    print(f"Look at {folder / 'scores' / 'curves.png'} and {folder / 'scores' / 'success_radar.png'}.")
    print(f"The same by hand:\n  tnllt-eval --annos {where.annos} --results {where.results} --attributes --out plots")
    return written


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tnllt.demo", description="Make, score and draw a small example.")
    parser.add_argument("folder", type=Path, help="where everything goes")
    run(parser.parse_args().folder)


if __name__ == "__main__":
    main()
