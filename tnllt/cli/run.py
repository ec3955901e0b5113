"""`tnllt-run`: track sequences with a tracker. The name of a tracker is the command; a few words are reserved."""

from __future__ import annotations

import click

from tnllt.cli.common import LazyGroup, run_command, version_option

#: Subcommands and where they are; each module loads when it is asked for.
_TRACK = "NAME"
SUBCOMMANDS = {
    _TRACK: ("tnllt.cli.run_track:track", "Track a dataset with the tracker NAME.  `tnllt-run NAME --help`: options."),
    "list": ("tnllt.cli.run_trackers:list_trackers", "Trackers that run here, and what the others lack."),
    "get": ("tnllt.cli.run_trackers:get", "Download the weights of NanoTrack or ViT, and check that they load."),
    "check": (
        "tnllt.cli.run_trackers:check",
        "Try a tracker on five synthetic sequences, and report what it gets wrong.",
    ),
    "doctor": ("tnllt.cli.run_trackers:doctor", "What a baseline lacks here, and the command that brings it."),
    "status": ("tnllt.cli.run_status:status", "Done, failed, missing, and speed, per tracker."),
    "retry": ("tnllt.cli.run_track:retry", "Track failed sequences again, and nothing else."),
}


class RunGroup(LazyGroup):
    """A first word that is not a subcommand names a tracker, or is an option of the run itself."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.subcommands and args[0] not in ("--help", "-h", "--version"):
            args = [_TRACK, *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=RunGroup,
    subcommands=SUBCOMMANDS,
    no_args_is_help=True,
    subcommand_metavar="NAME [OPTIONS] | COMMAND [ARGS]",
    context_settings={"help_option_names": ["--help", "-h"]},
)
@version_option
def cli() -> None:
    """Run trackers over datasets; a run that was interrupted continues.

    \b
    tnllt-run NanoTrack --dataset demo --results runs/demo
    tnllt-run my_module:MyTracker --dataset lasot --root /data/LaSOT --workers 4
    """


def main() -> None:
    run_command(cli, "tnllt-run")


if __name__ == "__main__":
    main()
