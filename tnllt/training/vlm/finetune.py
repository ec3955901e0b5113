"""Supervised fine-tuning by TRL, and what it shares with GRPO: rows, model, arguments, training, the saved model."""

from __future__ import annotations

import importlib.util
import logging
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from tnllt._version import __version__
from tnllt.errors import DataError, MissingExtraError, UsageError
from tnllt.files import to_json, write_atomic
from tnllt.training.state import read_state, set_training_tensors, training_tensors, write_state
from tnllt.training.vlm.options import MAX_PIXELS, FineTuneOptions, ModelOptions, SftOptions
from tnllt.training.vlm.records import PairRecord

log = logging.getLogger(__name__)


def need_answers(records: Sequence[PairRecord]) -> None:
    """Raises DataError for the first record without an answer."""
    for record in records:
        if not record.output:
            raise DataError(
                "the record has no answer to learn; add `output`, or make answers with --teacher", record.source
            )


def trainer_rows(records: Sequence[PairRecord], answers: bool) -> list[dict[str, Any]]:
    """Question and images; with `answers` the answer apart, so that the loss is computed on it alone, else the
    record's number, by which rewards find its boxes. The trainer puts the images in front of the question's text.

    Raises:
        DataError: a record without the answer that is wanted.
    """
    if answers:
        need_answers(records)
    rows = []
    for number, record in enumerate(records):
        prompt = [{"role": "system", "content": record.instruction}, {"role": "user", "content": record.description}]
        own = {"completion": [{"role": "assistant", "content": record.output}]} if answers else {"record": number}
        rows.append({"prompt": prompt, "images": record.model_images, **own})
    return rows


def to_dataset(rows: list[dict[str, Any]]) -> Any:
    """A `datasets.Dataset` whose `images` are opened when a row is used."""
    from datasets import Dataset, Image

    dataset = Dataset.from_list(rows)
    features = dataset.features.copy()
    features["images"] = [Image()]
    return dataset.cast(features)


def within(
    records: Sequence[PairRecord], processor: Any, max_pixels: int, max_length: int, answers: bool
) -> list[PairRecord]:
    """The records whose prompt, and with `answers` their answer too, fits into `max_length` tokens.

    An image takes one token per merged patch; what chat markup adds is rounded up. Raises DataError where none fits.
    """
    image = processor.image_processor
    side = int(image.patch_size) * int(image.merge_size)
    images = 2 * (max_pixels // side**2 + 2)
    kept = []
    for record in records:
        texts = (record.instruction, record.description, (record.output or "") if answers else "")
        length = sum(len(processor.tokenizer(text)["input_ids"]) for text in texts) + images + 32
        if length <= max_length:
            kept.append(record)
    if not kept:
        raise DataError(f"every record is longer than {max_length} tokens; allow longer ones or lower --max-pixels")
    if left_out := len(records) - len(kept):
        log.warning("%d of %d records left out: longer than %d tokens", left_out, len(records), max_length)
    return kept


def load_for_training(options: ModelOptions) -> tuple[Any, Any]:
    """Model and processor; the processor pads left and has the bounds on pixels.

    Weights that are trained are float32, also under bfloat16 arithmetic: steps of 1e-6 vanish in bfloat16 weights.
    """
    from tnllt.reasoningtrack.reasoners.models import load_model, load_processor, model_folder

    folder = model_folder(options.model, options.download)
    bounds = {"min_pixels": options.min_pixels, "max_pixels": options.max_pixels}
    processor = load_processor(folder, **{name: value for name, value in bounds.items() if value})
    processor.tokenizer.padding_side = "left"
    processor.tokenizer.init_kwargs.pop("local_files_only", None)  # transformers would save how it was loaded
    model = load_model(folder, "bfloat16" if _use_bf16(options) and options.lora else "float32")
    if options.freeze_vision:
        for name, parameter in model.named_parameters():
            if ".visual." in f".{name}":
                parameter.requires_grad_(False)
    return model, processor


def _use_bf16(options: ModelOptions) -> bool:
    import torch

    if options.bf16 is not None:
        return options.bf16
    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def trl_arguments(options: FineTuneOptions, model: ModelOptions) -> dict[str, Any]:
    """Arguments that TRL's configurations share."""
    import torch

    checkpointing = model.gradient_checkpointing
    return {
        "output_dir": str(options.out / "checkpoints"),
        "num_train_epochs": options.epochs,
        "max_steps": options.steps,
        "learning_rate": options.learning_rate,
        "lr_scheduler_type": options.scheduler,
        "per_device_train_batch_size": options.batch,
        "max_grad_norm": options.max_norm,
        "bf16": _use_bf16(model),
        "gradient_checkpointing": torch.cuda.is_available() if checkpointing is None else checkpointing,
        "seed": options.seed,
        "logging_steps": options.log_every,
        "save_steps": options.save_every,
        "save_total_limit": 2,
        "report_to": ["tensorboard"] if importlib.util.find_spec("tensorboard") else [],
    }


def lora_config(rank: int) -> Any:
    """Adapters on every linear layer of the language model, or None for rank 0."""
    if rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", exclude_modules=r".*visual.*"
    )


def train_and_save(
    method: str, make: Callable[[], tuple[Any, Any]], model: ModelOptions, options: FineTuneOptions
) -> Any:
    """Trains, saves a complete model to `options.out` with a record of its making, and returns the trainer.

    Args:
        make: makes trainer and processor, once it is known that training can start.
    """
    for name in ("trl", "peft", "datasets", "accelerate", "transformers"):
        if importlib.util.find_spec(name) is None:
            extra = "vlm,train" if name == "transformers" else "train"
            raise MissingExtraError("training a vision-language model", extra, ImportError(f"no module {name}"))
    resume = checkpoint_to_resume(options.out) if options.resume else None
    trainer, processor = make()
    save_without_pickles(trainer, resume)
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    _save_model(trainer, processor, model, options)
    if trainer.is_world_process_zero():
        facts = {
            "method": method,
            "records": len(trainer.train_dataset),
            "model": asdict(model),
            "options": asdict(options),
        }
        write_atomic(options.out / "history.json", to_json({"history": trainer.state.log_history}))
        packages = ("torch", "transformers", "trl")
        versions = {"tnllt": __version__, "python": platform.python_version()}
        versions |= {name: str(import_module(name).__version__) for name in packages}
        write_atomic(options.out / "tnllt.json", to_json({**facts, **versions}))
    return trainer


def _save_model(trainer: Any, processor: Any, model: ModelOptions, options: FineTuneOptions) -> None:
    """The model in the precision it came in, adapters merged in (and apart in `out`/adapter)."""
    from transformers import AutoConfig

    from tnllt.reasoningtrack.reasoners.models import LOCAL, model_folder

    network, first = trainer.accelerator.unwrap_model(trainer.model), trainer.is_world_process_zero()
    dtype = getattr(AutoConfig.from_pretrained(model_folder(model.model), **LOCAL), "dtype", None)
    if trainer.accelerator.num_processes == 1 and dtype is not None:
        network.to(dtype)
    if hasattr(network, "merge_and_unload"):
        if first:
            network.save_pretrained(options.out / "adapter")
        merged = network.merge_and_unload()
        if first:
            merged.save_pretrained(options.out)
    else:
        trainer.save_model(str(options.out))  # gathers what FSDP or DeepSpeed have split
    if first:
        processor.save_pretrained(options.out)


def run_sft(records: Sequence[PairRecord], model: ModelOptions, options: SftOptions) -> Any:
    """Trains, saves a complete model to `options.out`, and returns the trainer.

    Raises:
        MissingExtraError: without the extra `train`. DataError: a record without an answer, or all too long.
    """
    return train_and_save("sft", lambda: make_trainer(records, model, options), model, options)


def make_trainer(records: Sequence[PairRecord], model: ModelOptions, options: SftOptions) -> tuple[Any, Any]:
    """The trainer, ready to run, and its processor."""
    from trl import SFTConfig, SFTTrainer

    network, processor = load_for_training(model)
    kept = within(records, processor, model.max_pixels or MAX_PIXELS, options.max_length, answers=True)
    config = SFTConfig(
        **trl_arguments(options, model),
        warmup_steps=options.warmup_steps,
        gradient_accumulation_steps=options.accumulation,
        # Truncation would cut the answer off and train on nothing, silently; too long records are left out above.
        max_length=None,
        completion_only_loss=True,
    )
    trainer = SFTTrainer(
        model=network,
        args=config,
        train_dataset=to_dataset(trainer_rows(kept, answers=True)),
        processing_class=processor,
        peft_config=lora_config(model.lora),
    )
    trainer.data_collator = AnswersOnly(trainer.data_collator)
    return trainer, processor


class AnswersOnly:
    """Passes batches on, and refuses one in which a record has no token to learn."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        batch = self.collator(rows)
        learnt = (batch["labels"] != -100).sum(dim=1)
        if bool((learnt == 0).any()):
            raise DataError("a record has no answer token to learn: prompt and answer were cut or are empty")
        if bool((learnt == batch["attention_mask"].sum(dim=1)).any()):
            raise DataError("the prompt would be trained on as well; this version of trl is not supported")
        return batch


_STATE = "state.safetensors"
_SCHEDULE = ("last_epoch", "_step_count", "_last_lr")
#: Files of text and safetensors; whatever else is in a checkpoint may be a pickle.
_SAFE = (".json", ".safetensors", ".jinja", ".txt", ".md", ".model")


def checkpoint_to_resume(out: Path) -> Path:
    """The newest complete checkpoint below `out`/checkpoints, which holds nothing that runs code when it is read.

    Raises:
        UsageError: there is none. DataError: it holds something else than text and safetensors, or is damaged.
    """
    from transformers import TrainerState

    found = [(int(n), p) for p in out.glob("checkpoints/checkpoint-*") if (n := p.name.rpartition("-")[2]).isdecimal()]
    complete = [path for _, path in sorted(found) if (path / _STATE).is_file()]
    if not complete:
        remedy = f"; to start from its weights, give --model {sorted(found)[-1][1]}" if found else ""
        raise UsageError(f"{out} has no complete checkpoint to resume from{remedy}")
    newest = complete[-1]
    for path in newest.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or (path.is_file() and path.suffix in _SAFE)):
            raise DataError("may run code when it is read, and is not part of a checkpoint; remove it", path)
    try:
        TrainerState.load_from_json(str(newest / "trainer_state.json"))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        reason = str(error)[:200]
        raise DataError(f"is damaged ({reason}); remove its folder, and the one before is used", newest) from error
    return newest


def save_without_pickles(trainer: Any, resume: Path | None) -> None:
    """Lets the trainer's checkpoints be complete without pickles, and continues from the one in `resume`.

    Under FSDP and DeepSpeed a checkpoint holds the weights alone, and cannot be resumed.
    """
    from transformers import TrainerCallback

    class Checkpoints(TrainerCallback):  # type: ignore[misc]
        def on_save(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            tensors = training_tensors(_network(trainer), [kw["optimizer"]])
            trainer.accelerator.wait_for_everyone()
            if state.is_world_process_zero:
                (folder / "training_args.bin").unlink(missing_ok=True)
                schedule = kw["lr_scheduler"].state_dict()
                write_state(folder / _STATE, tensors, {name: schedule[name] for name in _SCHEDULE})

        def on_train_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            if resume is None:
                return
            path = resume / _STATE
            tensors, schedule = read_state(path)
            optimizer, scheduler = kw["optimizer"], kw["lr_scheduler"]
            set_training_tensors(_network(trainer), [optimizer], tensors, path)
            rates = schedule.get("_last_lr")
            groups = optimizer.param_groups
            if schedule.keys() != set(_SCHEDULE) or not isinstance(rates, list) or len(rates) != len(groups):
                raise DataError("is not a state of fine-tuning; remove its folder", path)
            scheduler.load_state_dict({**scheduler.state_dict(), **schedule})
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = float(rate)

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            _seed(args.seed, int(state.epoch), 0)  # the order of the records, the same in all processes

        def on_step_begin(self, args: Any, state: Any, control: Any, **kw: Any) -> None:
            _seed(args.seed, state.global_step, 1 + args.process_index)

    trainer.args.save_only_model = True
    trainer._load_from_checkpoint = lambda *_, **__: None  # its weights: they come from the state
    if not (trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled):
        trainer.add_callback(Checkpoints())


def _network(trainer: Any) -> Any:
    return trainer.accelerator.unwrap_model(trainer.model)


def _seed(*numbers: int) -> None:
    from transformers import set_seed

    set_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
