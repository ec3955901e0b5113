"""`tnllt-train export`: data and settings for other trainers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from tnllt.cli.train_options import source_options
from tnllt.errors import UsageError


@click.command()
@click.option("--to", "target", type=click.Choice(["llamafactory", "easyr1"]), required=True)
@click.option("--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--model", default="Qwen/Qwen2.5-VL-3B-Instruct", show_default=True, help="Model that the settings name.")
@source_options
@click.option("--reward-weights", default="with-iou", show_default=True, help="EasyR1: as for `tnllt-train grpo`.")
@click.option("--iou", "variant", type=click.Choice(["halved", "threshold"]), default="halved", show_default=True)
@click.option("--tracker-weights", help="EasyR1: checkpoint of the frozen network.")
@click.option("--tracker-config", help="EasyR1: its config.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the pairs made from --dataset.")
def export(
    target: str,
    out: Path,
    model: str,
    sources: Any,
    reward_weights: str,
    variant: str,
    tracker_weights: str | None,
    tracker_config: str | None,
    seed: int,
) -> None:
    """Write records and settings for LLaMA-Factory (fine-tuning) or EasyR1 (GRPO).

    \b
    tnllt-train export --to llamafactory --records sft/ --images /data/pairs --out factory
    llamafactory-cli train factory/sft.yaml
    tnllt-train export --to easyr1 --samples RLsamples/ --tracker-weights DUTrack.pth.tar --out easyr1
    python3 -m verl.trainer.main config=easyr1/grpo.yaml
    """
    from tnllt.training.rewards import RewardWeights
    from tnllt.training.vlm.export import export_easyr1, export_llamafactory
    from tnllt.training.vlm.gather import gather

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    records = gather(sources, out)
    if target == "llamafactory":
        written = export_llamafactory(records, out, model)
    else:
        try:
            wanted = RewardWeights.parse(reward_weights)
        except ValueError as error:
            raise UsageError(f"--reward-weights {error}") from error
        place = str(Path(tracker_weights).resolve()) if tracker_weights else None
        chosen = {"weights": place, "config": tracker_config}
        tracker = {name: value for name, value in chosen.items() if value}
        written = export_easyr1(records, out, model, wanted, variant, tracker)
    click.echo(f"{len(records)} records: " + ", ".join(str(path) for path in written))
