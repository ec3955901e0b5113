"""A training as the work of a Slurm job."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from tnllt.slurm import Work


class TrainingJob(Work):
    """A training that continues from its last checkpoint when Slurm queues it again."""

    def checkpoint(self) -> Any:
        arguments, out = self.arguments
        complete = Path(out).glob("checkpoints/checkpoint-*/state.safetensors")
        if arguments[0] in ("sft", "grpo") and "--resume" not in arguments and any(complete):
            self.arguments = [*arguments, "--resume"], out
        return super().checkpoint()


def run_training(arguments: list[str], out: Path) -> None:
    """`tnllt-train` with these arguments. Raises CalledProcessError where it fails, so that the job does."""
    subprocess.run([sys.executable, "-m", "tnllt.cli.train", *arguments], check=True)
