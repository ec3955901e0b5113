"""The rewards as EasyR1 calls them: a batch of texts and packed answers in, a dictionary of numbers each out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from tnllt.errors import IncompleteError
from tnllt.files import parse_json
from tnllt.records import from_table
from tnllt.training.rewards import IouVariant, RewardWeights, new_description, score
from tnllt.training.vlm.frozen import FrozenTracker, reasoning_track
from tnllt.training.vlm.records import PairRecord

#: Beyond this fraction of failed runs of the tracker, something is wrong with it rather than with a pair.
_MOST_FAILED = 0.5


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]],
    reward_weights: str = "with-iou",
    iou: IouVariant = "halved",
    tracker: Mapping[str, Any] | None = None,
) -> list[dict[str, float]]:
    """One dictionary per answer: `overall`, and those of `format`, `strict`, `iou`, `decision` that were measured.

    EasyR1 takes numbers only. Where the tracker failed, an answer gets the mean of its group's others,
    which changes nothing.

    Args:
        reward_inputs: each with `response` and `ground_truth` (JSON: description, images, box1, box2).
        reward_weights: a name or four numbers; tracker: `weights`, `config`, `device` of the frozen one.

    Raises:
        DataError: `ground_truth` is not what the export wrote. IncompleteError: the tracker failed on most.
    """
    wanted = RewardWeights.parse(reward_weights)
    texts = [str(item["response"]) for item in reward_inputs]
    packed = [str(item["ground_truth"]) for item in reward_inputs]
    records = [_record(text) for text in packed]
    before: list[float | None] = [None] * len(texts)
    after = list(before)
    if wanted.needs_tracker:
        frozen = _frozen(json.dumps(dict(tracker or {}), sort_keys=True))
        before = frozen.overlaps(records, [record.description for record in records])
        after = frozen.overlaps(records, [new_description(text) for text in texts])
    scored = [score(*parts, wanted, iou) for parts in zip(texts, before, after, strict=True)]
    totals = _without_gaps([total for total, _ in scored], packed)
    return [
        {"overall": total, **{name: float(value) for name, value in parts.items() if value is not None}}
        for total, (_, parts) in zip(totals, scored, strict=True)
    ]


def _without_gaps(totals: Sequence[float | None], groups: Sequence[str]) -> list[float]:
    """Missing totals replaced by the mean of their group's others; 0 for all of a group without any."""
    known: dict[str, list[float]] = defaultdict(list)
    for total, group in zip(totals, groups, strict=True):
        if total is not None:
            known[group].append(total)
    missing = sum(total is None for total in totals)
    if missing > _MOST_FAILED * len(totals):
        raise IncompleteError(f"the frozen tracker failed on {missing} of {len(totals)} answers; see its warnings")
    means = {group: sum(values) / len(values) for group, values in known.items()}
    return [means.get(group, 0.0) if total is None else total for total, group in zip(totals, groups, strict=True)]


@dataclass(frozen=True)
class PackedAnswer:
    """What the rewards need of a record, as JSON in EasyR1's `answer`."""

    description: str
    images: tuple[str, str]
    box1: tuple[float, float, float, float]
    box2: tuple[float, float, float, float]


def _record(packed: str) -> PairRecord:
    source = "`answer`, as `tnllt-train export --to easyr1` writes it"
    facts = from_table(parse_json(packed, source), PackedAnswer, source)
    first, second = facts.images
    return PairRecord((Path(first), Path(second)), facts.description, "", None, (facts.box1, facts.box2), first)


@lru_cache(maxsize=1)
def _frozen(options: str) -> FrozenTracker:
    known = json.loads(options)
    batch = int(known.pop("batch", 32))
    network = reasoning_track(known.get("weights"), known.get("config"), known.get("device", "auto"))
    return FrozenTracker(network, batch)
