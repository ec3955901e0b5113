"""Fine-tuning and GRPO of a tiny random Qwen2.5-VL, for real, and the trained model at work in the tracker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tnllt.reasoningtrack.reasoners import make_reasoner
from tnllt.reasoningtrack.reasoners.models import write_answers
from tnllt.training.rewards import strict_reward
from tnllt.training.vlm.records import read_samples

for package in ("trl", "peft", "datasets", "accelerate", "transformers"):
    pytest.importorskip(package)

pytestmark = pytest.mark.slow

PIXELS = ("--min-pixels", 3136, "--max-pixels", 7056)


def command(name: str, *arguments: object) -> str:
    """Runs `tnllt-<name>` in a process of its own, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    module = [sys.executable, "-m", f"tnllt.cli.{name}", *map(str, arguments)]
    done = subprocess.run(module, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return done.stdout


def history(folder: Path, key: str) -> list[float]:
    entries = json.loads((folder / "history.json").read_text())["history"]
    return [float(entry[key]) for entry in entries if key in entry]


@pytest.fixture(scope="module")
def random_tracker(tmp_path_factory) -> Path:
    import torch
    from safetensors.torch import save_file

    from tnllt.reasoningtrack.config import PRESETS
    from tnllt.reasoningtrack.network import Network

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(Network(PRESETS["tiny"]).state_dict(), file)
    return file


def formed_fraction(model, processor, records) -> float:
    """Fraction of sampled answers, one for each record, that earn the strict reward."""
    from PIL import Image

    questions = [(r.instruction, [Image.open(path) for path in r.model_images], r.description) for r in records]
    model.eval()
    sampling = {"max_new_tokens": 90, "do_sample": True, "temperature": 1.0, "top_k": 0}
    answers = write_answers(model, processor, questions, **sampling)
    model.train()
    return sum(map(strict_reward, answers)) / len(answers)


@pytest.fixture(scope="module")
def fine_tuned(tiny_vlm: Path, box_pairs: Path, tmp_path_factory) -> Path:
    """Stopped when about two fifths of the answers were well formed: the format rewards teach nothing where all are,
    or none."""
    from transformers import TrainerCallback

    from tnllt.training.vlm.finetune import make_trainer, train_and_save
    from tnllt.training.vlm.options import ModelOptions, SftOptions

    out = tmp_path_factory.mktemp("models") / "sft"
    model, records = ModelOptions(str(tiny_vlm), 3136, 7056), read_samples(box_pairs)
    sizes = {"steps": 300, "learning_rate": 1e-3, "scheduler": "constant", "batch": 8, "accumulation": 1}
    options = SftOptions(out, **sizes, log_every=3)

    def make():
        trainer, processor = make_trainer(records, model, options)

        class StopWhenFormed(TrainerCallback):
            def on_step_end(self, args, state, control, model=None, **_):
                if state.global_step % 3 == 0 and formed_fraction(model, processor, records[:32]) >= 0.35:
                    control.should_training_stop = True

        trainer.add_callback(StopWhenFormed())
        return trainer, processor

    train_and_save("sft", make, model, options)
    return out


def test_only_the_answer_is_trained(tiny_vlm: Path, box_pairs: Path, tmp_path: Path):
    from tnllt.training.vlm.finetune import make_trainer
    from tnllt.training.vlm.options import ModelOptions, SftOptions

    records = read_samples(box_pairs)[:4]
    trainer, processor = make_trainer(records, ModelOptions(str(tiny_vlm), 3136, 7056), SftOptions(tmp_path))
    batch = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    for labels, tokens, record in zip(batch["labels"], batch["input_ids"], records, strict=True):
        learnt = processor.tokenizer.decode(labels[labels != -100])
        assert learnt.strip() == f"{record.output}<|im_end|>"
        whole = processor.tokenizer.decode(tokens)
        assert record.instruction in whole and record.description + "<|im_end|>" in whole
        assert whole.index(record.instruction) < whole.index("<|image_pad|>") < whole.index("<|im_start|>assistant")


def test_records_too_long_are_left_out_not_cut(tiny_vlm: Path, box_pairs: Path, tmp_path: Path):
    from tnllt.errors import DataError
    from tnllt.training.vlm.finetune import make_trainer
    from tnllt.training.vlm.options import ModelOptions, SftOptions

    model = ModelOptions(str(tiny_vlm), 3136, 7056)
    with pytest.raises(DataError, match="longer than 60 tokens"):
        make_trainer(read_samples(box_pairs)[:2], model, SftOptions(tmp_path, max_length=60))


def test_fine_tuning_lowers_the_loss(fine_tuned: Path):
    losses = history(fine_tuned, "loss")
    assert losses[-1] < losses[0] / 3, losses
    facts = json.loads((fine_tuned / "tnllt.json").read_text())
    assert facts["method"] == "sft" and facts["records"] == 48


def test_grpo_raises_the_format_reward_and_the_model_reasons_in_the_tracker(
    fine_tuned: Path, box_pairs: Path, random_tracker: Path, tmp_path: Path
):
    from tnllt.training.vlm.finetune import load_for_training
    from tnllt.training.vlm.options import ModelOptions

    start = formed_fraction(*load_for_training(ModelOptions(str(fine_tuned), 0, 0)), read_samples(box_pairs))
    assert 0.2 <= start <= 0.8
    out = tmp_path / "grpo"
    sizes = ("--group", 16, "--prompts-per-rollout", 4, "--prompts-per-update", 4, "--batch", 64, "--max-tokens", 90)
    rewards = (
        "--reward-weights",
        "0.45,0.45,0.05,0.05",
        "--tracker-weights",
        random_tracker,
        "--tracker-config",
        "tiny",
    )
    steps = ("--steps", 36, "--learning-rate", 3.5e-4, "--min-pixels", 0, "--max-pixels", 0, "--beta", 0)
    command("train", "grpo", "--model", fine_tuned, "--samples", box_pairs, "--out", out, *sizes, *rewards, *steps)
    formed = history(out, "rewards/format/mean")
    assert len(formed) == 36
    assert np.mean(formed[-6:]) > np.mean(formed[:6]) + 0.1, formed
    for name in ("iou", "decision"):
        assert all(0 <= value <= 1 for value in history(out, f"rewards/{name}/mean"))
    serves_in_the_tracker(out, random_tracker, box_pairs, tmp_path)


def serves_in_the_tracker(model: Path, weights: Path, pairs: Path, folder: Path) -> None:
    prompt = folder / "prompt.txt"
    prompt.write_text(read_samples(pairs)[0].instruction)
    sequence = folder / "data" / "clip"
    (sequence / "img").mkdir(parents=True)
    boxes = []
    for n in range(45):
        picture = np.full((72, 96, 3), 90, np.uint8)
        picture[20:40, n : n + 20] = (30, 30, 220)
        cv2.imwrite(str(sequence / "img" / f"{n + 1:05d}.jpg"), picture)
        boxes.append(f"{n},20,20,20")
    (sequence / "groundtruth.txt").write_text("\n".join(boxes) + "\n")
    (sequence / "language.txt").write_text("the red box on the left\n")
    options = {
        "reasoner": f"transformers:{model}",
        "reasoner_options": "max_tokens=90,cache=off",
        "prompt": prompt,
        "weights": weights,
        "config": "tiny",
    }
    chosen = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    command("run", "ReasoningTrack", "--dataset", folder / "data", "--results", folder / "results", *chosen)
    (result,) = (folder / "results").rglob("clip.txt")
    assert len(result.read_text().splitlines()) == 45
    (trace,) = (folder / "results").rglob("clip.trace.jsonl")
    events = [event for line in trace.open() if (event := json.loads(line))["event"] == "refresh"]
    assert events and all(event["error"] is None and event["raw"] for event in events)


def test_adapters_are_merged_into_a_model_that_works(tiny_vlm: Path, box_pairs: Path, tmp_path: Path):
    out = tmp_path / "lora"
    sizes = ("--steps", 4, "--batch", 4, "--accumulation", 1, "--lora", 4, "--log-every", 1, "--learning-rate", 1e-2)
    command("train", "sft", "--model", tiny_vlm, "--samples", box_pairs, "--out", out, *PIXELS, *sizes)
    losses = history(out, "loss")
    assert losses[-1] < losses[0]
    assert (out / "adapter/adapter_config.json").is_file()
    picture = cv2.imread(str(read_samples(box_pairs)[0].images[0]))
    before, after = (
        make_reasoner(f"transformers:{folder}", cache="off", max_tokens=12, device="cpu").describe(
            picture, picture, "x"
        )
        for folder in (tiny_vlm, out)
    )
    assert before.raw and after.raw and before.raw != after.raw


def test_pairs_made_from_a_dataset_train(tiny_vlm: Path, tmp_path: Path):
    sizes = ("--steps", 1, "--batch", 1, "--accumulation", 1, "--pairs", 1, "--gap", 5, 40, "--limit", 2)
    out = tmp_path / "demo"
    command("train", "sft", "--model", tiny_vlm, "--dataset", "demo", "--split", "all", "--out", out, *PIXELS, *sizes)
    assert (out / "model.safetensors").is_file()
    records = read_samples(out / "pairs")
    assert records and all(record.boxes and record.output and record.description for record in records)


class Evil:
    """A pickle of it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("lora", [0, 4])
def test_a_resumed_run_ends_with_the_weights_of_an_undisturbed_one(
    tiny_vlm: Path, box_pairs: Path, tmp_path: Path, lora: int
):
    import torch

    from tnllt.errors import DataError, UsageError
    from tnllt.training.vlm.finetune import run_sft
    from tnllt.training.vlm.options import ModelOptions, SftOptions

    def train(out: Path, **options: object) -> bytes:
        steps = {"steps": 6, "save_every": 3, "learning_rate": 1e-3, "batch": 2, "accumulation": 1, "warmup_steps": 2}
        model = ModelOptions(str(tiny_vlm), 3136, 7056, lora)
        run_sft(read_samples(box_pairs)[:8], model, SftOptions(out, **{**steps, **options}))
        return (out / "model.safetensors").read_bytes()

    whole, part = tmp_path / "whole", tmp_path / "part"
    weights = train(whole)
    names = {path.name for path in (whole / "checkpoints" / "checkpoint-3").iterdir()}
    assert "state.safetensors" in names
    assert not names & {"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"}
    checkpoint = part / "checkpoints" / "checkpoint-3"
    shutil.copytree(whole / "checkpoints" / "checkpoint-3", checkpoint)
    (part / "checkpoints" / "checkpoint-6").mkdir()  # it was being written when the run was killed
    assert train(part, resume=True) == weights

    mark = tmp_path / "mark"
    torch.save(Evil(mark), tmp_path / "evil.pth")
    shutil.rmtree(part / "checkpoints" / "checkpoint-6")
    for name in (
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        ".metadata",
        "pytorch_model.bin",
        "state.safetensors",
    ):
        before = (checkpoint / name).read_bytes() if (checkpoint / name).exists() else None
        shutil.copy(tmp_path / "evil.pth", checkpoint / name)
        with pytest.raises(DataError, match=name):
            train(part, resume=True)
        (checkpoint / name).unlink()
        if before is not None:
            (checkpoint / name).write_bytes(before)
    (checkpoint / "trainer_state.json").write_text('{"nonsense": 1}')
    with pytest.raises(DataError, match="is damaged"):
        train(part, resume=True)
    with pytest.raises(UsageError, match="no complete checkpoint"):
        train(tmp_path / "none", resume=True)
    assert not mark.exists()
