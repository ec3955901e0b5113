"""`tnllt-train reasoner`: train the small reasoner that ships."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.errors import UsageError
from tnllt.options import key_values
from tnllt.training.reasoner.options import (
    ChoiceRecipe,
    GainRecipe,
    ReaderRecipe,
    ReasonerOptions,
    TrackedRecipe,
)

#: The stages after the first, and their recipes.
STAGES = {"choose": ChoiceRecipe, "tracked": TrackedRecipe, "gain": GainRecipe}


@click.command()
@click.option(
    "--stage",
    type=click.Choice(["read", *STAGES]),
    default="read",
    show_default=True,
    help="read looks; choose the target among objects; that at the tracker's boxes; reinforce it by tracking gain.",
)
@click.option("--weights", type=PATH, help="Of the stage before; for `read`, those to begin with.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the recipe, e.g. steps=500.")
@config_options(ReasonerOptions, "options")
def reasoner(stage: str, weights: Path | None, changes: tuple[str, ...], options: ReasonerOptions) -> None:
    """Train the bundled reasoner on scenes of the generator; nothing is read or downloaded.

    \b
    tnllt-train reasoner --out read
    tnllt-train reasoner --stage choose --weights read/weights.safetensors --out choose
    tnllt-train reasoner --stage tracked --weights choose/weights.safetensors --out tracked
    tnllt-train reasoner --stage gain --weights tracked/weights.safetensors --out gain
    tnllt-run ReasoningTrack --set reasoner=bundled --set reasoner_options=weights=gain/weights.safetensors ...

    The same command resumes from what it last saved, to the same weights.
    """
    from tnllt.tracking.options import check_options

    given = key_values(changes, "--set")
    if stage == "read":
        from tnllt.training.reasoner.trainer import train

        path = train(ReaderRecipe(**check_options(ReaderRecipe, given)), options, click.echo, weights)
    else:
        from tnllt.training.reasoner.choosing import train_choice

        if weights is None:
            raise UsageError(f"the stage {stage} goes on from weights: give --weights FILE")
        recipe = STAGES[stage]
        path = train_choice(recipe(**check_options(recipe, given)), options, weights, click.echo)
    click.echo(f"weights: {path}")
