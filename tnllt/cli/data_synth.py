"""`tnllt-data synth`: sequences to order."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tnllt.datasets.benchmarks import ATTRIBUTE_TITLES, TNLLT_ATTRIBUTES

if TYPE_CHECKING:
    from tnllt.datasets.synth import SynthConfig

F = TypeVar("F", bound=Callable[..., Any])
_PROBABILITY = click.FloatRange(0, 1)


class Pair(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """Two numbers with a sign between them, such as 640x360 or 0-4."""

    def __init__(self, sign: str, number: type[int] | type[float]) -> None:
        self.name = f"A{sign}B"
        self.sign, self.number = sign, number

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, Any]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(rf"([\d.]+){self.sign}([\d.]+)", str(value).strip())
        try:
            if match is None:
                raise ValueError
            return self.number(match[1]), self.number(match[2])
        except ValueError:
            self.fail(f"{value!r} is not of the form {self.name}", param, ctx)


def attribute_options(function: F) -> F:
    """Adds --cm P, --rot P, ...: one option per attribute, collected in `rates`."""

    def collect(ctx: click.Context, param: click.Parameter, value: float | None) -> None:
        if value is not None:
            ctx.ensure_object(dict).setdefault("rates", {})[str(param.name).upper()] = value

    decorated: Any = function
    for name, title in reversed([(name, ATTRIBUTE_TITLES[name].capitalize()) for name in TNLLT_ATTRIBUTES]):
        option = click.option(
            f"--{name.lower()}", type=_PROBABILITY, metavar="P", expose_value=False, callback=collect, help=f"{title}."
        )
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


@click.command()
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option("--sequences", "-n", type=click.IntRange(1), default=20, show_default=True, help="How many.")
@click.option("--frames", "-t", type=click.IntRange(2), default=200, show_default=True, help="Frames of each.")
@click.option("--size", type=Pair("x", int), default="640x360", show_default=True, metavar="WxH", help="Of the frames.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", "-j", type=click.IntRange(0), default=0, help="Processes; 0: one per core. Changes no byte.")
@click.option("--png", is_flag=True, help="PNG frames, as the release has; slower and larger.")
@click.option("--quality", type=click.IntRange(1, 100), default=90, show_default=True, help="Of JPEG frames.")
@click.option("--masks", is_flag=True, help="Also write the target's visible pixels.")
@click.option("--backgrounds", metavar="DIR", type=click.Path(), help="Your own pictures behind everything.")
@click.option(
    "--sprites", metavar="DIR", type=click.Path(), help="Your own sprites: PNG with opacity, named by what they show."
)
@click.option(
    "--motion-from", metavar="ANNOS", type=click.Path(), help="Box tracks to follow: a folder of annotation files."
)
@click.option(
    "--emoji", default="auto", metavar="auto|none|FONT", help="Noto's colour emoji as sprites, where installed."
)
@click.option(
    "--procedural", is_flag=True, help="Nothing that depends on what is installed: the same bytes on every machine."
)
@click.option(
    "--sprite-kinds", metavar="LIST", help="Of shape, object, patch, emoji, file; default: all that have a source."
)
@click.option(
    "--distractors",
    type=Pair("-", int),
    default="0-4",
    show_default=True,
    metavar="A-B",
    help="Sprites of the target's kind about it.",
)
@click.option(
    "--target-size",
    type=Pair("-", float),
    default="0.1-0.32",
    show_default=True,
    metavar="A-B",
    help="Part of the frame's shorter side.",
)
@click.option(
    "--change",
    type=_PROBABILITY,
    default=0.3,
    show_default=True,
    help="Sequences whose target changes, so that its first sentence stops being true.",
)
@click.option(
    "--twins",
    type=_PROBABILITY,
    default=0.08,
    show_default=True,
    help="Sequences with a distractor that looks exactly alike.",
)
@click.option("--grey", type=_PROBABILITY, default=0.1, show_default=True, help="Sequences without colour.")
@click.option(
    "--attributes",
    metavar="LIST",
    help="Exactly these (FOC,OV): all others are left out. The options below go further.",
)
@click.option(
    "--gallery",
    metavar="PNG",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Instead of OUT: one picture that shows each attribute.",
)
@attribute_options
@click.pass_context
def synth(ctx: click.Context, /, out: Path | None, gallery: Path | None, **options: Any) -> None:
    """Make vision-language sequences in folder OUT, in TNLLT's layout: sentence, boxes, presence, all 15 attributes.

    The same seed, options and sources give the same bytes. Each attribute has an option with the probability that a
    sequence is given it: 0 leaves it out, 1 gives it to all; flags say what came of it. A run that was stopped goes on
    when the same command is given again.
    """
    config = _configuration(options, (ctx.obj or {}).get("rates", {}))
    if gallery is not None:
        from tnllt.datasets.synth.gallery import write_gallery

        write_gallery(gallery, config, options["seed"])
        click.echo(f"{gallery}: every attribute, before and while it is to be seen")
    if out is not None:
        _write(out, config, options)
    elif gallery is None:
        raise click.UsageError("give OUT, the folder to make, or --gallery PNG")


def _configuration(options: dict[str, Any], rates: dict[str, float]) -> SynthConfig:
    from tnllt.datasets.synth import FAMILIES, SynthConfig, SynthSources, only
    from tnllt.errors import UsageError

    if options["attributes"]:
        names = [n.upper() for n in re.split(r"[,\s]+", options["attributes"].strip()) if n]
        unknown = [n for n in names if n not in TNLLT_ATTRIBUTES]
        if unknown:
            raise UsageError(f"no attribute {', '.join(unknown)}; there are {', '.join(TNLLT_ATTRIBUTES)}")
        rates = {**only(*names), **rates}
    families = dict(FAMILIES)
    if options["sprite_kinds"]:
        kinds = [k for k in re.split(r"[,\s]+", options["sprite_kinds"].strip().lower()) if k]
        families = {k: FAMILIES.get(k, 1.0) for k in kinds}
    plain = options["procedural"]
    if plain and any(options[k] for k in ("backgrounds", "sprites", "motion_from")):
        raise UsageError("--procedural uses no files: leave it out, or --backgrounds, --sprites and --motion-from")
    width, height = options["size"]
    return SynthConfig(
        frames=options["frames"],
        width=width,
        height=height,
        rates=rates,
        families=families,
        distractors=options["distractors"],
        change=options["change"],
        twins=options["twins"],
        grey=options["grey"],
        size=options["target_size"],
        sources=SynthSources(
            photographs="none" if plain else "auto",
            backgrounds=options["backgrounds"],
            sprites=options["sprites"],
            emoji="none" if plain else options["emoji"],
            motion_from=options["motion_from"],
        ),
    )


def _write(out: Path, config: SynthConfig, options: dict[str, Any]) -> None:
    import time
    from concurrent.futures import BrokenExecutor

    from tnllt.cli.progress import Progress
    from tnllt.datasets.synth import ATTRIBUTES, FrameFormat, library, write_dataset
    from tnllt.errors import DataError, TnlltError

    made_of = library(config.sources).describe()
    parts = [f"{made_of[k]} {label}" for k, label in _SOURCES.items() if made_of[k]]
    click.echo(f"Sources: {', '.join(parts)}", err=True)
    begun = time.monotonic()
    try:
        names = write_dataset(
            out,
            config,
            options["sequences"],
            options["seed"],
            options["workers"] or _cores(),
            FrameFormat(options["png"], options["quality"], options["masks"]),
            Progress("Drawing", "frames"),
        )
    except OSError as error:
        raise DataError(f"cannot be written ({error.strerror or error})", error.filename or out) from error
    except BrokenExecutor as error:
        raise TnlltError(
            "a worker process ended early, perhaps for want of memory: give fewer --workers; given again, the command "
            "goes on where it stopped"
        ) from error
    seconds = time.monotonic() - begun
    total = len(names) * config.frames
    click.echo(
        f"{out}: {len(names)} sequences, {total} frames in {seconds:.1f} s ({total / max(seconds, 1e-9):.0f} a second)"
    )
    counts = _count_flags(out, names)
    click.echo("Attributes: " + "  ".join(f"{name} {counts[k]}" for k, name in enumerate(ATTRIBUTES)))
    click.echo(f"Open it with: tnllt-data info {out}")


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_SOURCES = {
    "procedural": "procedural backgrounds",
    "photographs": "photographs",
    "emoji": "emoji",
    "sprites": "sprites of yours",
    "tracks": "box tracks",
}


def _count_flags(out: Path, names: list[str]) -> list[int]:
    rows = [(out / name / "attributes.txt").read_text(encoding="utf-8").strip().split(",") for name in names]
    return [sum(int(row[k]) for row in rows) for k in range(len(rows[0]))]
