"""Sampled answers of a model in training: the fraction that is well formed, and a stop once it is large enough."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from tnllt.reasoningtrack.reasoners.models import write_answers
from tnllt.training.rewards import strict_reward
from tnllt.training.vlm.records import PairRecord

log = logging.getLogger(__name__)


def formed_fraction(model: Any, processor: Any, records: Sequence[PairRecord], max_tokens: int = 512) -> float:
    """Fraction of sampled answers, one for each record, that earn the strict reward."""
    from PIL import Image

    questions = [
        (record.instruction, [Image.open(path).convert("RGB") for path in record.model_images], record.description)
        for record in records
    ]
    was_training = model.training
    model.eval()
    try:
        sampling = {"max_new_tokens": max_tokens, "do_sample": True, "temperature": 1.0, "top_k": 0}
        answers = write_answers(model, processor, questions, **sampling)
    finally:
        model.train(was_training)
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
