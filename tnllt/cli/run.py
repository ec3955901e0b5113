"""`tnllt-run`: follow sequences with a tracker. The name of a tracker is the command; a few words are reserved."""

from __future__ import annotations

from importlib import import_module

import click

from tnllt.cli.common import run_command, version_option

#: Subcommands and where they are; each module loads when it is asked for.
SUBCOMMANDS = {
    "list": ("tnllt.cli.run_list:list_trackers", "Trackers that run here, and what the others lack."),
    "check": ("tnllt.cli.run_check:check", "Try a tracker on five synthetic sequences, and say what it gets wrong."),
    "doctor": ("tnllt.cli.run_baselines:doctor", "What a baseline lacks here, and the command that brings it."),
    "status": ("tnllt.cli.run_status:status", "Done, failed, missing, and speed, per tracker."),
    "retry": ("tnllt.cli.run_track:retry", "Follow failed sequences again, and nothing else."),
}
_TRACK = "NAME"


class RunGroup(click.Group):
    """A first word that is no subcommand names a tracker, or is an option of the run itself."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in SUBCOMMANDS and args[0] not in ("--help", "-h", "--version"):
            args = [_TRACK, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [_TRACK, *SUBCOMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = "tnllt.cli.run_track:track" if cmd_name == _TRACK else SUBCOMMANDS.get(cmd_name, ("", ""))[0]
        if not target:
            return None
        module, _, name = target.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(_TRACK, "Follow a dataset with the tracker NAME.  `tnllt-run NAME --help` shows the options.")]
        rows += [(name, text) for name, (_, text) in SUBCOMMANDS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=RunGroup,
    no_args_is_help=True,
    subcommand_metavar="NAME [OPTIONS] | COMMAND [ARGS]",
    context_settings={"help_option_names": ["--help", "-h"]},
)
@version_option
def cli() -> None:
    """Run trackers over datasets; a run that was interrupted continues.

    \b
    tnllt-run NanoTrack --dataset demo --results runs/demo --set weights=DIR
    tnllt-run my_module:MyTracker --dataset lasot --root /data/LaSOT --workers 4
    """


def main() -> None:
    run_command(cli, "tnllt-run")


if __name__ == "__main__":
    main()
