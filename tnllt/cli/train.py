"""`tnllt-train`: train the tracking network, a reasoner, a baseline; export data to other trainers."""

from __future__ import annotations

from importlib import import_module

import click

from tnllt.cli.common import run_command, version_option

#: Subcommand -> (where it is, what it does); a module is imported when its subcommand is called.
_SUBCOMMANDS = {
    "tracker": ("tnllt.cli.train_tracker:tracker", "Train the tracking network."),
    "sft": ("tnllt.cli.train_sft:sft", "Fine-tune a vision-language model as reasoner on answers."),
    "grpo": ("tnllt.cli.train_grpo:grpo", "Train a reasoner by reinforcement, rewarded by a frozen tracker."),
    "export": ("tnllt.cli.train_export:export", "Write data and settings for LLaMA-Factory or EasyR1."),
    "baseline": ("tnllt.cli.train_baseline:baseline", "Re-train a baseline with its own code."),
}


class _Lazy(click.Group):
    """A group that imports a subcommand's module when it is called, so that help is instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _SUBCOMMANDS:
            return None
        module, _, attribute = _SUBCOMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _SUBCOMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cli() -> None:
    """Train the tracking network, the reasoner that revises its descriptions, and the baselines."""


def main() -> None:
    run_command(cli, "tnllt-train")


if __name__ == "__main__":
    main()
