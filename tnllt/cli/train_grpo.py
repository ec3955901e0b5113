"""`tnllt-train grpo`: reinforcement learning of a reasoner."""

from __future__ import annotations

import click

from tnllt.cli.dataclass_options import config_options
from tnllt.cli.train_options import echo_trained, show_log
from tnllt.training.vlm.options import GrpoOptions, ModelOptions, RecordSources


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

    show_log()
    tracker = frozen_tracker(options)
    trainer = run_grpo(gather(sources, options.out, options.seed), model, options, tracker)
    echo_trained(trainer, options.out, "reward")
