"""Work as jobs of a Slurm cluster, by submitit: submitted, requeued where Slurm pre-empts them, and looked up.

submitit keeps each job's work (a pickle that the job loads), output and errors in a folder, which every node must see.
Only its owner may enter it: whoever could write there would run code as that user.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tnllt.errors import MissingExtraError, TnlltError, UsageError
from tnllt.files import parse_json, read_bytes, write_atomic

FOLDER = ".slurm"
_JOBS = "jobs.json"
#: Submission numbers of a few weeks; of older ones Slurm itself remembers nothing.
_MOST_JOBS = 10_000
_ASK_SECONDS = 20.0


class Work:
    """A function and its arguments. A job that is pre-empted, or out of time, is queued again to do the same."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __call__(self) -> Any:
        return self.function(*self.arguments)

    def checkpoint(self) -> Any:
        """What submitit submits again: the work keeps its own state in files."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(work: Work, settings: Mapping[str, str], folder: Path, name: str, count: int = 1) -> list[str]:
    """Submits the same work so many times; returns the jobs' numbers, which are noted in the folder, too.

    Args:
        work: what each job does.
        settings: options of sbatch without the dashes: {"partition": "gpu", "gpus": "1", "time": "4:00:00"}.
        folder: of the jobs' files, on a disk that every node sees.
        name: of the jobs, as Slurm shows it.

    Raises:
        MissingExtraError: submitit is not installed.
        UsageError: there is no Slurm here, or it refuses the job.
    """
    try:
        import submitit
    except ImportError as error:
        raise MissingExtraError("--slurm", "cluster", error) from error
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UsageError("--slurm: no sbatch and srun here; submit from a machine of the cluster")
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    executor = submitit.SlurmExecutor(folder)
    given = {key.replace("-", "_"): value for key, value in settings.items()}
    own = {key: given.pop(key) for key in [*given] if key in executor._valid_parameters()}
    executor.update_parameters(**{"job_name": name, **own}, additional_parameters=given)
    try:
        with executor.batch():
            jobs = [executor.submit(work) for _ in range(count)]
    except submitit.core.utils.FailedJobError as error:
        reason = " ".join(str(error).split())[-300:]
        raise UsageError(f"--slurm: sbatch refuses the job: {reason}") from error
    numbers = [str(job.job_id) for job in jobs]
    write_atomic(folder / _JOBS, json.dumps([*job_numbers(folder), *numbers][-_MOST_JOBS:]).encode())
    return numbers


def job_numbers(folder: Path) -> list[str]:
    """Numbers of the jobs submitted with this folder, the oldest first."""
    place = folder / _JOBS
    found = parse_json(read_bytes(place), place) if place.is_file() else []
    return [str(number) for number in found] if isinstance(found, list) else []


def job_states(folder: Path) -> dict[str, int]:
    """How many of the folder's jobs are in which state: "running", "pending", ..., and "ended" for what Slurm forgot.

    Raises:
        TnlltError: Slurm does not answer.
    """
    numbers = job_numbers(folder)
    if not numbers:
        return {}
    if shutil.which("squeue") is None:
        return {"unknown here": len(numbers)}
    command = ["squeue", "--noheader", "--array", "--me", "--states=all", "--format=%i %T"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = " ".join(str(getattr(error, "stderr", "") or error).split())[:200]
        raise TnlltError(f"squeue does not answer: {said}") from error
    states = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
    return dict(Counter(states.get(number, "ended").lower() for number in numbers))
