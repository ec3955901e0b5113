"""The TensorBoard log of a run of `tnllt-train tracker` as numbers and as a figure.

python recipes/curves.py RUN [--out FILE.png]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from tnllt.cli.common import run_command
from tnllt.errors import DataError, MissingExtraError

#: (step, value) pairs in the order of the steps.
Curve = list[tuple[int, float]]

#: Panels of the figure: title, tags.
_PANELS = (
    ("loss", ("train/loss",)),
    ("parts of the loss", ("train/giou", "train/l1", "train/focal", "train/correspondence")),
    ("IoU at the score's peak, training samples", ("train/iou",)),
    ("mean overlap when tracking held-out sequences", ("val/AO",)),
)


def read_scalars(folder: Path) -> dict[str, Curve]:
    """Every scalar of the event files in a folder, by tag; of a step that was logged again after a resume, the last.

    Raises:
        DataError: no event file with scalars. MissingExtraError: tensorboard is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise MissingExtraError("recipes/curves.py", "train", error) from error
    found: dict[str, dict[int, float]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        log = EventAccumulator(str(file), size_guidance={"scalars": 0})
        log.Reload()
        for tag in log.Tags()["scalars"]:
            found.setdefault(tag, {}).update({event.step: float(event.value) for event in log.Scalars(tag)})
    if not found:
        raise DataError("no TensorBoard log with scalars here", folder)
    return {tag: sorted(values.items()) for tag, values in found.items()}


def draw_curves(scalars: Mapping[str, Curve], out: Path) -> None:
    """Draws every panel that has data into one figure; the suffix of `out` is its format."""
    from matplotlib.figure import Figure

    panels = [(title, [tag for tag in tags if tag in scalars]) for title, tags in _PANELS]
    panels = [(title, tags) for title, tags in panels if tags]
    figure = Figure(figsize=(9, 2.6 * ((len(panels) + 1) // 2)), layout="constrained")
    for place, (title, tags) in enumerate(panels, start=1):
        axes = figure.add_subplot((len(panels) + 1) // 2, 2, place)
        for tag in tags:
            steps, values = zip(*scalars[tag], strict=True)
            axes.plot(steps, values, marker="o" if len(steps) < 20 else None, markersize=3, label=tag.split("/")[1])
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if len(tags) > 1:
            axes.set_yscale("log")
            axes.legend(fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", "-o", type=click.Path(path_type=Path), help="PNG, SVG or PDF.  [default: RUN/curves.png]")
def curves(run: Path, out: Path | None) -> None:
    """Draw loss, IoU and validation scores of RUN, a folder of `tnllt-train tracker`, from its TensorBoard log."""
    target = out or run / "curves.png"
    draw_curves(read_scalars(run / "tensorboard"), target)
    click.echo(f"curves: {target}")


if __name__ == "__main__":
    run_command(curves, "recipes/curves.py")
