"""`tnllt-train baseline`: train a published baseline on TNLLT by its own training script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tnllt.cli.common import location_options
from tnllt.config import Locations
from tnllt.errors import UsageError


@click.command(
    short_help="Train a published baseline on TNLLT.", context_settings={"help_option_names": ["--help", "-h"]}
)
@click.argument("name", required=False)
@click.option("--baseline", "file", type=click.Path(path_type=Path), help="A baseline's TOML file of your own.")
@location_options
@click.option("--split", default="train", show_default=True, help="Which sequences: train, test, all.")
@click.option("--sequences", "-s", multiple=True, help="Names, globs, or a file of names; may be repeated.")
@click.option("--out", "-o", required=True, type=click.Path(path_type=Path), help="Checkpoints and logs.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="repo, python, yaml, cfg: as for running.")
@click.option("--device", default="cuda", show_default=True, help="cuda, cuda:N or cpu.")
@click.option(
    "--processes", "-n", type=click.IntRange(1), default=1, show_default=True, help="One per GPU, by torchrun."
)
@click.option("--epochs", type=click.IntRange(1), help="[default: upstream's]")
@click.option("--batch-size", type=click.IntRange(1), help="Per process.  [default: upstream's]")
@click.option("--samples", type=click.IntRange(1), help="Per epoch.  [default: upstream's]")
@click.option("--loader-workers", type=click.IntRange(0), help="Reading processes.  [default: upstream's]")
@click.option(
    "--with", "others", multiple=True, metavar="NAME=RATIO", help="A dataset of upstream's, beside TNLLT's 1."
)
@click.option(
    "--path", "paths", multiple=True, metavar="KEY=DIR", help="Upstream's name of a folder, as lasot_dir=DIR."
)
@click.option(
    "--held-out", type=click.FloatRange(0, 0.9), default=0.05, show_default=True, help="Fraction to validate on."
)
@click.option("--save-every-epoch", is_flag=True, help="Not only the epochs that upstream saves.")
@click.option("--seed", default=42, show_default=True)
def baseline(
    name: str | None,
    file: Path | None,
    where: Locations,
    split: str,
    sequences: tuple[str, ...],
    out: Path,
    settings: tuple[str, ...],
    device: str,
    **options: Any,
) -> None:
    """Trains a published baseline by its own training script, on a benchmark's sequences, with nothing edited.

    A later run with the same --out continues after the last checkpoint. The weights then run:
    tnllt-run NAME --set weights=OUT/checkpoints/train/... (the last line names it).
    """
    from tnllt.datasets import open_dataset
    from tnllt.tracking.baselines import get_baseline
    from tnllt.tracking.baselines.installation import find_weights
    from tnllt.tracking.baselines.launch import train

    if (name is None) == (file is None):
        raise UsageError("give one baseline: a name (tnllt-run list --baselines), or --baseline FILE.toml")
    record = get_baseline(str(file) if file is not None else str(name))
    job = _job(record, out, settings, device, options)
    dataset = open_dataset(where.dataset, where.root, where.annos, None if split == "all" else split, sequences or None)
    folder = train(record, job, dataset, options["held_out"])
    weights = find_weights(record, out, folder, None)
    click.echo(f"{record.name}: trained; it runs with --set weights={weights}")


def _job(record: Any, output: Path, settings: tuple[str, ...], device: str, options: dict[str, Any]) -> Any:
    from tnllt.tracking.baselines.installation import existing_repo, interpreter, parse_cfg
    from tnllt.tracking.baselines.launch import TrainingJob
    from tnllt.tracking.options import parse_settings

    given = parse_settings(settings)
    unknown = sorted(set(given) - {"repo", "python", "yaml", "cfg"})
    if unknown:
        raise UsageError(f"--set {unknown[0]}: training takes repo, python, yaml and cfg")
    shares = parse_settings(options["others"])
    try:
        datasets = {key: float(value) for key, value in shares.items()}
    except ValueError:
        raise UsageError("--with NAME=RATIO: the ratio must be a number") from None
    own = record.options_with(**{key: given.get(key) for key in ("repo", "python", "yaml", "cfg")})
    return TrainingJob(
        repo=existing_repo(record, own["repo"]),
        python=interpreter(own["python"]),
        output=output,
        device=device,
        yaml=own["yaml"],
        epochs=options["epochs"],
        batch_size=options["batch_size"],
        samples=options["samples"],
        loader_workers=options["loader_workers"],
        save_every_epoch=options["save_every_epoch"],
        config=parse_cfg(own["cfg"] or ""),
        datasets=datasets,
        paths=parse_settings(options["paths"]),
        processes=options["processes"],
        seed=options["seed"],
    )
