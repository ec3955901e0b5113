"""`tnllt-train tracker`: train the tracking network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from tnllt.cli.dataclass_options import config_options
from tnllt.errors import UsageError
from tnllt.options import key_values
from tnllt.training.tracker.options import TrainOptions


@click.command()
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
    from tnllt.training.tracker.sources import make_source, synth_config
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
