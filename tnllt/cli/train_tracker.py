"""`tnllt-train tracker`: train the tracking network."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tnllt.errors import UsageError


@click.command()
@click.option("--config", "-c", default="tiny", show_default=True, help="Recipe and network: 256, 384 or tiny.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), required=True, help="Folder of the run; it resumes there."
)
@click.option(
    "--data",
    "-d",
    multiple=True,
    metavar="SOURCE[*FRACTION]",
    help="What to learn from, with its fraction: `synth`, `synth:patch=0.5,frames=300`, a benchmark's name (its root "
    "from --root NAME=DIR or the configuration file) or a folder. Repeatable.  [default: synth]",
)
@click.option("--root", multiple=True, metavar="NAME=DIR", help="Where a benchmark lies. Repeatable.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, e.g. batch=16.")
@click.option(
    "--init", type=click.Path(path_type=Path, exists=True), help="Start from a tracker's or Fast-iTPN's weights."
)
@click.option("--workers", "-w", default=2, show_default=True, type=click.IntRange(0), help="Loader processes.")
@click.option("--precision", type=click.Choice(["no", "bf16", "fp16"]), default="no", show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="torch.compile; pays on an accelerator.")
@click.option("--checkpoint-gradients", is_flag=True, help="Less memory, a third more time.")
@click.option(
    "--save-every", default=500, show_default=True, type=click.IntRange(1), help="Steps between saved states."
)
@click.option("--log-every", default=50, show_default=True, type=click.IntRange(1), help="Steps between log lines.")
@click.option("--validate-every", default=1, show_default=True, type=click.IntRange(0), help="Epochs; 0: never.")
@click.option(
    "--validation", default=8, show_default=True, type=click.IntRange(1), help="Held-out sequences to follow."
)
@click.option("--minutes", type=float, help="Save and stop after so long; the same command goes on.")
@click.option("--cpu", is_flag=True, help="Leave accelerators alone.")
def tracker(
    config: str,
    out: Path,
    data: tuple[str, ...],
    root: tuple[str, ...],
    changes: tuple[str, ...],
    init: Path | None,
    validation: int,
    compiled: bool,
    **options: Any,
) -> None:
    """Train the tracking network by the published recipe (256, 384) or the bundled weights' one (tiny).

    Run it again with the same arguments and it goes on from its last saved state, to the same weights. Several
    devices or machines: `accelerate launch -m tnllt.cli.train tracker ...` (DDP, FSDP and DeepSpeed by accelerate's
    configuration).
    """
    from tnllt.training.tracker.recipe import recipe
    from tnllt.training.tracker.sources import make_source, synth_config
    from tnllt.training.tracker.trainer import TrainOptions, train
    from tnllt.training.tracker.validate import held_out, validator

    roots = dict(_pair(item, "--root NAME=DIR") for item in root)
    chosen = recipe(config, **_changes(changes))
    sources = [
        (make_source(spec, _root(spec, roots)), fraction)
        for spec, fraction in (_fraction(item) for item in data or ("synth",))
    ]
    scenes = held_out(dataclasses.replace(synth_config(), frames=60, width=320, height=240), validation)
    weights = train(
        chosen,
        sources,
        TrainOptions(out=out, init=init, compile=compiled, **options),
        validator(scenes) if options["validate_every"] else None,
        say=click.echo,
    )
    click.echo(f"weights: {weights}")


def _fraction(item: str) -> tuple[str, float]:
    spec, star, fraction = item.rpartition("*")
    if not star:
        return item, 1.0
    try:
        return spec, float(fraction)
    except ValueError as error:
        raise UsageError(f"--data {item}: the fraction after * must be a number") from error


def _pair(item: str, form: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals:
        raise UsageError(f"{item!r} is not of the form {form}")
    return key, value


def _root(spec: str, roots: dict[str, str]) -> Path | None:
    from tnllt.config import locate
    from tnllt.training.tracker.sources import KINDS

    return Path(roots[spec]) if spec in roots else locate(spec).root if spec.partition(":")[0] not in KINDS else None


def _changes(items: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE pairs, each value of its field's own type."""
    from tnllt.training.tracker.recipe import Recipe

    defaults = {f.name: getattr(Recipe(), f.name) for f in dataclasses.fields(Recipe)}
    found: dict[str, Any] = {}
    for key, value in (_pair(item, "--set KEY=VALUE") for item in items):
        if key not in defaults or key == "loss":
            raise UsageError(f"--set {key}: the recipe has {', '.join(k for k in defaults if k != 'loss')}")
        try:
            found[key] = type(defaults[key])(value)
        except ValueError as error:
            raise UsageError(f"--set {key}={value}: {error}") from error
    return found
