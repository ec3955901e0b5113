"""What the subcommands for reasoners print: the log while they work, and a last line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click


def show_log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)


def echo_trained(trainer: Any, out: Path, measure: str) -> None:
    """One line: steps, and the first and last value of a measure. The first process prints it."""
    if trainer.is_world_process_zero():
        values = [entry[measure] for entry in trainer.state.log_history if measure in entry]
        change = f", {measure} {float(values[0]):.4g} to {float(values[-1]):.4g}" if values else ""
        click.echo(f"{out}: trained for {trainer.state.global_step} steps{change}")
