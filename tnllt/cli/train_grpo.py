"""`tnllt-train grpo`: reinforcement learning of a reasoner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tnllt.cli.train_options import launch_options, model_options, source_options
from tnllt.errors import UsageError


@click.command()
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the trained model.")
@source_options
@model_options
@click.option(
    "--reward-weights",
    default="with-iou",
    show_default=True,
    help="Rewards: released (.1,.1,0,.15), with-iou (.1,.1,.5,.3), or format,strict,iou,decision.",
)
@click.option("--iou", "variant", type=click.Choice(["halved", "threshold"]), default="halved", show_default=True)
@click.option("--tracker-weights", help="Checkpoint of the frozen network.  [default: the weights that ship]")
@click.option("--tracker-config", help="Its config: 256, 384, tiny.  [default: what the weights say]")
@click.option("--tracker-batch", type=int, default=32, show_default=True, help="Pairs in one forward pass.")
@click.option("--tracker-device", default="auto", show_default=True)
@click.option("--group", type=int, default=5, show_default=True, help="Answers per question.")
@click.option("--epochs", type=float, default=2.0, show_default=True)
@click.option("--steps", type=int, default=-1, help="So many updates instead of epochs.")
@click.option("--learning-rate", type=float, default=1e-6, show_default=True)
@click.option("--weight-decay", type=float, default=1e-2, show_default=True)
@click.option("--beta", type=float, default=1e-2, show_default=True, help="Weight of the KL divergence.")
@click.option("--temperature", type=float, default=1.0, show_default=True)
@click.option("--top-p", type=float, default=0.99, show_default=True)
@click.option("--prompts-per-rollout", type=int, default=256, show_default=True)
@click.option("--prompts-per-update", type=int, default=128, show_default=True)
@click.option("--batch", type=int, default=1, show_default=True, help="Answers a device takes at a time.")
@click.option(
    "--max-prompt", type=int, default=4096, show_default=True, help="Longer questions are left out, and said."
)
@click.option("--max-tokens", type=int, default=2048, show_default=True, help="Tokens of an answer.")
@click.option(
    "--rollouts",
    type=click.Choice(["auto", "transformers", "vllm", "vllm-server"]),
    default="auto",
    show_default=True,
    help="Who writes the answers; auto: vLLM where it is.",
)
@click.option("--log-every", type=int, default=1, show_default=True)
@click.option("--save-every", type=int, default=50, show_default=True)
@launch_options
def grpo(out: Path, sources: Any, model: Any, reward_weights: str, **options: Any) -> None:
    """Train a reasoner by reinforcement (GRPO); a frozen tracker says which descriptions help.

    \b
    tnllt-train grpo --model reasoner --samples RLsamples/ --tracker-weights DUTrack.pth.tar --tracker-config 256 \\
        --out reasoner-rl
    tnllt-train grpo --model reasoner --dataset tnllt --root /data/TNLLT --reward-weights released --out reasoner-rl

    The defaults are the published recipe, with overlap rewarded. Start from a model that `tnllt-train sft` made.
    """
    from tnllt.training.rewards import RewardWeights
    from tnllt.training.vlm.frozen import FrozenTracker, local_device, reasoning_track
    from tnllt.training.vlm.gather import gather
    from tnllt.training.vlm.grpo import GrpoOptions, run_grpo

    try:
        wanted = RewardWeights.parse(reward_weights)
    except ValueError as error:
        raise UsageError(f"--reward-weights {error}") from error
    place, checkpoint = options.pop("tracker_device"), options.pop("tracker_weights")
    config, batch = options.pop("tracker_config"), options.pop("tracker_batch")
    tracker = None
    if wanted.needs_tracker:
        tracker = FrozenTracker(reasoning_track(checkpoint, config, local_device(place)), batch)
    trainer = run_grpo(gather(sources, out), model, GrpoOptions(out, reward_weights=wanted, **options), tracker)
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    if trainer.is_world_process_zero():
        change = f", reward {float(rewards[0]):.4g} to {float(rewards[-1]):.4g}" if rewards else ""
        click.echo(f"{out}: trained for {trainer.state.global_step} updates{change}")
