"""The bundled reasoner alone, on pairs of frames that no training drew.

    python benchmarks/reasoner.py [--weights FILE] [--scenes 300] [--scene change|lookalike]

Of each scene six questions: three later frames, with the box on the target, on a look-alike or beside both. Prints, by
where the box was: the fraction of right decisions (yes, no, keep), of whole descriptions that are true now, and where
the description should change those of the right main colour, kind and whole description; how often every object that
the thought names is in the frame; and whether each answer has the published form.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
import torch

from tnllt.datasets.synth.appearance import SpriteLook as Appearance
from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners import parse_answer
from tnllt.reasoningtrack.reasoners.base import Look, Question
from tnllt.reasoningtrack.reasoners.bundled import BundledReasoner
from tnllt.reasoningtrack.reasoners.looks import KINDS, PATTERN_NAMES, SHADES, family, read_description
from tnllt.reasoningtrack.reasoners.reader import FACTORS
from tnllt.training.reasoner.samples import PLACES, SEEN, Facts, footage, scene_of, tracker_box

#: Questions that are asked again, for the time of one whose first window has been read.
TIMED = 240
FIRST_SEED = 1_500_000_000  #: neither training nor development draws these


def words_of(row: np.ndarray, grey: bool) -> str:
    kind, main, second, pattern = (int(v) for v in row)
    look = Appearance(family(KINDS[kind]), KINDS[kind], SHADES[main], SHADES[second], PATTERN_NAMES[pattern])
    return look.words(not grey)


def in_window(seen: Facts, box: np.ndarray) -> bool:
    """Whether the target can be seen in the reasoner's window around the box."""
    middle = seen.boxes[0, :2] + seen.boxes[0, 2:] / 2
    half = FACTORS[1] * np.sqrt(box[2:].prod()) / 2
    return bool(seen.shown[0] >= SEEN and (np.abs(middle - box[:2] - box[2:] / 2) < half).all())


def four(box: np.ndarray) -> tuple[float, float, float, float]:
    x, y, w, h = (float(v) for v in box)
    return x, y, w, h


@click.command()
@click.option("--weights", type=click.Path(path_type=Path, exists=True), help="Default: the bundled ones.")
@click.option("--scenes", default=300, show_default=True)
@click.option("--scene", type=click.Choice(["change", "lookalike", "default"]), default="change", show_default=True)
@click.option("--seed", default=FIRST_SEED, show_default=True)
@click.option("--confidence", default=None, type=float)
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Also write the figures here.")
def main(weights: Path | None, scenes: int, scene: str, seed: int, confidence: float | None, out: Path | None) -> None:
    """Right decisions, descriptions and thoughts, by where the box was."""
    torch.set_num_threads(1)
    reasoner = BundledReasoner(weights, **({} if confidence is None else {"confidence": confidence}))
    tables: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: list[float] = []
    valid = asked = 0
    for number in range(scenes):
        try:
            planned = scene_of(seed + number, scene)
        except UsageError:
            continue
        rng = np.random.default_rng((seed, number))
        film = footage(planned, rng, 3)
        known = read_description(planned.language)
        for k in (1, 2, 3):
            seen, frame = film.facts[k], film.frames[k]
            for place in rng.choice(list(PLACES), 2, replace=False):
                box = tracker_box(rng, seen, str(place))
                # A first look of its own: what other questions saw beside the target is not known to this one.
                first, current = Look(film.images[0], four(planned.boxes[0]), 0), Look(film.images[k], four(box), frame)
                answer = reasoner.describe(Question.of_pair(first, current, planned.language))
                parsed = parse_answer(answer.raw)
                asked += 1
                valid += not parsed.missing and parsed.decision == answer.decision
                if len(seconds) < TIMED:
                    seconds.append(reasoner.describe(Question.of_pair(first, current, planned.language)).seconds or 0.0)
                truth = planned.description(frame)
                should = "keep"
                if known is not None and in_window(seen, box):
                    should = "yes" if truth != planned.language else "no"
                found = answer.after(Question.of_pair(first, current, planned.language))
                table = tables[str(place)]
                table["right decision"].append(answer.decision == should)
                table[f"decision where {should}"].append(answer.decision == should)
                if should == "yes":
                    table["whole description where yes"].append(found == truth)
                if answer.decision == "yes":
                    said, true = read_description(answer.description or ""), read_description(truth)
                    if said is not None and true is not None:
                        table["kind of answers yes"].append(said.look.kind == true.look.kind)
                        table["main colour of answers yes"].append(said.look.main == true.look.main)
                        table["whole of answers yes"].append(answer.description == truth)
                if answer.decision != "keep":
                    table["true now where not keep"].append(found == truth)
                there = {
                    words_of(row, planned.grey) for row, shown in zip(seen.looks, seen.shown, strict=True) if shown > 0
                }
                named = answer.detail.get("now", ())
                if named:
                    table["thought: objects named that are there"] += [phrase in there for phrase in named]
                    table["thought: wholly true"].append(all(phrase in there for phrase in named))
    names = list(dict.fromkeys(name for table in tables.values() for name in table))
    click.echo(f"{scene}: {asked} questions, form valid in {valid}; median {np.median(seconds) * 1e3:.1f} ms")
    figures: dict[str, dict[str, list[float]]] = {}
    for name in sorted(names):
        cells = {place: tables[place][name] for place in PLACES}
        cells["all"] = [value for part in cells.values() for value in part]
        figures[name] = {place: [round(float(np.mean(v)), 4) if v else 0.0, len(v)] for place, v in cells.items()}
        shown = "  ".join(f"{place} {mean:.2f} ({count})" for place, (mean, count) in figures[name].items())
        click.echo(f"  {name:40s} {shown}")
    if out is not None:
        out.write_text(json.dumps({"asked": asked, "valid": valid, "figures": figures}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    started = time.monotonic()
    main()
