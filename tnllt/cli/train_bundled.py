"""`tnllt-train reasoner`: train the small reasoner that ships."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.options import key_values
from tnllt.training.reasoner.options import GainRecipe, ReaderRecipe, ReasonerOptions


@click.command()
@click.option(
    "--stage",
    type=click.Choice(["read", "gain"]),
    default="read",
    show_default=True,
    help="read: supervised. gain: reinforcement by tracking gain.",
)
@click.option("--weights", type=PATH, help="Of the supervised stage, for `gain`.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, e.g. steps=500.")
@config_options(ReasonerOptions, "options")
def reasoner(stage: str, weights: Path | None, changes: tuple[str, ...], options: ReasonerOptions) -> None:
    """Train the bundled reasoner on scenes of the generator; nothing is read or downloaded.

    \b
    tnllt-train reasoner --out reader
    tnllt-train reasoner --stage gain --weights reader/weights.safetensors --out gain
    tnllt-run ReasoningTrack --set reasoner=bundled --set reasoner_options=weights=gain/weights.safetensors ...

    The same command resumes from its last saved state, to the same weights.
    """
    from tnllt.errors import UsageError
    from tnllt.tracking.options import check_options

    given = key_values(changes, "--set")
    if stage == "read":
        from tnllt.training.reasoner.trainer import train

        path = train(ReaderRecipe(**check_options(ReaderRecipe, given)), options, click.echo)
    else:
        from tnllt.reasoningtrack.reasoners.bundled import WEIGHTS
        from tnllt.training.reasoner.gain import reinforce

        if weights is None and not WEIGHTS.is_file():
            raise UsageError("the gain stage goes on from weights: give --weights FILE")
        path = reinforce(GainRecipe(**check_options(GainRecipe, given)), options, weights or WEIGHTS, click.echo)
    click.echo(f"weights: {path}")
