"""`tnllt-train sft`: supervised fine-tuning of a reasoner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tnllt.cli.train_options import launch_options, model_options, source_options


@click.command()
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the trained model.")
@source_options
@model_options
@click.option("--epochs", type=float, default=3.0, show_default=True)
@click.option("--steps", type=int, default=-1, help="So many steps instead of epochs.")
@click.option("--learning-rate", type=float, default=5e-5, show_default=True)
@click.option("--scheduler", default="cosine", show_default=True, help="cosine, constant, linear, ...")
@click.option("--warmup-steps", type=int, default=0, show_default=True)
@click.option("--batch", type=int, default=1, show_default=True, help="Records a device takes at a time.")
@click.option("--accumulation", type=int, default=8, show_default=True, help="Batches per step.")
@click.option("--max-length", type=int, default=4096, show_default=True, help="Longer records are left out, and said.")
@click.option(
    "--stop-when-formed", type=click.FloatRange(0, 1), help="End once this part of the answers is well formed."
)
@click.option("--formed-every", type=int, default=20, show_default=True, help="Steps between looks at that.")
@click.option("--formed-tokens", type=int, default=512, show_default=True, help="Tokens of an answer looked at.")
@click.option("--log-every", type=int, default=10, show_default=True)
@click.option("--save-every", type=int, default=200, show_default=True)
@launch_options
def sft(out: Path, sources: Any, model: Any, **options: Any) -> None:
    """Fine-tune a vision-language model as reasoner on records of frame pairs; only the answers are trained.

    \b
    tnllt-train sft --model Qwen/Qwen2.5-VL-3B-Instruct --records sft/ --images /data/pairs --out reasoner
    tnllt-train sft --model MODEL --dataset tnllt --root /data/TNLLT --launch zero2 --processes 8 --out reasoner

    The defaults are the published recipe. The model in --out is complete: use it as
    `tnllt-run ReasoningTrack --set reasoner=transformers:OUT`, or serve it.
    """
    from tnllt.training.vlm.gather import gather
    from tnllt.training.vlm.sft import SftOptions, run_sft

    settings = SftOptions(out, **options)
    trainer = run_sft(gather(sources, out), model, settings)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if trainer.is_world_process_zero():
        change = f", loss {float(losses[0]):.4g} to {float(losses[-1]):.4g}" if losses else ""
        click.echo(f"{out}: trained for {trainer.state.global_step} steps{change}")
