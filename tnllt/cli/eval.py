"""`tnllt-eval`: score trackers; and the subcommands that look into scores."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource

from tnllt.cli.common import STYLE_HELP, LazyGroup, run_command, scoring_options, version_option
from tnllt.cli.dataclass_options import config_options
from tnllt.config import ScoreConfig, TableConfig
from tnllt.errors import UsageError
from tnllt.options import option

#: Subcommand -> (where it is, what it does); a module is imported when its subcommand is called.
_SUBCOMMANDS = {
    "explain": ("tnllt.cli.eval_explain:explain", "Explain the difference between two protocols, rule by rule."),
    "compare": ("tnllt.cli.eval_compare:compare", "Two trackers, or all: is the difference significant?"),
    "language": ("tnllt.cli.eval_language:language", "Does a tracker read its text? From runs with other texts."),
    "table": ("tnllt.cli.eval_report:table", "One table over several benchmarks, with reported numbers."),
    "report": ("tnllt.cli.eval_report:report", "One self-contained HTML file that shows everything."),
    "view": ("tnllt.cli.eval_view:view", "Play a sequence with the boxes of several trackers."),
    "render": ("tnllt.cli.eval_view:render", "A sequence with boxes as a video or GIF."),
    "pack": ("tnllt.cli.eval_pack:pack", "Put results into archives with a manifest; make entries of a leaderboard."),
    "unpack": ("tnllt.cli.eval_pack:unpack", "Check such an archive and unpack it."),
    "lint": ("tnllt.cli.eval_results:lint", "Find what is wrong with result files, with stable codes."),
    "score-file": ("tnllt.cli.eval_results:score_file", "Score one result file against one ground-truth file."),
    "protocols": ("tnllt.cli.eval_results:protocols", "Describe every scoring rule in one sentence."),
}


@dataclass(frozen=True, kw_only=True)
class ScoreOutput(TableConfig):
    """What is printed, written and checked of the scores."""

    metric: str = option("all", "success, precision, normalized-precision, op50, ... or all.", "-m", metavar="NAMES")
    attributes: bool = option(False, "Scores per attribute too; with --out a figure for each, and a radar.")
    format_: str = option("text", "Format of the output.", choices=("text", "markdown", "latex", "html", "csv", "json"))
    by: str = option(
        "overall", "Columns of the table: metrics, or one metric's attributes or sequences.",
        choices=("overall", "attribute", "sequence"),
    )  # fmt: skip
    group_by: str = option("", "A row per value of these keys of variants: mean and deviation.", metavar="KEYS")
    out: Path | None = option(None, "Folder for scores, curves, tables and figures.", "-o")
    style: Path | None = option(None, STYLE_HELP)
    no_plots: bool = option(False, "With --out: no figures.")
    quiet: bool = option(False, "Print nothing but errors.", "-q")
    save_baseline: Path | None = option(None, "File to keep these scores in, for --baseline.")
    baseline: Path | None = option(None, "Compare with scores kept by --save-baseline.")
    max_drop: float | None = option(None, "With --baseline: fail where a score fell by more.  [default: 0]")
    fail_under: tuple[str, ...] = option(
        (), "Fail where a tracker scores lower.", metavar="METRIC=SCORE", multiple=True, kind=str
    )


@click.group(
    cls=LazyGroup,
    subcommands=_SUBCOMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@scoring_options
@config_options(ScoreOutput, "output")
@version_option
@click.pass_context
def cli(ctx: click.Context, /, config: ScoreConfig, output: ScoreOutput) -> None:
    """Score trackers exactly as the official toolkit does, or as another toolkit does (--protocol).

    \b
    tnllt-eval --dataset lasot --annos DIR --results DIR --trackers all --metric success
    tnllt-eval ... --attributes --out DIR       figures, tables, curves
    tnllt-eval ... --fail-under success=0.6     exit code 1 below

    Exit codes: 0 success; 1 a gate failed; 2 usage or data error; 3 results incomplete.
    """
    if ctx.invoked_subcommand is not None:
        # Options before a subcommand would be those of scoring, and have no effect.
        for param in ctx.command.params:
            if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
                what = f"{param.opts[0]} must follow `{ctx.invoked_subcommand}`"
                raise UsageError(f"{what}; before it, it has no effect")
    else:
        from tnllt.cli.eval_score import score

        score(config, output)


def main() -> None:
    # Products are small and come from several threads of our own: those of the library would wait for each other.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    run_command(cli, "tnllt-eval")


if __name__ == "__main__":
    main()
