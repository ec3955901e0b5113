"""Rewards for reinforcement learning of a reasoner, as pure functions of a text and of measured overlaps.

| name | 1 where |
|---|---|
| format | `<think>`, `<d>` and `<answer>` are present, each closed |
| strict | they come in this order and the decision is yes or no |
| iou | the frozen tracker, with the new description, finds the target in the second frame |
| decision | the decision agrees with whether the new description helps that tracker |
| gain | (not 1, but the tracking gain itself, -1 to 1: see `tnllt.training.gain`) |

Source: the published GRPO recipe of ReasoningTrack. There a failed run of the tracker has overlap 0, so that two failed
runs reward every "no". Here a failed run has no overlap (None), and a reward that depends on it is None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from tnllt.errors import UsageError
from tnllt.reasoningtrack.reasoners.parsing import Compat, parse_answer

#: Overlap up to which the published rewards are reduced.
GOOD_OVERLAP = 0.61

#: The description that the frozen tracker gets where the answer has none.
NO_DESCRIPTION = "tracking the object"

IouVariant = Literal["halved", "threshold"]

_MARKS = re.compile(r"\s*([<>/])\s*")
_CLOSED = tuple(re.compile(rf"<{tag}>.*?</{tag}>", re.DOTALL) for tag in ("think", "d", "answer"))
_ORDER = re.compile(r"<think>.*?</think>.*?<d>(?i:yes|no)</d>.*?<answer>.*?</answer>", re.DOTALL)


@dataclass(frozen=True)
class RewardWeights:
    """Factors of the rewards. `RELEASED` are the released ones, an ablation without overlap."""

    format: float = 0.1
    strict: float = 0.1
    iou: float = 0.5
    decision: float = 0.3
    gain: float = 0.0

    @classmethod
    def parse(cls, text: str) -> RewardWeights:
        """From a name in `NAMED`, or four or five numbers "format,strict,iou,decision,gain". Raises UsageError."""
        if text in NAMED:
            return NAMED[text]
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            values = []
        if len(values) not in (4, 5) or not all(0 <= value < float("inf") for value in values):
            names = ", ".join(NAMED)
            raise UsageError(
                f"no reward weights {text!r}; give one of {names}, or numbers format,strict,iou,decision[,gain]"
            )
        return cls(*values)

    def __str__(self) -> str:
        """The numbers that `parse` reads."""
        return ",".join(f"{weight:g}" for weight in asdict(self).values())

    @property
    def needs_overlaps(self) -> bool:
        return self.iou > 0 or self.decision > 0

    @property
    def needs_tracker(self) -> bool:
        return self.needs_overlaps or self.gain > 0


RELEASED = RewardWeights(0.1, 0.1, 0.0, 0.15)
WITH_IOU = RewardWeights(0.1, 0.1, 0.5, 0.3)
GAIN = RewardWeights(0.1, 0.1, 0.0, 0.0, 1.0)
NAMED: Mapping[str, RewardWeights] = {"released": RELEASED, "with-iou": WITH_IOU, "gain": GAIN}


def squeeze(text: str) -> str:
    """The text without white space around `<`, `>` and `/`, which the two format rewards ignore."""
    return _MARKS.sub(r"\1", text)


def format_reward(text: str) -> float:
    """1 where all three tags are present and closed, anywhere and in any order, else 0."""
    squeezed = squeeze(text)
    return float(all(tag.search(squeezed) for tag in _CLOSED))


def strict_reward(text: str) -> float:
    """1 where thought, decision and answer follow each other and the decision is yes or no (case and space ignored).

    Tags inside the thought do not count: decision and answer are searched after it.
    """
    return float(_ORDER.search(squeeze(text)) is not None)


def iou_reward(overlap: float | None, variant: IouVariant = "halved") -> float | None:
    """The overlap with the truth, halved up to 0.61; `threshold`: 1 above 0.61, else 0. None without an overlap."""
    if overlap is None or overlap != overlap:
        return None
    if variant == "threshold":
        return float(overlap > GOOD_OVERLAP)
    return overlap if overlap > GOOD_OVERLAP else overlap / 2


def decision_reward(text: str, before: float | None, after: float | None, compat: Compat = "ours") -> float | None:
    """1 where "yes" raised the tracker's overlap, or anything else ("no") did not lose by keeping the description.

    Args:
        text: the model's answer; its decision counts as written, in lower case.
        before: overlap with the old description; after: with the new one; None where the tracker failed.
    """
    if before is None or after is None or before != before or after != after:
        return None
    yes = parse_answer(text, compat).decision == "yes"
    return float(before < after if yes else before >= after)


def new_description(text: str, compat: Compat = "ours") -> str:
    """The description for the frozen tracker: the text in `<answer>`, also where the decision is "no"."""
    return parse_answer(text, compat).answer or NO_DESCRIPTION


def rewards(
    text: str,
    before: float | None = None,
    after: float | None = None,
    variant: IouVariant = "halved",
    gain: float | None = None,
) -> dict[str, float | None]:
    """Every reward of an answer by name; `before` and `after` as in `decision_reward`, `gain` as it was measured."""
    return {
        "format": format_reward(text),
        "strict": strict_reward(text),
        "iou": iou_reward(after, variant),
        "decision": decision_reward(text, before, after),
        "gain": gain,
    }


def score(
    text: str,
    before: float | None = None,
    after: float | None = None,
    reward_weights: RewardWeights = WITH_IOU,
    variant: IouVariant = "halved",
    gain: float | None = None,
) -> tuple[float | None, dict[str, float | None]]:
    """Weighted sum, and the parts. The sum is None where a part that counts has none."""
    parts = rewards(text, before, after, variant, gain)
    total = 0.0
    for name, weight in asdict(reward_weights).items():
        part = parts[name]
        if weight and part is None:
            return None, parts
        total += weight * (part or 0.0)
    return total, parts
