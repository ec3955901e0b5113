"""Training on several devices: the command starts itself again under `accelerate launch`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from tnllt.errors import UsageError

#: Configurations of accelerate that ship here.
SHIPPED = ("ddp", "fsdp", "zero2", "zero3")

_MARK = "TNLLT_LAUNCHED"


def config_path(name: str) -> Path:
    """The file of a shipped configuration, or the path itself. Raises UsageError where there is none."""
    if name in SHIPPED:
        return Path(str(files("tnllt.training.vlm") / "configs" / f"{name}.yaml"))
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"--launch {name}: neither one of {', '.join(SHIPPED)} nor a file")
    return path


def launched() -> bool:
    """Whether this process was already started by a launcher, ours or another."""
    return _MARK in os.environ or "LOCAL_RANK" in os.environ


def relaunch(name: str, processes: int | None, arguments: Sequence[str]) -> int:
    """Runs `tnllt-train` with these arguments under `accelerate launch`; its exit code.

    Args:
        processes: number of devices; None leaves it to the configuration or to accelerate.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config_path(name))]
    if processes is not None:
        command += ["--num_processes", str(processes)]
    command += ["-m", "tnllt.cli.train", *arguments]
    # Not every launcher sets a rank (one process, say); without a mark each would launch again.
    return subprocess.call(command, env={**os.environ, _MARK: "1"})


def is_first_process() -> bool:
    """Whether this process is the first on its machine, or the only one."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def wait_for_all() -> None:
    """Waits until every process has come here; at once where there is one."""
    if launched():
        from accelerate import PartialState

        PartialState().wait_for_everyone()
