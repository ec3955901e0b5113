"""`tnllt-data synth`: sequences to order."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.cli.progress import Progress
from tnllt.datasets import open_dataset
from tnllt.datasets.synth import ATTRIBUTES, FAMILIES, FrameFormat, SynthConfig, SynthSources, only, write_dataset
from tnllt.datasets.synth.config import pair
from tnllt.errors import DataError, TnlltError

F = TypeVar("F", bound=Callable[..., Any])


def attribute_options(function: F) -> F:
    """Adds --cm P, --rot P, ...: one option per attribute."""
    for name, title in reversed(ATTRIBUTES.items()):
        flag = click.option(
            f"--{name.lower()}", name, type=click.FloatRange(0, 1), metavar="P", help=f"{title.capitalize()}."
        )
        function = flag(function)
    return function


@click.command()
@click.argument("out", type=PATH)
@click.option("--count", "-n", type=click.IntRange(1), default=20, show_default=True, help="How many sequences.")
@click.option(
    "--size", "frame_size", type=pair(int), default="640x360", show_default=True, metavar="WxH", help="Of the frames."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other seeds, other sequences.")
@click.option("--workers", "-w", type=click.IntRange(1), help="Processes.  [default: one per processor]")
@config_options(FrameFormat, "form")
@config_options(SynthSources, "sources")
@config_options(SynthConfig)
@click.option(
    "--sprite-kinds", metavar="LIST", help="Of shape, object, patch, emoji, file; default: all with a source."
)
@click.option(
    "--attributes",
    metavar="LIST",
    help="Exactly these (FOC,OV), without all others. The options below go further.",
)
@attribute_options
def synth(
    out: Path,
    count: int,
    frame_size: tuple[int, int],
    seed: int,
    workers: int | None,
    form: FrameFormat,
    sources: SynthSources,
    config: SynthConfig,
    sprite_kinds: str | None,
    attributes: str | None,
    **rates: float | None,
) -> None:
    """Make vision-language sequences in folder OUT, in TNLLT's layout: language description, boxes, presence, all 15
    attributes.

    The same seed and options give the same bytes on every machine; --emoji auto uses a font that is installed. Each
    attribute has an option with the probability that a sequence is given it: 0 leaves it out, 1 gives it to all;
    the flags are measured on the plan. A run that was stopped goes on when the same command is given again.
    """
    wanted = only(*_words(attributes.upper())) if attributes else {}
    wanted |= {name: rate for name, rate in rates.items() if rate is not None}
    families = {kind: FAMILIES.get(kind, 1.0) for kind in _words(sprite_kinds.lower())} if sprite_kinds else FAMILIES
    width, height = frame_size
    config = replace(config, width=width, height=height, rates=wanted, families=families, sources=sources)
    begun = time.monotonic()
    try:
        names = write_dataset(out, config, count, seed, workers, form, Progress("Drawing", "frames"))
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror or error})", error.filename or out) from error
    except BrokenExecutor as error:
        raise TnlltError(
            "a worker process ended early, perhaps for lack of memory: give fewer --workers; given again, the command "
            "goes on where it stopped"
        ) from error
    seconds, total = time.monotonic() - begun, len(names) * config.frames
    rate = f"{total / max(seconds, 1e-9):.0f} a second"
    click.echo(f"{out}: {len(names)} sequences, {total} frames in {seconds:.1f} s ({rate})")
    flags = [sequence.attributes or {} for sequence in open_dataset("tnllt", out, split=None)]
    counts = "  ".join(f"{name} {sum(flag[name] for flag in flags)}" for name in ATTRIBUTES)
    click.echo(f"Attributes: {counts}")
    click.echo(f"Open it with: tnllt-data info {out}")


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
