"""Reinforcement learning of a reasoner: TRL's GRPOTrainer with the rewards of `tnllt.training.rewards`."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from tnllt.errors import DataError, UsageError
from tnllt.training.rewards import (
    WITH_IOU,
    IouVariant,
    RewardWeights,
    decision_reward,
    format_reward,
    iou_reward,
    new_description,
    strict_reward,
)
from tnllt.training.vlm.frozen import FrozenTracker
from tnllt.training.vlm.records import PairRecord
from tnllt.training.vlm.rows import (
    MAX_PIXELS,
    ModelOptions,
    load_for_training,
    lora_config,
    need_train_extra,
    prompt_of,
    run_arguments,
    save_model,
    to_dataset,
    within,
)

log = logging.getLogger(__name__)

Rollouts = Literal["auto", "transformers", "vllm", "vllm-server"]


@dataclass(frozen=True)
class GrpoOptions:
    """The published recipe is the default: groups of 5, 256 prompts a rollout, 128 an update, KL 0.01, 2 epochs.

    Attributes:
        batch: completions that a device takes at a time (memory only; the recipe's sizes are kept by accumulation).
        rollouts: who writes the answers; auto: vLLM in this process where it is installed and there is a GPU.
    """

    out: Path
    epochs: float = 2.0
    steps: int = -1
    learning_rate: float = 1e-6
    weight_decay: float = 1e-2
    scheduler: str = "constant"
    beta: float = 1e-2
    group: int = 5
    temperature: float = 1.0
    top_p: float = 0.99
    prompts_per_rollout: int = 256
    prompts_per_update: int = 128
    batch: int = 1
    max_prompt: int = 4096
    max_tokens: int = 2048
    max_norm: float = 1.0
    reward_weights: RewardWeights = field(default_factory=lambda: WITH_IOU)
    variant: IouVariant = "halved"
    rollouts: Rollouts = "auto"
    seed: int = 0
    log_every: int = 1
    save_every: int = 50
    resume: bool = False


def run_grpo(
    records: Sequence[PairRecord], model: ModelOptions, options: GrpoOptions, tracker: FrozenTracker | None
) -> Any:
    """Trains, saves a complete model to `options.out`, and gives the trainer.

    Args:
        tracker: measures overlaps; None only where neither overlap nor decision counts.

    Raises:
        MissingExtraError: without the extra `train`. UsageError: sizes that do not fit together. DataError: a record
            without boxes where they count.
    """
    need_train_extra()
    trainer, processor = make_trainer(records, model, options, tracker)
    trainer.train(resume_from_checkpoint=options.resume or None)
    facts = {"method": "grpo", "records": len(records), "model": asdict(model), "options": asdict(options)}
    save_model(trainer, processor, options.out, model, facts)
    return trainer


def make_trainer(
    records: Sequence[PairRecord], model: ModelOptions, options: GrpoOptions, tracker: FrozenTracker | None
) -> tuple[Any, Any]:
    """The trainer, ready to go, and its processor."""
    from trl import GRPOConfig

    if options.reward_weights.needs_tracker and tracker is None:
        raise UsageError("rewards of overlap or decision need a tracker")
    bare = next((r for r in records if r.boxes is None), None) if options.reward_weights.needs_tracker else None
    if bare is not None:
        raise DataError("no boxes, which the rewards need; train on --samples or --dataset", bare.source)
    network, processor = load_for_training(model)
    records = within(records, processor, model.max_pixels or MAX_PIXELS, options.max_prompt, answers=False)
    config = GRPOConfig(
        **run_arguments(options, model),
        weight_decay=options.weight_decay,
        beta=options.beta,
        num_generations=options.group,
        temperature=options.temperature,
        top_p=options.top_p,
        max_completion_length=options.max_tokens,
        loss_type="grpo",
        reward_weights=[weight for _, weight in _counted(options.reward_weights)],
        remove_unused_columns=False,
        **_sizes(options, len(records)),
        **_rollouts(options.rollouts),
    )
    trainer = _trainer_class()(
        model=network,
        args=config,
        train_dataset=to_dataset(grpo_rows(records)),
        reward_funcs=reward_functions(records, options, tracker),
        processing_class=processor,
        peft_config=lora_config(model.lora),
    )
    return trainer, processor


def grpo_rows(records: Sequence[PairRecord]) -> list[dict[str, Any]]:
    """Question, pictures, and the record's number, by which rewards find its boxes."""
    return [
        {"prompt": prompt_of(record), "images": [str(path) for path in record.images], "record": number}
        for number, record in enumerate(records)
    ]


def _counted(reward_weights: RewardWeights) -> list[tuple[str, float]]:
    """Rewards that are worked out; the two of the format always, so that they are logged."""
    return [(name, weight) for name, weight in asdict(reward_weights).items() if weight or name in ("format", "strict")]


def reward_functions(
    records: Sequence[PairRecord], options: GrpoOptions, tracker: FrozenTracker | None
) -> list[Callable[..., list[float | None]]]:
    """TRL reward functions in the order of the weights; each gives one reward, or None, per completion."""

    def overlaps(numbers: Sequence[int], texts: Sequence[str]) -> list[float | None]:
        assert tracker is not None
        return tracker.overlaps([records[n] for n in numbers], texts)

    def format(completions: Any, **_: Any) -> list[float | None]:
        return [format_reward(text) for text in map(text_of, completions)]

    def strict(completions: Any, **_: Any) -> list[float | None]:
        return [strict_reward(text) for text in map(text_of, completions)]

    def iou(completions: Any, record: Sequence[int], **_: Any) -> list[float | None]:
        found = overlaps(record, [new_description(text_of(completion)) for completion in completions])
        return [iou_reward(value, options.variant) for value in found]

    def decision(completions: Any, record: Sequence[int], **_: Any) -> list[float | None]:
        texts = [text_of(completion) for completion in completions]
        before = overlaps(record, [records[n].description for n in record])
        after = overlaps(record, [new_description(text) for text in texts])
        return [decision_reward(text, old, new) for text, old, new in zip(texts, before, after, strict=True)]

    known: dict[str, Callable[..., list[float | None]]] = {
        "format": format,
        "strict": strict,
        "iou": iou,
        "decision": decision,
    }
    return [known[name] for name, _ in _counted(options.reward_weights)]


def text_of(completion: Any) -> str:
    """The text of a completion, plain or as a chat."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _trainer_class() -> Any:
    import torch
    from trl import GRPOTrainer

    class NeutralGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
        """A reward that could not be measured counts as the mean of its group, so that it moves nothing.

        Left alone, the sum would take it for 0 and punish the answer for the tracker's failure. Where a whole group
        failed, 0 for all of them moves nothing either.
        """

        def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
            rewards = super()._calculate_rewards(*args, **kwargs)
            groups = rewards.view(-1, self.num_generations, rewards.shape[1])
            mean = torch.nanmean(groups, dim=1, keepdim=True)
            return torch.where(torch.isnan(groups), mean, groups).view_as(rewards)

    return NeutralGRPOTrainer


def _sizes(options: GrpoOptions, records: int) -> dict[str, int]:
    """Accumulation that makes the recipe's sizes out of what the devices take at a time.

    Sizes beyond the number of records shrink to it. Raises UsageError where they cannot be made.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    update = min(options.prompts_per_update, records)
    rollout = min(options.prompts_per_rollout, records) // update * update
    at_once = options.batch * world
    if (update * options.group) % at_once:
        raise UsageError(
            f"{update} prompts x {options.group} answers an update cannot be split into steps of {options.batch} on "
            f"{world} devices; change --batch, --group or --prompts-per-update"
        )
    return {
        "per_device_train_batch_size": options.batch,
        "gradient_accumulation_steps": update * options.group // at_once,
        "steps_per_generation": rollout * options.group // at_once,
    }


def _rollouts(wanted: Rollouts) -> dict[str, Any]:
    import torch

    there = importlib.util.find_spec("vllm") is not None and torch.cuda.is_available()
    if wanted == "transformers" or (wanted == "auto" and not there):
        return {}
    if not there and wanted == "vllm":
        raise UsageError("--rollouts vllm needs vLLM and a GPU here; use --rollouts transformers or vllm-server")
    return {"use_vllm": True, "vllm_mode": "server" if wanted == "vllm-server" else "colocate"}
