"""Training a baseline on TNLLT by upstream's own training script: the job that its launcher reads, and its start."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.datasets.frames import ImageFrames
from tnllt.errors import DataError, IncompleteError, UsageError
from tnllt.locks import sole_writer
from tnllt.sequence import Sequence as VideoSequence
from tnllt.tracking.baselines.find import folder
from tnllt.tracking.baselines.installation import find_configuration, worker_environment
from tnllt.tracking.baselines.record import BaselineRecord
from tnllt.tracking.child import ending

#: Upstream's samplers never end on a sequence with fewer frames that show the target.
SHORTEST = 20


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Attributes:
        output: folder of checkpoints, logs, metrics.jsonl and the yaml that was used.
        epochs: upstream's own number where None; so are the next three.
        save_every_epoch: else upstream saves some epochs, among them the last.
        config: settings changed in upstream's yaml, by dotted name.
        datasets: further datasets of upstream's, {name: ratio}; TNLLT has ratio 1.
        paths: {attribute: folder} of upstream's environment, such as lasot_dir.
        processes: one for each GPU; more than one by torchrun.
    """

    repo: Path
    python: str
    output: Path
    device: str = "cuda"
    yaml: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    samples: int | None = None
    loader_workers: int | None = None
    save_every_epoch: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, float] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    seed: int = 42


def write_index(sequences: Iterable[VideoSequence], file: Path, held_out: float = 0.05) -> tuple[int, int, list[str]]:
    """Write what upstream's side needs of the sequences: paths, boxes, descriptions.

    Args:
        sequences: with frames in image files.
        file: where to; JSON.
        held_out: fraction of the sequences, the last ones, that are kept for validation; at least one of several.

    Returns:
        Number of sequences for training and for validation, and the names of those left out as too short.

    Raises:
        DataError: a sequence has no image files, or none is long enough.
    """
    rows, short = [], []
    for sequence in sequences:
        row = _index_row(sequence)
        (rows.append(row) if sum(row["present"]) >= SHORTEST else short.append(sequence.name))
    if not rows:
        raise DataError(
            f"no sequence shows its target in {SHORTEST} frames or more, the least that upstream samples from"
        )
    count = min(len(rows) - 1, max(1, round(held_out * len(rows)))) if held_out > 0 else 0
    parts = {"train": rows[: len(rows) - count], "val": rows[len(rows) - count :] or rows}
    file.write_text(json.dumps(parts))
    return len(parts["train"]), len(parts["val"]), short


def _index_row(sequence: VideoSequence) -> dict[str, Any]:
    frames = sequence.frames
    if not isinstance(frames, ImageFrames):
        raise DataError(f"sequence {sequence.name}: training reads image files, and this one has none")
    length = min(len(sequence), len(frames))
    boxes = sequence.groundtruth[:length]
    known = np.array(np.isfinite(boxes).all(axis=1), dtype=bool)
    present = np.array(known & (boxes[:, 2:].min(axis=1) > 0), dtype=bool)
    if sequence.present is not None:
        present &= sequence.present[:length]
    return {
        "name": sequence.name,
        "frames": [str(frames.path(i).resolve()) for i in range(length)],
        "boxes": np.where(known[:, None], boxes, 0.0).tolist(),
        "present": present.tolist(),
        "text": sequence.language or "",
    }


def job_table(record: BaselineRecord, job: TrainingJob, index: Path, scratch: Path) -> dict[str, Any]:
    """What train.py reads. Raises UsageError where the record cannot be trained or the yaml is not there."""
    call, training = record.call, record.training
    if training is None:
        raise UsageError(f"{record.name}: its record has no [training] table")
    yaml = find_configuration(record, job.repo, job.yaml)
    changes = {
        "TRAIN.EPOCH": job.epochs,
        "TRAIN.BATCH_SIZE": job.batch_size,
        "TRAIN.NUM_WORKER": job.loader_workers,
    }
    output = str(job.output.resolve())
    return {
        "spec": {
            "repo": str(job.repo),
            "save_dir": output,
            "device": "cpu" if job.device == "cpu" else "cuda",
            "env": dict(job.paths),
            "paths": list(call.paths),
        },
        "script": training.script,
        "script_name": training.script_name or call.name,
        "config_name": yaml.stem,
        "yaml": str(yaml),
        "config": {**training.config, **{k: v for k, v in changes.items() if v is not None}, **job.config},
        "settings": dict(training.settings),
        "datasets": {"TNLLT": 1.0, **job.datasets},
        "dataset_name": training.dataset,
        "text": training.text,
        "channels": training.channels,
        "save_every_epoch": job.save_every_epoch,
        "output": output,
        "index": str(index),
        "scratch": str(scratch),
        "seed": job.seed,
        "samples": job.samples,
        "launcher": os.getpid(),
    }


def train(record: BaselineRecord, job: TrainingJob, sequences: Iterable[VideoSequence], held_out: float = 0.05) -> Path:
    """Train, and return the folder of the checkpoints. Continues where an earlier run with this output ended.

    Raises:
        UsageError: the record, the yaml or the interpreter; another process trains into the same output.
        DataError: the sequences.
        IncompleteError: upstream's training ended without its last checkpoint; its own output says why.
    """
    with tempfile.TemporaryDirectory(prefix=f"tnllt-train-{record.name}-", ignore_cleanup_errors=True) as scratch:
        index, file = Path(scratch) / "index.json", Path(scratch) / "job.json"
        table = job_table(record, job, index, Path(scratch))
        counts = write_index(sequences, index, held_out)
        print(f"{record.name}: {counts[0]} sequences to train on, {counts[1]} to validate on", flush=True)
        if counts[2]:
            print(f"{record.name}: left out as too short: {', '.join(counts[2])}", flush=True)
        file.write_text(json.dumps(table))
        job.output.mkdir(parents=True, exist_ok=True)
        environment = worker_environment(record, job.device)
        try:
            with sole_writer(job.output):
                code = subprocess.run(command(record, job, file), env=environment, check=False).returncode
        except OSError as error:
            raise UsageError(f"{record.name}: cannot start the interpreter {job.python}: {error.strerror}") from error
    if code:
        raise IncompleteError(f"{record.name}: training {ending(code)}; upstream's own message is above")
    return job.output / "checkpoints" / "train" / str(table["script_name"]) / str(table["config_name"])


def command(record: BaselineRecord, job: TrainingJob, file: Path) -> Sequence[str]:
    """The command line: one process, or torchrun for several and for upstream code that needs it."""
    script = [str(folder() / "train.py"), str(file)]
    if job.processes == 1 and not (record.training and record.training.torchrun):
        return [job.python, "-u", *script]
    port = 29500 + os.getpid() % 2000
    run = ["-m", "torch.distributed.run", "--nproc_per_node", str(job.processes), "--master_port", str(port)]
    return [job.python, "-u", *run, "--log_dir", str(file.parent / "torchrun"), *script]
