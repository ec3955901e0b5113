"""What the subcommands for reasoners share: processes of their own under a launcher, and the last line."""

from __future__ import annotations

import functools
import logging
import sys
from pathlib import Path
from typing import Any

import click

from tnllt.errors import UsageError


def launch_options(function: Any) -> Any:
    """Adds --launch and --processes; under --launch the command runs in processes of its own."""

    @functools.wraps(function)
    def wrapper(*args: Any, launch: str | None, processes: int | None, **kw: Any) -> Any:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        from tnllt.training.vlm.launch import launched, relaunch

        if processes is not None and launch is None:
            raise UsageError("--processes needs --launch; give both, or neither")
        if launch is None or launched():
            return function(*args, **kw)
        code = relaunch(launch, processes, sys.argv[1:])
        if code:
            sys.exit(code)
        return None

    text = "Several devices: ddp, fsdp, zero2, zero3 (DeepSpeed), or an accelerate YAML file."
    wrapped: Any = click.option("--processes", type=click.IntRange(1), help="Number of devices, with --launch.")(
        wrapper
    )
    return click.option("--launch", help=text)(wrapped)


def echo_trained(trainer: Any, out: Path, measure: str) -> None:
    """One line: steps, and the first and last value of a measure. The first process prints it."""
    if trainer.is_world_process_zero():
        values = [entry[measure] for entry in trainer.state.log_history if measure in entry]
        change = f", {measure} {float(values[0]):.4g} to {float(values[-1]):.4g}" if values else ""
        click.echo(f"{out}: trained for {trainer.state.global_step} steps{change}")
