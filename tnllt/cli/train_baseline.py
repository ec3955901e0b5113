"""`tnllt-train baseline`: train a published baseline on TNLLT by its own training script."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.common import location_options
from tnllt.cli.dataclass_options import config_options
from tnllt.config import Locations
from tnllt.errors import UsageError
from tnllt.tracking.baselines.launch import TrainingOptions


@click.command()
@click.argument("name", required=False)
@click.option("--baseline", "file", type=click.Path(path_type=Path), help="A baseline's TOML file of your own.")
@location_options
@click.option("--split", default="train", show_default=True, help="Which sequences: train, test, all.")
@click.option("--sequences", "-s", multiple=True, help="Names, globs, or a file of names; may be repeated.")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Checkpoints and logs.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="repo, python, yaml, cfg: as for running.")
@config_options(TrainingOptions, "options")
def baseline(
    name: str | None,
    file: Path | None,
    where: Locations,
    split: str,
    sequences: tuple[str, ...],
    out: Path,
    settings: tuple[str, ...],
    options: TrainingOptions,
) -> None:
    """Train a published baseline by its own training script, on a benchmark's sequences, with nothing edited.

    A later run with the same --out continues after the last checkpoint. The weights then run:
    tnllt-run NAME --set weights=OUT/checkpoints/train/... (the last line names the file).
    """
    from tnllt.datasets import open_dataset
    from tnllt.tracking.baselines import get_baseline
    from tnllt.tracking.baselines.launch import train
    from tnllt.tracking.options import parse_settings

    if (name is None) == (file is None):
        raise UsageError("give one baseline: a name (tnllt-run list --baselines), or --baseline FILE.toml")
    record = get_baseline(str(file or name))
    given = parse_settings(settings)
    if unknown := sorted(set(given) - {"repo", "python", "yaml", "cfg"}):
        raise UsageError(f"--set {unknown[0]}: training takes repo, python, yaml and cfg")
    dataset = open_dataset(where.dataset, where.root, where.annos, None if split == "all" else split, sequences or None)
    weights = train(record, dataset, out, options, **given)
    click.echo(f"{record.name}: trained; it runs with --set weights={weights}")
