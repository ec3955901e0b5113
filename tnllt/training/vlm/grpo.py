"""Reinforcement learning of a reasoner: TRL's GRPOTrainer with the rewards of `tnllt.training.rewards`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tnllt.errors import DataError, UsageError
from tnllt.training.rewards import RewardWeights, new_description, rewards
from tnllt.training.vlm.finetune import (
    load_for_training,
    lora_config,
    to_dataset,
    train_and_save,
    trainer_rows,
    trl_arguments,
    within,
)
from tnllt.training.vlm.frozen import FrozenTracker
from tnllt.training.vlm.options import MAX_PIXELS, GrpoOptions, ModelOptions, Rollouts
from tnllt.training.vlm.records import PairRecord


def run_grpo(
    records: Sequence[PairRecord], model: ModelOptions, options: GrpoOptions, tracker: FrozenTracker | None
) -> Any:
    """Trains, saves a complete model to `options.out`, and returns the trainer.

    Args:
        tracker: measures overlaps and gains; None only where none of them counts.

    Raises:
        MissingExtraError: without the extra `train`. UsageError: sizes that do not fit together. DataError: a record
            without boxes where they count.
    """
    return train_and_save("grpo", lambda: make_trainer(records, model, options, tracker), model, options)


def make_trainer(
    records: Sequence[PairRecord], model: ModelOptions, options: GrpoOptions, tracker: FrozenTracker | None
) -> tuple[Any, Any]:
    """The trainer, ready to run, and its processor."""
    from trl import GRPOConfig

    weights = options.weights
    if weights.needs_tracker and tracker is None:
        raise UsageError("the rewards iou, decision and gain need a tracker; give one, or weigh them with 0")
    bare = next((r for r in records if r.boxes is None), None) if weights.needs_overlaps else None
    if bare is not None:
        raise DataError("no boxes, which the rewards need; train on --samples or --dataset", bare.source)
    network, processor = load_for_training(model)
    records = within(records, processor, model.max_pixels or MAX_PIXELS, options.max_prompt, answers=False)
    config = GRPOConfig(
        **trl_arguments(options, model),
        weight_decay=options.weight_decay,
        beta=options.beta,
        num_generations=options.group,
        temperature=options.temperature,
        top_p=options.top_p,
        max_completion_length=options.max_tokens,
        loss_type="grpo",
        reward_weights=[weight for _, weight in _counted(weights)],
        remove_unused_columns=False,
        **_sizes(options, len(records)),
        **_rollouts(options.rollouts),
    )
    trainer = _trainer_class()(
        model=network,
        args=config,
        train_dataset=to_dataset(trainer_rows(records, answers=False)),
        reward_funcs=reward_functions(records, options, tracker),
        processing_class=processor,
        peft_config=lora_config(model.lora),
    )
    return trainer, processor


def _counted(reward_weights: RewardWeights) -> list[tuple[str, float]]:
    """The rewards that are computed; the two of the format always, so that they are logged."""
    return [(name, weight) for name, weight in asdict(reward_weights).items() if weight or name in ("format", "strict")]


def reward_functions(
    records: Sequence[PairRecord], options: GrpoOptions, tracker: FrozenTracker | None
) -> list[Callable[..., list[float | None]]]:
    """TRL reward functions in the order of the weights; each returns one reward, or None, per completion."""

    def reward_function(name: str) -> Callable[..., list[float | None]]:
        def reward(completions: Any, record: Sequence[int], **_: Any) -> list[float | None]:
            texts = [text_of(completion) for completion in completions]
            asked = [records[number] for number in record]
            before: list[float | None] = [None] * len(texts)
            after = gained = before
            if tracker is not None and name == "gain":
                gained = tracker.gains(asked, texts)
            if tracker is not None and name in ("iou", "decision"):
                after = tracker.overlaps(asked, [new_description(text) for text in texts])
            if tracker is not None and name == "decision":
                before = tracker.overlaps(asked, [pair.description for pair in asked])
            parts = zip(texts, before, after, gained, strict=True)
            return [rewards(text, old, new, options.iou, gain)[name] for text, old, new, gain in parts]

        reward.__name__ = name
        return reward

    return [reward_function(name) for name, _ in _counted(options.weights)]


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
        """A reward that could not be measured counts as the mean of its group, so that it changes nothing.

        TRL's sum would count it as 0 and so punish the answer for the tracker's failure. Where a whole group failed, 0
        for all of them changes nothing either.
        """

        def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Any:
            rewards = super()._calculate_rewards(*args, **kwargs)
            groups = rewards.view(-1, self.num_generations, rewards.shape[1])
            mean = torch.nanmean(groups, dim=1, keepdim=True)
            return torch.where(torch.isnan(groups), mean, groups).view_as(rewards)

    return NeutralGRPOTrainer


def _sizes(options: GrpoOptions, records: int) -> dict[str, int]:
    """Accumulation that makes the recipe's sizes from what the devices take at once.

    Sizes beyond the number of records are reduced to it. Raises UsageError where they cannot be made.
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
