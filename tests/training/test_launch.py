"""Training on several devices: the configurations that ship, and two real processes on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate")

RECIPES = Path(__file__).parents[2] / "recipes" / "accelerate"


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero2", "zero3"])
def test_shipped_configurations_are_accelerates(name):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(RECIPES / f"{name}.yaml"))
    kind = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}[name]
    assert str(config.distributed_type).endswith(kind)
    assert config.mixed_precision == "bf16" and config.num_processes == 8
    if kind == "DEEPSPEED":
        assert config.deepspeed_config["zero_stage"] == int(name[-1])


@pytest.mark.slow
def test_two_processes_train_one_model(tiny_vlm: Path, box_pairs: Path, tmp_path: Path):
    for package in ("trl", "peft", "datasets"):
        pytest.importorskip(package)
    out = tmp_path / "out"
    options = ["--model", tiny_vlm, "--samples", box_pairs, "--out", out, "--min-pixels", 3136, "--max-pixels", 7056]
    sizes = ["--steps", 2, "--batch", 2, "--accumulation", 1, "--log-every", 1, "--learning-rate", 1e-3]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, "-m", "tnllt.cli.train", "sft", *options, *sizes]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.count("trained for 2 steps") == 1  # the first process speaks for both
    history = [h for h in json.loads((out / "history.json").read_text())["history"] if "loss" in h]
    assert len(history) == 2 and (out / "model.safetensors").is_file()


def test_a_job_that_slurm_queues_again_resumes_from_a_complete_checkpoint(tmp_path):
    pytest.importorskip("submitit")
    from tnllt.cli.train_job import TrainingJob, run_training

    folder = tmp_path / "checkpoints" / "checkpoint-200"
    folder.mkdir(parents=True)
    for file, more in (("model.safetensors", []), ("state.safetensors", ["--resume"])):
        (folder / file).touch()
        job = TrainingJob(run_training, ["sft", "--out", str(tmp_path)], tmp_path)
        job.checkpoint()
        assert job.arguments[0] == ["sft", "--out", str(tmp_path), *more]
