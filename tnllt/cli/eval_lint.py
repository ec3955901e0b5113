"""`tnllt-eval lint`."""

from __future__ import annotations

import click

from tnllt.cli.common import prints_findings
from tnllt.cli.loading import Options, load, scoring_options
from tnllt.findings import Findings


@click.command()
@scoring_options
@prints_findings("tnllt.results.lint:CHECKER")
def lint(options: Options) -> Findings:
    """Find what is wrong with result files: missing or short ones, broken rows, wrong formats, copies.

    Exit code 1 where an error is found (with --strict: a warning), else 0. --format github prints annotations that
    GitHub shows beside the files.
    """
    from tnllt.results.lint import lint as lint_results

    loaded = load(options)
    return lint_results(loaded.sequences, loaded.files, loaded.unknown)
