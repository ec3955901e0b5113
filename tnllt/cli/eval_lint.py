"""`tnllt-eval lint`."""

from __future__ import annotations

import click

from tnllt.cli.common import prints_findings
from tnllt.cli.eval_options import scoring_options
from tnllt.config import ScoreConfig
from tnllt.eval.selection import select
from tnllt.findings import Findings


@click.command()
@scoring_options
@prints_findings("tnllt.results.lint:CHECKER")
def lint(config: ScoreConfig) -> Findings:
    """Find what is wrong with result files: missing or short ones, broken rows, wrong formats, copies.

    Exit code 1 where an error is found (with --strict: a warning), else 0. --format github prints annotations that
    GitHub shows beside the files.
    """
    return select(config).lint()
