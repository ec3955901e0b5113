"""`tnllt-train baseline`: train a published baseline on TNLLT by its own training script."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import DatasetConfig
from tnllt.errors import UsageError
from tnllt.options import option
from tnllt.tracking.baselines.launch import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class _TrainingData(DatasetConfig):
    split: str | None = option("train", "Which sequences: train, test, all.", kind=str)


@click.command()
@click.argument("name", required=False)
@click.option("--baseline", "file", type=PATH, help="A baseline's TOML file of your own.")
@config_options(_TrainingData, "data")
@click.option("--out", "-o", required=True, type=PATH, help="Checkpoints and logs.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="repo, python, yaml, cfg: as for running.")
@config_options(TrainingOptions, "options")
def baseline(
    name: str | None, file: Path | None, data: DatasetConfig, out: Path, settings: tuple[str, ...],
    options: TrainingOptions,
) -> None:  # fmt: skip
    """Train a published baseline by its own training script, on a benchmark's sequences, with nothing edited.

    A later run with the same --out continues after the last checkpoint. The weights then run:
    tnllt-run NAME --set weights=OUT/checkpoints/train/... (the last line names the file).
    """
    from tnllt.datasets.dataset import open_configured
    from tnllt.tracking.baselines import get_baseline
    from tnllt.tracking.baselines.launch import train
    from tnllt.tracking.options import parse_settings

    if (name is None) == (file is None):
        raise UsageError("give one baseline: a name (tnllt-run list --baselines), or --baseline FILE.toml")
    record = get_baseline(str(file or name))
    given = parse_settings(settings)
    if unknown := sorted(set(given) - {"repo", "python", "yaml", "cfg"}):
        raise UsageError(f"--set {unknown[0]}: training takes repo, python, yaml and cfg")
    weights = train(record, open_configured(data), out, options, **given)
    click.echo(f"{record.name}: trained; it runs with --set weights={weights}")
