"""`tnllt-train sft`, `grpo` and `export`: fine-tuning and reinforcement of a reasoner, here or in other trainers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from tnllt.cli.dataclass_options import config_options
from tnllt.training.vlm.options import ExportOptions, GrpoOptions, ModelOptions, RecordSources, SftOptions


@click.command()
@config_options(RecordSources, "sources")
@config_options(ModelOptions, "model")
@config_options(SftOptions, "options")
def sft(sources: RecordSources, model: ModelOptions, options: SftOptions) -> None:
    """Fine-tune a vision-language model as reasoner on records of frame pairs; only the answers are trained.

    \b
    tnllt-train sft --model Qwen/Qwen2.5-VL-3B-Instruct --records sft/ --images /data/pairs --out reasoner
    tnllt-train sft --model MODEL --dataset tnllt --root /data/TNLLT --out reasoner

    The defaults are the published recipe. The model in --out is complete: use it as
    `tnllt-run ReasoningTrack --set reasoner=transformers:OUT`, or serve it. Several devices: `accelerate launch
    -m tnllt.cli.train sft ...`.
    """
    from tnllt.training.vlm.gather import gather
    from tnllt.training.vlm.sft import run_sft

    _show_log()
    _echo_trained(run_sft(gather(sources, options.out, options.seed), model, options), options.out, "loss")


@click.command()
@config_options(RecordSources, "sources")
@config_options(ModelOptions, "model")
@config_options(GrpoOptions, "options")
def grpo(sources: RecordSources, model: ModelOptions, options: GrpoOptions) -> None:
    """Train a reasoner by reinforcement (GRPO); a frozen tracker measures which descriptions help.

    \b
    tnllt-train grpo --model reasoner --samples RLsamples/ --tracker-weights DUTrack.pth.tar --tracker-config 256 \\
        --out reasoner-rl
    tnllt-train grpo --model reasoner --dataset tnllt --root /data/TNLLT --reward-weights released --out reasoner-rl

    The defaults are the published recipe, with overlap rewarded. Start from a model that `tnllt-train sft` made.
    Several devices: `accelerate launch -m tnllt.cli.train grpo ...`.
    """
    from tnllt.training.vlm.frozen import frozen_tracker
    from tnllt.training.vlm.gather import gather
    from tnllt.training.vlm.grpo import run_grpo

    _show_log()
    tracker = frozen_tracker(options)
    trainer = run_grpo(gather(sources, options.out, options.seed), model, options, tracker)
    _echo_trained(trainer, options.out, "reward")


@click.command()
@config_options(ExportOptions, "options", without=("tracker_batch", "tracker_device"))
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
