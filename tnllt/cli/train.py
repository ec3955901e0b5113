"""`tnllt-train`: train the tracking network, a reasoner, a baseline; export data to other trainers."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import Any

import click

from tnllt import slurm
from tnllt.cli.common import LazyGroup, run_command, version_option
from tnllt.cli.dataclass_options import config_options
from tnllt.cli.train_job import TrainingJob, run_training
from tnllt.errors import UsageError
from tnllt.options import key_values, split_pairs
from tnllt.processes import THREADS_WAIT
from tnllt.training.tracker.options import TrainOptions
from tnllt.training.vlm.options import (
    ExportOptions,
    GrpoOptions,
    ModelOptions,
    RecordOptions,
    RecordSources,
    SftOptions,
)

#: Subcommands in files of their own, and what they do.
_SUBCOMMANDS = {
    "reasoner": ("tnllt.cli.train_bundled:reasoner", "Train the bundled reasoner, supervised or by tracking gain."),
    "baseline": ("tnllt.cli.train_baseline:baseline", "Re-train a baseline with its own code."),
}


class _Trainings(LazyGroup):
    """Trainings that run here, or as a Slurm job where the group's option `--slurm` is given."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if ctx.params.get("slurm") and name is not None and command is not None:
            with command.make_context(name, list(rest), parent=ctx) as own:  # refuses here what the job would refuse
                out = own.params.get("out")
            if out is None:
                raise UsageError(f"--slurm is for trainings with --out; {name} runs here")
            folder = Path(out) / slurm.FOLDER
            settings = key_values(split_pairs(ctx.params["slurm"]), "--slurm")
            work = TrainingJob(run_training, [name, *rest], out)
            number, *_ = slurm.submit(work, settings, folder, f"tnllt-train {name}")
            click.echo(f"Slurm job {number} submitted; its output is in {folder}")
            ctx.exit()
        return name, command, rest


@click.group(cls=_Trainings, subcommands=_SUBCOMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--slurm", metavar="partition=gpu,time=1-0", help="Submit the training that follows, and return.")
@version_option
def cli(slurm: str | None) -> None:
    """Train the tracking network, the reasoner that revises its descriptions, and the baselines."""


@cli.command()
@click.option("--config", "-c", default="tiny", show_default=True, help="Recipe and network: 256, 384 or tiny.")
@click.option(
    "--data",
    "-d",
    multiple=True,
    metavar="SOURCE[*FRACTION]",
    help="Where samples come from, and their fraction: `synth`, `synth:patch=0.5,frames=300`, a benchmark's name (its "
    "root from --root NAME=DIR or the configuration file) or a folder. Repeatable.  [default: synth]",
)
@click.option("--root", multiple=True, metavar="NAME=DIR", help="Folder of a benchmark. Repeatable.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, e.g. batch=16.")
@click.option("--validation", default=8, show_default=True, type=click.IntRange(1), help="Held-out sequences to track.")
@config_options(TrainOptions, "options")
def tracker(
    config: str,
    data: tuple[str, ...],
    root: tuple[str, ...],
    changes: tuple[str, ...],
    validation: int,
    options: TrainOptions,
) -> None:
    """Train the tracking network by the published recipe (256, 384) or the bundled weights' one (tiny).

    The same command resumes from its last saved state, to the same weights. Several devices or machines: `accelerate
    launch -m tnllt.cli.train tracker ...` (DDP or FSDP by accelerate's configuration).
    """
    from tnllt.training.tracker.recipe import recipe
    from tnllt.training.tracker.samples import make_source, synth_config
    from tnllt.training.tracker.trainer import train
    from tnllt.training.tracker.validate import held_out, validator

    roots = {name: Path(place) for name, place in key_values(root, "--root", "NAME=DIR").items()}
    chosen = recipe(config, **key_values(changes, "--set"))
    sources = [(make_source(spec, roots.get(spec)), fraction) for spec, fraction in map(_fraction, data or ("synth",))]
    scenes = held_out(dataclasses.replace(synth_config(), frames=60, width=320, height=240), validation)
    validate = validator(scenes) if options.validate_every else None
    weights = train(chosen, sources, options, validate, report=click.echo)
    click.echo(f"weights: {weights}")


def _fraction(item: str) -> tuple[str, float]:
    spec, star, fraction = item.rpartition("*")
    if not star:
        return item, 1.0
    try:
        value = float(fraction)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f"--data {item}: write a positive number after *, such as synth*0.5")
    return spec, value


@cli.command()
@config_options(RecordSources, "sources")
@config_options(ModelOptions, "model")
@config_options(SftOptions, "options")
def sft(sources: RecordSources, model: ModelOptions, options: SftOptions) -> None:
    """Fine-tune a vision-language model as reasoner on records of frame pairs; only the answers are trained.

    \b
    tnllt-train sft --model Qwen/Qwen2.5-VL-3B-Instruct --download --records sft/ --images /data/pairs --out reasoner
    tnllt-train sft --model MODEL --dataset tnllt --root /data/TNLLT --out reasoner

    The defaults are the published recipe. The model in --out is complete: use it as
    `tnllt-run ReasoningTrack --set reasoner=transformers:OUT`, or serve it. Several devices: `accelerate launch
    -m tnllt.cli.train sft ...`.
    """
    from tnllt.training.vlm.finetune import run_sft
    from tnllt.training.vlm.gather import gather

    _show_log()
    _echo_trained(run_sft(gather(sources, options.out, options.seed), model, options), options.out, "loss")


@cli.command()
@config_options(RecordSources, "sources")
@config_options(ModelOptions, "model")
@config_options(GrpoOptions, "options")
def grpo(sources: RecordSources, model: ModelOptions, options: GrpoOptions) -> None:
    """Train a reasoner by reinforcement (GRPO); a frozen tracker measures which descriptions help.

    \b
    tnllt-train grpo --model reasoner --samples RLsamples/ --tracker-weights DUTrack.pth.tar --tracker-config 256 \\
        --out reasoner-rl
    tnllt-train grpo --model reasoner --dataset tnllt --root /data/TNLLT --reward gain --window 20 --out reasoner-rl

    The defaults are the published recipe, with overlap rewarded. Start from a model that `tnllt-train sft` made.
    Several devices: `accelerate launch -m tnllt.cli.train grpo ...`.
    """
    from tnllt.training.vlm.frozen import load_frozen
    from tnllt.training.vlm.gather import gather
    from tnllt.training.vlm.grpo import run_grpo

    _show_log()
    tracker = load_frozen(options) if options.weights.needs_tracker else None
    runs = tracker if options.weights.gain else None
    trainer = run_grpo(gather(sources, options.out, options.seed, runs), model, options, tracker)
    _echo_trained(trainer, options.out, "reward")


@cli.command()
@config_options(RecordSources, "sources", without=("records", "images", "samples", "prompt", "view", "gap"))
@config_options(RecordOptions, "options")
def records(sources: RecordSources, options: RecordOptions) -> None:
    """Write samples of what a reasoner is asked while a tracker runs, with answers to learn.

    \b
    tnllt-train records --dataset tnllt --root /data/TNLLT --teacher openai:http://127.0.0.1:8000/v1 \\
        --teacher-options temperature=1,cache=off --candidates 4 --select gain --out samples
    tnllt-train sft --samples samples --model Qwen/Qwen2.5-VL-3B-Instruct --out reasoner

    A frozen tracker runs on every sequence. With --select gain it goes on over --window frames with each answer of the
    teacher; the best becomes the answer where it gains --least-gain mean overlap over the old description, else "no".
    `grpo --reward gain --samples` takes the samples, too.
    """
    from tnllt.training.vlm.gather import write_records

    _show_log()
    click.echo(f"{write_records(sources, options)} samples: {options.out}")


@cli.command()
@config_options(ExportOptions, "options", without=("tracker_batch", "tracker_device", "window"))
@config_options(RecordSources, "sources")
def export(options: ExportOptions, sources: RecordSources) -> None:
    """Write records and settings for LLaMA-Factory (fine-tuning) or EasyR1 (GRPO, with the rewards of `grpo`).

    \b
    tnllt-train export --to llamafactory --records sft/ --images /data/pairs --out factory
    llamafactory-cli train factory/sft.yaml
    tnllt-train export --to easyr1 --samples RLsamples/ --tracker-weights DUTrack.pth.tar --out easyr1
    python3 -m verl.trainer.main config=easyr1/grpo.yaml
    """
    from tnllt.training.vlm.export import export_easyr1, export_llamafactory
    from tnllt.training.vlm.gather import gather

    _show_log()
    records = gather(sources, options.out, options.seed)
    if options.to == "llamafactory":
        written = export_llamafactory(records, options.out, options.model)
    else:
        written = export_easyr1(records, options)
    click.echo(f"{len(records)} records: " + ", ".join(str(path) for path in written))


def _show_log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _echo_trained(trainer: Any, out: Path, measure: str) -> None:
    """One line: steps, and the first and last value of a measure. The first process prints it."""
    if trainer.is_world_process_zero():
        values = [entry[measure] for entry in trainer.state.log_history if measure in entry]
        change = f", {measure} {float(values[0]):.4g} to {float(values[-1]):.4g}" if values else ""
        click.echo(f"{out}: trained for {trainer.state.global_step} steps{change}")


def main() -> None:
    os.environ.setdefault(*THREADS_WAIT)
    run_command(cli, "tnllt-train")


if __name__ == "__main__":
    main()
