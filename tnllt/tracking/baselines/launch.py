"""Training a baseline on TNLLT by upstream's own training script: the job that its launcher reads, and its start."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tnllt.datasets.frames import ImageFrames
from tnllt.errors import DataError, IncompleteError, UsageError
from tnllt.locks import sole_writer
from tnllt.options import key_values, option
from tnllt.sequence import Sequence as VideoSequence
from tnllt.tracking.baselines.find import folder
from tnllt.tracking.baselines.installation import (
    existing_repo,
    find_configuration,
    find_weights,
    interpreter,
    parse_cfg,
    worker_environment,
)
from tnllt.tracking.baselines.record import BaselineRecord
from tnllt.tracking.child import ending

#: Upstream's samplers never end on a sequence with fewer frames that show the target.
SHORTEST = 20


@dataclass(frozen=True)
class TrainingOptions:
    """How a baseline is trained, with the options of `tnllt-train baseline`."""

    device: str = option("cuda", "cuda, cuda:N or cpu.")
    processes: int = option(1, "One per GPU, by torchrun.", "-n", minimum=1)
    epochs: int | None = option(None, "[default: upstream's]", minimum=1)
    batch_size: int | None = option(None, "Per process.  [default: upstream's]", minimum=1)
    samples: int | None = option(None, "Per epoch.  [default: upstream's]", minimum=1)
    loader_workers: int | None = option(None, "Reading processes.  [default: upstream's]", minimum=0)
    save_every_epoch: bool = option(False, "Not only the epochs that upstream saves.")
    datasets: tuple[str, ...] = option(
        (), "A dataset of upstream's, beside TNLLT's 1.", "--with", metavar="NAME=RATIO", multiple=True
    )
    paths: tuple[str, ...] = option(
        (), "Upstream's name of a folder, as lasot_dir=DIR.", "--path", metavar="KEY=DIR", multiple=True
    )
    held_out: float = option(0.05, "Fraction of the sequences, the last ones, to validate on.", minimum=0, maximum=0.9)
    seed: int = option(42, "Seeds all random numbers.")

    @property
    def ratios(self) -> dict[str, float]:
        """{dataset: ratio}, TNLLT's among them. Raises UsageError where one is not a number."""
        try:
            others = {name: float(ratio) for name, ratio in key_values(self.datasets, "--with", "NAME=RATIO").items()}
        except ValueError:
            raise UsageError("--with NAME=RATIO: the ratio must be a number") from None
        return {"TNLLT": 1.0, **others}


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


def train(
    record: BaselineRecord,
    sequences: Iterable[VideoSequence],
    out: Path,
    options: TrainingOptions = TrainingOptions(),
    **given: str | Path,
) -> Path:
    """Train, and return the last checkpoint. Continues where an earlier training into the same folder ended.

    Args:
        record: the baseline.
        sequences: with frames in image files.
        out: folder of checkpoints, logs, metrics.jsonl and the yaml that was used.
        options: see there.
        **given: repo, python, yaml and cfg, as `BaselineTracker`'s; the record's own where they are missing.

    Raises:
        UsageError: the record, the yaml or the interpreter; another process trains into the same folder.
        DataError: the sequences.
        IncompleteError: upstream's training ended without its last checkpoint; its own output says why.
    """
    own = record.options_with(**given)
    python, out = interpreter(own["python"]), out.resolve()
    with tempfile.TemporaryDirectory(prefix=f"tnllt-train-{record.name}-", ignore_cleanup_errors=True) as scratch:
        index, file = Path(scratch) / "index.json", Path(scratch) / "job.json"
        table = _job(record, own, options, out)
        counts = write_index(sequences, index, options.held_out)
        print(f"{record.name}: {counts[0]} sequences to train on, {counts[1]} to validate on", flush=True)
        if counts[2]:
            print(f"{record.name}: left out as too short: {', '.join(counts[2])}", flush=True)
        file.write_text(json.dumps({**table, "index": str(index), "scratch": scratch}))
        out.mkdir(parents=True, exist_ok=True)
        by_torchrun = options.processes > 1 or table["torchrun"]
        line = [python, "-u", *(_torchrun(options.processes, Path(scratch)) if by_torchrun else ())]
        environment = worker_environment(record, options.device)
        try:
            with sole_writer(out):
                command = [*line, str(folder() / "train.py"), str(file)]
                code = subprocess.run(command, env=environment, check=False).returncode
        except OSError as error:
            raise UsageError(f"{record.name}: cannot start the interpreter {python}: {error.strerror}") from error
    if code:
        raise IncompleteError(f"{record.name}: training {ending(code)}; upstream's own message is above")
    return find_weights(record, out, out / "checkpoints/train" / table["script_name"] / table["config_name"], None)


def _job(record: BaselineRecord, own: Mapping[str, Any], options: TrainingOptions, out: Path) -> dict[str, Any]:
    """What train.py reads. Raises UsageError where the record cannot be trained or a part is missing."""
    call, training = record.call, record.training
    if training is None:
        raise UsageError(f"{record.name}: its record has no [training] table")
    repo = existing_repo(record, own["repo"])
    yaml = find_configuration(record, repo, own["yaml"])
    changes = {
        "TRAIN.EPOCH": options.epochs,
        "TRAIN.BATCH_SIZE": options.batch_size,
        "TRAIN.NUM_WORKER": options.loader_workers,
    }
    changed = {key: value for key, value in changes.items() if value is not None}
    return {
        "spec": {
            "repo": str(repo),
            "save_dir": str(out),
            "device": "cpu" if options.device == "cpu" else "cuda",
            "env": key_values(options.paths, "--path", "KEY=DIR"),
            "paths": list(call.paths),
        },
        **asdict(training),
        "script_name": training.script_name or call.name,
        "config_name": yaml.stem,
        "yaml": str(yaml),
        "config": {**training.config, **changed, **parse_cfg(own["cfg"] or "")},
        "datasets": options.ratios,
        "dataset_name": training.dataset,
        "save_every_epoch": options.save_every_epoch,
        "output": str(out),
        "seed": options.seed,
        "samples": options.samples,
        "launcher": os.getpid(),
    }


def _torchrun(processes: int, scratch: Path) -> list[str]:
    port = 29500 + os.getpid() % 2000
    run = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", str(port)]
    return [*run, "--log_dir", str(scratch / "torchrun")]
