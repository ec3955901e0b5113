"""Sampled answers of a model in training: the fraction that is well formed, and a stop once it is large enough."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from tnllt.training.rewards import strict_reward
from tnllt.training.vlm.records import PairRecord
from tnllt.training.vlm.rows import prompt_of

log = logging.getLogger(__name__)


def sample_answers(
    model: Any, processor: Any, records: Sequence[PairRecord], max_tokens: int = 512, temperature: float = 1.0
) -> list[str]:
    """One sampled answer for each record, in one batch."""
    import torch
    from PIL import Image

    texts, images = [], []
    for record in records:
        system, user = prompt_of(record)
        content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": user["content"]}]
        messages = [
            {"role": "system", "content": [{"type": "text", "text": system["content"]}]},
            {"role": "user", "content": content},
        ]
        texts.append(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        images.append([Image.open(path).convert("RGB") for path in record.images])
    inputs = processor(text=texts, images=images, padding=True, padding_side="left", return_tensors="pt")
    inputs = inputs.to(model.device)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            written = model.generate(
                **inputs, max_new_tokens=max_tokens, do_sample=True, temperature=temperature, top_k=0
            )
    finally:
        model.train(was_training)
    answers = written[:, inputs["input_ids"].shape[1] :]
    decoded: list[str] = processor.tokenizer.batch_decode(answers, skip_special_tokens=True)
    return decoded


def formed_fraction(model: Any, processor: Any, records: Sequence[PairRecord], max_tokens: int = 512) -> float:
    """Fraction of sampled answers that earn the strict reward."""
    answers = sample_answers(model, processor, records, max_tokens)
    return sum(strict_reward(answer) for answer in answers) / len(answers)


def stop_when_formed(
    processor: Any, records: Sequence[PairRecord], target: float, every: int, samples: int = 32, max_tokens: int = 512
) -> Any:
    """A callback that ends training once `target` of the sampled answers are well formed.

    Reinforcement learning needs answers of both kinds at its start: the format rewards teach nothing where every answer
    is well formed, or none.
    """
    from transformers import TrainerCallback

    class StopWhenFormed(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seen: list[tuple[int, float]] = []

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step % every:
                return
            start = len(self.seen) * samples
            chosen = [records[(start + k) % len(records)] for k in range(samples)]
            fraction = formed_fraction(model, processor, chosen, max_tokens)
            self.seen.append((state.global_step, fraction))
            log.info("step %d: %.0f %% of the answers are well formed", state.global_step, 100 * fraction)
            if fraction >= target:
                control.should_training_stop = True

    return StopWhenFormed()
