"""Records as rows for TRL, and models and processors loaded for training."""

from __future__ import annotations

import importlib.util
import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tnllt._version import __version__
from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.training.vlm.records import PairRecord

if TYPE_CHECKING:
    from tnllt.training.vlm.grpo import GrpoOptions
    from tnllt.training.vlm.sft import SftOptions

log = logging.getLogger(__name__)

#: Bounds on a picture's pixels in the published training.
MIN_PIXELS, MAX_PIXELS = 59_536, 262_144


def need_train_extra() -> None:
    """Raises MissingExtraError where a package of the extra `train` is not installed."""
    for name in ("trl", "peft", "datasets", "accelerate", "transformers"):
        if importlib.util.find_spec(name) is None:
            extra = "vlm,train" if name == "transformers" else "train"
            raise MissingExtraError("training a vision-language model", extra, ImportError(f"no module {name}"))


def prompt_of(record: PairRecord) -> list[dict[str, str]]:
    """System message and question; the trainer puts the pictures in front of the question's text."""
    return [{"role": "system", "content": record.instruction}, {"role": "user", "content": record.description}]


def to_dataset(rows: list[dict[str, Any]]) -> Any:
    """A `datasets.Dataset` whose `images` are opened when a row is used."""
    from datasets import Dataset, Image

    dataset = Dataset.from_list(rows)
    features = dataset.features.copy()
    features["images"] = [Image()]
    return dataset.cast(features)


def sft_rows(records: Sequence[PairRecord]) -> list[dict[str, Any]]:
    """Prompt and completion apart, so that the loss sees the answer alone. Raises DataError without an answer."""
    rows = []
    for record in records:
        if not record.output:
            raise DataError("the record has no answer to learn", record.source)
        answer = [{"role": "assistant", "content": record.output}]
        rows.append(
            {"prompt": prompt_of(record), "completion": answer, "images": [str(path) for path in record.images]}
        )
    return rows


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and trained.

    Attributes:
        model: a folder, or a name on the hub.
        min_pixels, max_pixels: bounds on each picture; None keeps the model's own.
        lora: rank of the adapters, 0 to train all parameters.
        freeze_vision: leave the vision tower as it is.
        bf16: compute in bfloat16; None: on a GPU that can.
        gradient_checkpointing: less memory, more time; None: on a GPU.
    """

    model: str
    min_pixels: int | None = MIN_PIXELS
    max_pixels: int | None = MAX_PIXELS
    lora: int = 0
    freeze_vision: bool = False
    bf16: bool | None = None
    gradient_checkpointing: bool | None = None


def load_for_training(options: ModelOptions) -> tuple[Any, Any]:
    """Model and processor, which pads left and has the picture bounds set.

    Weights that are trained are float32, also under bfloat16 arithmetic: steps of 1e-6 vanish in bfloat16 weights.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    from tnllt.reasoningtrack.reasoners.processor import load_processor

    bounds = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    processor = load_processor(options.model, **{name: value for name, value in bounds.items() if value})
    processor.tokenizer.padding_side = "left"
    dtype = torch.bfloat16 if use_bf16(options) and options.lora else torch.float32
    try:
        model = AutoModelForImageTextToText.from_pretrained(options.model, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(f"no usable vision-language model: {reason}", options.model) from error
    if options.freeze_vision:
        for name, parameter in model.named_parameters():
            if ".visual." in f".{name}":
                parameter.requires_grad_(False)
    return model, processor


def use_bf16(options: ModelOptions) -> bool:
    import torch

    if options.bf16 is not None:
        return options.bf16
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def use_checkpointing(options: ModelOptions) -> bool:
    import torch

    return torch.cuda.is_available() if options.gradient_checkpointing is None else options.gradient_checkpointing


def within(
    records: Sequence[PairRecord], processor: Any, max_pixels: int, max_length: int, answers: bool
) -> list[PairRecord]:
    """The records whose prompt, and with `answers` their answer too, fits into so many tokens.

    A picture takes one token per merged patch; what chat markup adds is rounded up. Raises DataError where none fits.
    """
    image = processor.image_processor
    side = int(image.patch_size) * int(image.merge_size)
    pictures = 2 * (max_pixels // side**2 + 2)
    kept = []
    for record in records:
        texts = (record.instruction, record.description, (record.output or "") if answers else "")
        length = sum(len(processor.tokenizer(text)["input_ids"]) for text in texts) + pictures + 32
        if length <= max_length:
            kept.append(record)
    if not kept:
        raise DataError(f"every record is longer than {max_length} tokens; allow longer ones or lower --max-pixels")
    if len(kept) < len(records):
        log.warning(
            "%d of %d records left out: longer than %d tokens", len(records) - len(kept), len(records), max_length
        )
    return kept


def run_arguments(options: SftOptions | GrpoOptions, model: ModelOptions) -> dict[str, Any]:
    """Arguments that TRL's configurations share."""
    return {
        "output_dir": str(options.out / "checkpoints"),
        "num_train_epochs": options.epochs,
        "max_steps": options.steps,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.scheduler,
        "max_grad_norm": options.max_norm,
        "bf16": use_bf16(model),
        "gradient_checkpointing": use_checkpointing(model),
        "seed": options.seed,
        "logging_steps": options.log_every,
        "save_steps": options.save_every,
        "save_total_limit": 2,
        "report_to": ["tensorboard"] if importlib.util.find_spec("tensorboard") else [],
    }


def lora_config(rank: int) -> Any:
    """Adapters on every linear layer of the language model, or None for rank 0. Raises UsageError below 0."""
    if rank < 0:
        raise UsageError("--lora must be 0 (all parameters) or a positive rank")
    if rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", exclude_modules=r".*visual.*"
    )


def save_model(trainer: Any, processor: Any, out: Path, options: ModelOptions, facts: dict[str, Any]) -> None:
    """A complete model in `out`, in the precision it came in, adapters merged in (and apart in `out`/adapter), with a
    record of its making and its history."""
    from transformers import AutoConfig

    model = trainer.accelerator.unwrap_model(trainer.model)
    dtype = getattr(AutoConfig.from_pretrained(options.model), "dtype", None)
    if trainer.accelerator.num_processes == 1 and dtype is not None:
        model.to(dtype)
    if hasattr(model, "merge_and_unload"):
        if trainer.is_world_process_zero():
            model.save_pretrained(out / "adapter")
        merged = model.merge_and_unload()
        if trainer.is_world_process_zero():
            merged.save_pretrained(out)
    else:
        trainer.save_model(str(out))  # gathers what FSDP or DeepSpeed have split
    if trainer.is_world_process_zero():
        processor.save_pretrained(out)
        log = {"history": trainer.state.log_history}
        (out / "history.json").write_text(json.dumps(log, indent=1), encoding="utf-8")
        (out / "tnllt.json").write_text(json.dumps({**facts, **_versions()}, indent=1, default=str), encoding="utf-8")


def _versions() -> dict[str, Any]:
    import torch
    import transformers
    import trl

    return {
        "tnllt": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "trl": trl.__version__,
    }
