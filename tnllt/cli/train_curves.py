"""`tnllt-train curves`: a run's curves as a picture, for model cards."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="PNG, SVG or PDF.  [default: RUN/curves.png]")
def curves(run: Path, out: Path | None) -> None:
    """Draw loss, IoU and validation scores of RUN, a folder of `tnllt-train tracker`, from its TensorBoard log."""
    from tnllt.training.tracker.curves import draw_curves, read_scalars

    target = out or run / "curves.png"
    draw_curves(read_scalars(run / "tensorboard"), target)
    click.echo(f"curves: {target}")
