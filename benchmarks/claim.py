"""The claim: does a reasoner that revises the description help, on sequences that no training drew?

    python benchmarks/claim.py --out claim [--sequences 200] [--scene change] [--weights sft=FILE]
    python benchmarks/claim.py --out claim --dataset tnllt --root /data/TNLLT --reasoner mine=openai:http://127.0.0.1:8000/v1

Runs one tracker with several reasoners and scores all runs once: *static* (the sequence's own description stays),
*bundled*, the same with other weights (`--weights`: of another stage of training, say), those of `--reasoner`,
*oracle* (the description that is true at the moment, where the dataset has one) and *wrong* (a description of a
distractor; of a real dataset, that of another sequence). Without `--dataset` the sequences are made here, from seeds of
their own: *change*, where the target changes its look and may leave it to a look-alike, and *lookalike*, where the
description stays true.

A reasoner is asked every five frames (`--every`). The fraction is that of the gain of an oracle that is asked every
ten; an oracle that is asked as often as the reasoners is one of the runs, too.

Prints each run's success AUC, its paired difference to static and the fraction of the oracle's gain, with 95 %
intervals over sequences, and writes them to `OUT/<data>/claim.json`. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from language import SCENES, near_target
from numpy.typing import NDArray

import tnllt
from tnllt.datasets.convert import annotation_files
from tnllt.datasets.synth import SynthConfig, plan
from tnllt.datasets.synth.config import FrameFormat
from tnllt.datasets.synth.write import draw_frames
from tnllt.eval.statistics import WeightedScores, bootstrap_counts, bootstrap_intervals, difference_intervals
from tnllt.files import to_json, write_atomic
from tnllt.sequence import Annotation

FIRST_SEED = 3_500_000_000  #: neither training, validation nor another benchmark draws these
STATIC, ORACLE, WRONG = "static", "oracle", "wrong"
ORACLE_EVERY = 10  #: frames between two questions to the oracle whose gain is 1


@dataclass(frozen=True)
class Run:
    """One of the runs that are compared: a reasoner, its options, another text than the sequence's own, and how often
    it is asked, where that is not as often as the others."""

    name: str
    reasoner: str
    options: str | None = None
    text: str | None = None
    every: int | None = None


def make_sequences(folder: Path, scene: str, count: int, frames: int) -> None:
    """Scenes with a distractor as a dataset folder, and `wrong.json` beside it; what is there stays."""
    config = SynthConfig(frames=frames, width=320, height=240, **SCENES[scene])  # type: ignore[arg-type]
    wrong: dict[str, str] = {}
    seed = FIRST_SEED
    while len(wrong) < count:
        planned = plan(seed, config)
        name = f"{scene}-{seed}"
        seed += 1
        if not near_target(planned):
            continue
        wrong[name] = planned.wrong
        if (folder / name).is_dir():
            continue
        draft = folder / f".making-{name}"
        draw_frames(draft, planned, range(frames), FrameFormat())
        annotation = Annotation(
            planned.boxes, planned.present, planned.language, planned.attributes, planned.descriptions
        )
        for file, text in annotation_files(annotation):
            (draft / file).write_text(text, encoding="utf-8")
        draft.rename(folder / name)
    (folder / "splits").mkdir(exist_ok=True)
    (folder / "splits" / "test.txt").write_text("\n".join(wrong) + "\n", encoding="utf-8")
    (folder.parent / "wrong.json").write_text(json.dumps({"texts": wrong}), encoding="utf-8")


def asked(every: int) -> dict[str, Any]:
    """Options of a tracker that asks every so many frames; 0: as it decides."""
    # An area ratio never exceeds 1, so that a refresh is due at every test.
    return {"refresh_interval": every, "refresh_area": 1.01} if every else {}


def track(
    runs: list[Run], where: Mapping[str, Any], results: Path, every: int, settings: dict[str, Any], workers: int
) -> None:
    """Every run, one after the other; results that are there stay."""
    for run in runs:
        started = time.monotonic()
        options = {**asked(run.every or every), **settings, "reasoner": run.reasoner}
        if run.options is not None:
            options["reasoner_options"] = run.options
        told = {} if run.text is None else {"text": run.text}
        found = tnllt.run(
            "ReasoningTrack", **where, results=results, options=options, name=run.name, workers=workers, **told
        )
        done = f"{len(found.done)} tracked, {len(found.before)} there before, {len(found.failed)} failed"
        click.echo(f"  {run.name}: {done}, {time.monotonic() - started:.0f} s", err=True)


def fractions(values: NDArray[np.float64], static: int, oracle: int) -> tuple[Any, Any, Any]:
    """Each run's gain over static as a fraction of the oracle's, with percentile intervals over sequences.

    Args:
        values: (run, sequence) scores, none missing.
    """
    counts = bootstrap_counts(values.shape[1])
    draws = counts @ values.T / counts.sum(axis=1, keepdims=True)
    gain = draws - draws[:, [static]]
    means = values.mean(axis=1) - values[static].mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = gain / gain[:, [oracle]]
        low, high = np.nanquantile(np.where(np.isfinite(drawn), drawn, np.nan), [0.025, 0.975], axis=0)
        return means / means[oracle], low, high


def report(where: Mapping[str, Any], results: Path, others: list[str]) -> dict[str, Any]:
    """Scores everything in the results folder; prints and returns the figures.

    Args:
        others: runs with other weights of the bundled reasoner, which are compared with it.
    """
    scores = tnllt.score(**where, results=results)
    names = [name.split("@")[0] for name in scores.trackers]
    table = scores.per_sequence("success")
    values = table[:, ~np.isnan(table).any(axis=0)]
    static = names.index(STATIC)
    score = bootstrap_intervals(values)
    part = None
    if ORACLE in names:
        best, base = (WeightedScores.of(values[i]) for i in (names.index(ORACLE), static))
        if difference_intervals(best, base).low[0] > 0:  # where the oracle gains nothing there is no fraction of it
            part = fractions(values, static, names.index(ORACLE))
    figures: dict[str, Any] = {"sequences": values.shape[1], "runs": {}}
    click.echo(f"{values.shape[1]} sequences: success AUC, difference to {STATIC}, fraction of the oracle's gain")
    for i in sorted(range(len(names)), key=lambda i: -score.estimate[i]):
        gap = difference_intervals(WeightedScores.of(values[i]), WeightedScores.of(values[static]))
        found = {
            "success": [score.estimate[i], score.low[i], score.high[i]],
            "difference": [gap.estimate[0], gap.low[0], gap.high[0]],
        }
        if part is not None and names[i] not in (STATIC, ORACLE):
            found["fraction"] = [part[k][i] for k in range(3)]
        line = "  ".join(f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]" for mean, low, high in found.values())
        click.echo(f"  {names[i]:12s} {line if i != static else line.split('  ')[0]}")
        figures["runs"][names[i]] = {key: [round(float(v), 5) for v in value] for key, value in found.items()}
    for other in others:
        first, second = (WeightedScores.of(values[names.index(name)]) for name in ("bundled", other))
        gap = difference_intervals(first, second)
        click.echo(f"  bundled - {other}: {gap.estimate[0]:+.3f} [{gap.low[0]:+.3f}, {gap.high[0]:+.3f}]")
        figures[f"bundled-{other}"] = [round(float(v[0]), 5) for v in (gap.estimate, gap.low, gap.high)]
    return figures


@click.command()
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Folder of sequences and results.")
@click.option("--sequences", default=200, show_default=True, help="Sequences to make of each kind of scene.")
@click.option("--frames", default=60, show_default=True, help="Their length.")
@click.option("--scene", type=click.Choice(["both", *sorted(SCENES)]), default="both", show_default=True)
@click.option("--dataset", "-d", help="Use a dataset instead: a benchmark's name, or a folder of sequences.")
@click.option("--root", type=click.Path(path_type=Path), help="Folder of the benchmark.")
@click.option("--split", default=None, help="Split of the dataset.")
@click.option(
    "--weights", multiple=True, metavar="NAME=FILE", help="Other weights of the bundled reasoner; repeatable."
)
@click.option("--reasoner", "reasoners", multiple=True, metavar="NAME=SPEC", help="A further reasoner; repeatable.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of ReasoningTrack, for all runs.")
@click.option("--every", default=5, show_default=True, help="Frames between two questions; 0: as the tracker decides.")
@click.option("--workers", default=1, show_default=True)
def main(
    out: Path,
    sequences: int,
    frames: int,
    scene: str,
    dataset: str | None,
    root: Path | None,
    split: str | None,
    weights: tuple[str, ...],
    reasoners: tuple[str, ...],
    settings: tuple[str, ...],
    every: int,
    workers: int,
) -> None:
    """Compare reasoners on sequences that no training drew."""
    own, others = (dict(pair.split("=", 1) for pair in pairs) for pairs in (settings, weights))
    names = [dataset] if dataset else ([scene] if scene != "both" else list(SCENES))
    for name in names:
        folder = out / Path(name).name
        where: dict[str, Any]
        if dataset:
            where = {"dataset": dataset, "root": root, "split": split}
            wrong, moments = "shuffled", all(s.descriptions for s in tnllt.open_dataset(dataset, root, split=split))
        else:
            make_sequences(folder / "data", name, sequences, frames)
            where = {"dataset": str(folder / "data")}
            wrong, moments = str(folder / "wrong.json"), True
        runs = [Run(STATIC, "static"), Run(WRONG, "static", text=wrong), Run("bundled", "bundled")]
        runs += [Run(name, "bundled", f"weights={Path(file).resolve()}") for name, file in others.items()]
        runs += [Run(*pair.split("=", 1)) for pair in reasoners]
        if moments:
            runs.append(Run(ORACLE, "annotation", every=ORACLE_EVERY if every else None))
        if moments and every not in {0, ORACLE_EVERY}:
            runs.append(Run(f"{ORACLE}-{every}", "annotation"))
        click.echo(name)
        track(runs, where, folder / "results", every, own, workers)
        figures = report(where, folder / "results", list(others))
        write_atomic(folder / "claim.json", to_json(figures))


if __name__ == "__main__":
    main()
