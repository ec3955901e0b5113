"""`tnllt-train sft`: supervised fine-tuning of a reasoner."""

from __future__ import annotations

import click

from tnllt.cli.dataclass_options import config_options
from tnllt.cli.train_options import echo_trained, show_log
from tnllt.training.vlm.options import ModelOptions, RecordSources, SftOptions


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

    show_log()
    echo_trained(run_sft(gather(sources, options.out, options.seed), model, options), options.out, "loss")
