"""Supervised fine-tuning of a reasoner: TRL's SFTTrainer on records of frame pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tnllt.errors import DataError
from tnllt.training.vlm.finetune import (
    load_for_training,
    lora_config,
    to_dataset,
    train_and_save,
    trainer_rows,
    trl_arguments,
    within,
)
from tnllt.training.vlm.options import MAX_PIXELS, ModelOptions, SftOptions
from tnllt.training.vlm.records import PairRecord


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
