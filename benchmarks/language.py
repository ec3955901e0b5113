"""Does language help? One tracker, the same sequences, four descriptions.

    python benchmarks/language.py [--weights FILE] [--sequences 60] [--scene change|lookalike]

`change`: the target changes its appearance, so that its first description stops being true, while look-alikes are near;
one of them may take the target's former appearance. `lookalike`: the target does not change, distractors of the same
shape are near. The descriptions: *static*, the sequence's own; *moment*, the one that is true at the moment, refreshed
every ten frames; *wrong*, one that is true of a distractor or of nothing; *none*.

Prints the mean overlap score of each, and the paired differences to *none* and to *wrong* with 95 % intervals over
sequences. Everything is made here, from seeds; nothing is read but the weights.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence as Ordered
from pathlib import Path

import click
import numpy as np

from tnllt import evaluate
from tnllt.datasets.frames import ArrayFrames
from tnllt.datasets.synth import ScenePlan, SynthConfig, plan
from tnllt.eval.statistics import WeightedScores, bootstrap_intervals, difference_intervals
from tnllt.reasoningtrack import ReasoningTrack
from tnllt.reasoningtrack.reasoners import Reasoning
from tnllt.sequence import Boxes, Sequence
from tnllt.training.tracker.validate import scene_sequence

DESCRIPTIONS = ("static", "moment", "wrong", "none")
PAIRS = (("moment", "static"), ("moment", "wrong"), ("static", "wrong"), ("moment", "none"), ("static", "none"))
FIRST_SEED = 2_000_000_000  #: neither training nor validation draws these
SCENES = {
    "change": {"change": 1.0, "swap": 0.5, "distractors": (2, 4), "twins": 0.0},
    "lookalike": {"change": 0.0, "distractors": (2, 4), "twins": 0.0},
}


class Oracle:
    """A reasoner that always answers with the description that is true at the current frame."""

    def __init__(self) -> None:
        self.current = ""

    def describe(self, first: object, second: object, description: str) -> Reasoning:
        return Reasoning(think=None, update=True, description=self.current, raw="", seconds=0.0)


def track_sequence(tracker: ReasoningTrack, oracle: Oracle, sequence: Sequence, description: str) -> Boxes:
    """Boxes (T, 4) of one run; `moment` is the one in which the oracle is asked."""
    boxes = np.array(sequence.groundtruth)
    tracker.initialize(sequence.frames[0], [float(v) for v in boxes[0]], description)
    try:
        for i in range(1, len(sequence)):
            oracle.current = sequence.descriptions[i] if sequence.descriptions is not None else ""
            boxes[i] = np.asarray(tracker.track(sequence.frames[i]).box)
    finally:
        tracker.finish()
    return boxes


def description_of(kind: str, scene: ScenePlan) -> str:
    return {"static": scene.language, "moment": scene.description(0), "wrong": scene.wrong, "none": ""}[kind]


def near_target(scene: ScenePlan) -> bool:
    """Whether the scene has a distractor, so that its wrong description is wrong."""
    return bool(scene.present[0]) and scene.wrong != scene.language


def measure(weights: Path | None, scenes: Ordered[ScenePlan]) -> dict[str, dict[str, Boxes]]:
    oracle = Oracle()
    # Area ratios never exceed 1, so a refresh is due at every look: each tenth frame.
    asking = ReasoningTrack(weights=weights, reasoner=oracle, refresh_interval=10, refresh_area=1.01)
    silent = ReasoningTrack(weights=weights, reasoner="static")
    found: dict[str, dict[str, Boxes]] = {kind: {} for kind in DESCRIPTIONS}
    for number, scene in enumerate(scenes):
        painted = scene_sequence(scene, f"scene-{number:03d}")
        frames = ArrayFrames([painted.frames[i] for i in range(len(painted))])  # painted once, tracked four times
        sequence = Sequence(painted.name, painted.source, frames, painted.dataset)
        for kind in DESCRIPTIONS:
            tracker = asking if kind == "moment" else silent
            found[kind][sequence.name] = track_sequence(tracker, oracle, sequence, description_of(kind, scene))
    return found


@click.command()
@click.option("--weights", type=click.Path(path_type=Path, exists=True), help="Default: the bundled ones.")
@click.option("--sequences", default=60, show_default=True)
@click.option("--frames", default=120, show_default=True)
@click.option("--scene", type=click.Choice(sorted(SCENES)), default="change", show_default=True)
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(weights: Path | None, sequences: int, frames: int, scene: str, out: Path | None) -> None:
    """Mean success AUC with four descriptions, and paired differences."""
    started = time.monotonic()
    config = SynthConfig(frames=frames, width=320, height=240, **SCENES[scene])  # type: ignore[arg-type]
    scenes: list[ScenePlan] = []
    seed = FIRST_SEED
    while len(scenes) < sequences:
        candidate = plan(seed, config)
        seed += 1
        if near_target(candidate):
            scenes.append(candidate)
    videos = [scene_sequence(s, f"scene-{i:03d}") for i, s in enumerate(scenes)]
    scores = evaluate(videos, measure(weights, scenes), "tnllt")
    table = scores.per_sequence("success")
    bounds = bootstrap_intervals(table)
    click.echo(f"{scene}: {sequences} sequences of {frames} frames, {time.monotonic() - started:.0f} s")
    for i, kind in enumerate(scores.trackers):
        click.echo(f"  {kind:7s} success AUC {bounds.estimate[i]:.3f}  [{bounds.low[i]:.3f}, {bounds.high[i]:.3f}]")
    figures: dict[str, object] = {"success": dict(zip(scores.trackers, bounds.estimate.tolist(), strict=True))}
    for a, b in PAIRS:
        first, second = (WeightedScores.of(table[scores.trackers.index(name)]) for name in (a, b))
        gap = difference_intervals(first, second)
        low, mean, high = float(gap.low[0]), float(gap.estimate[0]), float(gap.high[0])
        click.echo(f"  {a} - {b}: {mean:+.3f}  [{low:+.3f}, {high:+.3f}]")
        figures[f"{a}-{b}"] = [mean, low, high]
    if out is not None:
        out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
