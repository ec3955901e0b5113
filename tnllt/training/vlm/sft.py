"""Supervised fine-tuning of a reasoner: TRL's SFTTrainer on records of frame pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tnllt.errors import DataError, UsageError
from tnllt.training.vlm.generate import stop_when_formed
from tnllt.training.vlm.records import PairRecord
from tnllt.training.vlm.rows import (
    MAX_PIXELS,
    ModelOptions,
    load_for_training,
    lora_config,
    need_train_extra,
    run_arguments,
    save_model,
    sft_rows,
    to_dataset,
    within,
)


@dataclass(frozen=True)
class SftOptions:
    """The published recipe is the default: 3 epochs, 5e-5 cosine without warm-up, 1 x 8, norm 1, 4096 tokens.

    Attributes:
        stop_when_formed: end once this fraction of sampled answers is well formed (looked at every `formed_every`
            steps, answers of at most `formed_tokens`): a start for GRPO.
    """

    out: Path
    epochs: float = 3.0
    steps: int = -1
    learning_rate: float = 5e-5
    scheduler: str = "cosine"
    warmup_steps: int = 0
    batch: int = 1
    accumulation: int = 8
    max_length: int = 4096
    max_norm: float = 1.0
    seed: int = 0
    log_every: int = 10
    save_every: int = 200
    resume: bool = False
    stop_when_formed: float | None = None
    formed_every: int = 20
    formed_tokens: int = 512


def run_sft(records: Sequence[PairRecord], model: ModelOptions, options: SftOptions) -> Any:
    """Trains, saves a complete model to `options.out`, and gives the trainer.

    Raises:
        MissingExtraError: without the extra `train`. DataError: a record without an answer, or all too long.
    """
    need_train_extra()
    trainer, processor = make_trainer(records, model, options)
    trainer.train(resume_from_checkpoint=options.resume or None)
    facts = {"method": "sft", "records": len(trainer.train_dataset), "model": asdict(model), "options": asdict(options)}
    save_model(trainer, processor, options.out, model, facts)
    return trainer


def make_trainer(records: Sequence[PairRecord], model: ModelOptions, options: SftOptions) -> tuple[Any, Any]:
    """The trainer, ready to go, and its processor."""
    from trl import SFTConfig, SFTTrainer

    network, processor = load_for_training(model)
    kept = within(records, processor, model.max_pixels or MAX_PIXELS, options.max_length, answers=True)
    config = SFTConfig(
        **run_arguments(options, model),
        warmup_steps=options.warmup_steps,
        per_device_train_batch_size=options.batch,
        gradient_accumulation_steps=options.accumulation,
        # Cutting would cut the answer off and train on nothing, without a word; too long records are left out above.
        max_length=None,
        completion_only_loss=True,
    )
    trainer = SFTTrainer(
        model=network,
        args=config,
        train_dataset=to_dataset(sft_rows(kept)),
        processing_class=processor,
        peft_config=lora_config(model.lora),
    )
    trainer.data_collator = AnswersOnly(trainer.data_collator)
    if options.stop_when_formed is not None:
        if trainer.accelerator.num_processes > 1:
            raise UsageError("--stop-when-formed works on one device only")
        trainer.add_callback(
            stop_when_formed(
                processor, kept, options.stop_when_formed, options.formed_every, max_tokens=options.formed_tokens
            )
        )
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
