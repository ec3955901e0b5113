"""`tnllt-train`: train the tracking network, a reasoner, a baseline; export data to other trainers."""

from __future__ import annotations

import click

from tnllt.cli.common import LazyGroup, run_command, version_option

#: Subcommand -> (where it is, what it does); a module is imported when its subcommand is called.
_SUBCOMMANDS = {
    "tracker": ("tnllt.cli.train_tracker:tracker", "Train the tracking network."),
    "sft": ("tnllt.cli.train_reasoner:sft", "Fine-tune a vision-language model as reasoner on answers."),
    "grpo": ("tnllt.cli.train_reasoner:grpo", "Train a reasoner by reinforcement, rewarded by a frozen tracker."),
    "export": ("tnllt.cli.train_reasoner:export", "Write data and settings for LLaMA-Factory or EasyR1."),
    "baseline": ("tnllt.cli.train_baseline:baseline", "Re-train a baseline with its own code."),
}


@click.group(cls=LazyGroup, subcommands=_SUBCOMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cli() -> None:
    """Train the tracking network, the reasoner that revises its descriptions, and the baselines."""


def main() -> None:
    run_command(cli, "tnllt-train")


if __name__ == "__main__":
    main()
